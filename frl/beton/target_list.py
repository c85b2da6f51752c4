"""The targets of extracted images as a list that ``frl write`` reads: a CSV, and what its columns mean beside it."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec

NAME = "faces"


def columns_of(spec: TargetSpec) -> tuple[str, ...]:
    """The columns of a target in a CSV: ``age``; ``pose.yaw`` or ``pose.0``, ...; ``landmarks.x0``, ..."""
    if not spec.shape:
        return (spec.name,)
    if spec.kind == Kind.POINTS:
        return tuple(f"{spec.name}.{axis}{i}" for i in range(spec.shape[0]) for axis in "xyz"[: spec.shape[1]])
    return tuple(f"{spec.name}.{part}" for part in spec.names or range(math.prod(spec.shape)))


class TargetList:
    """Writes ``faces.csv`` and ``faces.targets.json`` into a folder; nothing where there are no targets.

    Args:
        folder: where to; paths are relative to it.
        specs: the targets.
    """

    def __init__(self, folder: Path, specs: Sequence[TargetSpec]) -> None:
        self._folder = folder
        self._specs = specs
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if self._specs:
            # An identity may be called so, too.
            stems = (f"{NAME}-{number}" if number else NAME for number in count())
            stem = next(stem for stem in stems if not any(path.exists() for path in self._paths(stem)))
            table, description = self._paths(stem)
            description.write_text(json.dumps([dataclasses.asdict(spec) for spec in self._specs]) + "\n")
            stream = self._open.enter_context(open(table, "w", newline="", encoding="utf-8"))
            self._rows = csv.writer(stream)
            columns = (column for spec in self._specs for column in columns_of(spec))
            self._rows.writerow(["path", "identity", *columns])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self, path: Path, identity: str | None, values: Mapping[str, NDArray[Any]]) -> None:
        """Note the targets of an image."""
        if self._specs:
            cells = (cell for spec in self._specs for cell in _cells(spec, values[spec.name]))
            self._rows.writerow([path.relative_to(self._folder).as_posix(), identity or "", *cells])

    def _paths(self, stem: str) -> tuple[Path, Path]:
        return self._folder / f"{stem}.csv", self._folder / f"{stem}.targets.json"


def _cells(spec: TargetSpec, value: NDArray[Any]) -> Iterator[str]:
    """A cell for each number, empty where it is unknown; as many digits as tell it from its neighbours."""
    named = spec.kind == Kind.CLASS and not spec.shape and spec.names
    for number in value.reshape(-1):
        if np.isnan(number) if spec.dtype.kind == "f" else number == -1:
            yield ""
        elif named:
            yield spec.names[int(number)] if 0 <= number < len(spec.names) else str(number)
        else:
            yield str(number)
