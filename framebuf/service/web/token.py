"""The token that lets somebody in, and what is made of it: sessions of browsers."""

from __future__ import annotations

import hmac
import secrets
import time
from pathlib import Path

from framebuf import textfile
from framebuf.errors import ConfigError

LEAST = 16
"""Characters: nobody guesses so many, so no lock-out is needed that would shut out the owner."""
SESSION_S = 30 * 86400


class Token:
    """One token of the node; None where everybody who can connect is let in.

    A browser does not keep the token but a session made of it: the time when it ends and a MAC
    (RFC 2104), so that what leaks of it ends, and a new token ends them all.
    """

    def __init__(self, text: str | None) -> None:
        self._secret = None if text is None else text.encode()
        self.form_key = secrets.token_urlsafe(24)
        """What the node's own page sends back with a trigger; new at each start."""

    @classmethod
    def read(cls, path: str | None) -> Token:
        """The token in a file; without one there is none.

        Raises:
            ConfigError: it cannot be read, or is too short.
        """
        if path is None:
            return cls(None)
        try:
            text = textfile.read(Path(path), "ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not plain ASCII"
            raise ConfigError(
                "web.token_file", f"{path}: {why}", "make it a text that the service can read"
            ) from error
        if len(text) < LEAST or not text.isprintable() or " " in text:
            raise ConfigError(
                "web.token_file",
                f"{path}: expected {LEAST} printable characters or more, got {len(text)}",
                f"openssl rand -hex 16 > {path}",
            )
        return cls(text)

    @property
    def is_wanted(self) -> bool:
        return self._secret is not None

    def is_right(self, text: str) -> bool:
        """Whether this is the token; takes as long for a wrong one."""
        return self._secret is None or hmac.compare_digest(text.encode(), self._secret)

    def session(self) -> str:
        """A new session for a browser that knows the token."""
        end = str(round(time.time()) + SESSION_S)
        return f"{end}.{self._mac(end)}"

    def is_session(self, text: str) -> bool:
        """Whether it is a session of this token that has not ended."""
        if self._secret is None:
            return True
        end, _, mac = text.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(end).encode()):
            return False
        return int(end) > time.time()

    def is_form_key(self, text: str) -> bool:
        """Whether the node's own page says it."""
        return hmac.compare_digest(text.encode(), self.form_key.encode())

    def _mac(self, end: str) -> str:
        return hmac.new(
            self._secret or b"", b"framebuf session " + end.encode(), "sha256"
        ).hexdigest()

    def __repr__(self) -> str:
        return f"<Token {'of a file' if self.is_wanted else 'not wanted'}>"
