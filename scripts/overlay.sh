# SPDX-License-Identifier: GPL-2.0-only
#
# A private source tree: a pristine one plus patches plus whole files.
# Sourced after lib.sh.

# tree_copy PRISTINE TREE [PATH...] : the pristine tree (or these parts of it)
# as links, when it lies in our own cache: whatever changes later is replaced
# by a new file, never written to.  A user's tree is copied for real, and
# without what a build in it may have left.
tree_copy()
{
	_tp=$1 _tt=$2
	shift 2
	[ $# -gt 0 ] || set -- .
	mkdir -p "$_tt"
	case $_tp/ in
	"$CACHE"/*)
		(cd "$_tp" && cp -al --parents -- "$@" "$_tt/") ;;
	*)
		(cd "$_tp" && rsync -aR --delete --exclude=.git --exclude='*.o' \
			--exclude='*.o.cmd' --exclude='*.ko' --exclude='*.a' \
			--exclude='/.config*' --exclude='/vmlinux*' \
			--exclude='include/generated' --exclude='/include/config' \
			--exclude='/usr/include/*/' --exclude='.*.cmd' \
			-- "$@" "$_tt/") ;;
	esac
}

# tree_copy_selftests PRISTINE TREE : what `make headers` and the KVM selftests
# read, not the whole kernel; the latter have links to a few drivers' headers.
tree_copy_selftests()
{
	_tr=$(cd "$1" && pwd -P)
	_tl=$(cd "$_tr" && find tools/testing/selftests/kvm tools/testing/selftests/vfio \
		-type l -exec readlink -f {} + | sed -n "s,^$_tr/\\(drivers/.*\\),\\1,p" | sort -u)
	# shellcheck disable=SC2086 # no blanks in a kernel tree's file names
	tree_copy "$1" "$2" Makefile Kbuild Kconfig scripts include arch/x86 tools usr/include $_tl
}

# tree_sync PRISTINE TREE STATE [PATCH...] [-- PATCH...] : bring TREE to PRISTINE + PATCHes
# + what lies under STATE/add + the PATCHes after the dashes.  Compared by content: an
# unchanged file keeps its time stamp, so make and ninja rebuild what changed and nothing
# else.  STATE remembers what was replaced before.
tree_sync()
{
	_tp=$1 _tt=$2 _ts=$3 _added=
	shift 3
	mkdir -p "$_ts/add"
	rm -rf "$_ts/over"; mkdir -p "$_ts/over"
	for _p in "$@"; do
		if [ "$_p" = -- ]; then
			cp -a "$_ts/add/." "$_ts/over/"
			_added=1
			continue
		fi
		patch_files "$_p" | while read -r _f; do
			[ -e "$_ts/over/$_f" ] || [ ! -e "$_tp/$_f" ] || {
				mkdir -p "$_ts/over/$(dirname "$_f")"
				cp "$_tp/$_f" "$_ts/over/$_f"
			}
		done
		patch -s -p1 -F"${PATCH_FUZZ-2}" --no-backup-if-mismatch -d "$_ts/over" <"$_p" >&2 ||
			die "${_p#"$TOP"/} does not apply to $_tp"
	done
	[ -n "$_added" ] || cp -a "$_ts/add/." "$_ts/over/"
	(cd "$_ts/over" && find . -type f | sort) >"$_ts/files.new"
	if [ -r "$_ts/files" ]; then
		comm -23 "$_ts/files" "$_ts/files.new" | while read -r _f; do
			rm -f "$_tt/$_f"
			[ ! -e "$_tp/$_f" ] || cp "$_tp/$_f" "$_tt/$_f"
		done
	fi
	mv "$_ts/files.new" "$_ts/files"
	rsync -rpc "$_ts/over/" "$_tt/"
}

# patch_files PATCH... : the files of a kernel tree that these change
patch_files()
{
	sed -n 's,^--- a/,,p; s,^+++ b/,,p' "$@" | cut -f 1 | sort -u
}

# patch_style PRISTINE PATCH : die if that tree's checkpatch has anything to say
patch_style()
{
	_pc=UNKNOWN_COMMIT_ID,FILE_PATH_CHANGES
	# What stable wants is not what checkpatch wants.
	! grep -q '^commit [0-9a-f]* upstream\.$' "$2" || _pc=$_pc,GIT_COMMIT_ID
	perl "$1/scripts/checkpatch.pl" --strict --no-tree --no-signoff \
		--ignore $_pc -q --terse --no-summary "$2" >&2 ||
		die "checkpatch complains about ${2##*/}"
}

# patch_parts PRISTINE TREE PATCH... : just the files that the patches change
patch_parts()
{
	_tp=$1 _tt=$2
	shift 2
	patch_files "$@" | while read -r _f; do
		mkdir -p "$_tt/$(dirname "$_f")"
		[ ! -e "$_tp/$_f" ] || cp "$_tp/$_f" "$_tt/$_f"
	done
}

# patch_apply TREE PATCH : without fuzz, or die
patch_apply()
{
	patch -s -p1 -F0 --no-backup-if-mismatch -d "$1" <"$2" >&2 ||
		die "${2#"$TOP"/} does not apply${3:+ to $3}"
}

# patch_says FIELD PATCH : what lines FIELD: of its message say
patch_says() { sed -n "/^---\$/q; s/^$1: //p" "$2"; }

# patch_overlay PATCH : the overlay's files that a patch of patches/selftests adds
patch_overlay()
{
	patch_says Files "$1" | tr ' ' '\n'
}

# fix_has TREE FIX NUMBER : does the text of a kernel tree say that it has what this patch
# of patches/fix-FIX brings?  Sets _what.
fix_has()
{
	_line=$(grep -s "^$3	" "$TOP/patches/fix-$2/contents") || return 1
	_what=${_line##*	}
	_file=$(printf '%s\n' "$_line" | cut -f 2)
	_text=$(printf '%s\n' "$_line" | cut -f 3) perl -0777 -ne '$ok = /$ENV{_text}/s; END { exit !$ok }' "$1/$_file" 2>/dev/null
}

# fix_lacks TREE FIX : the patches of patches/fix-FIX that it still wants
fix_lacks()
{
	for _p in "$TOP/patches/fix-$2"/*.patch; do
		_n=${_p##*/} _n=${_n%%-*}
		fix_has "$1" "$2" "${_n##*0}" || printf '%s\n' "$_p"
	done
}

# The fixes for QEMU's own bugs: of the newest release; where an older one differs, the
# folder named after it has patches of its own, and diffs of patches.
QEMU_FIXES=$TOP/patches/qemu

# qemu_fixes RELEASE FOLDER [NUMBER] : into the new folder, all fixes for this release, or one
qemu_fixes()
{
	mkdir -p "$2"
	for _p in "$QEMU_FIXES"/*.patch "$QEMU_FIXES/$1"/*.patch; do
		_n=${_p##*/} _n=${_n%%-*}
		[ -e "$_p" ] && [ "${3:-$_n}" = "$_n" ] || continue
		_only=$(patch_says Only "$_p")
		[ "${_only:-$1}" = "$1" ] || continue
		cp "$_p" "$2/"
		[ ! -e "$QEMU_FIXES/$1/$_n.diff" ] ||
			patch -s --no-backup-if-mismatch "$2/${_p##*/}" "$QEMU_FIXES/$1/$_n.diff" >&2 || die "$_n.diff does not fit its patch"
	done
}

# qemu_group PATCH : the group in which it is posted
qemu_group() { patch_says Group "$1"; }
