"""Every error framebuf raises on purpose, split by what the caller can do about it.

FramebufError
├── ConfigError      the operator mends the file; the daemon exits 78
├── SourceError      the camera is away; reopen it later
├── RingError        the buffer's memory cannot be had; the daemon exits 1
├── FrameLostError   the slot was needed for a newer frame; the pixels are gone
├── ModelError       the model cannot be used as it is
│   └── ServersAwayError   no inference server has it just now; the next try may find one
├── InferenceError   this one call failed; the next may succeed
├── ContractError    a message is rejected with a code of the contract
└── JournalError     the request journal cannot be used
"""

from __future__ import annotations

import errno

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)


class FramebufError(Exception):
    """The root of the tree; catching it catches nothing foreign."""


class ConfigError(FramebufError):
    """The configuration cannot be used. `where` is file:line and key, `remedy` what to do."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}; {remedy}")
        self.where = where
        self.what = what
        self.remedy = remedy


class SourceError(FramebufError):
    """The camera cannot be opened, or what it sent cannot go on. Reopen it later."""


class RingError(FramebufError):
    """The memory of a ring cannot be had: the tmpfs is full, or another daemon holds it."""

    @property
    def may_pass(self) -> bool:
        """Whether others may make room; else the system said no for another reason."""
        cause = self.__cause__
        return not isinstance(cause, OSError) or cause.errno in _NO_ROOM


class FrameLostError(FramebufError):
    """The frame's slot was taken for a newer frame before its pixels were read."""


class ModelError(FramebufError):
    """The model's file is missing or broken, or does not fit its configuration.

    `key` is the one of its [[model]] table that has to be mended.
    """

    def __init__(self, message: str, key: str = "path") -> None:
        super().__init__(message)
        self.key = key


class ServersAwayError(ModelError):
    """No inference server answers, or none of them has the model. Ask again later."""


class InferenceError(FramebufError):
    """One inference failed; `code` is what the result says."""

    def __init__(self, message: str, code: str = "inference_failed") -> None:
        super().__init__(message)
        self.code = code


class ContractError(FramebufError):
    """A message is rejected. `code` is one of the contract's, `id` what could be read of it."""

    def __init__(self, code: str, message: str, id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.id = id


class JournalError(FramebufError):
    """The request journal cannot be used."""
