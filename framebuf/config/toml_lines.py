"""Where each key of a TOML text stands, for error messages; tomllib forgets the lines."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*=""")
_TRIPLE = re.compile(r'"""|\'\'\'')


def key_lines(text: str) -> dict[str, int]:
    """Map `mqtt.port`, `camera[0].trigger.before`, `camera[0]` … to line numbers from 1.

    `text` is valid TOML. Keys of inline tables are not found; their table is.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix = ""
    quote: str | None = None  # inside a multi-line string
    depth = 0  # inside a multi-line array
    for number, line in enumerate(text.splitlines(), start=1):
        code = line
        if quote is None and not depth:
            if header := _HEADER.match(line):
                prefix = _indexed(header[2].replace(" ", ""), counts, array=header[1] == "[[")
                lines.setdefault(prefix, number)
                continue
            if key := _KEY.match(line):
                name = re.sub(r"\s*\.\s*", ".", key[1]).replace('"', "").replace("'", "")
                lines.setdefault(f"{prefix}.{name}" if prefix else name, number)
                code = line[key.end() :]
        quote, code = _after_triples(code, quote)
        if quote is None:
            bare = re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*', "", code)
            depth += bare.count("[") - bare.count("]")
    return lines


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


def _after_triples(code: str, quote: str | None) -> tuple[str | None, str]:
    """Skip multi-line strings: the quote still open at the line's end, and what is outside."""
    outside = ""
    while True:
        match = re.search(re.escape(quote), code) if quote else _TRIPLE.search(code)
        if match is None:
            return quote, outside if quote else outside + code
        if quote is None:
            outside += code[: match.start()] + '""'
            quote = match[0]
        else:
            quote = None
        code = code[match.end() :]
