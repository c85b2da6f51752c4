"""What becomes of targets on the way from a source to a sample."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec, unite
from frl.errors import ConfigError, SourceError
from frl.images.places import misplaced
from writers.detect import Region
from writers.image.crop import Placement
from writers.reject import Reject
from writers.sources import Source
from writers.sources.listing import Listing
from writers.sources.source import Box, TargetSource
from writers.sources.targets import HOW, IDENTITY, Wanted

Values: TypeAlias = "Mapping[str, array[float] | array[int] | NDArray[Any]]"


def ask(sources: Mapping[str, Source], texts: Sequence[str]) -> dict[str, Source]:
    """The sources, whose lists give the targets that the command line names.

    Raises:
        ConfigError: a text names no target, or two name the same.
        SourceError: no list has a target of this name.
    """
    parsed = tuple(map(Wanted.parse, texts))
    if not parsed:
        return dict(sources)
    names = [target.name for target in parsed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError("--targets", f"{', '.join(twice)} is named twice", "Name each target once, NAME:KIND=COLUMN.")
    wanted = tuple(target for target in parsed if target.name != IDENTITY)
    who = next((target.columns[0] for target in parsed if target.name == IDENTITY), IDENTITY)
    asked = {name: replace(s, wanted=wanted, who=who) if isinstance(s, Listing) else s for name, s in sources.items()}
    if len(wanted) < len(parsed) and not any(s.names_people for s in asked.values() if isinstance(s, Listing)):
        raise SourceError(f"--targets {IDENTITY}", f"no list among the sources has {who}", HOW)
    found = {spec.name for source in asked.values() if isinstance(source, Listing) for spec in source.targets}
    for target in wanted:
        if target.name not in found:
            columns = ", ".join(target.columns)
            raise SourceError(f"--targets {target.name}", f"no list among the sources has {columns}", HOW)
    return asked


def find_targets(sources: Mapping[str, Source]) -> tuple[TargetSpec, ...]:
    """All that any of the sources knows of faces; of those of the others it will be unknown.

    Raises:
        SourceError: a source cannot be listed, or two mean different things by one name.
    """
    try:
        return unite((name, source.targets) for name, source in sources.items() if isinstance(source, TargetSource))
    except ValueError as error:
        remedy = "Give one of them another name (--targets NAME=COLUMN), or write two files."
        raise SourceError("targets", str(error), remedy) from None


class Targets:
    """Gives each face what is known of it.

    Args:
        specs: the targets of the file.
    """

    def __init__(self, specs: Sequence[TargetSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}

    def refuse_misplaced(self, width: int, height: int, known: Values | None) -> None:
        """Refuse points that cannot be meant for an image. Those that are hidden may be given as lying anywhere.

        Raises:
            Reject: see `misplaced`.
        """
        for name, value in (known or {}).items():
            if (spec := self._specs[name]).kind == Kind.POINTS:
                points = np.reshape(np.asarray(value, np.float64), spec.shape)
                if fault := misplaced(width, height, points[self._may_be_seen(known or {}, len(points))], name):
                    raise Reject(fault)

    def _may_be_seen(self, known: Values, count: int) -> NDArray[np.bool_]:
        """Which of so many points nothing calls hidden."""
        seen = np.ones(count, bool)
        for name, value in known.items():
            if self._specs[name].kind == Kind.VISIBILITY and self._specs[name].shape == (count,):
                seen &= np.asarray(value) != 0
        return seen

    def share(self, known: Values | None, faces: Sequence[Region | Reject]) -> list[Values | None]:
        """Whose the targets of an image are, of the faces that a detector found on it: one entry for each.

        Points say so themselves: they are those of the face in whose box most of them lie. If they lie on none, they
        may be those of a face that was found but is rejected.

        Raises:
            Reject: nothing tells whose the targets are.
        """
        if not known:
            return [None] * len(faces)
        owner = self._owner(known, [face.box if isinstance(face, Region) else None for face in faces])
        return [known if number == owner else None for number in range(len(faces))]

    def _owner(self, known: Values, boxes: Sequence[Box | None]) -> int | None:
        points = [name for name in known if self._specs[name].kind == Kind.POINTS]
        if not points and len(boxes) == 1:
            return 0
        for name in points:
            x, y = np.reshape(known[name], self._specs[name].shape)[:, :2].T
            inside = [0 if box is None else int(_within(box, x, y).sum()) for box in boxes]
            if max(inside) > 0:
                return inside.index(max(inside))
        if points and None in boxes:
            return None
        found = f"{len(boxes)} face{'s were' if len(boxes) > 1 else ' was'} found on it"
        raise Reject(
            f"{found}, and its targets do not say whose they are" if not points else f"{found}, not at its points"
        )

    def place(self, known: Values | None, placement: Placement) -> dict[str, NDArray[Any]] | None:
        """The targets of a sample, in their shapes; points in its own pixels."""
        if known is None:
            return None
        placed = {}
        for name, value in known.items():
            spec = self._specs[name]
            shaped = np.reshape(np.asarray(value), spec.shape)
            placed[name] = placement(shaped.astype(np.float64)) if spec.kind == Kind.POINTS else shaped
        return placed


def _within(box: Box, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    across = (x >= box.left) & (x < box.left + box.width)
    return across & (y >= box.top) & (y < box.top + box.height)
