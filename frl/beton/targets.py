"""What a ``.beton`` stores of a sample beside its image and its identity: landmarks, poses, classes, visibility.

The bytes are fields of their own, which stock ffcv reads; what they mean stands in the manifest. A number is a
``FloatField`` or an ``IntField``, anything longer an ``NDArrayField``. What is not known of a sample is NaN, or -1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frl.beton.layout import Field, FieldType

RESERVED = ("image", "label", "identity")
"""Names that no target has: the fields of every file, and what a batch calls the label."""

MOST_NUMBERS = 1 << 16
"""Of one target of one sample."""

MIRRORS: dict[str, tuple[int, ...]] = {
    # eyes, nose tip, corners of the mouth
    "five": (1, 0, 2, 4, 3),
    # Sagonas et al., "300 Faces In-The-Wild Challenge", 2016: jaw, brows, nose, eyes, outer and inner lips
    "300w": (
        *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
        54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
    ),
}  # fmt: skip
"""By name: for each point, the index of the one that takes its place in a mirror."""

MIRROR_OF_COUNT = {len(table): name for name, table in MIRRORS.items()}


class Kind(StrEnum):
    """What the numbers of a target are."""

    POINTS = "points"
    """(n, 2) or (n, 3): x to the right, y down, and depth, in pixels of the stored image; the centre of its first pixel
    is (0, 0). Depth has the same scale and any origin. NaN where unknown."""
    VECTOR = "vector"
    """Any shape; () is one number. NaN where unknown."""
    CLASS = "class"
    """(), or (n,) for several questions: an index from 0, or -1 where unknown."""
    VISIBILITY = "visibility"
    """(n,): 1 for a point that is seen, 0 for one that is hidden, -1 where unknown."""


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """A target that every sample of a file has, or lacks.

    Attributes:
        name: 1 to 16 letters, digits and underscores.
        kind: what it is; see ``Kind`` for the shapes.
        shape: of one sample's.
        mirror: of points and visibility: the points' places in a mirrored image, as one of ``MIRRORS`` or as indices;
            by default that of 5 or 68 points, else None.
        names: of the entries of a shape (n,); of the classes, in their order, of a class of shape (). Empty: unnamed.

    Raises:
        ValueError: these do not fit together.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()
    mirror: str | tuple[int, ...] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z]\w{0,15}", self.name, re.ASCII) or self.name in RESERVED:
            raise ValueError(f"{self.name!r} names no target: 1 to 16 letters, digits and _, and none of {RESERVED}")
        if not all(isinstance(length, int) and length > 0 for length in self.shape):
            raise ValueError(f"target {self.name}: {self.shape} is no shape")
        fits = {
            Kind.POINTS: len(self.shape) == 2 and self.shape[1] in (2, 3),
            Kind.VECTOR: len(self.shape) <= 32,
            Kind.CLASS: len(self.shape) <= 1,
            Kind.VISIBILITY: len(self.shape) == 1,
        }
        if not fits[self.kind] or math.prod(self.shape) > MOST_NUMBERS:
            raise ValueError(f"target {self.name}: {self.shape} is no shape of kind {self.kind}")
        if self.mirror is None and self._has_points:
            object.__setattr__(self, "mirror", MIRROR_OF_COUNT.get(self.shape[0]))
        if self.mirror is not None:
            table = MIRRORS.get(self.mirror, ()) if isinstance(self.mirror, str) else self.mirror
            if not self._has_points or not _is_mirror(table, self.shape[0]):
                raise ValueError(f"target {self.name}: {self.mirror} is no mirror of its shape {self.shape}")
        if not all(isinstance(name, str) for name in self.names) or len(set(self.names)) < len(self.names):
            raise ValueError(f"target {self.name}: its names are not different texts")
        if self.names and self._has_points:
            raise ValueError(f"target {self.name}: points have no names")
        if self.names and not (self._names_classes or self.shape == (len(self.names),)):
            raise ValueError(f"target {self.name}: {len(self.names)} names for the shape {self.shape}")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TargetSpec:
        """The inverse of ``dataclasses.asdict`` and JSON.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        mirror = content.get("mirror")
        return cls(
            name=str(content["name"]),
            kind=Kind(content["kind"]),
            shape=tuple(content["shape"]),
            mirror=mirror if mirror is None or isinstance(mirror, str) else tuple(mirror),
            names=tuple(content.get("names", ())),
        )

    @classmethod
    def of_field(cls, field: Field) -> TargetSpec | None:
        """What a field of another program seems to be, or None: its file does not say what the numbers mean."""
        kinds = {"<f8": Kind.VECTOR, "<i8": Kind.CLASS} if not field.shape else {}
        kinds |= {"<f4": Kind.VECTOR, "<i8": Kind.CLASS, "|i1": Kind.VISIBILITY} if field.shape else {}
        try:
            spec = cls(name=field.name, kind=kinds[field.dtype], shape=field.shape)
        except (KeyError, ValueError):
            return None
        return spec if spec.field == field else None

    @cached_property
    def field(self) -> Field:
        """The column that holds it."""
        if self.shape:
            return Field(name=self.name, type_id=FieldType.ARRAY, dtype=self.dtype.str, shape=self.shape)
        kind = FieldType.INT if self.kind == Kind.CLASS else FieldType.FLOAT
        return Field(name=self.name, type_id=kind, dtype=self.dtype.str)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers in the file: float32, int64 or int8; float64 of a single one, as ffcv has it."""
        if self.kind == Kind.CLASS:
            return np.dtype("<i8")
        if self.kind == Kind.VISIBILITY:
            return np.dtype("|i1")
        return np.dtype("<f4" if self.shape else "<f8")

    @cached_property
    def nbytes(self) -> int:
        """Bytes of one sample's."""
        return self.dtype.itemsize * math.prod(self.shape)

    @property
    def permutation(self) -> tuple[int, ...] | None:
        """For each point, the index of the one that takes its place in a mirror; None where nobody knows."""
        return MIRRORS[self.mirror] if isinstance(self.mirror, str) else self.mirror

    @property
    def _has_points(self) -> bool:
        return self.kind in (Kind.POINTS, Kind.VISIBILITY)

    @property
    def _classes(self) -> int:
        """How many classes there can be."""
        if self.kind == Kind.VISIBILITY:
            return 2
        return len(self.names) if self.names and self._names_classes else 1 << 62

    @property
    def _names_classes(self) -> bool:
        return self.kind == Kind.CLASS and self.shape == ()

    def missing(self) -> NDArray[Any]:
        """What is stored of a sample of which nothing is known."""
        return np.full(self.shape, np.nan if self.dtype.kind == "f" else -1, self.dtype)

    def encode(self, value: ArrayLike | None) -> bytes:
        """The stored bytes of one sample's value; None: unknown.

        Raises:
            ValueError: the value has another shape, or a number that the kind does not know.
        """
        if value is None:
            return self.missing().tobytes()
        try:
            given = np.asarray(value)
            with np.errstate(all="ignore"):
                # Nobody asks for more than float32, and one number should be the same alone and in an array.
                stored = given.astype("<f4").astype(self.dtype) if self.dtype.kind == "f" else given.astype(self.dtype)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"its {self.name} is no {self.kind}: {value!r}") from None
        if stored.shape != self.shape:
            raise ValueError(f"its {self.name} has the shape {stored.shape}, not {self.shape}")
        if self.dtype.kind == "f":
            wrong = np.isinf(stored)
        else:
            wrong = (stored != given) | (stored < -1) | (stored >= self._classes)
        if wrong.any():
            raise ValueError(f"its {self.name} holds {given[wrong].flat[0]}, which is no {self.kind}")
        return stored.tobytes()

    def decode(self, stored: bytes | memoryview) -> NDArray[Any]:
        """The inverse of ``encode``."""
        return np.frombuffer(stored, self.dtype).reshape(self.shape)

    def knows(self, stored: bytes | memoryview) -> bool:
        """Whether any number of a stored value is known."""
        numbers = np.frombuffer(stored, self.dtype)
        return bool((~np.isnan(numbers) if self.dtype.kind == "f" else numbers != -1).any())


