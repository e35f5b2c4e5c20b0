#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# usage: qapi-features.sh
#
# A QAPI enumeration whose member has an 'if' and features: what QEMU's generator makes of
# it, compiled where the condition does not hold, without patches/qemu/0016 and with it.
# Exit 0 if it fails without and passes with.  A second; needs glib's headers.
cd "$(dirname "$0")/../.." || exit 2
. scripts/overlay.sh
say() { echo "$*" >&2; }
die() { say "$*"; exit 2; }

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
source=$(scripts/fetch qemu "${QEMU:-10.2}") || exit 2
mkdir -p "$tmp/stub/qemu" "$tmp/stub/qapi" "$tmp/scripts"
cp -r "$source/scripts/qapi" "$source/scripts/qapi-gen.py" "$tmp/scripts/"
# What QEMU's configuration would bring
printf '#include <%s>\n' glib.h stdbool.h stdint.h >"$tmp/stub/qemu/osdep.h"
echo '#include "qemu/typedefs.h"' >>"$tmp/stub/qemu/osdep.h"
: >"$tmp/stub/qapi/dealloc-visitor.h"
echo 'typedef struct CompatPolicy { int unused; } CompatPolicy;' >"$tmp/stub/qapi/qapi-types-compat.h"
cat >"$tmp/schema.json" <<'SCHEMA'
{ 'enum': 'Kind',
  'data': [ 'always', { 'name': 'at-times', 'if': 'CONFIG_AT_TIMES', 'features': [ 'unstable' ] } ] }
{ 'struct': 'User', 'data': { 'kind': 'Kind' } }
SCHEMA

# compiles : what the generator in $tmp makes of it
compiles()
{
	rm -rf "$tmp/out"
	mkdir -p "$tmp/out"
	python3 "$tmp/scripts/qapi-gen.py" -b -o "$tmp/out/qapi" "$tmp/schema.json" || return
	# shellcheck disable=SC2046 # several
	gcc -fsyntax-only -I "$tmp/stub" -I "$tmp/out" -I "$tmp/out/qapi" -I "$source/include" \
		$(pkg-config --cflags glib-2.0) "$tmp/out/qapi/qapi-types.c" 2>&1 | grep 'error:' >"$tmp/said"
	! head -n 1 "$tmp/said" | grep .
}

echo "QEMU ${QEMU:-10.2}, as it is:"
! compiles || { echo "compiles"; exit 1; }
patch_apply "$tmp" patches/qemu/0016-*.patch
echo "with the patch:"
compiles && echo "compiles"
