#!/bin/sh
# Build dist/framebuf_VERSION~deb12_amd64.deb; `make deb` runs it. RELEASE is bookworm or trixie,
# ARCH amd64 or arm64; both default to this machine's. The libraries are wheels inside the package:
# Debian 12 has OpenCV and paho too old for framebuf, and neither release has onnxruntime.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
RELEASE=${RELEASE:-$(. /etc/os-release && echo "${VERSION_CODENAME:-}")}
ARCH=${ARCH:-$(dpkg --print-architecture)}
case $RELEASE in
    bookworm) number=12 next=3.12 this=3.11 ;;
    trixie) number=13 next=3.14 this=3.13 ;;
    *) echo "RELEASE=$RELEASE: it is bookworm or trixie" >&2; exit 1 ;;
esac
export RELEASE ARCH

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$here/framebuf/__init__.py")~deb$number
out=${OUT:-$here/dist}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
umask 022
DESTDIR=$tree PYTHON=$python sh "$here/systemd/install.sh"

mkdir "$tree/DEBIAN"
for script in postinst prerm postrm; do
    install -m 755 "$here/debian/$script" "$tree/DEBIAN/$script"
done
echo /etc/framebuf/framebuf.toml >"$tree/DEBIAN/conffiles"
install -D -m 644 "$here/LICENSE" "$tree/usr/share/doc/framebuf/copyright"
size=$(du -sk --exclude=DEBIAN "$tree" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$ARCH/" -e "s/@SIZE@/$size/" \
    -e "s/@THIS@/$this/" -e "s/@NEXT@/$next/" "$here/debian/control.in" >"$tree/DEBIAN/control"

mkdir -p "$out"
# zstd, quick to build and to install: the wheels are most of it
dpkg-deb --root-owner-group -Zzstd -z"${LEVEL:-12}" --build "$tree" \
    "$out/framebuf_${version}_$ARCH.deb" >/dev/null
echo "$out/framebuf_${version}_$ARCH.deb"
