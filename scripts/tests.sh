# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# Tests by name: PROGRAM, or PROGRAM:CASE,CASE for some of its cases.  "kvm:" and the
# folder that a program is kept in may stand in front.  For scripts that have read
# lib.sh.

# test_program TEST
test_program()
{
	_tt=${1#kvm:}
	_tt=${_tt%%:*}
	printf '%s\n' "${_tt##*/}"
}

# test_args TEST : the harness's options for its cases; the stress test has one mode
test_args()
{
	case ${1#kvm:} in
	*_stress:*)	printf '%s\n' "-m ${1##*:}" ;;
	*:*)	printf '%s\n' "${1##*:}" | sed 's/\([^,]*\),*/ -t \1/g; s/^ //' ;;
	esac
}

# tests_known LIST TEST... : die if kselftest-list.txt LIST lacks one, or a test of ours
# the case, or an option of ARGS=
tests_known()
{
	_tl=$1
	shift
	for _tn; do
		_tp=$(test_program "$_tn")
		grep -qx "kvm:$_tp" "$_tl" ||
			die "TESTS: no test '$_tn' in the kvm target; near it: $(
				for _th in "$_tp" "$(printf %.4s "$_tp")"; do
					sed -n 's/^kvm://p' "$_tl" | grep -iF -- "$_th"
				done | awk '!seen[$0]++' | head -n 12 | tr '\n' ' ')(all: $_tl)"
		case $_tn in *_stress:*,*) die "TESTS=$_tn: the stress test has one mode at a time" ;; esac
		_tb=${_tl%/*}/kvm/$_tp _tx=:dzt:T:f:F:v:V:r: _th="-t CASE, -T CASE (all but it), -z and -d"
		case $_tp in
		*_model_test)	_tx=${_tx}n:s:x: _th="$_th, and those of docs/model.md" ;;
		*_stress)	_tx=:m:t:s:n:p:a: _th="-m MODE and those of docs/stress.md" ;;
		esac
		# The programs cannot be asked: they want KVM before they read an option.
		case $_tp/$(test_args "$_tn")${ARGS-} in
		*/)	;;
		sev_snp_*)
			command -v nm >/dev/null || continue
			# Upstream's harness runs all cases, or none, if it does not know one.
			_tc=" $({ nm "$_tb" | sed -n '/_teardown$/d; s/.* [tT] wrapper_snp_//p'
				grep -ao 'snp\.[a-z_]*' "$_tb" | cut -c 5-; } | sort -u | tr '\n' ' ')"
			(
				# shellcheck disable=SC2046,SC2086 # several
				set -- $(test_args "$_tn") ${ARGS-}
				while getopts "$_tx" _to; do
					case $_tp/$_to in
					*/:)	die "ARGS: -$OPTARG has to be followed by a value" ;;
					*/\?)	die "ARGS=${ARGS-}: $_tp has no option -$OPTARG: it has $_th" ;;
					*_stress/a)
						printf '%s\n' none preempt storm preempt,storm | grep -qxF -e "$OPTARG" ||
							die "ARGS=${ARGS-}: -a is none, preempt, storm or preempt,storm" ;;
					*_stress/[stnp])
						case $_to$OPTARG in
						s*[!0-9]*)	die "ARGS=${ARGS-}: -s is a number" ;;
						[tnp]0*|?*[!0-9]*)	die "ARGS=${ARGS-}: -$_to is a number above 0" ;;
						esac
						case $_to in
						n)	_tm=TARGETS ;;
						p)	_tm=DRIVERS ;;
						*)	continue ;;
						esac
						_tm=$(sed -n "s/^#define MAX_$_tm[[:space:]]*\([0-9]*\).*/\1/p" \
							"$TOP/tools/testing/selftests/kvm/x86/$_tp.c")
						[ "$OPTARG" -le "${_tm:-$OPTARG}" ] ||
							die "ARGS=${ARGS-}: -$_to is at most $_tm" ;;
					*_model_test/t)
						case $_tc/$OPTARG in
						*" $OPTARG "*) ;;
						*/*[!0-9]*)	die "$_tp has no case '$OPTARG'; it has:$_tc" ;;
						esac ;;
					*/[tTm]) case $_tc in
						*" $OPTARG "*) ;;
						*)	die "$_tp has no case '$OPTARG'; it has:$_tc" ;;
						esac ;;
					esac
				done
				shift $((OPTIND - 1))
				[ $# = 0 ] || die "ARGS=${ARGS-}: '$1' is no option; a case is named by -t, or by TESTS=$_tp:CASE"
			) || exit 2 ;;
		esac
	done
}

# tests_ours LIST : all of ours but the lab's
tests_ours()
{
	sed -n '/^kvm:sev_snp_lab_/d; s/^kvm:\(sev_snp_.*\)/\1/p' "$1"
}

# test_stage PROGRAM : the stage of the series that brings it, by the "Stage:" of the
# patch that has its file; "lab" if it is in none
test_stage()
{
	case $1 in
	sev_snp_lab_*)	echo lab; return ;;
	esac
	for _tf in "$TOP"/patches/selftests/*.patch; do
		sed '/^---$/q' "$_tf" | grep -q "^Files: .*x86/$1\.c\b" || continue
		sed -n '/^---$/q; s/^Stage: *//p' "$_tf"
		return
	done
	echo -
}
