"""What framebuf batch tells of a run: a line a file, then the closing line; or one document."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from framebuf.cli import go_text
from framebuf.cli.answers import found
from framebuf.models.platforms import is_simulated, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framebuf.capture.folder import Folder
    from framebuf.cli.look import Look
    from framebuf.config import Model
    from framebuf.models.tensor import TensorSpec
    from framebuf.results import FrameResult


class Report:
    """Counts and tells. One thread."""

    def __init__(
        self, model: Model, look: Look, pool: int, then: Model | None = None,
        *, quiet: bool, json: bool,
    ) -> None:  # fmt: skip
        """`then` sees what `model` detects."""
        self.processed = 0
        self.failed = 0
        self._model = model
        self._look = look
        self._pool = pool
        self._then = then
        self._simulated = look.simulated or (then is not None and is_simulated(then.platform))
        self._quiet = quiet
        self._json = json
        self._files: list[dict[str, Any]] = []
        self._begun_ns = 0

    def begin(self, sizes: tuple[int, ...], folder: Folder, repeat: int) -> None:
        """Say what runs; the clock starts."""
        if not self._json:
            for line in self._introduction(sizes, folder, repeat):
                typer.echo(line)
        self._begun_ns = time.monotonic_ns()

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[], None]]:
        """A bar on a terminal while the block runs; yields what moves it one file on."""
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import MofNCompleteColumn, Progress  # noqa: PLC0415

        console = Console(stderr=True)
        bar = Progress(
            *Progress.get_default_columns(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),  # else it would take what goes to a file
        )
        with bar:
            task = bar.add_task("", total=total)
            yield lambda: bar.advance(task)

    def add(self, file: Path, answer: FrameResult | str) -> None:
        """One file: its result, or why it could not be read."""
        document = _document(file, answer)
        failed = "error" in document
        self.failed += failed
        self.processed += not failed
        if self._json:
            self._files.append(document)
        elif failed and "detections" not in document:
            typer.echo(f"File {document['file']}, failed: {document['error']['message']}")
        elif failed or not self._quiet:
            typer.echo(self._line(document))

    def end(self) -> None:
        """The closing line, or the document."""
        ns = time.monotonic_ns() - self._begun_ns
        average = ns / 1e6 / self.processed if self.processed else None
        if self._json:
            document = {
                "model": self._model.path,
                "platform": self._look.platform,
                "simulated": self._simulated,
                "runtime": self._look.versions,
                "pool": self._pool,
                "labels": self._model.labels,
                **({} if self._then is None else {"then": self._then.path}),
                "files": self._files,
                "processed": self.processed,
                "failed": self.failed,
                "seconds": round(ns / 1e9, 6),
                "ms_per_image": None if average is None else round(average, 4),
            }
            sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
            return
        if self.failed:
            typer.echo(f"Failed: {self.failed} of {self.failed + self.processed} files")
        each = "" if average is None else f", average inference per image is {average:.2f}ms"
        simulated = " (simulated)" if self._simulated else ""
        typer.echo(f"Processed {self.processed} images in {go_text.duration(ns)}{each}{simulated}")

    def _introduction(self, sizes: tuple[int, ...], folder: Folder, repeat: int) -> Iterator[str]:
        look, model = self._look, self._model
        yield f"Runtime: {look.versions}"
        batches = ", ".join(map(str, sizes))
        simulated = " (simulated)" if look.simulated else ""
        where = f"{look.platform}{simulated}"
        yield f"Model: {model.path} on {where}, batch {batches}, pool {self._pool}"
        if model.task in ("classify", "detect"):
            yield f"Labels: {look.labels(model)}"
        if self._then is not None:
            then, wanted = self._then, ", ".join(self._then.only or ("everything",))
            yield (
                f"Then: {then.path} on {shown(then.platform)}, "
                f"of {wanted} found, at most {then.max_crops} a picture"
            )
        yield "Input tensors:"
        yield _tensor(0, look.input)
        yield "Output tensors:"
        yield from (_tensor(at, output) for at, output in enumerate(look.outputs))
        others = f"; {folder.others} other files are passed over" if folder.others else ""
        times = f", {repeat} times" if repeat > 1 else ""
        yield f"Pictures: {len(folder.files)} in {folder.path}{times}{others}"
        yield "Running..."

    def _line(self, document: dict[str, Any]) -> str:
        batch = document["batch"]
        whole = f" of {document['batch_ms']:.2f}ms for {batch['filled']}" * (batch["filled"] > 1)
        simulated = "simulated " * self._look.simulated
        return (
            f"File {document['file']}, {simulated}inference time {document['ms']:.2f}ms{whole}: "
            f"{found(document)}"
        )


def _document(file: Path, answer: FrameResult | str) -> dict[str, Any]:
    name = _printable(file)
    if isinstance(answer, str):
        return {"file": name, "error": {"code": "unreadable", "message": answer}}
    document: dict[str, Any] = {"file": name}
    if answer.error is not None:
        document["error"] = msgspec.to_builtins(answer.error)
    if answer.findings is None:
        return document
    found = msgspec.to_builtins(answer.findings)
    document |= {kind: findings for kind, findings in found.items() if findings is not None}
    if answer.crops_left_out:
        document["crops_left_out"] = answer.crops_left_out
    if answer.batch is not None:
        document["batch"] = msgspec.to_builtins(answer.batch)
        document["ms"] = round(answer.ms.infer / answer.batch.filled, 3)
        document["batch_ms"] = answer.ms.infer
    return document


def _tensor(at: int, spec: TensorSpec) -> str:
    dims = ", ".join("N" if axis is None else str(axis) for axis in spec.shape)
    layout = "" if spec.layout == "other" else f", fmt={spec.layout}"
    return f"  index={at}, name={spec.name}, dims=[{dims}]{layout}, type={spec.dtype.upper()}"


def _printable(file: Path) -> str:
    """A name that any terminal and any JSON can take."""
    text = os.fsencode(file).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
