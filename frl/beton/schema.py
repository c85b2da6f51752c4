"""The columns of a file that we write: image, label and targets; the targets of a sample lie right behind its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from struct import Struct

import numpy as np

from frl.beton.layout import Field, FieldType, ImageMode, metadata_start, record_dtype
from frl.beton.targets import TargetSpec

IMAGE_AND_LABEL = (
    Field(name="image", type_id=FieldType.IMAGE),
    Field(name="label", type_id=FieldType.INT, dtype="<i8"),
)

IMAGE_AND_LABEL_ROW = Struct("<BHHQ3xq")
"""Their record. What follows it of a target are 8 bytes: a number, or the place of an array."""
PLACE = Struct("<Q")


@dataclass(frozen=True)
class Schema:
    """What is noted of each sample, and where.

    Attributes:
        targets: in the order of the file.

    Raises:
        ValueError: two targets have one name.
    """

    targets: tuple[TargetSpec, ...] = ()

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.targets]
        if len(set(names)) < len(names):
            raise ValueError(f"two targets have one name: {', '.join(names)}")

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The columns."""
        return (*IMAGE_AND_LABEL, *(spec.field for spec in self.targets))

    @cached_property
    def record(self) -> np.dtype:
        """The metadata of a sample."""
        return record_dtype(self.fields)

    @cached_property
    def records_start(self) -> int:
        """Offset of the first sample's metadata, in bytes."""
        return metadata_start(len(self.fields))

    @cached_property
    def entries(self) -> int:
        """Entries of the allocation table for a sample: its image, and each target that is an array."""
        return sum(field.has_data for field in self.fields)

    @cached_property
    def tail(self) -> int:
        """Bytes that lie behind each image."""
        return sum(spec.nbytes for spec in self.targets if spec.field.has_data)

    def arrays(self, values: Sequence[bytes]) -> bytes:
        """What lies behind an image, of the stored bytes of its targets."""
        return b"".join(value for spec, value in zip(self.targets, values, strict=True) if spec.field.has_data)

    def pieces(self, start: int, nbytes: int) -> list[tuple[int, int]]:
        """Place and size of an image and of the arrays behind it; the image lies at ``start``."""
        pieces = [(start, nbytes)]
        for spec in self.targets:
            if spec.field.has_data:
                pieces.append((sum(pieces[-1]), spec.nbytes))
        return pieces

    def row(
        self, pieces: Sequence[tuple[int, int]], height: int, width: int, label: int, values: Sequence[bytes]
    ) -> bytes:
        """The metadata of a sample whose data are ``pieces``, as ``record`` reads them."""
        (start, _), *arrays = pieces
        row = IMAGE_AND_LABEL_ROW.pack(ImageMode.JPG, width, height, start, label)
        if not self.targets:
            return row
        places = (PLACE.pack(place) for place, _ in arrays)
        return row + b"".join(
            next(places) if spec.field.has_data else value for spec, value in zip(self.targets, values, strict=True)
        )

    def values(self, record: np.void, arrays: bytes) -> tuple[bytes, ...]:
        """The stored bytes of a sample's targets, of its metadata and what lies behind its image."""
        found, offset = [], 0
        for column, spec in enumerate(self.targets, len(IMAGE_AND_LABEL)):
            if spec.field.has_data:
                found.append(arrays[offset : offset + spec.nbytes])
                offset += spec.nbytes
            else:
                found.append(record[f"f{column}"].tobytes())
        return tuple(found)
