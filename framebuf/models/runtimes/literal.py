"""Python literals in foreign files: read as data, by a grammar, never by Python's own compiler.

ast.literal_eval may take hundreds of megabytes, or the whole process, for a hostile text.
"""

from __future__ import annotations

import json
import re
from typing import Any

TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
  | (?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
  | (?P<word>True|False|None|[-+]?inf|nan)
  | (?P<mark>[\[\](){}:,])
  )\s*""",
    re.VERBOSE | re.DOTALL,
)

MOST_DIGITS = 400
"""Of a number; Python refuses integers of thousands."""

WORDS = {
    "True": "true", "False": "false", "None": "null", "nan": "NaN", "inf": "Infinity",
    "+inf": "Infinity", "-inf": "-Infinity",
}  # fmt: skip

CLOSING = ("]", ")", "}")
MARKS = {"(": "[", ")": "]"}


def literal(text: str) -> Any:
    """The dicts, lists, texts and numbers of a literal; tuples become lists.

    None where it is no literal, or has keys that are no texts.
    """
    tokens: list[str] = []
    at = 0
    while at < len(text):
        token = TOKEN.match(text, at)
        if token is None:
            return None
        at = token.end()
        given = token[token.lastgroup or 0]
        if given in CLOSING and tokens and tokens[-1] == ",":
            tokens.pop()  # Python allows it, JSON does not
        if token.lastgroup == "text":
            tokens.append(json.dumps(re.sub(r"\\(.)", _escaped, given[1:-1], flags=re.DOTALL)))
        elif token.lastgroup == "number":
            if len(given) > MOST_DIGITS:
                return None
            tokens.append(_number(given))
        else:
            tokens.append(WORDS.get(given, MARKS.get(given, given)))
    try:
        return json.loads(" ".join(tokens))
    except (ValueError, RecursionError):
        return None


def _escaped(match: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1])


def _number(given: str) -> str:
    """As JSON writes it: no + in front, digits on both sides of the point."""
    return repr(float(given)) if re.search(r"[.eE]", given) else str(int(given))
