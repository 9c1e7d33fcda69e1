#!/bin/sh
# Take away what systemd/install.sh put below DESTDIR. The configuration, the request journal and
# the user stay; PURGE=yes takes them too.
set -eu

root=${DESTDIR:-}
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now framebuf.service 2>/dev/null || true
fi
if [ -z "$root" ]; then # the buffers: gigabytes of memory, which nobody reads any more
    find /dev/shm -maxdepth 1 -user framebuf -exec rm -rf {} + 2>/dev/null || true
fi
if [ -z "$root" ] && [ "${PURGE:-no}" = yes ]; then
    rm -rf /etc/framebuf /etc/systemd/system/framebuf.service.d /var/lib/framebuf
    rm -f /etc/credstore/framebuf.*
    if id framebuf >/dev/null 2>&1; then
        userdel framebuf 2>/dev/null || true
        groupdel framebuf 2>/dev/null || true # userdel may have done it
    fi
fi
rm -rf "$root/usr/lib/framebuf" "$root/usr/lib/framebuf.new" "$root/usr/share/doc/framebuf"
rm -f "$root/usr/bin/framebuf" "$root/usr/lib/systemd/system/framebuf.service" \
    "$root/usr/lib/sysusers.d/framebuf.conf" "$root/usr/lib/tmpfiles.d/framebuf.conf" \
    "$root/usr/lib/udev/rules.d/60-framebuf-npu.rules"
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
