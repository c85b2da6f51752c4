"""A folder again, byte for byte, whatever the names in the sidecar say."""

from __future__ import annotations

import os
import resource
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from beton_samples import draw_image, draw_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.beton import Beton, BetonWriter
from frl.beton.extract import extract, safe_name
from frl.errors import BetonError, WriteError

POOL = [draw_sample(i, 8 + i, 9) for i in range(4)]
ODD = [
    "../../x.jpg",
    "/etc/passwd",
    "a\0b",
    "..",
    ".",
    "",
    "c:\\x.jpg",
    "one\ntwo",
    "é" * 300,
    ".hidden",
    "a/b.jpg",
    "b.jpg",
    "b-1.jpg",
]
names_strategy = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def write(path: Path, rows: list[tuple[int, int, str]], labels: list[str] | None) -> None:
    with BetonWriter(path, capacity=len(rows), page_size=1 << 21, labels=labels) as writer:
        for picture, label, name in rows:
            sample = POOL[picture]
            writer.append(sample.encoded, sample.height, sample.width, label, name)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 2), names_strategy), min_size=1, max_size=8),
    labels=st.none() | st.lists(names_strategy, min_size=3, max_size=3, unique=True),
)
def test_every_image_comes_back_in_its_identitys_folder_and_nothing_outside(rows: list, labels: list | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "box").mkdir()
        write(root / "box" / "a.beton", rows, labels)
        before = sorted(root.rglob("*"))
        with Beton(root / "box" / "a.beton") as beton:
            assert extract(beton, root / "box" / "out") == len(rows)
        out = root / "box" / "out"
        outside = sorted(path for path in root.rglob("*") if not path.is_relative_to(out))
        assert outside == before
        files = [path for path in out.rglob("*") if path.is_file()]
        assert all(not path.is_symlink() and path.suffix == ".jpg" for path in files)
        got = {
            folder: Counter(path.read_bytes() for path in files if path.parent == folder)
            for folder in {path.parent for path in files}
        }
        unknown = Counter(POOL[picture].encoded for picture, label, _ in rows if label < 0)
        known = [Counter(POOL[picture].encoded for picture, of, _ in rows if of == label) for label in range(3)]
        assert got.pop(out, Counter()) == unknown
        assert sorted(sorted(c.elements()) for c in got.values()) == sorted(sorted(c.elements()) for c in known if c)


def test_names_as_people_gave_them_come_back(tmp_path: Path) -> None:
    rows = [(0, 0, "people/n01/0001_01.jpg"), (1, 1, "people/n02/7.png"), (2, -1, "flickr/x/9.jpg")]
    write(tmp_path / "a.beton", rows, ["people/n01", "people/n02"])
    with Beton(tmp_path / "a.beton") as beton:
        extract(beton, tmp_path / "out")
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.jpg"))
    assert found == ["9.jpg", "n01/0001_01.jpg", "n02/7.jpg"]


@given(text=st.text())
def test_safe_names_are_one_visible_name(text: str) -> None:
    safe = safe_name(text)
    assert safe and "/" not in safe and "\0" not in safe and not safe.startswith(".")
    assert len(os.fsencode(safe)) <= 200
    assert safe_name(safe) == safe


def test_raw_pixels_of_stock_ffcv_become_pngs(ffcv: ModuleType, write_stock: Callable, tmp_path: Path) -> None:
    image = draw_image(0, 12, 14)
    fields = {"image": ffcv.fields.RGBImageField(write_mode="raw"), "label": ffcv.fields.IntField()}
    write_stock(tmp_path / "stock.beton", fields, [(image, 3)])
    with Beton(tmp_path / "stock.beton") as beton:
        extract(beton, tmp_path / "out")
    assert np.array_equal(cv2.imread(str(tmp_path / "out" / "3" / "00000000.png"))[..., ::-1], image)


def test_one_flipped_byte_is_named_and_no_folder_appears(tmp_path: Path) -> None:
    write(tmp_path / "a.beton", [(0, 0, "x.jpg"), (1, 0, "y.jpg")], ["a"])
    with Beton(tmp_path / "a.beton") as beton:
        place = int(beton.pointers[1]) + 100
    with open(tmp_path / "a.beton", "r+b") as file:
        file.seek(place)
        file.write(b"\xff\xfe\xfd")
    with Beton(tmp_path / "a.beton") as beton, pytest.raises(BetonError, match=r"sample 1 \(y.jpg\)"):
        extract(beton, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_a_full_disk_and_a_folder_with_something_in_it(tmp_path: Path) -> None:
    write(tmp_path / "a.beton", [(0, 0, "x.jpg")], ["a"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("mine")
    with Beton(tmp_path / "a.beton") as beton:
        with pytest.raises(WriteError, match="full: exists already"):
            extract(beton, tmp_path / "full")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            with pytest.raises(WriteError, match="File too large"):
                extract(beton, tmp_path / "out")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not list(tmp_path.glob("*out*"))
        (tmp_path / ".out.partial").mkdir()  # as a killed run leaves it
        (tmp_path / ".out.partial" / "half.jpg").write_bytes(b"half")
        assert extract(beton, tmp_path / "out") == 1
    assert [path.name for path in (tmp_path / "out").rglob("*.jpg")] == ["x.jpg"]
