"""Why one server gave no answer. They stay within this folder."""

from __future__ import annotations


class NoAnswerError(Exception):
    """It is away, silent, or sends what is no answer. Another server may do better."""


class RefusedError(Exception):
    """It says no. Another server may have what this one has not."""


MOST_WORDS = 300


def words(said: object) -> str:
    """What a server says, for one line of a log: printable, and not for ever."""
    text = " ".join(str(said).split())[:MOST_WORDS]
    return "".join(each if each.isprintable() else "�" for each in text) or "nothing"
