"""FrameNumbers: whether a picture of H.264 refers to one that never came.

A camera or a network that is too slow leaves pictures out; a decoder puts older ones in their
place, and says nothing. Pictures that others refer to are numbered (ITU-T H.264, 7.4.3, frame_num).
"""

from __future__ import annotations

from framebuf.buffer.nal import first_slice, kept_sets, parameter_sets

_IDR = 5
_WITH_CHROMA = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
"""Profiles whose sets say more (7.3.2.1.1)."""
_HEAD = 96
"""Bytes of a unit that are read; a set with scaling lists is longer, and then nothing is told."""


class FrameNumbers:
    """Of one group, given packet by packet in the order of decoding. One thread."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._extradata = extradata
        self._is_off = codec != "h264"
        self._bits: int | None = None  # of a number; None: not known
        self._last: int | None = None  # of the newest picture that others refer to
        if not self._is_off:
            self._read(kept_sets(extradata))

    def misses(self, data: bytes) -> bool:
        """Whether a picture between the last one and this never came."""
        if self._is_off:
            return False
        self._read(parameter_sets("h264", data, self._extradata))
        unit = first_slice("h264", data, self._extradata)
        if not unit or self._bits is None:
            return False
        try:
            number = _number(unit, self._bits)
        except IndexError:
            return False  # cut short, which decoding it tells
        last, is_referred_to = self._last, bool(unit[0] & 0x60)
        if is_referred_to:
            self._last = number
        if last is None or unit[0] & 0x1F == _IDR:
            return False
        return number not in (last, (last + 1) % (1 << self._bits))

    def _read(self, sets: tuple[bytes, ...]) -> None:
        for one in sets:
            try:
                bits, gaps = _bits_and_gaps(one)
            except IndexError:
                bits, gaps = None, True
            # More than one set, or gaps on purpose: nothing can be told
            if gaps or bits is None or self._bits not in (None, bits):
                self._is_off = True
            self._bits = bits


class _Reader:
    """Bits of a unit without its emulation prevention (7.3.1, 7.2, 9.1)."""

    def __init__(self, unit: bytes) -> None:
        payload = unit[:_HEAD].replace(b"\x00\x00\x03", b"\x00\x00")
        self._bits = "".join(f"{byte:08b}" for byte in payload)
        self._at = 8  # past the unit's own byte

    def bits(self, count: int) -> int:
        end = self._at + count
        if end > len(self._bits):
            raise IndexError("a unit is cut short")
        value = int(self._bits[self._at : end], 2) if count else 0
        self._at = end
        return value

    def golomb(self) -> int:
        """ue(v)."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
        return (1 << zeros) - 1 + self.bits(zeros)


def _number(slice_unit: bytes, bits: int) -> int:
    """frame_num of a slice (7.3.3)."""
    reader = _Reader(slice_unit[:32])
    for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
        reader.golomb()
    return reader.bits(bits)


def _bits_and_gaps(sps: bytes) -> tuple[int | None, bool]:
    """Bits of frame_num, and whether gaps in it are meant (7.3.2.1.1); None: it is not told."""
    reader = _Reader(sps)
    profile = reader.bits(8)
    reader.bits(16)
    reader.golomb()
    if profile in _WITH_CHROMA:
        if reader.golomb() == 3:
            return None, True  # planes of their own: slices say more before the number
        reader.golomb()
        reader.golomb()
        reader.bits(1)
        if reader.bits(1):
            return None, True  # scaling lists
    bits = reader.golomb() + 4
    order = reader.golomb()
    if order == 0:
        reader.golomb()
    elif order == 1:
        reader.bits(1)
        for _ in range(2):
            reader.golomb()
        for _ in range(reader.golomb()):
            reader.golomb()
    reader.golomb()
    return bits, bool(reader.bits(1))
