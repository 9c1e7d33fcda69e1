"""What video files and network streams have in common: the only door to `av` in this folder."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias

import av
import numpy as np

from framebuf.buffer.decoder import Converter
from framebuf.capture.presentation import CodedPicture
from framebuf.capture.source import Grab, without_credentials
from framebuf.errors import SourceError
from framebuf.frames import LIVE, Origin
from framebuf.units import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from framebuf.units import Moment

_HIGHEST_RATE = 1000
_NO_TIMESTAMPS = 0x80
"""AVFMT_NOTIMESTAMPS of libavformat/avformat.h."""

TimedOut = av.error.ExitError
"""So libav says that a time-out passed."""
Packet: TypeAlias = "av.Packet[VideoStream]"
Picture: TypeAlias = "VideoFrame | CodedPicture | str"
"""A frame, decoded or not, or why it could not be decoded."""


class Video:
    """An open container and the decoder of its first video stream. One thread uses it."""

    def __init__(self, name: str, container: InputContainer, stream: VideoStream) -> None:
        self.name = name
        self._container = container
        self._stream = stream
        self._converter = Converter()
        self._size = (16, 16)  # height, width of the last good picture
        base = stream.time_base
        self._tick = None if base is None else (base.numerator, base.denominator)
        # Frame threads would hold back a frame each, and blame a broken packet on a later one;
        # a file stands in for a camera, and costs what the camera would
        stream.codec_context.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        if stream.codec_context.name == "mjpeg":
            # else half a JPEG becomes a picture that is half grey
            stream.codec_context.options = {"err_detect": "explode"}

    @classmethod
    def open(cls, source: str, **how: Any) -> Video:
        """Open `source`; `how` goes to av.open.

        Raises:
            SourceError: it cannot be opened, or has no video.
        """
        name = without_credentials(source)
        try:
            container = av.open(source, **how)
        except av.FFmpegError as error:
            raise SourceError(f"cannot open {name}: {_why(error)}") from error
        if container.format.name == "tty":  # libav draws any text as a video
            container.close()
            raise SourceError(f"{name} is a text, not a video")
        streams = container.streams.video
        if not streams or streams[0].codec_context is None:
            container.close()
            raise SourceError(f"{name} has no video stream" + " that libav decodes" * bool(streams))
        return cls(name, container, container.streams.video[0])

    @property
    def codec(self) -> str:
        """As libav names it."""
        return self._stream.codec_context.name

    @property
    def extradata(self) -> bytes:
        """Parameter sets that stand outside the packets."""
        return bytes(self._stream.codec_context.extradata or b"")

    @property
    def delay(self) -> int:
        """Pictures that a decoder holds back to put them in order, as far as is known."""
        context = self._stream.codec_context
        depth = getattr(context, "reorder_depth", None)  # from 15 on
        return int(depth if depth is not None else 2 * context.has_b_frames)

    @property
    def average_rate(self) -> float | None:
        """Frames a second, as the container tells or as was measured on opening."""
        return _sane(self._stream.average_rate)

    @property
    def guessed_rate(self) -> float | None:
        """Frames a second, made up where nothing tells."""
        return _sane(self._stream.guessed_rate)

    @property
    def has_times(self) -> bool:
        """Whether packets carry the times of a clock; else libav counts them at a made-up rate."""
        return not self._container.format.flags & _NO_TIMESTAMPS

    def time_ns(self, pts: int | None) -> int | None:
        """A packet's time on the clock of the container; None where it has none."""
        if pts is None or self._tick is None:
            return None
        # A packet's own time_base, which is its stream's, is a Fraction made anew each time: that
        # takes longer than all else that a packet costs
        numerator, denominator = self._tick
        return (pts * SECOND_NS * numerator + denominator // 2) // denominator

    def packets(self) -> Iterator[Packet]:
        """Packets as they come, an empty one at the end.

        Raises:
            SourceError: reading failed.
        """
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError as error:
            raise SourceError(f"reading {self.name} failed: {_why(error)}") from error

    def pictures(self, packet: Packet) -> Sequence[Picture]:
        """The pictures of one packet; an empty one gives those that were held back."""
        return [*decoded(packet)]

    def grab(self, picture: Picture, captured: Moment, origin: Origin = LIVE) -> Grab:
        if isinstance(picture, str):
            return Grab(captured, *self._size, origin=origin, error=picture)
        if isinstance(picture, CodedPicture):
            raise TypeError(f"expected a picture that is decoded, got {picture}")
        self._size = (picture.height, picture.width)
        write = functools.partial(self._write, picture)
        return Grab(captured, picture.height, picture.width, write, origin)

    def _write(self, frame: VideoFrame, dst: NDArray[np.uint8]) -> None:
        try:
            np.copyto(dst, self._converter.bgr(frame))
        except ValueError as error:
            raise SourceError(f"{self.name}: {error}") from error

    def reopened(self, source: str) -> Video:
        """The same once more, from its beginning; this one is closed."""
        return Video.open(source)

    def close(self) -> None:
        self._container.close()


def jpeg_fault(jpeg: bytes) -> str | None:
    """Why a JPEG is damaged, strictly judged; None where it is whole."""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    try:
        frames = [*decoder.decode(av.Packet(jpeg)), *decoder.decode(None)]
    except av.FFmpegError as error:
        return f"the JPEG is damaged: {_why(error)}"
    return None if frames else "the JPEG holds no picture"


def decoded(packet: Packet) -> list[VideoFrame | str]:
    """The pictures of one packet; one that is damaged, as the text that says so."""
    try:
        frames = packet.decode()
    except av.FFmpegError as error:
        return [f"cannot be decoded: {_why(error)}"]
    return ["cannot be decoded: damaged" if frame.is_corrupt else frame for frame in frames]


def nanoseconds(frame: VideoFrame) -> int | None:
    """Its time on the clock of its container; None where it has none."""
    if frame.pts is None or frame.time_base is None:
        return None
    base = frame.time_base
    return (frame.pts * SECOND_NS * base.numerator + base.denominator // 2) // base.denominator


def _sane(rate: SupportsFloat | None) -> float | None:
    """`rate` is a Fraction up to av 18, from av 19 on a type of its own."""
    try:
        value = float(rate or 0.0)
    except ZeroDivisionError:  # 0/0: unknown
        return None
    return value if 0 < value <= _HIGHEST_RATE else None


def _why(error: av.FFmpegError) -> str:
    """One line, without the URL that libav puts into its own."""
    if isinstance(error, TimedOut):
        return "it timed out"
    return error.strerror or type(error).__name__