def encode_all(specs: Sequence[TargetSpec], values: Mapping[str, ArrayLike] | None) -> tuple[bytes, ...]:
    """The stored bytes of a sample's targets, in the order of the specs.

    Raises:
        ValueError: as ``TargetSpec.encode``; or a value belongs to no spec.
    """
    values = values or {}
    if extra := values.keys() - {spec.name for spec in specs}:
        raise ValueError(f"the file has no target {sorted(extra)[0]!r}")
    return tuple(spec.encode(values.get(spec.name)) for spec in specs)


def unite(groups: Iterable[tuple[str, Sequence[TargetSpec]]]) -> tuple[TargetSpec, ...]:
    """The targets of several sources, each once.

    Args:
        groups: what each source is called, and its targets.

    Raises:
        ValueError: two sources mean different things by one name.
    """
    found: dict[str, tuple[str, TargetSpec]] = {}
    for source, specs in groups:
        for spec in specs:
            first, known = found.setdefault(spec.name, (source, spec))
            if known != spec:
                raise ValueError(f"{spec.name} of {source} is {describe(spec)}, that of {first} {describe(known)}")
    return tuple(spec for _, spec in found.values())


def describe(spec: TargetSpec) -> str:
    """Kind, shape and names in a few words, such as ``points (68, 2)``."""
    shape = f" {spec.shape}" if spec.shape else ""
    shown = [*spec.names[:8], "..."] if len(spec.names) > 8 else spec.names
    return f"{spec.kind}{shape}" + (f" of {', '.join(shown)}" if shown else "")


def _is_mirror(table: Sequence[int], count: int) -> bool:
    """Whether mirroring twice leads back to every point."""
    return (
        len(table) == count
        and all(isinstance(i, int) and 0 <= i < count for i in table)
        and all(table[table[i]] == i for i in range(count))
    )
