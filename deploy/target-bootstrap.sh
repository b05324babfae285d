#!/bin/sh
# Prepares an SSH target for sekisho: its sshd accepts the short certificates of the gateway's upstream CA for the logins
# named here, and shows a host certificate. Run it as root on the target, again whenever something changes: what is in
# place already stays as it is. Access that exists is never taken away; where that cannot be told, nothing is changed.
set -eu
umask 022
LC_ALL=C
export LC_ALL

usage() {
	cat <<'TEXT'
usage: target-bootstrap.sh --user-ca FILE --login NAME [--login NAME]... [options]
       target-bootstrap.sh --show-host-key [--prefix DIR]

  --user-ca FILE           public key of the gateway's upstream CA
  --login NAME             account that certificates may log in as (all others: none)
  --host-certificate FILE  certificate of this host's key by the gateway's host CA
  --check                  change nothing; exit 1 and say what is missing
  --dry-run                change nothing; say what would be done
  --no-reload              do not reload sshd
  --allow-root             accept --login root
  --prefix DIR             work below DIR instead of /, for tests and images; never reloads
  --show-host-key          print the public host key that the gateway should certify

Exit: 0 done or nothing to do, 1 failed or (--check) out of date, 2 usage.
TEXT
}

say() { printf '%s\n' "$*"; }
fail() {
	printf 'target-bootstrap: %s\n' "$*" >&2
	exit 1
}
misused() {
	printf 'target-bootstrap: %s (see --help)\n' "$*" >&2
	exit 2
}

user_ca='' host_certificate='' logins='' prefix='' mode=apply reload=yes allow_root=no show_host_key=no
kept='' # the copy of sshd_config that this run made

read_arguments() {
	while [ $# -gt 0 ]; do
		case $1 in
		--user-ca | --login | --host-certificate | --prefix)
			[ $# -ge 2 ] || misused "$1 wants a value"
			case $1 in
			--user-ca) user_ca=$2 ;;
			--login) add_login "$2" ;;
			--host-certificate) host_certificate=$2 ;;
			--prefix) prefix=${2%/} reload=no ;;
			esac
			shift
			;;
		--check) mode=check ;;
		--dry-run) mode=dry-run ;;
		--no-reload) reload=no ;;
		--allow-root) allow_root=yes ;;
		--show-host-key) show_host_key=yes ;;
		-h | --help)
			usage
			exit 0
			;;
		*) misused "unknown argument $1" ;;
		esac
		shift
	done
}

add_login() {
	case $1 in
	'' | -* | *[!A-Za-z0-9._-]* | . | ..) misused "--login '$1' is no account name" ;;
	esac
	case " $logins " in
	*" $1 "*) ;;
	*) logins="$logins $1" ;;
	esac
}

check_arguments() {
	case $prefix in
	'') [ "$(id -u)" = 0 ] || fail "run as root, or with --prefix DIR" ;;
	/*) ;;
	*) misused "--prefix wants an absolute path" ;;
	esac
	# The path goes into sshd_config, which has no way to write these.
	case $prefix in
	*[!A-Za-z0-9/._+=:@,\ -]*) misused "--prefix may hold letters, digits, spaces and /._+=:@,- only" ;;
	esac
	if [ "$show_host_key" = yes ]; then return; fi
	[ -n "$user_ca" ] || misused "--user-ca is required"
	[ -n "$logins" ] || misused "at least one --login is required"
	for login in $logins; do
		if [ "$login" = root ] && [ "$allow_root" = no ]; then
			fail "contractors never log in as root; --allow-root if this host must have it"
		fi
		id "$login" >/dev/null 2>&1 || fail "there is no account '$login' on this host; make it first"
	done
}

# name_files sets where everything goes.
name_files() {
	ssh_dir=$prefix/etc/ssh
	own_dir=$ssh_dir/sekisho
	config=$ssh_dir/sshd_config
	drop_in=$ssh_dir/sshd_config.d/10-sekisho.conf
	ca_file=$own_dir/upstream_ca.pub
	principals=$own_dir/principals
	certificate=$own_dir/host-cert.pub
	sshd=${SSHD:-$(PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v sshd || true)}
	[ -n "$sshd" ] || fail "sshd is not installed"
	command -v ssh-keygen >/dev/null 2>&1 || fail "ssh-keygen is not installed"
	[ -f "$config" ] || fail "$config does not exist"
	"$sshd" -t -f "$config" || fail "sshd refuses its configuration as it is (see above); mend that first"
}

sshd_dump() { "$sshd" -T -f "$config" "$@"; }

# value_of KEYWORD prints what the dump on stdin has for it.
value_of() { sed -n "s/^$1 //p"; }

# check_keys refuses what would be useless, or dangerous to install.
check_keys() {
	[ -r "$user_ca" ] || fail "cannot read --user-ca $user_ca"
	[ "$(grep -c . "$user_ca")" = 1 ] || fail "$user_ca: want one public key on one line"
	case $(cut -d' ' -f1 "$user_ca") in
	ssh-ed25519 | ecdsa-sha2-nistp*) ;;
	*) fail "$user_ca: want an ssh-ed25519 or ecdsa-sha2 public key, neither private, nor a certificate, nor with options" ;;
	esac
	ssh-keygen -l -f "$user_ca" >/dev/null 2>&1 || fail "$user_ca is not a public key"
	[ -n "$host_certificate" ] || return 0
	[ -r "$host_certificate" ] || fail "cannot read --host-certificate $host_certificate"
	about=$(ssh-keygen -L -f "$host_certificate" 2>/dev/null) || fail "$host_certificate is not a certificate"
	case $about in
	*"host certificate"*) ;;
	*) fail "$host_certificate is not a host certificate" ;;
	esac
	wanted=$(printf '%s\n' "$about" | sed -n 's/^ *Public key: [^ ]* \(SHA256:[^ ]*\).*/\1/p')
	host_key_files | while read -r key; do ssh-keygen -l -f "$key" 2>/dev/null; done | cut -d' ' -f2 | grep -qxF "$wanted" ||
		fail "$host_certificate is for the key $wanted, which is none of this host's keys"
}

