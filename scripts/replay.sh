# SPDX-License-Identifier: GPL-2.0-only
#
# Sourced by scripts/explore --replay, which has set up kernel, image and folders.

dir=$out/replay
# Where the kernel's functions are, only a boot can tell.
if ! grep -qx "# $machine" "$out/symbols" 2>/dev/null; then
	say "booting once to see where modules are"
	M='' KERNEL=$KERNEL TESTS=$TESTS ARGS=$ARGS LIMIT=$LIMIT SEEDS=0 OUT=$out/boot "$here/explore" >/dev/null 8>&-
	cp "$out/boot/${out##*/}/symbols" "$out/symbols"
fi
resolve
export SCHED QUIET TRACE
command=$(settings "${SCHED-}" "${SMP-}")
saw=
[ "$(cat "$out/key" 2>/dev/null)" != "$key" ] || saw=$out/seed-$SEED
SCHED=$(schedule "$SEED")
# Or is it the smaller version of one that was found?
case $(cat "$out/key" 2>/dev/null) in
"$machine"/*)
	! tail -n 1 "$smaller" 2>/dev/null | grep -q "\"sched\":\"$SCHED\"" || saw=$out/smaller-$SEED ;;
esac
[ -n "$saw" ] || say "no search with these inputs is on record here; replaying anyway"
QUIET=1 TRACE="tcg_sched_* snp_*"
say "replaying seed $SEED on kernel $KERNEL: $(printf %s "$SCHED" | sed 's/,symbols=[0-9a-f+-]*//')"
# Under gdb the machine stops where it complains.  A breakpoint makes QEMU
# translate its page instruction by instruction, and slices count instructions.
if [ -n "${GDB-}" ]; then
	command -v gdb >/dev/null || die "GDB=1 needs gdb"
	vmlinux=$(cat "$kernel/build" 2>/dev/null)/vmlinux
	# The tree may have built another kernel since.
	[ -r "$vmlinux" ] && [ "$(nm "$vmlinux" | grep -E ' (_end|panic|__warn)$' | sort)" = \
		"$(grep -E ' (_end|panic|__warn)$' "$kernel/System.map" | sort)" ] || vmlinux=
	mkdir -p "$dir"
	. "$TOP/vm/machine.sh"
	{
		echo "set pagination off"
		printf 'target remote | exec %s -gdb stdio -S' "$qemu/qemu-system-x86_64"
		machine_args "$qemu" on | sed "s/.*/'&'/" | tr '\n' ' ' | sed 's/^/ /'
		printf "%s %s %s '%s' %s %s 2>%s\n" -kernel "$kernel/bzImage" \
			"-initrd $out/initramfs.cpio -append" "$MACHINE_CMDLINE" \
			"-serial file:$dir/console.log" "-serial file:$dir/ktap.log" "$dir/qemu.log"
		for f in dump_stack_lvl __warn panic oops_enter; do
			a=$(awk -v f="$f" '$3 == f { print $1; exit }' "$kernel/System.map")
			[ -z "$a" ] || echo "hbreak *0x$a"
		done
		echo "continue"
		echo "backtrace 16"
	} >"$dir/gdb"
	say "gdb stops where the kernel complains; console: $dir/console.log"
	exec gdb -q ${BATCH:+-batch} ${vmlinux:+"$vmlinux"} -x "$dir/gdb"
fi
"$TOP/vm/run" --limit $((BUDGET > 600 ? BUDGET : 600)) "$qemu" "$kernel" "$out/initramfs.cpio" "$dir" 8>&-
. "$dir/result"
# shellcheck disable=SC2046,SC2154
set -- $(judge "$dir" exit "$qemu")
echo "seed $SEED: $1${2:+ ($2: $3)}; logs: $dir"
awk -v table="$TOP/vm/causes" -f "$TOP/vm/results.awk" "$dir/ktap.log" |
	awk -F '\t' '$1 != "exit" && $4 != "-" && n++ < 2 { print $2 ":" $3 ": " $4 ": " $7 }'
tr -d '\r' <"$dir/console.log" | grep -m 2 -E 'RMPUPDATE failed|Oops: |WARNING: ' || :
{
	echo "# make replay SEED=$SEED$command"
	"$here/timeline" "$dir" "$kernel" 60
} >"$dir/timeline.txt"
echo "timeline: $dir/timeline.txt; around the failure:"
grep -B 24 -A 4 '<== failed' "$dir/timeline.txt" || tail -n 24 "$dir/timeline.txt"
if [ ! -d "$saw" ]; then
	echo "no search has kept this seed's logs: nothing to compare with"
	exit 0
fi
for f in console ktap; do
	cat "$out/snapshot/$f.log" "$saw/$f.log" | cmp -s - "$dir/$f.log" ||
		die "$f.log is not what the search saw: $saw/$f.log; is this the same machine image?"
done
echo "the same run, byte for byte, as in the search"
exit 0
