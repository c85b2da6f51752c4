"""A damaged file is refused, or read as it stands; it never costs more than its size."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from beton_samples import Sample
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from frl.beton import Beton
from frl.errors import BetonError

# Facts of ffcv's format for a file of one image and one integer, in bytes; written out again as a reference.
HEADER_BYTES, FIELD_BYTES, RECORD_BYTES, ENTRY_BYTES = 24, 1041, 24, 24
RECORDS = HEADER_BYTES + 2 * FIELD_BYTES


def read_reference(data: bytes) -> tuple[list[tuple[int, int, int, int, int]], dict[int, int]]:
    """The records (mode, width, height, pointer, label) and the allocated size by pointer, decoded with struct."""
    _, fields, _, samples, table = struct.unpack_from("<HHIQQ", data)
    assert fields == 2
    records = [struct.unpack_from("<BHHQ3xq", data, RECORDS + i * RECORD_BYTES) for i in range(samples)]
    entries = [struct.unpack_from("<QQQ", data, at) for at in range(table, len(data), ENTRY_BYTES)]
    return records, {pointer: size for _, pointer, size in entries}


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def table_start(path: Path) -> int:
    return struct.unpack_from("<Q", path.read_bytes(), 16)[0]


# ---------------------------------------------------------------- R1


@pytest.mark.parametrize("lost", [1, 24, 100, "half", "all"])
def test_a_truncated_file_names_both_sizes(bare_path: Path, lost: int | str) -> None:
    size = bare_path.stat().st_size
    kept = {"half": size // 2, "all": 0}.get(str(lost)) if isinstance(lost, str) else size - lost
    assert kept is not None
    os.truncate(bare_path, kept)
    expected = f"at least {HEADER_BYTES}" if lost == "all" else str(size)
    with pytest.raises(BetonError, match=f"{bare_path}: it is truncated.*expected {expected} bytes.*found {kept}\\."):
        Beton(bare_path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_every_truncation_is_refused(bare_path: Path, share: float) -> None:
    whole = bare_path.read_bytes()
    os.truncate(bare_path, int(share * len(whole)))
    try:
        with pytest.raises(BetonError, match="truncated"):
            Beton(bare_path)
    finally:
        bare_path.write_bytes(whole)


def test_bytes_after_the_end_are_refused(bare_path: Path) -> None:
    with open(bare_path, "ab") as file:
        file.write(bytes(24))
    with pytest.raises(BetonError, match="bytes after its end"):
        Beton(bare_path)


# ---------------------------------------------------------------- R2


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, int, bytes]:
    """A region, a share of it in 1/4096, and bytes to put there: random, or numbers near what a parser trips over."""
    odd = st.sampled_from([0, 1, 2, 0x7F, 0xFF, 0xFFFF, 1 << 21, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1])
    number = st.tuples(odd, st.integers(-2, 2), st.sampled_from([1, 2, 4, 8])).map(
        lambda t: ((t[0] + t[1]) % (1 << 8 * t[2])).to_bytes(t[2], "little")
    )
    region = draw(st.sampled_from(["header", "fields", "names", "metadata", "table"]))
    return region, draw(st.integers(0, 4095)), draw(st.one_of(st.binary(min_size=1, max_size=8), number))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(mutations(), min_size=1, max_size=3))
def test_mutations_are_refused_or_read_as_they_stand(two_gigabytes: None, bare_path: Path, changes: list) -> None:
    whole = bare_path.read_bytes()
    count, start = struct.unpack_from("<QQ", whole, 8)
    regions = {
        "header": (0, HEADER_BYTES),
        "fields": (HEADER_BYTES, 2 * FIELD_BYTES),
        "names": (HEADER_BYTES, 20),
        "metadata": (RECORDS, count * RECORD_BYTES),
        "table": (start, len(whole) - start),
    }
    mutated = bytearray(whole)
    for region, share, data in changes:
        first, length = regions[region]
        offset = first + share * length // 4096
        mutated[offset : offset + len(data)] = data
    mutated = mutated[: len(whole)]
    for offset in (0, start):
        length = RECORDS + count * RECORD_BYTES if offset == 0 else len(whole) - start
        overwrite(bare_path, offset, mutated[offset : offset + length])
    try:
        beton = Beton(bare_path)
    except BetonError as error:
        event("refused")
        assert error.subject == str(bare_path)
    else:
        event("read")
        records, sizes = read_reference(bytes(mutated))
        assert list(zip(beton.modes, beton.widths, beton.heights, beton.pointers, beton.labels, strict=True)) == [
            # The label is optional: a field table may come to call it something else.
            (*record[:4], record[4] if any(field.type_id == 1 for field in beton.fields) else -1)
            for record in records
        ]
        for i, record in enumerate(records):
            assert beton.encoded(i).tobytes() == mutated[record[3] : record[3] + sizes[record[3]]]
    finally:
        overwrite(bare_path, 0, whole[: RECORDS + count * RECORD_BYTES])
        overwrite(bare_path, start, whole[start:])


def test_the_manifest_betrays_a_change_that_looks_valid(beton_path: Path) -> None:
    overwrite(beton_path, RECORDS + 16, struct.pack("<q", 2))  # Another label for the first sample.
    with pytest.raises(BetonError, match=r"differ from faces\.beton\.json"):
        Beton(beton_path)
    (beton_path.parent / "faces.beton.json").unlink()
    assert Beton(beton_path).labels[0] == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format": "frl-beton", "version": 2}', "[" * 100_000])
def test_a_manifest_that_is_none_is_named(beton_path: Path, text: str) -> None:
    (beton_path.parent / "faces.beton.json").write_text(text)
    with pytest.raises(BetonError, match=r"faces\.beton\.json: is not a readable manifest"):
        Beton(beton_path)


# ---------------------------------------------------------------- R4, and each rule on its own


@pytest.mark.parametrize(
    ("offset", "data", "cause"),
    [
        (0, struct.pack("<H", 3), "version is 3"),
        (2, struct.pack("<H", 0), "0 fields"),
        (2, struct.pack("<H", 65535), "65535 fields"),
        (4, struct.pack("<I", 0), "page size, 0 bytes"),
        (4, struct.pack("<I", 3 << 20), "page size, 3145728 bytes"),
        (4, struct.pack("<I", 1 << 20), "page size, 1048576 bytes"),
        (8, struct.pack("<Q", 0), "no samples"),
        (8, struct.pack("<Q", 1 << 31), "metadata of 2147483648 samples would overlap"),
        (8, struct.pack("<Q", (1 << 64) - 1), "metadata of .* samples would overlap"),
        (16, struct.pack("<Q", 10), "would overlap the allocation table at 10"),
        (16, struct.pack("<Q", 1 << 63), "expected 9223372036854775976 bytes"),
        (HEADER_BYTES, b"\xff", "custom or unknown type 255"),
        (HEADER_BYTES, b"\x07", "custom or unknown type 7"),
        (HEADER_BYTES + 1, b"\xc3", "not printable ASCII"),
        (HEADER_BYTES + 1, b"label\0", "two of its fields are called 'label'"),
        (HEADER_BYTES + 17, b"\1", "'image' of type IMAGE has arguments"),
        (HEADER_BYTES + FIELD_BYTES, b"\4", "unreadable array type"),
        (RECORDS + RECORD_BYTES, b"\2", "sample 1: its 'image' has the unknown mode 2"),
        (RECORDS + RECORD_BYTES + 1, struct.pack("<HH", 60000, 60000), "sample 1: .* 60000 x 60000"),
        (RECORDS + RECORD_BYTES + 1, struct.pack("<HH", 0, 9), "sample 1: .* 9 x 0"),
        (RECORDS + RECORD_BYTES, b"\1", r"sample 1: its 'image' of 19 x 38 pixels has \d+ bytes"),
        (RECORDS + RECORD_BYTES + 5, struct.pack("<Q", 1 << 60), "sample 1: its 'image' points to 1152921504606846976"),
        (RECORDS + RECORD_BYTES + 5, struct.pack("<Q", 1 << 21), "sample 1: its 'image' points to 2097152"),
    ],
)
def test_header_fields_and_metadata(two_gigabytes: None, bare_path: Path, offset: int, data: bytes, cause: str) -> None:
    overwrite(bare_path, offset, data)
    with pytest.raises(BetonError, match=cause) as refusal:
        Beton(bare_path)
    assert refusal.value.subject == str(bare_path)


@pytest.mark.parametrize(
    ("member", "value", "cause"),
    [
        (0, 7, "sample that does not exist"),
        (0, (1 << 64) - 1, "sample that does not exist"),
        (0, 3, "sample 2: its 'image' points to"),
        (1, 0, "lies outside the data"),
        (1, (1 << 64) - 1, "lies outside the data"),
        (2, (1 << 64) - 1, "lies outside the data"),
        (2, 1 << 20, "lies outside the data"),
        (2, 0, r"pixels has 0 bytes"),
    ],
)
def test_allocation_table(bare_path: Path, member: int, value: int, cause: str) -> None:
    entry = table_start(bare_path) + 2 * ENTRY_BYTES
    overwrite(bare_path, entry + 8 * member, struct.pack("<Q", value))
    with pytest.raises(BetonError, match=cause):
        Beton(bare_path)


def test_overlapping_data(bare_path: Path) -> None:
    entry = table_start(bare_path) + 2 * ENTRY_BYTES
    _, _, size = struct.unpack_from("<QQQ", bare_path.read_bytes(), entry)
    overwrite(bare_path, entry + 16, struct.pack("<Q", size + 1))
    with pytest.raises(BetonError, match="data of samples 2 and 3 overlap"):
        Beton(bare_path)


def test_data_across_a_page(bare_path: Path, samples: list[Sample]) -> None:
    # Move the first page's end into the data: what began at 2 MiB now begins 100 bytes before 4 MiB.
    whole = bytearray(bare_path.read_bytes())
    start, shift = table_start(bare_path), (1 << 21) - 100
    moved = whole[: 1 << 21] + bytes(shift) + whole[1 << 21 :]
    struct.pack_into("<Q", moved, 16, start + shift)
    for i in range(len(samples)):
        for at in (RECORDS + i * RECORD_BYTES + 5, start + shift + i * ENTRY_BYTES + 8):
            struct.pack_into("<Q", moved, at, struct.unpack_from("<Q", moved, at)[0] + shift)
    bare_path.write_bytes(moved)
    with pytest.raises(BetonError, match="sample 0 at 4194204.*crosses the end of a page"):
        Beton(bare_path)


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 63, 1 << 63), (3,), (0, 5)])
@pytest.mark.parametrize("description", [b'[["", "<f4"]]', b'[["", "<zz"]]', b'[["", "|V999999999"]]', b"[" * 700])
def test_hostile_array_fields(bare_path: Path, shape: tuple[int, ...], description: bytes) -> None:
    arguments = np.zeros(33, "<u8")
    arguments[: len(shape)] = shape
    arguments[32] = len(description)
    field = b"\4array" + bytes(11) + arguments.tobytes() + description
    overwrite(bare_path, HEADER_BYTES + FIELD_BYTES, field)
    with pytest.raises(BetonError, match=str(bare_path)):
        Beton(bare_path)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "photo.beton"
    path.write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(5000))
    with pytest.raises(BetonError, match="is no .beton: it is a picture"):
        Beton(path)
