"""Videos whose frames say which they are: to the eye, to a test, and to the detector.

Along the top edge stand 13 black or white squares: 12 bits, the highest first, and an odd parity
(so that neither a black nor a white picture has a number). Below, one photo stands at a place
that no other frame of the video has, so that an answer taken from a wrong frame shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width, 3) uint8, BGR."""

PHOTO = Path(__file__).parents[2] / "framebuf" / "demo" / "assets" / "photos" / "cat.jpg"
"""In colour: with red and blue swapped its score moves by 0.07, which a test notices."""
SQUARE = 24
BITS = 12
STRIP = SQUARE + 4
GREY = 114
ENCODERS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("libx264", "yuv420p", {"crf": "20", "preset": "veryfast", "bf": "0"}),
    ("mpeg4", "yuv420p", {"qmin": "2", "qmax": "4", "bf": "0"}),
    ("mjpeg", "yuvj420p", {"qmin": "2", "qmax": "4"}),
)
"""Best first; what is not in the wheel is passed over. No frame refers to a later one."""


def make_video(
    path: Path,
    frames: int = 150,
    size: tuple[int, int] = (640, 480),
    fps: int = 25,
    *,
    gop: int = 12,
    first: int = 0,
) -> Path:
    """Write a video whose frame i carries the number first + i; the suffix names the container.

    `size` is width and height, both even, at least 320 × 240.
    """
    codec, pixels, options = encoder()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.gop_size = gop
        stream.thread_count = 1
        for i in range(frames):
            picture = paint(i, frames, size, number=first + i)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encoder() -> tuple[str, str, dict[str, str]]:
    """Name, pixel format and options of the best encoder that this PyAV has."""
    for name, pixels, options in ENCODERS:
        if name in av.codecs_available:
            return name, pixels, options
    raise RuntimeError(f"PyAV has none of {[name for name, _, _ in ENCODERS]}")


def paint(i: int, frames: int, size: tuple[int, int], number: int | None = None) -> Picture:
    """Frame i of a video of so many frames, as it is before any compression."""
    number = i if number is None else number
    width, height = size
    picture = np.full((height, width, 3), GREY, np.uint8)
    for place, is_white in enumerate(_squares(number)):
        picture[:SQUARE, place * SQUARE : (place + 1) * SQUARE] = 255 if is_white else 0
    x, y, photo = *place_of(i, frames, size), _photo(size)
    picture[y : y + photo.shape[0], x : x + photo.shape[1]] = photo
    if width >= (BITS + 1) * SQUARE + 100:
        at = ((BITS + 1) * SQUARE + 12, SQUARE - 3)
        cv2.putText(picture, f"{number:04d}", at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255,) * 3, 2)
    return picture


def place_of(i: int, frames: int, size: tuple[int, int]) -> tuple[int, int]:
    """The left and top edge of the photo in frame i: rows of equal steps, to and fro.

    Neighbours and all others are at least `step(frames, size)` pixels apart.
    """
    columns, _ = _grid(step(frames, size), size)
    row, column = divmod(i, columns)
    if row % 2:
        column = columns - 1 - column
    return column * step(frames, size), STRIP + row * step(frames, size)


def step(frames: int, size: tuple[int, int]) -> int:
    """The largest step in pixels with which all frames find a place of their own.

    Raises:
        ValueError: with steps of 2 px there are not so many places.
    """
    for pixels in range(40, 1, -1):
        columns, rows = _grid(pixels, size)
        if columns * rows >= frames:
            return pixels
    raise ValueError(f"no {frames} different places in {size[0]}×{size[1]}")


def read_number(bgr: Picture) -> int:
    """The number painted into a picture of the size that it was made in.

    Raises:
        ValueError: a square is neither black nor white, or the parity is wrong.
    """
    squares = []
    for place in range(BITS + 1):
        middle = bgr[6 : SQUARE - 6, place * SQUARE + 6 : (place + 1) * SQUARE - 6]
        grey = float(middle.mean()) if middle.size else float("nan")
        if not (grey < 70 or grey > 185):
            raise ValueError(f"square {place} is {grey:.0f}, neither black nor white")
        squares.append(grey > 185)
    number = sum(1 << (BITS - 1 - bit) for bit in range(BITS) if squares[bit])
    if squares != _squares(number):
        raise ValueError(f"bad parity with {number}")
    return number


def frames_of(path: Path) -> Iterator[Picture]:
    """Every frame in order, as `frame.to_ndarray(format="bgr24")` gives it."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)


def _squares(number: int) -> list[bool]:
    """The 12 bits and the one that makes the white squares odd in number."""
    if not 0 <= number < 2**BITS - 1:
        raise ValueError(f"number {number}; 0 to {2**BITS - 2} can be painted")
    bits = [bool(number >> (BITS - 1 - bit) & 1) for bit in range(BITS)]
    return [*bits, sum(bits) % 2 == 0]


def _photo(size: tuple[int, int]) -> Picture:
    photo = cv2.imread(str(PHOTO))
    if photo is None:
        raise FileNotFoundError(PHOTO)
    return np.asarray(
        cv2.resize(photo, _photo_size(size), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def _photo_size(size: tuple[int, int]) -> tuple[int, int]:
    """280 wide in 640 × 480: there the detector is steady (score above 0.5 at every place)."""
    width = round(0.4375 * min(size[0], size[1] * 4 / 3))
    return width, round(width * 300 / 451)


def _grid(pixels: int, size: tuple[int, int]) -> tuple[int, int]:
    width, height = _photo_size(size)
    return (size[0] - width) // pixels + 1, (size[1] - STRIP - height) // pixels + 1
