"""One command of a study. It is known by what it does, so that two cells that need the same share it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from frl.errors import ConfigError
from frl.files import atomic_write

PRODUCTS = {"write": "faces.beton", "pretrain": "run", "evaluate": "result.json"}
STAGES = tuple(PRODUCTS)
DONE = "done.json"
"""Written when a command has succeeded."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command of frl, but for where it writes.

    Attributes:
        stage: ``write``, ``pretrain`` or ``evaluate``.
        words: what follows ``frl STAGE`` first: sources, preset, task.
        options: with their dashes, and their values.
        source: the step whose product this one reads, under the option that takes it; None: it stands alone.
    """

    stage: str
    words: tuple[str, ...]
    options: tuple[str, ...]
    source: tuple[str, Step] | None = None

    @cached_property
    def key(self) -> str:
        """Equal for equal work on equal files, as first seen: of a file its size and time count, of a folder the names
        of the files in it."""
        files = {word: _stamp(word) for word in (*self.words, *self.options)}
        source = None if self.source is None else (self.source[0], self.source[1].key)
        content = [self.stage, self.words, self.options, {word: at for word, at in files.items() if at}, source]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

    def folder(self, out: Path) -> Path:
        """Where it works."""
        return out / "steps" / f"{self.stage}-{self.key}"

    def product(self, out: Path) -> Path:
        """What it makes."""
        return self.folder(out) / PRODUCTS[self.stage]

    def is_done(self, out: Path) -> bool:
        """Whether it has succeeded before, and its product is still what it was."""
        return is_finished(self.folder(out) / DONE, self.product(out))

    def arguments(self, out: Path) -> list[str]:
        """What follows ``frl``."""
        source = [] if self.source is None else [self.source[0], str(self.source[1].product(out))]
        return [self.stage, *self.words, *self.options, *source, "--out", str(self.product(out))]


def mark_finished(done: Path, product: Path, seconds: float) -> None:
    """Note that a command has succeeded, and how long its product is, in bytes, if it is a file."""
    size = product.stat().st_size if product.is_file() else None
    with atomic_write(done) as stream:
        stream.write(json.dumps({"seconds": round(seconds, 1), "bytes": size}).encode())


def is_finished(done: Path, product: Path) -> bool:
    """Whether ``mark_finished`` was called, and the product was not removed or cut since."""
    try:
        noted = json.loads(done.read_bytes())
    except (OSError, ValueError):
        return False
    size = noted.get("bytes")
    return product.exists() and (size is None or product.stat().st_size == size)


def writing(options: Mapping[str, Any]) -> Step:
    """``frl write``; raises ConfigError without sources."""
    sources = options.get("sources")
    if not sources:
        raise ConfigError("write", "names no sources", "Give write: {sources: [PATH, ...]}.")
    words = (sources,) if isinstance(sources, str) else tuple(map(str, sources))
    return Step(stage="write", words=words, options=_flags("write", options, without={"sources"}))


def pretraining(options: Mapping[str, Any], data: Step | None) -> Step:
    """``frl pretrain``; raises ConfigError without a preset, or without data, or with two."""
    if not options.get("preset"):
        raise ConfigError("pretrain", "names no preset", "Give pretrain: {preset: NAME}.")
    if ("data" in options) == (data is not None):
        cause = "names data besides those that are written" if data else "names no data, and none are written"
        raise ConfigError("pretrain", cause, "Give either write: ... or pretrain: {data: FILE}.")
    flags = _flags("pretrain", options, without={"preset"})
    source = None if data is None else ("--data", data)
    return Step(stage="pretrain", words=(str(options["preset"]),), options=flags, source=source)


def evaluation(options: Mapping[str, Any], run: Step) -> Step:
    """``frl evaluate``."""
    flags = _flags("evaluate", options, without={"task"})
    return Step(stage="evaluate", words=(str(options["task"]),), options=flags, source=("--weights", run))


def _flags(stage: str, options: Mapping[str, Any], without: set[str]) -> tuple[str, ...]:
    for taken in ("out", "weights"):
        if taken in options:
            raise ConfigError(f"{stage}.{taken}", "is the study's to choose", "Leave it out.")
    return tuple(word for name, value in options.items() if name not in without for word in _flag(name, value))


def _flag(name: str, value: Any) -> Iterator[str]:
    """An option as the command takes it: on and off for truth values, nothing for None, several words for a list."""
    *path, last = name.replace("_", "-").split(".")
    if value is False:
        yield "--" + ".".join([*path, f"no-{last}"])
    elif value is not None:
        yield "--" + ".".join([*path, last])
        if isinstance(value, (list, tuple)):
            yield from map(str, value)
        elif value is not True:
            yield str(value)


def _stamp(word: str) -> list[Any] | None:
    """Of a file its size and time of change, in bytes and nanoseconds; of a folder a hash of the names in it, for their
    sizes would take minutes to ask for; None of a word that names neither."""
    path = _path_in(word)
    if path is None:
        return None
    if os.path.isdir(path):
        return [_names_within(path)]
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns]


def _path_in(word: str) -> str | None:
    """The file or folder that a word means: as it stands, after ``KIND:`` and before ``@SPLIT``, after ``NAME=``, or
    before ``:NAME``."""
    whole = [word, *(rest for _, mark, rest in (word.partition(":"), word.partition("=")) if mark)]
    whole.append(word.rpartition(":")[0])
    meant = [*whole, *(path.rpartition("@")[0] for path in whole)]
    return next((path for path in meant if path and "\0" not in path and os.path.exists(path)), None)


def _names_within(folder: str) -> str:
    digest = hashlib.sha256()
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            digest.update(os.fsencode(os.path.join(root, name)) + b"\0")
    return digest.hexdigest()[:12]
