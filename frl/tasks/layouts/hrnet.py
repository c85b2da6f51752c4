"""The CSV lists of landmarks that HRNet's code reads (Wang et al., "Deep High-Resolution Representation Learning",
2020), which most people have of 300-W, WFLW, AFLW and COFW.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.errors import SourceError
from frl.tasks.layouts.files import files, first_folder, join, numbers, read_image, read_rows
from frl.tasks.layouts.layout import AnnotatedFace, Counted, Rectangle
from frl.tasks.layouts.schemes import AFLW19, COFW29, FACE_BOX, IBUG68, WFLW98, Scheme, corners, points_fault


class Benchmark(NamedTuple):
    """What one of the benchmarks is.

    Attributes:
        scheme: its points.
        origin: how its lists count the first pixel. 300-W's hold the numbers of the ``.pts`` files, which count from 1,
            as does COFW's MATLAB file.
        subsets: the names of the parts of a split, by the end of the name of the list that holds them.
        published: faces of each split.
    """

    scheme: Scheme
    origin: int
    subsets: Mapping[str, str]
    published: Mapping[str, int]


WFLW_SUBSETS = {
    "largepose": "pose",
    "expression": "expression",
    "illumination": "illumination",
    "makeup": "make-up",
    "occlusion": "occlusion",
    "blur": "blur",
}
BENCHMARKS = {
    "300w": Benchmark(
        IBUG68,
        1,
        {"common": "common", "challenge": "challenging"},
        {"train": 3148, "valid": 689, "valid_common": 554, "valid_challenge": 135, "test": 600},
    ),
    "wflw": Benchmark(WFLW98, 0, WFLW_SUBSETS, {"train": 7500, "test": 2500}),
    "aflw": Benchmark(AFLW19, 0, {"frontal": "frontal"}, {"train": 20000, "test": 4386}),
    "cofw": Benchmark(COFW29, 1, {}, {"train": 1345, "test": 507}),
}
NAMED = re.compile(r"face_landmarks_([a-z0-9]+)_(\w+)\.csv")
SIDE_OF_SCALE = 200
"""Pixels of the box's side at scale 1."""

RENAMED = {"ibug/image_092_01.jpg": "ibug/image_092 _01.jpg"}
"""An image whose real name has a space, which the lists lack."""

REMEDY = "Give the folder with face_landmarks_NAME_SPLIT.csv of 300w, wflw, aflw or cofw, and the images in images/."


