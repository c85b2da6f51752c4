"""Tars: what tarfile reads of sound ones is read; what is damaged, or means harm, is named; nothing is unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frl.errors import SourceError
from writers.sources import tar_members
from writers.sources.source import Entry, Stream
from writers.sources.tar import CompressedTars, Tars, open_tars

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": lambda data: data,
    ".tar.gz": lambda data: gzip.compress(data, 1),
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def tar_of(members: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar as Python's own module writes it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return stream.getvalue()


def store(path: Path, data: bytes) -> Tars | CompressedTars:
    path.write_bytes(data)
    return open_tars(str(path), (str(path),))


def read(tars: Tars | CompressedTars) -> dict[str, bytes]:
    """The sound images by name."""
    sound = [entry for entry in tars.entries() if not entry.fault]
    if isinstance(tars, Tars):
        return {entry.path: tars.read(entry.place) for entry in sound}
    data = dict(tars.contents())
    assert sorted(data) == list(data) == [entry.place for entry in sound]
    return {entry.path: data[entry.place] for entry in sound}


def faults(tars: Tars | CompressedTars) -> dict[str, str]:
    return {entry.path: entry.fault for entry in tars.entries() if entry.fault}


NAME = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=90
)
PATH = st.lists(NAME.filter(lambda part: not part.startswith(".")), min_size=1, max_size=4).map("/".join)
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.dictionaries(PATH.map(lambda path: f"{path}.jpg"), st.binary(max_size=1300), min_size=1, max_size=5),
    kind=st.sampled_from(FORMATS[1:]),
    suffix=st.sampled_from(list(PACKERS)),
)
def test_whatever_tarfile_writes_is_read(tmp_path: Path, members: dict[str, bytes], kind: int, suffix: str) -> None:
    tars = store(tmp_path / "faces", PACKERS[suffix](tar_of(members, kind)))
    assert isinstance(tars, Stream) == (suffix != ".tar")
    assert read(tars) == members
    assert faults(tars) == {}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".tar", ".tar.gz"]))
def test_damage_is_named_and_never_hangs_or_escapes(tmp_path: Path, data: st.DataObject, suffix: str) -> None:
    """Any bytes of the archive may change and any part of its end be missing."""
    members = {f"n{i}/face{'x' * 20 * i}.jpg": bytes([i]) * (300 * i) for i in range(5)}
    whole = bytearray(PACKERS[suffix](tar_of(members)))
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[position] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(whole)))
    path = tmp_path / "faces"
    try:
        tars = store(path, bytes(whole[:kept]))
        found, named = read(tars), faults(tars)
    except SourceError as error:
        assert str(path) in str(error)
    else:
        assert found.keys() >= members.keys() or named
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_tar_cut_in_the_middle_gives_all_images_before_the_cut(tmp_path: Path, suffix: str) -> None:
    members = {f"{i:02}.jpg": os.urandom(3000) for i in range(40)}
    packed = PACKERS[suffix](tar_of(members))
    tars = store(tmp_path / f"faces{suffix}", packed[: len(packed) * 3 // 4])
    found = read(tars)
    assert found == {name: members[name] for name in list(members)[: len(found)]}
    assert len(found) >= 28
    (first, reason), *_ = faults(tars).items()
    assert first in ("(end of archive)", list(members)[len(found)]) and reason


def test_a_cut_between_two_members_is_noticed(tmp_path: Path) -> None:
    whole = tar_of({"1.jpg": b"x" * 512, "2.jpg": b"y" * 512})
    tars = store(tmp_path / "faces.tar", whole[:1024])
    assert read(tars) == {"1.jpg": b"x" * 512}
    assert faults(tars) == {"(end of archive)": "it has no end mark: the rest is missing"}


def test_a_damaged_header_loses_its_own_member_only(tmp_path: Path) -> None:
    whole = bytearray(tar_of({f"{i}.jpg": bytes([i]) * 512 for i in range(4)}))
    whole[1024 + 124] ^= 1  # in the size of the second member
    tars = store(tmp_path / "faces.tar", bytes(whole))
    assert read(tars) == {f"{i}.jpg": bytes([i]) * 512 for i in (0, 2, 3)}
    assert faults(tars) == {"(end of archive)": "2 damaged blocks, and what they held, are lost"}


def test_a_flipped_byte_in_a_gzip_is_noticed(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(tar_of({f"{i}.jpg": os.urandom(2000) for i in range(9)}), 0))
    packed[len(packed) // 2] ^= 1
    assert "CRC check failed" in faults(store(tmp_path / "faces.tar.gz", bytes(packed)))["(end of archive)"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "name", ["1.jpg", "n1/1.jpg", f"{'n' * 80}/{'m' * 60}.jpg", "n1//1.jpg", "./1.jpg", "a..b.jpg"]
)
def test_an_ordinary_header_is_read_as_tarfile_reads_it(kind: int, name: str) -> None:
    """The short cut for ordinary headers, beside the long way; nothing with a flipped bit takes it."""
    header = tarfile.TarInfo(name)
    header.size = 0o7654321
    block = header.tobuf(kind)[-512:]  # after its extended headers
    found = tar_members._plain_file(block, 512)
    parsed = tar_members._parse(block)
    assert parsed is not None
    assert found in (None, tar_members._describe(parsed, {}, 512))
    assert (found is None) == (
        not parsed.name.isascii() or parsed.name != os.path.normpath(parsed.name) or ".." in name
    )
    for place in range(0, 512, 7):
        damaged = bytearray(block)
        damaged[place] ^= 4
        assert tar_members._plain_file(bytes(damaged), 512) is None


def test_two_tars_put_together_are_read_to_the_end(tmp_path: Path) -> None:
    """``cat a.tar b.tar``: behind the end of the first begins the second."""
    tars = store(tmp_path / "faces.tar", tar_of({"1.jpg": b"one"}) + tar_of({"2.jpg": b"two"}))
    assert read(tars) == {"1.jpg": b"one", "2.jpg": b"two"} and faults(tars) == {}


def evil(archive: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    """Add members that mean harm; yield their names and what is said of them."""

    def add(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
        header = tarfile.TarInfo(name)
        header.type, header.linkname, header.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(header, io.BytesIO(b"evil"))

    for name in ("../outside.jpg", "/tmp/frl-absolute.jpg", "n1/../../outside.jpg", "../passwd"):
        add(name)
        yield name, "its path leads out of the archive"
    add("n1/link.jpg", tarfile.SYMTYPE, "/etc/passwd")
    yield "n1/link.jpg", "a link to '/etc/passwd': links in archives are not followed"
    add("n1/hard.jpg", tarfile.LNKTYPE, "n1/good.jpg")
    yield "n1/hard.jpg", "a link to 'n1/good.jpg': links in archives are not followed"
    add("n1/pipe.jpg", tarfile.FIFOTYPE)
    yield "n1/pipe.jpg", "no regular file"
    add("n1/device.jpg", tarfile.CHRTYPE)
    yield "n1/device.jpg", "no regular file"


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_members_that_mean_harm_are_named_and_nothing_is_written(tmp_path: Path, suffix: str) -> None:
    stream = io.BytesIO(tar_of({"n1/good.jpg": b"good"}))
    with tarfile.open(fileobj=stream, mode="a") as archive:
        expected = dict(evil(archive))
    tars = store(tmp_path / f"faces{suffix}", PACKERS[suffix](stream.getvalue()))
    assert read(tars) == {"n1/good.jpg": b"good"}
    assert faults(tars) == expected
    assert [path.name for path in tmp_path.iterdir()] == [f"faces{suffix}"]
    assert not Path("/tmp/frl-absolute.jpg").exists() and not (tmp_path.parent / "outside.jpg").exists()


def test_a_size_that_cannot_be_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("huge.jpg")
    header.size = 1 << 40
    tars = store(tmp_path / "faces.tar", header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    assert list(tars.entries()) == [Entry("huge.jpg", (0, 512, 1 << 40), "the archive ends within it")]


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", os.urandom(5000), gzip.compress(b"no tar"), b"\x1f\x8bzip"],
    ids=["empty", "a web page", "noise", "gzip of a text", "a cut gzip"],  # the same ones in every process
)
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    tars = store(tmp_path / "faces.tar.gz", content)
    with pytest.raises(SourceError, match=r"faces.tar.gz: (is no tar|cannot be decompressed)"):
        list(tars.entries())


def test_hidden_files_and_other_files_are_left_out(tmp_path: Path) -> None:
    tars = store(tmp_path / "faces.tar", tar_of({"./a/._1.jpg": b"mac", "./a/1.jpg": b"one", "readme.txt": b"hello"}))
    assert read(tars) == {"a/1.jpg": b"one"} and faults(tars) == {}
