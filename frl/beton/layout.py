"""The binary layout of ffcv's ``.beton``, version 2. All numbers are little-endian.

    header | field table | metadata, one record per sample | gap | pages of data | allocation table

A page is ``page_size`` bytes and starts at a multiple of it. The allocation table names every piece of data:
its sample, its place in the file and its size. No piece crosses the end of a page, and the table ends the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

VERSION = 2
MIN_PAGE_SIZE = 1 << 21
MAX_PAGE_SIZE = 1 << 31
MAX_SIDE = (1 << 16) - 1
MAX_PIXELS = 1 << 26
"""Pixels of the largest image we read or write: 8192 x 8192, 201 MB decoded."""

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ],
    align=True,
)
FIELD = np.dtype([("type_id", "u1"), ("name", "u1", 16), ("arguments", "u1", 1024)])
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])

IMAGE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
BLOB = np.dtype([("ptr", "<u8"), ("size", "<u8")])
ARRAY_ARGUMENTS = np.dtype([("shape", "<u8", 32), ("type_length", "<u8")])


class ImageMode(IntEnum):
    """How the bytes of an image are encoded."""

    JPG = 0
    RAW = 1


class FieldType(IntEnum):
    """The kinds of field whose layout the file states; ffcv marks any other with 255."""

    FLOAT = 0
    INT = 1
    IMAGE = 2
    BYTES = 3
    ARRAY = 4
    JSON = 5
    TENSOR = 6


METADATA = {
    FieldType.FLOAT: np.dtype("<f8"),
    FieldType.INT: np.dtype("<i8"),
    FieldType.IMAGE: IMAGE,
    FieldType.BYTES: BLOB,
    FieldType.ARRAY: np.dtype("<u8"),
    FieldType.JSON: BLOB,
    FieldType.TENSOR: np.dtype("<u8"),
}


NUMBERS = {FieldType.FLOAT: "<f8", FieldType.INT: "<i8"}
"""The types of the fields that hold one number, in the metadata itself."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column of the data set.

    Attributes:
        name: at most 16 ASCII characters.
        type_id: the kind of the field.
        dtype: of the numbers, as numpy writes it; of arrays, tensors and single numbers, else empty.
        shape: of one sample's array or tensor, else empty.
    """

    name: str
    type_id: FieldType
    dtype: str = ""
    shape: tuple[int, ...] = ()

    @property
    def array_bytes(self) -> int:
        """Size of one sample's data; arrays and tensors only, else 0."""
        is_array = self.type_id in (FieldType.ARRAY, FieldType.TENSOR)
        return np.dtype(self.dtype).itemsize * math.prod(self.shape) if is_array else 0

    @property
    def has_data(self) -> bool:
        """Whether each sample of the field owns one entry of the allocation table."""
        return self.type_id not in (FieldType.FLOAT, FieldType.INT)


def field_row(field: Field) -> np.ndarray:
    """The (1,) ``FIELD`` that describes a column in the file."""
    row = np.zeros(1, FIELD)
    row["type_id"] = field.type_id
    row["name"][0, : len(field.name)] = np.frombuffer(field.name.encode("ascii"), np.uint8)
    if field.type_id == FieldType.ARRAY:
        description = json.dumps(np.dtype(field.dtype).descr).encode("ascii")
        arguments = np.zeros(1, ARRAY_ARGUMENTS)
        arguments["shape"][0, : len(field.shape)] = field.shape
        arguments["type_length"] = len(description)
        data = np.frombuffer(arguments.tobytes() + description, np.uint8)
        row["arguments"][0, : len(data)] = data
    return row


def record_dtype(fields: Sequence[Field]) -> np.dtype:
    """The record of one sample; its member ``f0`` belongs to the first field, and so on."""
    return np.dtype([(f"f{i}", METADATA[field.type_id]) for i, field in enumerate(fields)], align=True)


def metadata_start(num_fields: int) -> int:
    """Offset of the first sample's record, in bytes."""
    return HEADER.itemsize + num_fields * FIELD.itemsize


def align_up(offset: int, page_size: int) -> int:
    """The first page boundary at or after ``offset``."""
    return -(-offset // page_size) * page_size


def is_page_size(page_size: int) -> bool:
    """Whether ffcv accepts the page size: a power of two from 2 MiB to 2 GiB."""
    return MIN_PAGE_SIZE <= page_size <= MAX_PAGE_SIZE and page_size.bit_count() == 1
