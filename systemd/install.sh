#!/bin/sh
# Install framebuf as a service below DESTDIR, where Debian expects things; `make install` runs it.
# The libraries are wheels in a folder of their own: Debian's are too old (12) or not there
# (onnxruntime), and a folder, unlike a virtual environment, may be made here and used elsewhere.
# RELEASE and ARCH choose another Debian than this one's, for packages.
set -eu

here=$(dirname "$0")/..
root=${DESTDIR:-}
python=${PYTHON:-python3}
lib=$root/usr/lib/framebuf

case ${RELEASE:-} in
    bookworm) version=3.11 ;;
    trixie) version=3.13 ;;
    "") version=$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])') ;;
    *) echo "RELEASE=$RELEASE: it is bookworm or trixie" >&2; exit 1 ;;
esac
case ${ARCH:-$(uname -m)} in
    amd64 | x86_64) machine=x86_64 ;;
    arm64 | aarch64) machine=aarch64 ;;
    *) echo "ARCH=${ARCH:-$(uname -m)}: there are wheels for amd64 and arm64" >&2; exit 1 ;;
esac
if [ -z "$root" ] && [ -z "${RELEASE:-}" ]; then
    # the launcher starts this one, whichever else is called python3 here
    version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
fi

"$python" -m pip --version >/dev/null 2>&1 || {
    echo "$python has no pip: apt install python3-pip, or make PYTHON=… install" >&2; exit 1
}
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
"$python" -m pip wheel -q --disable-pip-version-check --no-deps -w "$wheels" "$here"

# Into a new folder first: a program that runs keeps its files until all of the new ones are there.
mkdir -p "$root/usr/lib"
rm -rf "$lib.new"
platforms=
for glibc in 17 24 27 28 31 34 35; do # Debian 12 has 2.36
    platforms="$platforms --platform manylinux_2_${glibc}_$machine"
done
fetch() {
    # shellcheck disable=SC2086 # one argument a platform
    "$python" -m pip install -q --disable-pip-version-check --no-compile --only-binary=:all: \
        --implementation cp --python-version "$version" --platform "manylinux2014_$machine" \
        $platforms --root-user-action=ignore --target "$lib.new" "$@"
}
wheel=$(echo "$wheels"/framebuf-*.whl)[web,oip] # the page is off until it is configured; oip: grpc://
if [ -n "${DEPENDENCIES:-}" ]; then # a folder with all of them, of an earlier run
    cp -a "$DEPENDENCIES" "$lib.new"
    fetch --no-deps "$wheels"/framebuf-*.whl
elif [ "$machine" = aarch64 ]; then
    # with the vendor's library for the NPU, which may have no wheel for a new Python yet
    fetch "$wheel" 'rknn-toolkit-lite2>=2.3.2' || {
        echo "no rknn-toolkit-lite2 for Python $version: it will run on the CPU only" >&2
        fetch "$wheel"
    }
else
    fetch "$wheel"
fi
rm -rf "$lib.new/bin"
if [ -n "$root" ] && "python$version" -c '' 2>/dev/null; then
    # The service may not write beside its modules. Unchecked, for their times change on the way.
    new=$lib.new${DEPENDENCIES:+/framebuf}
    "python$version" -m compileall -q -s "$lib.new" -p /usr/lib/framebuf \
        --invalidation-mode unchecked-hash "$new" || true # a module for other Pythons
fi
if [ -n "${KEEP:-}" ]; then # for the next run's DEPENDENCIES
    cp -a "$lib.new" "$KEEP.new"
    rm -rf "$KEEP.new"/framebuf "$KEEP.new"/framebuf-*
    mv "$KEEP.new" "$KEEP"
fi
rm -rf "$lib"
mv "$lib.new" "$lib"

install -D -m 755 "$here/systemd/framebuf.launcher" "$root/usr/bin/framebuf"
install -D -m 644 "$here/systemd/framebuf.service" "$root/usr/lib/systemd/system/framebuf.service"
install -D -m 644 "$here/systemd/framebuf.sysusers" "$root/usr/lib/sysusers.d/framebuf.conf"
install -D -m 644 "$here/systemd/framebuf.tmpfiles" "$root/usr/lib/tmpfiles.d/framebuf.conf"
install -D -m 644 "$here/systemd/60-framebuf-npu.rules" \
    "$root/usr/lib/udev/rules.d/60-framebuf-npu.rules"
for file in README.md CHANGELOG.md NOTICE; do
    install -D -m 644 "$here/$file" "$root/usr/share/doc/framebuf/$file"
done
find "$here/etc" -type f ! -name framebuf.toml | while read -r file; do
    install -D -m 644 "$file" "$root/usr/share/doc/framebuf/examples/${file#"$here/etc/"}"
done
if [ ! -e "$root/etc/framebuf/framebuf.toml" ]; then # what somebody wrote stays
    install -D -m 640 "$here/etc/framebuf.toml" "$root/etc/framebuf/framebuf.toml"
fi

[ -z "$root" ] || exit 0
/usr/bin/python3 -m compileall -q "$lib" || true # modules of other Pythons do not compile
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers framebuf.conf
    systemd-tmpfiles --create framebuf.conf
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    udevadm control --reload 2>/dev/null || true
    udevadm trigger --subsystem-match=misc --subsystem-match=dma_heap 2>/dev/null || true
fi
echo "Edit /etc/framebuf/framebuf.toml, try it with framebuf check, then:" \
    "systemctl enable --now framebuf"