# host_key_files prints the public halves, one on a line.
host_key_files() {
	sshd_dump | value_of hostkey | while read -r key; do
		if [ -r "$key.pub" ]; then say "$key.pub"; fi
	done
}

# check_existing refuses to touch a configuration whose certificates somebody else manages.
check_existing() {
	for file in "$config" "$ssh_dir"/sshd_config.d/*.conf; do
		[ -f "$file" ] || continue
		if [ "$file" = "$drop_in" ]; then continue; fi
		found=$(grep -inE '^[[:space:]]*(TrustedUserCAKeys|AuthorizedPrincipalsFile)[[:space:]=]' "$file" |
			grep -ivE '[[:space:]=]none[[:space:]]*$') || continue
		fail "$file manages certificate logins already:
$found
Replacing that could lock people out. Add the gateway's CA and principals there by hand, or remove it first."
	done
	if [ -n "$host_certificate" ]; then
		other=$(sshd_dump | value_of hostcertificate | grep -vxF "$certificate" | grep -vx none) || return 0
		fail "sshd shows a host certificate already ($other); replacing it could make known clients refuse this host"
	fi
}

# want_files lays what should be in place below $stage, in the same shape as $own_dir, plus the drop-in.
want_files() {
	stage=$(mktemp -d "${TMPDIR:-/tmp}/sekisho-bootstrap.XXXXXX")
	trap 'rm -rf "$stage"' EXIT
	mkdir -p "$stage/own/principals"
	cp "$user_ca" "$stage/own/upstream_ca.pub"
	for login in $logins; do say "$login" >"$stage/own/principals/$login"; done
	# Without a new one, a host certificate installed before stays.
	if [ -n "$host_certificate" ]; then
		cp "$host_certificate" "$stage/own/host-cert.pub"
	elif [ -f "$certificate" ]; then
		cp "$certificate" "$stage/own/host-cert.pub"
	fi
	{
		say "# Written by sekisho's target-bootstrap.sh; run it again instead of editing."
		say "TrustedUserCAKeys \"$ca_file\""
		say "AuthorizedPrincipalsFile \"$principals/%u\""
		if [ -f "$stage/own/host-cert.pub" ]; then say "HostCertificate \"$certificate\""; fi
	} >"$stage/drop-in"
}

# included says whether sshd_config already reads the drop-in.
included() {
	grep -qiE '^[[:space:]]*Include[[:space:]=].*sshd_config\.d/(\*\.conf|10-sekisho\.conf)"?[[:space:]]*$' "$config"
}

# differences prints one line for each thing that is not as it should be.
differences() {
	(cd "$stage/own" && find . -type f | sort) | while read -r file; do
		cmp -s "$stage/own/$file" "$own_dir/$file" || say "install ${own_dir}/${file#./}"
	done
	if [ -d "$principals" ]; then
		for file in "$principals"/*; do
			[ -f "$file" ] || continue
			[ -f "$stage/own/principals/${file##*/}" ] || say "remove $file"
		done
	fi
	cmp -s "$stage/drop-in" "$drop_in" || say "install $drop_in"
	included || say "include $drop_in at the top of $config"
}

apply() {
	before=$stage/before
	sshd_dump | sort >"$before"
	backup=$stage/backup
	mkdir "$backup"
	cp -p "$config" "$backup/sshd_config"
	if [ -d "$own_dir" ]; then cp -Rp "$own_dir" "$backup/own"; fi
	if [ -f "$drop_in" ]; then cp -p "$drop_in" "$backup/drop-in"; fi
	# Whatever stops this half way, sshd's configuration is as it was.
	trap 'roll_back; rm -rf "$stage"' EXIT
	trap 'exit 1' HUP INT TERM
	install_files
	verify
	trap 'rm -rf "$stage"' EXIT
}

