"""Annotated pictures of what was found: the frames come back from where the camera had them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import msgspec
import numpy as np

from framebuf.capture.libav import Video, decoded
from framebuf.capture.source import now
from framebuf.demo.sheet import sheet
from framebuf.errors import FramebufError, SourceError
from framebuf.results import Detection
from framebuf.service import drawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.service.drawing import Picture

SHEET = "contact-sheet.jpg"
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 92]

Document = dict[str, Any]
"""A result as it came over MQTT."""


class Album:
    """Writes a trigger's pictures into a folder, in place of those of the trigger before."""

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        self._source = source
        self._written: list[Path] = []

    @property
    def possible(self) -> bool:
        """Whether frames can be read again: not of a live stream."""
        return "://" not in self._source and Path(self._source).exists()

    def write(self, results: Sequence[Document]) -> list[Path]:
        """One picture a result and the contact sheet; what cannot be read again is left out.

        Raises:
            FramebufError: the folder cannot be written.
        """
        tiles = []
        pictures: list[tuple[Path, Picture]] = []
        originals = _originals(Path(self._source), results)
        for result in results:
            picture = originals.get(result["index"])
            if picture is None:
                continue
            detections = msgspec.convert(result.get("detections", ()), tuple[Detection, ...])
            path = self._folder / f"{result['index']}-{Path(title(result)).stem}.jpg"
            pictures.append((path, drawing.annotated(picture, detections)))
            tiles.append((picture, detections, title(result), summary(result)))
        if tiles:
            pictures.append((self._folder / SHEET, sheet(tiles)))
        self._replace(pictures)
        return self._written

    def _replace(self, pictures: Sequence[tuple[Path, Picture]]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._written:
                path.unlink(missing_ok=True)
            self._written = []
            for path, picture in pictures:
                path.write_bytes(cv2.imencode(".jpg", picture, _QUALITY)[1].tobytes())
                self._written.append(path)
        except OSError as error:
            raise FramebufError(
                f"cannot write pictures to {self._folder}: {error.strerror}"
            ) from error


def title(result: Document) -> str:
    """What to call a result's frame: its file, or where in the film or when it was."""
    frame = result["frame"]
    if "file" in frame:
        return str(frame["file"])
    if "position" in frame:
        return f"frame-{frame['position']}"
    return str(frame["at"])[11:23]


def summary(result: Document) -> str:
    """What was found, best first."""
    if _is_empty(result):
        return str(result["error"]["code"])
    found = (f"{d['label']} {d['score']:.2f}" for d in result.get("detections", []))
    return ", ".join(found) or "nothing"


def _is_empty(result: Document) -> bool:
    """Whether it has an error, and nothing beside it."""
    return "error" in result and "detections" not in result


def _originals(source: Path, results: Sequence[Document]) -> dict[int, Picture]:
    """The frames of the results that have one, by index."""
    answered = {r["index"]: r["frame"] for r in results if not _is_empty(r)}
    if source.is_dir():
        pictures = {index: _picture(source, frame["file"]) for index, frame in answered.items()}
    else:
        film = _film(source, {frame["position"] for frame in answered.values()})
        pictures = {index: film.get(frame["position"]) for index, frame in answered.items()}
    return {index: picture for index, picture in pictures.items() if picture is not None}


def _picture(folder: Path, file: str) -> Picture | None:
    try:
        data = np.frombuffer((folder / Path(file).name).read_bytes(), np.uint8)
    except OSError:  # replaced since it was inferred
        return None
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    return None if picture is None else np.asarray(picture, np.uint8)


def _film(path: Path, wanted: set[int]) -> dict[int, Picture]:
    """These frames of a video file, by position."""
    found: dict[int, Picture] = {}
    if not wanted:
        return found
    try:
        video = Video.open(str(path))
    except SourceError:  # replaced since it was inferred
        return found
    try:
        at = 0
        for packet in video.packets():
            for frame in decoded(packet):
                if at in wanted and not isinstance(frame, str):
                    grab = video.grab(frame, now())
                    found[at] = np.empty((grab.height, grab.width, 3), np.uint8)
                    grab.write(found[at])
                at += 1
            if at > max(wanted):
                break
    finally:
        video.close()
    return found
