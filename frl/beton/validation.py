"""Checks a ``.beton`` before anybody trusts a number in it.

Every count and pointer is compared with the size of the file before memory in proportion to it is touched.
The checks run on whole columns with NumPy, so a million samples take a fraction of a second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from frl.beton.layout import (
    ALLOCATION,
    ARRAY_ARGUMENTS,
    FIELD,
    HEADER,
    MAX_PIXELS,
    METADATA,
    NUMBERS,
    VERSION,
    Field,
    FieldType,
    ImageMode,
    is_page_size,
    metadata_start,
    record_dtype,
)
from frl.errors import BetonError

MAX_FIELDS = 256
FETCH_AGAIN = "Copy the file again from where it is intact, or write it again"

# ffcv stores numpy's `dtype.descr` of a plain type as JSON: a list with one unnamed member.
_ARRAY_TYPE = re.compile(r'\[\["", "([<>|=]?[a-zA-Z]\d{0,9})"\]\]')


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The parts of a ``.beton``, as views into its bytes; sizes and pointers are in bytes.

    Attributes:
        path: names the file in errors.
        page_size: a power of two.
        fields: the columns.
        records: (N,) metadata; member ``f<i>`` belongs to ``fields[i]``.
        table_start: offset of the allocation table, where the data ends.
        allocations: (A,) the allocation table.
    """

    path: Path
    page_size: int
    fields: tuple[Field, ...]
    records: np.ndarray
    table_start: int
    allocations: np.ndarray

    @property
    def data_start(self) -> int:
        """Lowest offset at which data may lie."""
        return metadata_start(len(self.fields)) + self.records.nbytes


def parse(path: Path, data: np.ndarray) -> Contents:
    """Find the parts of a file and check that they fit into it.

    Args:
        path: names the file in errors.
        data: (size,) uint8, the bytes of the file; only the header and the field table are read.

    Raises:
        BetonError: the file is truncated, has another format, or its header contradicts its size.
    """
    _check_size(path, data, HEADER.itemsize, "its header alone")
    header = data[: HEADER.itemsize].view(HEADER)[0]
    version, num_fields = int(header["version"]), int(header["num_fields"])
    page_size, num_samples = int(header["page_size"]), int(header["num_samples"])
    table_start = int(header["alloc_table_ptr"])
    if version != VERSION:
        _refuse(path, f"its version is {version}, not {VERSION}: not a .beton, or of another ffcv", "Write it again")
    if not 1 <= num_fields <= MAX_FIELDS:
        _refuse(path, f"its header claims {num_fields} fields, outside 1 to {MAX_FIELDS}")
    if not is_page_size(page_size):
        _refuse(path, f"its page size, {page_size} bytes, is not a power of two from 2 MiB to 2 GiB")
    if num_samples == 0:
        _refuse(path, "it holds no samples", "Write it again from a source with images")

    records_start = metadata_start(num_fields)
    _check_size(path, data, records_start, f"its header and {num_fields} fields alone")
    fields = _parse_fields(path, page_size, data[HEADER.itemsize : records_start].view(FIELD))
    dtype = record_dtype(fields)
    records_stop = records_start + num_samples * dtype.itemsize
    entries = num_samples * sum(field.has_data for field in fields)
    expected = table_start + entries * ALLOCATION.itemsize
    if table_start < records_stop:
        _refuse(path, f"the metadata of {num_samples} samples would overlap the allocation table at {table_start}")
    if data.size != expected:
        kind = "it is truncated" if data.size < expected else "it has bytes after its end"
        _refuse(path, f"{kind}, or its header is damaged: expected {expected} bytes, found {data.size}")
    return Contents(
        path=path,
        page_size=page_size,
        fields=fields,
        records=data[records_start:records_stop].view(dtype),
        table_start=table_start,
        allocations=data[table_start:].view(ALLOCATION),
    )


