#!/usr/bin/env bash
# Puts Brainstem's units, users, Redis configuration and an example config.json where systemd and docs/deploy.md expect
# them. Run it from a checkout that stands where it will run, as root; again after an update. What is yours (config.json,
# keys, passwords) is made once and never touched again. It starts nothing.
#
#   sudo deploy/install.sh                  on this machine
#   DESTDIR=/tmp/root deploy/install.sh     into a folder, for packages: no users made, nothing reloaded
#   --prefix DIR    where the program stands on the target machine (default: this checkout)
#   --redis FILE    the server's program (default: redis-server, else valkey-server, of the PATH)
#
# Exit codes: 0 done, 1 a step failed, 2 wrong usage, or this machine cannot run it.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
root=$(dirname "$here")
destdir=${DESTDIR:-}
prefix=$root
redis=
umask 022

say() { printf 'install: %s\n' "$*"; }

refuse() {
  printf 'install: %s\n' "$@" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --redis)
      [ $# -ge 2 ] || refuse "$1 needs a value"
      if [ "$1" = --prefix ]; then prefix=$2; else redis=$2; fi
      shift 2
      ;;
    -h | --help)
      sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$here/install.sh"
      exit 0
      ;;
    *) refuse "there is no option $1; see --help" ;;
  esac
done

case $prefix in
  /*) ;;
  *) refuse "--prefix $prefix: give an absolute path" ;;
esac
case $prefix in
  *[!A-Za-z0-9/._+-]*) refuse "$prefix: units cannot name a path with such characters; choose another place" ;;
esac

# What the units will find on this machine; for another machine (DESTDIR) that is its own packager's business.
check_machine() {
  local python closed path
  [ "$(id -u)" = 0 ] || refuse "needs root: it makes users and writes to /etc (or give DESTDIR)"
  command -v systemd-sysusers >/dev/null || refuse "needs systemd 247 or later"
  [ -x "$prefix/.venv/bin/gateway" ] ||
    refuse "$prefix has no environment yet." "Make it: cd $prefix && bash -c '. scripts/bootstrap.sh && brainstem_bootstrap \"\$PWD\" run'"
  python=$(readlink -f "$prefix/.venv/bin/python")
  for closed in /home /root; do # ProtectHome= of the units
    for path in "$prefix" "$python"; do
      [ "${path#"$closed"/}" = "$path" ] ||
        refuse "the units see neither /home nor /root, and $path lies there." \
          "Move the checkout to /opt/brainstem, with the system's Python (BRAINSTEM_PYTHON=/usr/bin/python3), and again."
    done
  done
}

find_redis() {
  [ -z "$redis" ] || return 0
  redis=$(command -v redis-server || command -v valkey-server || true)
  [ -n "$redis" ] && return 0
  redis=/usr/bin/redis-server
  [ -n "$destdir" ] || refuse "there is no redis-server or valkey-server." "Install one: apt install redis-server"
}

# put MODE SOURCE TARGET: with the paths of this machine filled in; says only what has changed
put() {
  local target=$destdir$3 new
  new=$(mktemp)
  sed -e "s|@PREFIX@|$prefix|g" -e "s|@REDIS@|$redis|g" "$2" >"$new"
  if ! cmp -s "$new" "$target"; then
    install -D -m "$1" "$new" "$target"
    say "$target"
  fi
  rm -f "$new"
}

# secret FILE: reads its text from stdin; private from its first byte on
secret() {
  (umask 077 && cat >"$1")
  say "$1 (made now, never again)"
}

password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# Redis' passwords are known to one side each and to root; the ACL holds hashes only.
passwords() {
  local folder=$destdir/etc/brainstem/credentials gateway brain
  install -d -m 0700 "$folder" "$folder/gateway" "$folder/brain"
  if [ -e "$folder/redis.acl" ] && [ -e "$folder/gateway/redis_url" ] && [ -e "$folder/brain/redis_url" ]; then
    return 0
  fi
  gateway=$(password)
  brain=$(password)
  printf 'unix://gateway:%s@/run/brainstem-redis/redis.sock' "$gateway" | secret "$folder/gateway/redis_url"
  printf 'unix://brain:%s@/run/brainstem-redis/redis.sock' "$brain" | secret "$folder/brain/redis_url"
  sed -e "s|@GATEWAY_SHA256@|$(printf %s "$gateway" | sha256sum | cut -d' ' -f1)|" \
    -e "s|@BRAIN_SHA256@|$(printf %s "$brain" | sha256sum | cut -d' ' -f1)|" "$here/redis.acl.in" |
    secret "$folder/redis.acl"
}

if [ -z "$destdir" ]; then check_machine; fi
find_redis
put 0644 "$here/systemd/brainstem-gateway@.service" "/etc/systemd/system/brainstem-gateway@.service"
put 0644 "$here/systemd/brainstem-brain@.service" "/etc/systemd/system/brainstem-brain@.service"
put 0644 "$here/systemd/brainstem-doctor@.service" "/etc/systemd/system/brainstem-doctor@.service"
put 0644 "$here/systemd/brainstem-redis.service" /etc/systemd/system/brainstem-redis.service
put 0644 "$here/systemd/brainstem.target" /etc/systemd/system/brainstem.target
put 0644 "$here/sysusers.d/brainstem.conf" /etc/sysusers.d/brainstem.conf
put 0644 "$here/tmpfiles.d/brainstem.conf" /etc/tmpfiles.d/brainstem.conf
put 0640 "$here/redis.conf" /etc/brainstem/redis.conf
if [ ! -e "$destdir/etc/brainstem/config.json" ]; then
  put 0640 "$here/config.json" /etc/brainstem/config.json
fi
passwords
if [ -z "$destdir" ]; then
  systemd-sysusers /etc/sysusers.d/brainstem.conf
  systemd-tmpfiles --create /etc/tmpfiles.d/brainstem.conf
  systemctl daemon-reload
fi
say "done; docs/deploy.md has the next steps: keys, config.json, start"
