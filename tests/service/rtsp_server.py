"""A camera on RTSP: plays numbered pictures by the machine's monotonic clock, for ever.

    /usr/bin/python3 rtsp_server.py PORT FRAMES_A_SECOND FILE

Debian's python3-gi and GStreamer's server; nothing of the tests' environment. FILE holds H.264
access units, each behind its length (4 bytes, big-endian); units with an SPS are key frames. At
monotonic second t the picture is number floor(t · FRAMES_A_SECOND) modulo their count, so that a
test can say of each moment which picture was to be seen, however often the server was killed,
stopped and started. Each connection begins with the next key frame.
"""

import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - versions are asked for first

PIPELINE = (
    "( appsrc name=camera is-live=true format=time block=false "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au,framerate={fps}/1 "
    "! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


def access_units(path):
    with open(path, "rb") as file:  # noqa: PTH123 - as short as it gets
        units = []
        while head := file.read(4):
            units.append(file.read(int.from_bytes(head, "big")))
        return units


class Playing:
    """One pipeline's frames, pushed by a timer of the main loop until the pipeline is gone."""

    def __init__(self, source, units, fps):
        self.source = source
        self.units = units
        self.fps = fps
        self.begin = self.key_at_or_after(self.now())
        self.next = self.begin
        GLib.timeout_add(2, self.push)

    def now(self):
        return int(time.monotonic() * self.fps)

    def key_at_or_after(self, number):
        while b"\x00\x00\x01\x67" not in self.units[number % len(self.units)]:
            number += 1
        return number

    def push(self):
        while self.next <= self.now():
            buffer = Gst.Buffer.new_wrapped(self.units[self.next % len(self.units)])
            buffer.pts = (self.next - self.begin) * Gst.SECOND // self.fps
            buffer.duration = Gst.SECOND // self.fps
            if self.source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return False
            self.next += 1
        return True


def main():
    port, fps, path = sys.argv[1:]
    Gst.init(None)
    units = access_units(path)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(PIPELINE.format(fps=fps))

    def configured(_, media):
        source = media.get_element().get_by_name("camera")
        Playing(source, units, int(fps))

    factory.connect("media-configure", configured)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
