"""Where each key of a TOML text stands, for error messages; tomllib forgets the lines."""

from __future__ import annotations

import re

_STRING = r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
# Long strings first, for a short one would match their first two quotes; up to two quotes may
# stand right before the three that end one
_QUOTED = re.compile(
    rf'(?P<long>"""(?:[^\\]|\\.)*?"{{3,5}}|\'{{3}}.*?\'{{3,5}})|(?P<short>{_STRING})|#[^\n]*',
    re.DOTALL,
)
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*$")
_PART = rf"(?:[A-Za-z0-9_-]+|{_STRING})"
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")


def key_lines(text: str) -> dict[str, int]:
    """Map `mqtt.port`, `camera`, `camera[0]`, `camera[0].trigger.before` … to lines from 1.

    `text` is valid TOML. Keys of inline tables are not found; their table is.
    """
    lines = {"": 1}  # for what stands nowhere
    counts: dict[str, int] = {}
    prefix = ""
    depth = 0  # inside an array or a table of several lines
    # splitlines() would also split at U+2028 and others, which are no line ends to TOML
    for number, line in enumerate(_QUOTED.sub(_blanked, text).split("\n"), start=1):
        code = line
        if not depth:
            if header := _HEADER.match(line):
                prefix = _indexed(header[2].replace(" ", ""), counts, array=header[1] == "[[")
                lines.setdefault(re.sub(r"\[\d+\]$", "", prefix), number)
                lines.setdefault(prefix, number)
                continue
            if key := _KEY.match(line):
                name = re.sub(r"\s*\.\s*", ".", key[1]).replace('"', "").replace("'", "")
                lines.setdefault(f"{prefix}.{name}" if prefix else name, number)
                code = line[key.end() :]
        bare = re.sub(_STRING, "", code)
        depth += len(re.findall(r"[\[{]", bare)) - len(re.findall(r"[\]}]", bare))
    return lines


def _blanked(match: re.Match[str]) -> str:
    """A comment is nothing, a long string an empty one, of as many lines."""
    return match["short"] or ('""' + "\n" * match[0].count("\n") if match["long"] else "")


def _indexed(header: str, counts: dict[str, int], *, array: bool) -> str:
    """`camera.trigger` after two `[[camera]]` is `camera[1].trigger`."""
    path = ""
    parts = header.replace('"', "").replace("'", "").split(".")
    for at, part in enumerate(parts):
        path = f"{path}.{part}" if path else part
        last = at == len(parts) - 1
        if array and last:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = f"{path}[{counts[path]}]"
    return path
