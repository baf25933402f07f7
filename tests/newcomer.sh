#!/bin/sh
# The README's first command as a newcomer runs it: a clean clone, an ordinary account without any privilege, the
# distribution's own Python. Needs root, only to become somebody else. Usage: sh tests/newcomer.sh
set -eu
id reversible-newcomer > /dev/null 2>&1 || useradd --create-home reversible-newcomer
home=$(getent passwd reversible-newcomer | cut -d: -f6)
rm -rf "$home/reversible"
git -c safe.directory='*' clone --quiet . "$home/reversible"
chown -R reversible-newcomer "$home/reversible"
trap 'rm -rf "$home/reversible"' EXIT
cd "$home/reversible"
setpriv --reuid reversible-newcomer --regid reversible-newcomer --clear-groups --no-new-privs \
    env HOME="$home" USER=reversible-newcomer make demo PYTHON="${PYTHON:-/usr/bin/python3}"