def check_data(contents: Contents) -> dict[str, np.ndarray]:
    """Check the allocation table, and that every sample's pointers lead to that sample's data.

    Returns:
        for every image field, the (N,) uint64 sizes of the encoded images.

    Raises:
        BetonError: naming the first sample or entry that is wrong.
    """
    table = _sorted_table(contents)
    sizes = {}
    for i, field in enumerate(contents.fields):
        column = contents.records[f"f{i}"]
        match field.type_id:
            case FieldType.IMAGE:
                nbytes = _locate(contents, table, field, np.arange(len(column), dtype=np.uint64), column["data_ptr"])
                _check_images(contents.path, field, column, nbytes)
                sizes[field.name] = nbytes
            case FieldType.BYTES | FieldType.JSON:
                # The place of an empty piece means nothing: ffcv may put it before the first page.
                filled = np.flatnonzero(column["size"]).astype(np.uint64)
                nbytes = _locate(contents, table, field, filled, column["ptr"][filled])
                _check_stated(contents.path, field, filled, nbytes, column["size"][filled])
            case FieldType.ARRAY | FieldType.TENSOR if field.array_bytes:
                samples = np.arange(len(column), dtype=np.uint64)
                nbytes = _locate(contents, table, field, samples, column)
                _check_stated(contents.path, field, samples, nbytes, np.full(len(column), field.array_bytes, "u8"))
    return sizes


def _refuse(path: Path, cause: str, remedy: str = FETCH_AGAIN) -> NoReturn:
    raise BetonError(path, cause, f"{remedy}.")


def _check_size(path: Path, data: np.ndarray, needed: int, what: str) -> None:
    if data.size < needed:
        _refuse(path, f"it is truncated: expected at least {needed} bytes for {what}, found {data.size}")


def _first(wrong: np.ndarray) -> int | None:
    """Index of the first true element, if there is one."""
    return int(wrong.argmax()) if wrong.any() else None


def _parse_fields(path: Path, page_size: int, table: np.ndarray) -> tuple[Field, ...]:
    fields: list[Field] = []
    for i, entry in enumerate(table):
        raw_name, type_id = entry["name"].tobytes().split(b"\0")[0], int(entry["type_id"])
        if not raw_name.isascii() or not raw_name.decode("ascii").isprintable():
            _refuse(path, f"the name of field {i}, {raw_name!r}, is not printable ASCII")
        name = raw_name.decode("ascii")
        if any(field.name == name for field in fields):
            _refuse(path, f"two of its fields are called {name!r}")
        if type_id not in METADATA:
            _refuse(
                path,
                f"field {name!r} has the custom or unknown type {type_id}, whose layout the file does not state",
                "Write it again without this field",
            )
        kind = FieldType(type_id)
        dtype: str = NUMBERS.get(kind, "")
        shape: tuple[int, ...] = ()
        if kind in (FieldType.ARRAY, FieldType.TENSOR):
            dtype, shape = _array_type(path, name, entry["arguments"])
        elif entry["arguments"].any():
            _refuse(path, f"field {name!r} of type {kind.name} has arguments, which this type never has")
        field = Field(name=name, type_id=kind, dtype=dtype, shape=shape)
        if field.array_bytes > page_size:
            _refuse(path, f"an array of field {name!r} has {field.array_bytes} bytes, more than a page of {page_size}")
        fields.append(field)
    return tuple(fields)


def _array_type(path: Path, name: str, arguments: np.ndarray) -> tuple[str, tuple[int, ...]]:
    """The numpy type and the shape of one array, from the field's arguments."""
    head, tail = arguments[: ARRAY_ARGUMENTS.itemsize].view(ARRAY_ARGUMENTS)[0], arguments[ARRAY_ARGUMENTS.itemsize :]
    description = tail.tobytes()[: int(head["type_length"])].decode("latin-1")
    found = _ARRAY_TYPE.fullmatch(description)
    try:
        dtype = np.dtype(found[1]) if found else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.itemsize == 0:
        _refuse(path, f"field {name!r} has the unreadable array type {description[:40]!r}")
    return dtype.str, tuple(int(length) for length in np.trim_zeros(head["shape"], "b"))


