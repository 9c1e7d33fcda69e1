"""Which MQTT version to speak."""

from __future__ import annotations

RETRY_S = 600.0
"""How long after a fall-back to 3.1.1 the broker is not tried with MQTT 5 again."""


class Version:
    """MQTT 5, and 3.1.1 for a broker that has no more. Only the thread that connects.

    After `RETRY_S` the next connection tries 5 again. A broker that only closed the socket may
    have been one that was just starting, so the first time that connection is made on purpose
    (`is_due`); where the broker said that it has no 5, or closed on it again, a good connection is
    left alone.
    """

    def __init__(self) -> None:
        self.level = 5
        """5, or 4, which is what 3.1.1 calls itself."""
        self._fell_s: float | None = None
        self._guessed = False

    def next(self, now_s: float) -> int:
        """The level of the next connection. Monotonic seconds."""
        if self._fell_s is not None and self.level == 4 and now_s - self._fell_s >= RETRY_S:
            self.level = 5
        return self.level

    def welcomed(self) -> None:
        """The broker took the level."""
        if self.level == 5:
            self._fell_s = None

    def turned_down(self, now_s: float, *, said: bool) -> bool:
        """The broker did not take the level; `said`: it named the reason. Whether to try the other.

        Where 3.1.1 is turned down too, the version was not the reason.
        """
        if self.level == 4:
            self.level = 5
            self._fell_s = None
            return False
        self._guessed = not said and self._fell_s is None
        self._fell_s = now_s
        self.level = 4
        return True

    def is_due(self, now_s: float) -> bool:
        """Whether to leave a good connection of 3.1.1 in order to try 5 again."""
        fell_s = self._fell_s
        return (
            self.level == 4 and self._guessed and fell_s is not None and now_s - fell_s >= RETRY_S
        )

    def __repr__(self) -> str:
        return f"<Version {'5' if self.level == 5 else '3.1.1'}>"
