"""Storage: what a node keeps, with what the daemon before left in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from framebuf.buffer.buffer import Buffer
from framebuf.buffer.directory import RingDirectory
from framebuf.buffer.strangers import remove_strangers
from framebuf.errors import ConfigError
from framebuf.service.journal import Journal
from framebuf.service.marks import Marks
from framebuf.service.restored import Restored
from framebuf.service.state_dir import StateDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    from framebuf.config import Config, Loaded
    from framebuf.service.entry import Entry


@dataclass(frozen=True, slots=True)
class Storage:
    """The rings' files stay at the end, for the next start to find."""

    directory: RingDirectory
    """Of the rings."""
    buffers: Mapping[str, Buffer]
    """By camera."""
    journal: Journal
    marks: Marks
    restored: Restored
    """The requests that were open, with their frames leased again."""

    @classmethod
    def open(
        cls, loaded: Loaded, boot_id: str, captured: Callable[[str], None], stack: ExitStack
    ) -> Storage:
        """Find what is left; `captured` is told of each frame, on its camera's thread.

        Raises:
            ConfigError: a folder cannot be used.
            JournalError: the journal cannot be written.
        """
        try:
            directory = RingDirectory.open(Path(loaded.config.node.ring_dir))
            stack.enter_context(directory)
            journal, entries = _journal(loaded.config, boot_id, stack)
        except ConfigError as error:
            raise loaded.located(error) from error
        buffers = _buffers(loaded.config, directory, boot_id, captured)
        marks = Marks.open(directory, boot_id)
        restored = Restored.of(entries, journal, marks, buffers, boot_id)
        return cls(directory, buffers, journal, marks, restored)

    def __repr__(self) -> str:
        return f"<Storage {self.directory!r}, {self.journal!r}>"


def _journal(config: Config, boot_id: str, stack: ExitStack) -> tuple[Journal, list[Entry]]:
    folder = stack.enter_context(StateDirectory.open(Path(config.node.state_dir)))
    journal, entries = Journal.open(folder.path, boot_id, config.node.remember.ns)
    stack.callback(journal.close)
    return journal, entries


def _buffers(
    config: Config, directory: RingDirectory, boot_id: str, captured: Callable[[str], None]
) -> dict[str, Buffer]:
    buffers = {
        camera.name: Buffer(
            camera.name,
            directory,
            span=camera.buffer,
            memory=camera.memory,
            stale_ns=camera.stale_ns,
            boot_id=boot_id,
            on_commit=partial(captured, camera.name),
            encoded=camera.store == "encoded",
        )
        for camera in config.camera
    }
    encoded = [camera.name for camera in config.camera if camera.store == "encoded"]
    remove_strangers(directory, buffers, boot_id, encoded)
    for buffer in buffers.values():
        buffer.recover(time.monotonic_ns())
    return buffers