def _sorted_table(contents: Contents) -> np.ndarray:
    """The allocation table, checked, in the order of the data.

    Among entries at one place the one with data comes last: ffcv gives a sample's empty piece the place of the next.
    """
    table = contents.allocations
    if len(table) == 0:
        return table
    pointers, sizes = table["ptr"], table["size"]
    _check_entries(contents, table["sample_id"] >= len(contents.records), "names a sample that does not exist")
    _check_entries(contents, (sizes > contents.page_size) | (pointers > contents.table_start), "lies outside the data")
    # Sums cannot overflow from here on: both terms are bounded by the size of the file.
    filled, last = sizes > 0, pointers + np.maximum(sizes, 1) - 1
    outside = (pointers < contents.data_start) | (last >= contents.table_start)
    _check_entries(contents, filled & outside, "lies outside the data")
    shift = contents.page_size.bit_length() - 1
    _check_entries(contents, filled & (pointers >> shift != last >> shift), "crosses the end of a page")

    if (pointers[1:] <= pointers[:-1]).any():
        table = table[np.lexsort((sizes, pointers))]
    stops = table["ptr"] + table["size"]
    if (i := _first(stops[:-1] > table["ptr"][1:])) is not None:
        owners = f"{table['sample_id'][i]} and {table['sample_id'][i + 1]}"
        _refuse(contents.path, f"the data of samples {owners} overlap at {table['ptr'][i + 1]}")
    return table


def _check_entries(contents: Contents, wrong: np.ndarray, what: str) -> None:
    if (i := _first(wrong)) is not None:
        sample, pointer, size = contents.allocations[i].tolist()
        entry = f"entry {i} of the allocation table ({size} bytes of sample {sample} at {pointer})"
        _refuse(contents.path, f"{entry} {what}")


def _locate(
    contents: Contents, table: np.ndarray, field: Field, samples: np.ndarray, pointers: np.ndarray
) -> np.ndarray:
    """Sizes of the data of ``samples`` at ``pointers``; each must be allocated, and to that sample."""
    places = np.searchsorted(table["ptr"], pointers, side="right") - 1
    found = table[np.maximum(places, 0)]
    if (i := _first((found["ptr"] != pointers) | (found["sample_id"] != samples))) is not None:
        cause = f"its {field.name!r} points to {pointers[i]}, where the allocation table has no data of it"
        _refuse(contents.path, f"sample {samples[i]}: {cause}")
    return np.ascontiguousarray(found["size"])


def _check_stated(path: Path, field: Field, samples: np.ndarray, nbytes: np.ndarray, stated: np.ndarray) -> None:
    if (i := _first(nbytes != stated)) is not None:
        cause = f"its {field.name!r} has {nbytes[i]} bytes in the allocation table, {stated[i]} in the metadata"
        _refuse(path, f"sample {samples[i]}: {cause}")


def _check_images(path: Path, field: Field, column: np.ndarray, nbytes: np.ndarray) -> None:
    heights, widths = column["height"].astype(np.uint64), column["width"].astype(np.uint64)
    pixels = heights * widths
    raw = column["mode"] == ImageMode.RAW
    if (i := _first(column["mode"] > max(ImageMode))) is not None:
        _refuse(path, f"sample {i}: its {field.name!r} has the unknown mode {column['mode'][i]}")
    if (i := _first((pixels == 0) | (pixels > MAX_PIXELS))) is not None:
        _refuse(path, f"sample {i}: its {field.name!r} claims {heights[i]} x {widths[i]} pixels, not 1 to {MAX_PIXELS}")
    if (i := _first((nbytes == 0) | (raw & (nbytes != 3 * pixels)))) is not None:
        _refuse(path, f"sample {i}: its {field.name!r} of {heights[i]} x {widths[i]} pixels has {nbytes[i]} bytes")
