"""Receipt: when the broker is told that a trigger is taken care of."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Receipt:
    """Given once the journal has what was accepted, and the broker what else was said.

    A daemon that dies between a refusal and its way to the broker would otherwise leave a trigger
    without any answer; so the broker keeps it, and the next start answers. Any thread; `_lock`
    guards the count.
    """

    def __init__(self, give: Callable[[], None]) -> None:
        self._give = give
        self._lock = threading.Lock()
        self._waits_for = 1  # the journal

    def wait(self) -> Callable[[], None]:
        """Wait for one more thing; what is returned is to be called once that is so."""
        with self._lock:
            self._waits_for += 1
        return self.settle

    def settle(self) -> None:
        """One of the things that it waits for is so, the journal's part too."""
        with self._lock:
            self._waits_for -= 1
            given = not self._waits_for
        if given:
            self._give()

    def __repr__(self) -> str:
        return f"<Receipt waits for {self._waits_for}>"
