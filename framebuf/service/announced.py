"""What Home Assistant was told, kept over restarts: else nobody could take it back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

NAME = "homeassistant.json"


class Announced(msgspec.Struct, frozen=True):
    """A retained discovery message that the broker may have."""

    topic: str
    components: dict[str, str]
    """Each entity's platform by its key, those that are told to be no more included."""


class AnnouncedFile:
    """A small file in the folder of the journal, which is private and locked. One thread.

    It cannot fail the daemon: what cannot be read or written is told in the log.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def read(self) -> list[Announced]:
        """Nothing where there is no file, or none that can be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Announced])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            _log.warning(
                "%s cannot be read: %s; what Home Assistant was told before is not taken back",
                self._path, error,
            )  # fmt: skip
            return []

    def write(self, told: Sequence[Announced]) -> None:
        """Replace it whole, or remove it where there is nothing to remember."""
        fresh = self._path.with_suffix(".new")
        try:
            if told:
                fresh.write_bytes(msgspec.json.format(msgspec.json.encode(told)))
                fresh.replace(self._path)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._path, error)

    def __repr__(self) -> str:
        return f"<AnnouncedFile {self._path}>"
