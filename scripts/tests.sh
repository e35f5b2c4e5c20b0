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
	*_stress:*)	printf '%s\n' "${1##*:}" | sed 's/,.*//; s/^/-m /' ;;
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
				sed -n 's/^kvm://p' "$_tl" | grep -i -- "$(printf %.4s "$_tp")" | head -n 12 | tr '\n' ' ')(all: $_tl)"
		_tb=${_tl%/*}/kvm/$_tp _tx=
		case $_tp in
		*_model_test)	_tx=n:s:x: ;;
		esac
		case $_tp in
		*_stress)
			# shellcheck disable=SC2046,SC2086 # several
			_tw=$("$_tb" $(test_args "$_tn") ${ARGS-} -h 2>&1 </dev/null) ||
				die "$_tn${ARGS:+, ARGS=$ARGS}: $(printf '%s\n' "$_tw" | grep -E 'invalid|requires|^  ' | tail -n 1 | sed 's,^ *,,; s,^.*/,,'); its -h says what there is" ;;
		sev_snp_*)
			command -v nm >/dev/null || continue
			# Upstream's harness runs all cases, or none, if it does not know one.
			_tc=" $({ nm "$_tb" | sed -n '/_teardown$/d; s/.* [tT] wrapper_snp_//p'
				grep -ao 'snp\.[a-z_]*' "$_tb" | cut -c 5-; } | sort -u | tr '\n' ' ')"
			(
				# shellcheck disable=SC2046,SC2086 # several
				set -- $(test_args "$_tn") ${ARGS-}
				while getopts ":dzt:T:f:F:v:V:r:$_tx" _to; do
					case $_to in
					:)	die "ARGS: -$OPTARG has to be followed by a name" ;;
					\?)	die "ARGS=${ARGS-}: $_tp has no option -$OPTARG: it has -t CASE, -T CASE (all but it), -z and -d${_tx:+, and those of docs/model.md}" ;;
					t|T)	case $_tx$_tc in
						*" $OPTARG "*) ;;
						n:*)	[ -z "$(printf %s "$OPTARG" | tr -d 0-9)" ] ||
								die "$_tp has no case '$OPTARG'; it has:$_tc" ;;
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
