"""A video file or stream as its packets: nothing is decoded but what tells the size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.buffer.coded import CODECS, INTRA, Head, Packet
from framebuf.buffer.decoder import size_of
from framebuf.buffer.nal import first_slice, parameter_sets
from framebuf.capture.headers import jpeg_size
from framebuf.capture.presentation import CodedPicture, Presentation
from framebuf.capture.source import Grab
from framebuf.errors import SourceError
from framebuf.frames import LIVE, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from framebuf.capture.libav import Packet as Received
    from framebuf.capture.libav import Picture, Video
    from framebuf.units import Moment

_LOOKED_AT = 16
"""One packet of so many is looked at, and each key frame: a stream that turns into something else
stays that."""

_MOST_SIZES = 8
"""Of so many parameter sets is remembered what they say; a camera takes turns with two or three."""


class CodedVideo:
    """Has the face of a Video, and gives frames that are not decoded. One thread uses it."""

    def __init__(self, video: Video) -> None:
        self.name = video.name
        self.average_rate = video.average_rate
        self.guessed_rate = video.guessed_rate
        self.has_times = video.has_times
        self._video = video
        self._codec = video.codec
        self._extradata = video.extradata
        self._is_intra = self._codec in INTRA
        self._presentation = Presentation(0 if self._is_intra else video.delay)
        self._fresh: list[Packet] = []
        """Packets that no grab has carried yet."""
        self._number = 0
        self._head: Head | None = None  # of the group that is under way
        self._sizes: dict[tuple[bytes, ...], tuple[int, int]] = {}  # by their parameter sets
        self._key_pts: int | None = None
        self._plausible = True

    @classmethod
    def of(cls, video: Video) -> CodedVideo:
        """Take over a video that was just opened.

        Raises:
            SourceError: its codec is none that a ring of packets takes, or nothing says in which
                order its pictures are shown; it is closed then.
        """
        if video.codec not in CODECS:
            video.close()
            raise SourceError(
                f'{video.name} sends {video.codec}; store = "encoded" takes '
                f'{", ".join(CODECS)}: give its camera store = "raw"'
            )
        if video.codec not in INTRA and video.delay and not video.has_times:
            video.close()
            raise SourceError(
                f"{video.name} sends B-frames without times, and only decoding tells their order: "
                'give its camera store = "raw"'
            )
        return cls(video)

    def packets(self) -> Iterator[Received]:
        """See Video."""
        return self._video.packets()

    def time_ns(self, pts: int | None) -> int | None:
        """See Video."""
        return self._video.time_ns(pts)

    def pictures(self, received: Received) -> Sequence[Picture]:
        """The frames that are now certain, in the order in which they are shown."""
        if not received.size:
            return self._presentation.flush()
        data, pts, number = memoryview(received), received.pts, self._number
        begun = self._begun(data, pts) if received.is_keyframe else None
        head = self._head
        if head is None:
            return []  # joined between two key frames
        key_pts = self._key_pts
        leading = begun is None and pts is not None and key_pts is not None and pts < key_pts
        if not self._is_intra and (begun is not None or number % _LOOKED_AT == 0):
            self._plausible = bool(first_slice(self._codec, bytes(data), self._extradata))
        packet = Packet(data, begun, leading)
        self._fresh.append(packet)
        picture = CodedPicture(
            packet, number, pts, self._video.time_ns(pts), head.height, head.width,
            self._plausible, leading and not head.joined,
        )  # fmt: skip
        self._number = number + 1
        return self._presentation.add(picture, received.dts)

    def grab(self, picture: Picture, captured: Moment, origin: Origin = LIVE) -> Grab:
        """A frame, with all packets that came since the last."""
        if not isinstance(picture, CodedPicture):
            raise TypeError(f"expected a picture that is not decoded, got {picture}")
        fresh, self._fresh = tuple(self._fresh), []
        return Grab(
            captured, picture.height, picture.width, origin=origin, packets=fresh,
            packet=picture.packet,
        )  # fmt: skip

    def reopened(self, source: str) -> CodedVideo:
        """The same once more, from its beginning; this one is closed."""
        again = CodedVideo.of(self._video.reopened(source))
        again._sizes = self._sizes  # noqa: SLF001 - of its own kind
        return again

    def close(self) -> None:
        self._video.close()

    def _begun(self, data: memoryview, pts: int | None) -> Head | None:
        """The head of a group; None: it is damaged, and nothing is known of its size."""
        self._key_pts = pts
        before = self._head
        if self._is_intra:
            size = jpeg_size(data)
            self._plausible = size is not None
        else:
            size = self._size(bytes(data))
        if before is None:
            self._head = Head(self._codec, self._extradata, *size) if size else None
        else:
            # A damaged one is taken for one like those before it, and decoding it will tell
            height, width = size or (before.height, before.width)
            same = (height, width) == (before.height, before.width)
            if not (same and self._is_intra):  # else the last one says it all
                self._head = Head(self._codec, self._extradata, height, width, same)
        return self._head

    def _size(self, data: bytes) -> tuple[int, int] | None:
        """Height, width as the parameter sets say: found by decoding once for each of them."""
        found = parameter_sets(self._codec, data, self._extradata)
        sets = (self._extradata, *dict.fromkeys(found))  # some cameras send each of them twice
        size = self._sizes.get(sets)
        if size is None:
            size = size_of(self._codec, self._extradata, data)
            if size is not None:
                if len(self._sizes) == _MOST_SIZES:
                    self._sizes.clear()
                self._sizes[sets] = size
        return size

    def __repr__(self) -> str:
        return f"<CodedVideo {self.name} {self._codec}, {self._presentation!r}>"