class Part:
    """A part of a split, as its own list says.

    Args:
        path: the list; None: there is none.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        rows = read_rows(path, REMEDY) if path else iter(())
        next(rows, None)
        self._met = {_as_numbers(row): False for _, row in rows}

    def has(self, row: list[str]) -> int:
        """Whether a row of the split is in it: 1, 0, or -1 where nobody knows."""
        key = _as_numbers(row)
        if key in self._met:
            self._met[key] = True
        return int(key in self._met) if self.path else -1

    def remark(self, split: str) -> str | None:
        """What to say of rows that were none of the split's, whose list is given, or None.

        Raises:
            SourceError: none was.
        """
        count, missed = len(self._met), list(self._met.values()).count(False)
        if count and missed == count:
            cause = f"none of its {count:,} rows is in {os.path.basename(split)}"
            raise SourceError(self.path or "", cause, "Give both of one copy of the lists, or remove it.")
        return f"{self.path}: {missed:,} of {count:,} rows are not in {os.path.basename(split)}" if missed else None


@dataclass(frozen=True)
class HRNetLists:
    """The lists ``face_landmarks_NAME_SPLIT.csv`` of one benchmark; each is a split.

    A row is an image, ``scale``, (AFLW: ``box_size``,) ``center_w``, ``center_h``, and x and y of each point. The box
    is a square of 200 * scale pixels about the centre. A list such as ``..._test_blur.csv`` also tells which faces of
    ``..._test.csv`` are of that part.

    Attributes:
        location: the folder with the lists, or one above ``annotations/``; the images are in ``images/`` or beside.
    """

    location: str
    _remarks: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def splits(self) -> tuple[str, ...]:
        """What the lists are called."""
        return tuple(self._lists)

    @property
    def published(self) -> Mapping[str, int]:
        """See ``Published``."""
        return self._benchmark.published

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """The points; of AFLW the box that divides the errors; the parts of the test set."""
        names = tuple(self._benchmark.subsets.values())
        parts = (TargetSpec(name="subsets", kind=Kind.CLASS, shape=(len(names),), names=names),) if names else ()
        boxed = (FACE_BOX,) if self._benchmark.scheme is AFLW19 else ()
        return (self._benchmark.scheme.points(), *boxed, *parts)

    def faces(self, split: str) -> Iterator[AnnotatedFace]:
        """The faces by line; see ``Layout``."""
        path, name = os.path.join(self.location, self._lists[split]), Counted()
        parts = self._parts(split)
        rows = read_rows(path, REMEDY)
        line, header = next(rows, (1, []))
        before = self._columns(f"{path}, line {line}", header)
        for line, row in rows:
            face = self._face(f"{os.path.basename(path)}, line {line}", row, before, name)
            member = np.array([part.has(row) for part in parts], np.int64)
            if any(part.path for part in parts) and not face.fault:
                face = AnnotatedFace(
                    name=face.name, place=face.place, box=face.box, targets={**face.targets, "subsets": member}
                )
            yield face
        self._remarks[:] = filter(None, [part.remark(path) for part in parts])

    def remarks(self) -> Iterator[str]:
        """How many rows of the lists of parts are no face; see ``Remarking``."""
        yield from self._remarks

    def read(self, place: str) -> bytes:
        """The image's bytes; see ``Layout``."""
        return read_image(os.path.join(self.location, place))

    def _parts(self, split: str) -> list[Part]:
        """The parts of a split, in the order of their names, whether their list is there or not."""
        lists = [self._lists.get(f"{split}_{end}") for end in self._benchmark.subsets]
        return [Part(path and os.path.join(self.location, path)) for path in lists]

    @cached_property
    def _lists(self) -> dict[str, str]:
        """The path of each list, by the split that it is called after."""
        return {split: path for split, (_, path) in self._found.items()}

    @cached_property
    def _benchmark(self) -> Benchmark:
        return BENCHMARKS[next(iter(self._found.values()))[0]]

    @cached_property
    def _found(self) -> dict[str, tuple[str, str]]:
        """Benchmark and path of each list, by split.

        Raises:
            SourceError: there is none, or they are of several benchmarks.
        """
        lists = [
            (match[1], match[2], join(folder, file))
            for folder in ("", "annotations")
            for file in files(os.path.join(self.location, folder), frozenset({".csv"}))
            if (match := NAMED.fullmatch(file)) and match[1] in BENCHMARKS
        ]
        if not lists:
            raise SourceError(self.location, "holds no such list", REMEDY)
        if len(names := {name for name, _, _ in lists}) > 1:
            cause = f"holds the lists of several benchmarks, {', '.join(sorted(names))}"
            raise SourceError(self.location, cause, "Give a folder of one of them.")
        return {
            split: (name, path) for name, split, path in sorted(lists, key=lambda found: (_rank(found[1]), found[1]))
        }

    @cached_property
    def _images(self) -> str:
        return first_folder(self.location, "images", "WFLW_images") or ""

    def _columns(self, where: str, header: list[str]) -> list[str]:
        """The columns before the points.

        Raises:
            SourceError: they are others.
        """
        count = 2 * self._benchmark.scheme.count
        before = [column.strip() for column in header[: max(0, len(header) - count)]]
        if before[1:2] + before[-2:] != ["scale", "center_w", "center_h"] or len(before) > 5:
            cause = f"{len(header)} columns, of which {', '.join(header[:5])} are the first"
            wanted = f"image, scale, center_w, center_h and {count} coordinates"
            raise SourceError(where, cause, f"Give a list of HRNet's: {wanted}.")
        return [*before[:2], *["box_size"] * (len(before) - 4), *before[-2:]]

    def _face(self, where: str, row: list[str], before: list[str], name: Counted) -> AnnotatedFace:
        path = self._path(row[0])
        named = name(row[0])
        count = len(before) + 2 * self._benchmark.scheme.count
        try:
            if len(row) != count:
                raise ValueError(f"{len(row)} cells instead of {count}")
            known = dict(zip(before[1:], numbers(row[1 : len(before)]), strict=True))
            origin = self._benchmark.origin
            points = np.array(numbers(row[len(before) :])).reshape(-1, 2) - origin
            x, y = known["center_w"] - origin, known["center_h"] - origin
            if fault := points_fault(points) or points_fault(np.array(list(known.values()))):
                raise ValueError(fault)
            if known["scale"] <= 0 or known.get("box_size", 1) <= 0:
                raise ValueError("a box without an area")
        except ValueError as error:
            return AnnotatedFace(name=named, place=path, fault=f"{where}: {error}")
        targets: dict[str, NDArray] = {"landmarks": points}
        if self._benchmark.scheme is AFLW19:
            targets["face_box"] = corners(square(x, y, known.get("box_size", SIDE_OF_SCALE * known["scale"])))
        box = square(x, y, SIDE_OF_SCALE * known["scale"])
        return AnnotatedFace(name=named, place=path, box=box, targets=targets)

    def _path(self, image: str) -> str:
        path = join(self._images, image)
        other = join(self._images, RENAMED.get(image, image))
        return path if path == other or os.path.exists(os.path.join(self.location, path)) else other


def _as_numbers(row: list[str]) -> tuple[str | float, ...]:
    """A row by what its cells say, not by how they are written: 100 is 100.0."""
    try:
        return row[0], *numbers(row[1:])
    except ValueError:
        return tuple(row)


def square(x: float, y: float, side: float) -> Rectangle:
    """The square of a side about a centre."""
    return Rectangle(x - side / 2, y - side / 2, side, side)


def _rank(split: str) -> int:
    """Where a split stands among others: train, valid, test, and what else there may be."""
    order = ("train", "valid", "test")
    first = split.partition("_")[0]
    return order.index(first) if first in order else len(order)