install_files() {
	mkdir -p "$ssh_dir/sshd_config.d" "$principals"
	put "$stage/own/upstream_ca.pub" "$ca_file"
	for login in $logins; do put "$stage/own/principals/$login" "$principals/$login"; done
	for file in "$principals"/*; do
		[ -f "$stage/own/principals/${file##*/}" ] || rm -f "$file"
	done
	if [ -f "$stage/own/host-cert.pub" ]; then put "$stage/own/host-cert.pub" "$certificate"; fi
	put "$stage/drop-in" "$drop_in"
	chmod 755 "$own_dir" "$principals"
	if ! included; then
		# Only this one file: others in the folder may never have been meant to count.
		if [ ! -e "$config.before-sekisho" ]; then
			cp -p "$config" "$config.before-sekisho"
			kept=$config.before-sekisho
		fi
		{ say "Include \"$drop_in\"" && cat "$backup/sshd_config"; } >"$stage/sshd_config"
		put_config "$stage/sshd_config"
	fi
	if [ -z "$prefix" ] && command -v restorecon >/dev/null 2>&1; then restorecon -R "$ssh_dir"; fi
}

# put installs a file whole: sshd, which may start at any moment, never reads half of one.
put() {
	cp "$1" "$2.new"
	chmod 644 "$2.new"
	mv -f "$2.new" "$2"
}

# put_config does so with sshd_config, which keeps its owner and mode.
put_config() {
	cp -p "$config" "$config.new"
	cat "$1" >"$config.new"
	mv -f "$config.new" "$config"
}

roll_back() {
	cmp -s "$backup/sshd_config" "$config" || put_config "$backup/sshd_config"
	rm -rf "$own_dir" "$drop_in"
	if [ -n "$kept" ]; then rm -f "$kept"; fi
	if [ -d "$backup/own" ]; then cp -Rp "$backup/own" "$own_dir"; fi
	if [ -f "$backup/drop-in" ]; then cp -p "$backup/drop-in" "$drop_in"; fi
	printf 'target-bootstrap: nothing was changed\n' >&2
}

# verify asks sshd itself: it accepts the configuration, nothing but our three settings differs, and they hold for each
# login, Match blocks included.
verify() {
	"$sshd" -t -f "$config" || fail "sshd refuses the new configuration (see above)"
	others='^(trustedusercakeys|authorizedprincipalsfile|hostcertificate) '
	grep -vE "$others" "$before" >"$stage/before.others" || true
	sshd_dump | sort | grep -vE "$others" >"$stage/after.others" || true
	cmp -s "$stage/before.others" "$stage/after.others" || fail "the new configuration would change other settings of sshd"
	for login in $logins; do
		sshd_dump -C "user=$login,host=localhost,addr=127.0.0.1" >"$stage/login"
		[ "$(value_of trustedusercakeys <"$stage/login")" = "$ca_file" ] || fail "sshd does not use $ca_file for $login"
		[ "$(value_of authorizedprincipalsfile <"$stage/login")" = "$principals/%u" ] ||
			fail "sshd does not use $principals for $login"
		[ "$(value_of pubkeyauthentication <"$stage/login")" = yes ] ||
			fail "sshd has PubkeyAuthentication off for $login, so no certificate can log in"
	done
}

reload_sshd() {
	if [ "$reload" = no ]; then return; fi
	if command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
		for unit in ssh.service sshd.service; do
			if systemctl --quiet is-active "$unit"; then
				systemctl reload "$unit"
				say "reloaded $unit; open sessions go on"
				return
			fi
		done
	elif [ -s /run/sshd.pid ]; then
		kill -HUP "$(cat /run/sshd.pid)"
		say "reloaded sshd; open sessions go on"
		return
	fi
	say "sshd is not running, or not by a service that is known here: reload it yourself"
}

print_host_key() {
	key=$(host_key_files | grep ed25519 | head -n 1)
	[ -n "$key" ] || fail "this host has no ed25519 host key; make one with: ssh-keygen -A"
	cat "$key"
}

read_arguments "$@"
check_arguments
name_files
if [ "$show_host_key" = yes ]; then
	print_host_key
	exit 0
fi
check_keys
check_existing
want_files
todo=$(differences)
if [ -z "$todo" ]; then
	say "nothing to do: this target is ready for sekisho"
	exit 0
fi
say "$todo"
case $mode in
check) exit 1 ;;
dry-run) exit 0 ;;
esac
apply
say "done: certificates of the gateway can log in as$logins"
reload_sshd
