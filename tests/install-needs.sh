#!/bin/sh
# Install what is missing of the programs that are needed: `install-needs.sh demo` for the demo, without a word for the
# tests as well. With apt-get, as root or by sudo; elsewhere it says what to install. Silent when all is there.
set -eu
PATH=$PATH:/usr/sbin:/sbin # where sshd is

packages() {
    for need in git:git rsync:rsync "$@"; do
        command -v "${need%%:*}" >/dev/null || printf '%s ' "${need#*:}"
    done
}

case ${1:-tests} in
demo) missing=$(packages) ;;
tests) missing=$(packages sshd:openssh-server ssh:openssh-client groff:groff-base) ;;
*) echo "usage: $0 [demo|tests]" >&2 && exit 2 ;;
esac
[ -n "$missing" ] || exit 0

fail() {
    echo "missing: $missing" >&2
    echo "$1" >&2
    exit 1
}

if ! command -v apt-get >/dev/null; then
    fail "Install these (or what your system calls them) and run this again."
elif [ "$(id -u)" = 0 ]; then
    root=env
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    root=sudo
else
    fail "Run as root: apt-get install $missing"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "apt-get install $missing" >&2
# shellcheck disable=SC2086 # a list of words
install() { $root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; }
if ! install >"$log" 2>&1; then
    # the lists of a fresh machine are empty, or old
    { $root apt-get update -q && install; } >"$log" 2>&1 || {
        cat "$log" >&2
        fail "apt-get could not install them."
    }
fi
