#!/bin/sh
# Installs what the end-to-end tests drive, when this is a Debian machine and we may; otherwise says in one line what is
# missing. Never fails by itself: under CI the tests that find a tool missing do.
set -u
missing=""
need() { # need PROGRAM PACKAGE...
	program=$1
	shift
	for dir in $(echo "$PATH:/usr/sbin:/sbin" | tr ':' ' '); do
		[ -x "$dir/$program" ] && return
	done
	missing="$missing $*"
}
need ssh openssh-client
need sshd openssh-server
need curl curl
need openssl openssl
need chromium chromium
need certutil libnss3-tools
need pk12util libnss3-tools
need git git
need rsync rsync
need plink putty-tools
need psftp putty-tools
need dbclient dropbear-bin
need ansible ansible-core
library() { # library MODULE PACKAGE, of the system's Python
	/usr/bin/python3 -W ignore -c "import $1" 2>/dev/null || missing="$missing $2"
}
library paramiko python3-paramiko
library asyncssh python3-asyncssh
need plink putty-tools
need ssh-audit ssh-audit
need useradd passwd
need systemd-analyze systemd
[ -z "$missing" ] && exit 0
# shellcheck disable=SC2086
set -- $missing
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing for the tests: $*"
	export DEBIAN_FRONTEND=noninteractive
	log=$(mktemp)
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1 && exit 0
	echo "installing failed; see $log"
fi
echo "missing for some tests (install with: apt-get install $*)"
exit 0
