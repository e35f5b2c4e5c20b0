#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The SNP host costs a boot next to nothing.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

check "boot time with the SNP host: at most 1.05 of stock, median of 9" scripts/bench-boot 9
done_testing
