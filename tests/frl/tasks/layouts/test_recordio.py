"""``.rec`` files: records against an independent writer (``source_layouts.record``), and damage."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_layouts import record

from frl.errors import SourceError
from frl.tasks.layouts.recordio import BrokenRecord, RecordFile

MAGIC = struct.pack("<I", 0xCED7230A)


def image(label: float, data: bytes, number: int = 0) -> bytes:
    return struct.pack("<IfQQ", 0, label, number, 0) + data


def made(folder: Path, records: list[bytes], *, index: bool = True) -> RecordFile:
    data, lines = b"", []
    for number, one in enumerate(records):
        lines.append(f"{number}\t{len(data)}\n")
        data += record(one)
    (folder / "train.rec").write_bytes(data)
    (folder / "train.idx").unlink(missing_ok=True)
    if index:
        (folder / "train.idx").write_text("".join(lines))
    return RecordFile(folder / "train.rec")


pieces = st.lists(st.sampled_from([MAGIC, b"", b"x", b"ab", b"abcd", b"\x0a\x23", b"longer than one word"]), max_size=9)


@settings(max_examples=100, deadline=None)
@given(contents=st.lists(pieces.map(b"".join), min_size=1, max_size=4), indexed=st.booleans())
def test_what_was_written_is_read_with_and_without_an_index(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], indexed: bool
) -> None:
    """Also where the magic number is in the data, at any place: some records have several parts."""
    file = made(tmp_path_factory.mktemp("rec"), contents, index=indexed)
    numbers, begins = file.index
    assert numbers.tolist() == list(range(len(contents)))
    assert [file.record(begin) for begin in begins.tolist()] == contents


def test_labels_of_both_forms_and_images_behind_them(tmp_path: Path) -> None:
    several = struct.pack("<IfQQ3f", 3, 0, 2, 0, 41, 0.5, 7) + MAGIC + b"jpeg"
    file = made(tmp_path, [image(5, b"zero"), image(-1, b"one"), several])
    begins = [begin for _, begin in file.images()]
    assert [number for number, _ in file.images()] == [0, 1, 2]
    assert [file.header(begin).labels for begin in begins] == [(5,), (-1,), (41, 0.5, 7)]
    assert [file.image(begin) for begin in begins] == [b"zero", b"one", MAGIC + b"jpeg"]


def test_record_0_tells_which_are_images(tmp_path: Path) -> None:
    identity = struct.pack("<IfQQ2f", 2, 0, 3, 0, 1, 3)
    file = made(tmp_path, [struct.pack("<IfQQ2f", 2, 0, 0, 0, 3, 4), image(7, b"a"), image(8, b"b"), identity])
    assert [number for number, _ in file.images()] == [1, 2]


@pytest.mark.parametrize("first", [0, 1, 9, float("nan")])
def test_a_record_0_that_cannot_be_is_refused(tmp_path: Path, first: float) -> None:
    file = made(tmp_path, [struct.pack("<IfQQ2f", 2, 0, 0, 0, first, 4), image(7, b"a"), image(8, b"b")])
    with pytest.raises(SourceError, match=r"train\.rec: its first record"):
        list(file.images())


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ("0\t0\n1 40\n", "line 2: '1 40' is no"),
        ("0\t0\nx\t4\n", "line 2"),
        ("0\t0\n1\t99999\n", "line 2.*within the"),
        ("0\t0\n0\t40\n", "2 lines list 1 records"),
        ("", "0 lines list 0 records"),
        ("0\t0\n\u00e9\t4\n", "cannot be read"),
    ],
)
def test_a_broken_index_is_refused_by_line(tmp_path: Path, lines: str, cause: str) -> None:
    made(tmp_path, [image(1, b"one"), image(2, b"two")])
    (tmp_path / "train.idx").write_text(lines)
    with pytest.raises(SourceError, match=rf"train\.idx.*{cause}"):
        _ = RecordFile(tmp_path / "train.rec").index


def test_damage_is_said_of_its_record(tmp_path: Path) -> None:
    made(tmp_path, [image(1, b"one"), image(2, b"two" * 50)])
    path = tmp_path / "train.rec"
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    file = RecordFile(path)
    first, second = file.index[1].tolist()
    assert file.image(first) == b"one"
    with pytest.raises(BrokenRecord, match="the file ends within it"):
        file.image(second)
    with pytest.raises(BrokenRecord, match="no record begins there"):
        file.image(4)
    path.write_bytes(data[:second] + MAGIC + struct.pack("<I", 3 << 29 | 4) + b"late" + data[second:])
    with pytest.raises(BrokenRecord, match="out of order"):
        RecordFile(path).record(second)
    path.write_bytes(record(struct.pack("<IfQQ", 1 << 20, 0, 0, 0)))
    with pytest.raises(BrokenRecord, match="announces 1,048,576 labels"):
        RecordFile(path).header(0)
    path.write_bytes(record(b"short"))
    with pytest.raises(BrokenRecord, match="its 5 bytes hold no header"):
        RecordFile(path).header(0)


def test_what_is_no_record_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be opened"):
        RecordFile(tmp_path / "train.rec")
    (tmp_path / "train.rec").write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    with pytest.raises(SourceError, match="does not begin as a RecordIO file does"):
        RecordFile(tmp_path / "train.rec")
    (tmp_path / "train.rec").write_bytes(record(b"good") + b"then nonsense")
    with pytest.raises(SourceError, match="at byte 12: no record begins there"):
        _ = RecordFile(tmp_path / "train.rec").index
