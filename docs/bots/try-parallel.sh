#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# usage: try-parallel.sh [JOB [VARIABLE=VALUE]...]
#
# docs/bots/parallel.sh, for real: GNU parallel over ssh to this machine, as root, with an
# sshd and keys of its own, which go again.  The default job is a soak of two boots.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd -P)
[ "$(id -u)" = 0 ] || { echo "try-parallel.sh: sshd wants to be root" >&2; exit 2; }
"$top/scripts/packages" parallel
[ $# -gt 0 ] || set -- soak TESTS=sev_snp_ghcb_test RUNS=2 BATCH=1
dir=$(mktemp -d)
pid=
trap 'kill $pid 2>/dev/null; wait; rm -rf "$dir"' EXIT
trap 'exit 130' HUP INT TERM
ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
mkdir -p /run/sshd
cat >"$dir/sshd" <<CONF
Port 26822
ListenAddress 127.0.0.1
HostKey $dir/host
AuthorizedKeysFile $dir/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
SetEnv SNP_BUILD=$dir/build
CONF
/usr/sbin/sshd -D -e -f "$dir/sshd" 2>"$dir/sshd.log" &
pid=$!
echo "ssh -p 26822 -i $dir/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1" >"$dir/hosts"
mkdir "$dir/work"
cd "$dir/work"
rc=0
CLONE=$top "$top/docs/bots/parallel.sh" "$dir/hosts" 2 "$@" || rc=$?
cat parts/log
exit $rc
