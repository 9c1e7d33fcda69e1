"""GroupDecoder: the pictures of one group of packets. The only door to `av` in this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from framebuf.buffer.framenumbers import FrameNumbers

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

    from framebuf.buffer.group import Group

# Before 17 there is no such parameter, and one thread
_ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}

_LONGEST_DELAY = 18
"""Packets: no decoder holds a picture back for longer than 16."""
_STRICT = {"mjpeg": "explode", "hevc": "explode+crccheck"}
"""Else half a JPEG becomes a picture that is half grey, and half an H.265 picture passes for a good
one; H.264 tells by a flag, and strictly judged refuses what cameras put beside the picture. What is
changed within an H.265 picture shows only where the camera sends a hash of it, which is checked."""

DAMAGED = "cannot be decoded: damaged"
REFERS = "cannot be decoded: a picture that it refers to is damaged"
MISSES = "cannot be decoded: a picture that it refers to never came"
GONE = "cannot be decoded: its packets are gone"


class Reader(Protocol):
    """Where packets are read."""

    def read(self, group: Group, nth: int) -> bytes | None: ...


class GroupDecoder:
    """Decodes one group from its key frame on, as far as it is asked to. One thread at a time.

    A picture counts only if its packet, and every packet of its group before it, was decoded
    without a fault: after one a decoder goes on with grey or smeared pictures, and says nothing.
    """

    def __init__(
        self, ring: Reader, group: Group, before: Group | None = None, halvings: int = 0
    ) -> None:
        """`before`: the group that leading pictures refer to, where those are asked for.

        `halvings`: of height and width; only of MJPEG.
        """
        self.group = group
        self.halvings = halvings
        self._ring = ring
        self._before = before
        self._lead = len(before.records) - 1 if before is not None else 0
        self._decoder = _opened(group.head.codec, group.head.extradata, halvings)
        self._numbers = FrameNumbers(group.head.codec, group.head.extradata)
        self._fed = 0  # so many packets: first those of the group before, then of the group
        self._flushed = False
        # by place in the order of decoding
        self._pictures: dict[int, VideoFrame] = {}  # in the order they are shown
        self._faults: dict[int, str] = {}
        self._told = 0  # of all before this one it is known what became of them
        self._came: set[int] = set()  # and of these

    def can_give(self, nth: int) -> bool:
        """Whether a record's picture was not passed over, and what it refers to is known."""
        at = self._lead + nth - 1
        if self.group.records[nth].leading and self.group.before is not self._before:
            return False
        if at in self._pictures or at in self._faults:
            return True
        return at >= self._told and at not in self._came and not self._flushed

    def picture(self, nth: int) -> VideoFrame | str:
        """The picture of a record of the group, or why there is none.

        To be asked for in the order in which they are shown, for those before it are let go.
        """
        at = self._lead + nth - 1
        while self._told <= at and not self._flushed:
            if not self._step():
                self._flush()
            if at not in self._pictures:
                self._pictures.clear()  # shown before it; a whole group would take gigabytes
        picture = self._pictures.get(at)
        for earlier in list(self._pictures):
            del self._pictures[earlier]
            if earlier == at:
                break
        if (fault := self._faults.get(at)) is not None:
            return fault
        if self._is_suspect(at, nth):
            return REFERS
        return DAMAGED if picture is None else picture

    def _is_suspect(self, at: int, nth: int) -> bool:
        """Whether what it may refer to is damaged: all before it, to the key frame."""
        if self.group.records[nth].leading:
            return any(fault < at for fault in self._faults)
        return any(
            self._lead <= fault < at and not self.group.records[fault - self._lead + 1].leading
            for fault in self._faults
        )

    def _step(self) -> bool:
        """Decode one more packet; False: there is none."""
        at = self._fed
        group, nth = self.group, at - self._lead + 1
        if self._before is not None and at < self._lead:
            group, nth = self._before, at + 1
        if nth >= len(group.records):
            return False
        self._fed += 1
        if group.records[nth].leading and (group is self._before or self._before is None):
            if (data := self._ring.read(group, nth)) is not None:
                self._numbers.misses(data)  # another leading picture may refer to it: it counts
            self._tell(at)  # it refers to what this decoder has not seen, and nothing else to it
            return True
        data = self._ring.read(group, nth)
        if data is None:
            self._fault(at, GONE)
        else:
            if self._numbers.misses(data):
                self._fault(at, MISSES)
            packet = av.Packet(data)
            packet.pts = packet.dts = at
            self._decode(packet, at)
        late = at - _LONGEST_DELAY
        if late >= self._told and late not in self._came:
            self._fault(late, DAMAGED)
        return True

    def _decode(self, packet: av.Packet[Any] | None, at: int) -> None:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError as error:
            self._fault(at, f"cannot be decoded: {error.strerror or type(error).__name__}")
            return
        for frame in frames:
            shown = at if frame.pts is None else frame.pts
            if frame.is_corrupt:
                self._fault(shown, DAMAGED)
            else:
                self._pictures[shown] = frame
                self._tell(shown)

    def _flush(self) -> None:
        """Have all that the decoder holds back; it takes no more packets then."""
        self._flushed = True
        if self._fed:
            self._decode(None, self._fed - 1)
        for at in range(self._told, self._fed):
            if at not in self._came:
                self._fault(at, DAMAGED)

    def _fault(self, at: int, why: str) -> None:
        self._faults.setdefault(at, why)
        self._pictures.pop(at, None)
        self._tell(at)

    def _tell(self, at: int) -> None:
        self._came.add(at)
        while self._told in self._came:
            self._came.discard(self._told)
            self._told += 1

    def __repr__(self) -> str:
        return f"<GroupDecoder {self.group!r}, {self._fed} fed, {len(self._faults)} damaged>"


def _opened(codec: str, extradata: bytes, halvings: int) -> VideoCodecContext:
    decoder = cast("VideoCodecContext", av.CodecContext.create(codec, "r"))
    if extradata:
        decoder.extradata = extradata
    # Groups go side by side; frame threads would hold back a frame each, and blame a broken
    # packet on a later one
    decoder.thread_type = "SLICE"
    decoder.thread_count = 1
    options = {"err_detect": _STRICT[codec]} if codec in _STRICT else {}
    if halvings:
        options["lowres"] = str(halvings)
    decoder.options = options
    return decoder


def size_of(codec: str, extradata: bytes, data: bytes) -> tuple[int, int] | None:
    """Height, width of a key frame's picture, by decoding it; None: it is damaged."""
    decoder = _opened(codec, extradata, 0)
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except av.FFmpegError:
        return None
    return (frames[0].height, frames[0].width) if frames else None


class Converter:
    """Decoded pictures to BGR. One thread."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def bgr(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """(height, width, 3) uint8, BGR; a view of memory that lives as long as it.

        Raises:
            ValueError: its format does not convert.
        """
        try:
            converted = self._to(frame, "bgr24")
            if converted.planes[0].line_size < 0:
                # Raw video that stands bottom up is handed through as it is; the buffer of such
                # a plane would be read past its end
                converted = self._to(self._to(frame, "rgb24"), "bgr24")
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(f"{frame.format.name} does not convert") from error
        plane = converted.planes[0]
        height, width = converted.height, converted.width
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return lines[:height, : width * 3].reshape(height, width, 3)

    def _to(self, frame: VideoFrame, pixels: str) -> VideoFrame:
        return self._reformatter.reformat(frame, format=pixels, **_ONE_THREAD)
