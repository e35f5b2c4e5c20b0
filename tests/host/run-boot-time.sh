#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The SNP host costs a boot next to nothing.
cd "$(dirname "$0")/../.." || exit 2
. tests/tap.sh

check "a boot with the SNP host takes at most 1.05 of stock's CPU time, median of 9" scripts/bench-boot 9
done_testing
