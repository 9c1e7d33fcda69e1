#!/bin/sh
# Install the packages of a list that are missing, as root and where there is apt-get.
# The list is the argument, or debian-packages.txt beside this file.
# Elsewhere name them and go on: tests that need them skip, and fail with CI=true.
set -u

list=${1:-$(dirname "$0")/debian-packages.txt}
[ -r "$list" ] || { echo "$list: no such list of packages" >&2; exit 1; }

missing() {
    sed 's/#.*//' "$list" | while read -r package; do
        [ -z "$package" ] ||
            dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' ||
            printf '%s ' "$package"
    done
}

install() {
    # shellcheck disable=SC2086 # one argument a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Use-Pty=0 $packages </dev/null >"$log" 2>&1
}

packages=$(missing)
[ -n "$packages" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing for the tests: $packages" >&2
    log=$(mktemp)
    # the lists of a fresh image are empty or old: fetched only where they fail
    install || { apt-get update -qq </dev/null >"$log" 2>&1 && install; } || cat "$log" >&2
    rm -f "$log"
    packages=$(missing)
    [ -n "$packages" ] || exit 0
fi
echo "What needs these packages will skip: apt install $packages" >&2
