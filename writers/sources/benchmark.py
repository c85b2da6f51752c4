"""Benchmarks as sources: any layout of ``frl.tasks.layouts``, one split of it, with its targets."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from frl.beton.targets import Kind, TargetSpec
from frl.images.places import IN_SHARES, are_shares
from frl.tasks.layouts.layout import AnnotatedFace, Layout, Published, Remarking, require_split
from frl.tasks.layouts.registry import BENCHMARKS
from frl.tasks.layouts.schemes import five_points
from writers.reject import Reject
from writers.sources.addresses import Address
from writers.sources.annotations import make_box
from writers.sources.files import reject_of
from writers.sources.labels import person
from writers.sources.source import Box, Candidate

POINTS = ("landmarks", "landmarks3d")
"""The targets that tell where the eyes are, the first that is known."""


@dataclass(frozen=True)
class LayoutStore:
    """The images of a layout.

    Attributes:
        layout: knows where they are.
    """

    layout: Layout

    @property
    def location(self) -> str:
        """See ``Store``."""
        return self.layout.location

    def read(self, place: Any) -> bytes:
        """One encoded image; see ``Store``."""
        try:
            return self.layout.read(place)
        except OSError as error:
            raise reject_of(error) from error
        except ValueError as error:
            raise Reject(str(error)) from error


@dataclass(frozen=True)
class BenchmarkSplit:
    """The faces of one split of a benchmark.

    Attributes:
        layout: the benchmark.
        split: which of its splits.
        every: of the faces in each folder, take the first and then each so-manieth: frames of a video are alike.
    """

    layout: Layout
    split: str
    every: int = 1
    _seen: Counter[str] = field(default_factory=Counter, compare=False, repr=False)
    _classes: dict[str, set[int]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def store(self) -> LayoutStore:
        """See ``Source``."""
        return LayoutStore(self.layout)

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """See ``TargetSource``."""
        return self.layout.specs

    def candidates(self) -> Iterator[Candidate]:
        """List the faces in the order of the layout; see ``Source``."""
        self._seen.clear()
        self._classes.clear()
        specs = {spec.name: spec for spec in self.targets}
        for face in self.layout.faces(self.split):
            folder = os.path.dirname(face.name)
            self._seen[folder] += 1
            if (self._seen[folder] - 1) % self.every == 0:
                yield self._candidate(face, specs)

    def remarks(self) -> Iterator[str]:
        """What the layout says, how many faces were published, and which classes no face has; see ``Remarking``."""
        where, found = f"{self.layout.location}@{self.split}", self._seen.total()
        if isinstance(self.layout, Remarking):
            yield from self.layout.remarks()
        if isinstance(self.layout, Published):
            published = self.layout.published.get(self.split, found)
            if published != found:
                yield f"{where}: {found:,} faces, of {published:,} that were published"
        for spec in self.targets:
            if spec.kind == Kind.CLASS and spec.shape == () and self._classes.get(spec.name):
                empty = [name for index, name in enumerate(spec.names) if index not in self._classes[spec.name]]
                if empty:
                    yield f"{where}: no face whose {spec.name} is {' or '.join(empty)}"

    def _candidate(self, face: AnnotatedFace, specs: dict[str, TargetSpec]) -> Candidate:
        fault = face.fault
        try:
            identity = person(face.subject)
            box, misplaced = make_box(face.box) if face.box is not None else (None, None)
            fault = fault or misplaced
            for name, value in face.targets.items():
                specs[name].encode(value)
                fault = fault or _shares_fault(specs[name], value)
        except ValueError as error:
            fault = fault or str(error)
        if fault:
            return Candidate(face.name, face.place, fault=fault)
        self._note_classes(face, specs)
        flat = {name: _flat(specs[name], value) for name, value in face.targets.items()}
        return Candidate(face.name, face.place, identity, box and Box(*box), _five(face), targets=flat)

    def _note_classes(self, face: AnnotatedFace, specs: dict[str, TargetSpec]) -> None:
        for name, value in face.targets.items():
            if specs[name].kind == Kind.CLASS and specs[name].shape == ():
                self._classes.setdefault(name, set()).add(int(value))


def open_benchmark(kind: str, text: str) -> BenchmarkSplit:
    """The split that an address names.

    Args:
        kind: of the benchmark.
        text: ``FOLDER@SPLIT`` or ``FOLDER@SPLIT,every=K``; the split may be left out where there is but one.

    Raises:
        SourceError: the benchmark is not there, or has no such split.
    """
    address = Address.parse(text)
    layout = BENCHMARKS[kind](address.location)
    splits = layout.splits
    split = splits[0] if not address.split and len(splits) == 1 else require_split(layout, address.split)
    return BenchmarkSplit(layout, split, address.every)


def _flat(spec: TargetSpec, value: Any) -> array[float] | array[int]:
    return array(
        "d" if spec.dtype.kind == "f" else "q", np.asarray(value).astype(spec.dtype.kind + "8").ravel().tolist()
    )


def _five(face: AnnotatedFace) -> array[float] | None:
    """The eyes, the nose's tip and the corners of the mouth, as far as the points tell."""
    points = next((face.targets[name] for name in POINTS if name in face.targets), None)
    five = None if points is None else five_points(points)
    return None if five is None else array("f", five.ravel().tolist())


def _shares_fault(spec: TargetSpec, value: Any) -> str | None:
    if spec.kind != Kind.POINTS:
        return None
    known = value[:, :2][np.isfinite(value[:, :2])].tolist()
    return f"its {spec.name} are {IN_SHARES}" if len(known) > 2 and are_shares(known) else None
