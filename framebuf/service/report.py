"""What `framebuf check` finds, as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from framebuf.config import Loaded
    from framebuf.errors import ConfigError


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, and what to do about it."""

    where: str
    what: str
    remedy: str

    @classmethod
    def of(cls, error: ConfigError) -> Problem:
        return cls(error.where, error.what, error.remedy)


class Report(msgspec.Struct):
    """The document of `framebuf check --json`."""

    ok: bool = True
    problems: list[Problem] = []
    cameras: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    notes: list[Problem] = []
    """What works, but may not be what is wanted."""
    machine: dict[str, Any] = {}


class Desk:
    """A report being written about a configuration. One thread."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.report = Report()

    def fail(self, key: str, what: str, remedy: str) -> None:
        """Something is wrong: the check fails."""
        self.report.ok = False
        self.report.problems.append(Problem.of(self.loaded.error(key, what, remedy)))

    def note(self, key: str, what: str, remedy: str) -> None:
        """Something to know; the check goes on being good."""
        self.report.notes.append(Problem.of(self.loaded.error(key, what, remedy)))
