"""What is particular to insightface's training sets; the rest is said of every source in ``test_every_source.py``."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from pictures import encode, picture
from PIL import Image
from source_layouts import LAYOUTS, numbered

from frl.errors import SourceError
from writers.reject import Reject
from writers.sources import open_source
from writers.sources.rec import Rec

IMAGES = {f"P{i % 3}/{i}.png": encode(picture(20 + i, 24), "PNG") for i in range(5)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(LAYOUTS["rec"].build(tmp_path, IMAGES))


@pytest.mark.parametrize("address", ["{0}", "rec:{0}", "{0}/train.rec", "rec:{0}/train.rec"])
def test_the_folder_and_the_file_are_the_same_source(folder: Path, address: str) -> None:
    source = open_source(address.format(folder))
    assert isinstance(source, Rec)
    found = list(source.candidates())
    assert [candidate.name for candidate in found] == [f"{number:08}" for number in range(1, 6)]
    assert [candidate.identity for candidate in found] == [numbered(path) for path in IMAGES]
    assert [source.store.read(candidate.place) for candidate in found] == list(IMAGES.values())


def test_without_an_index_the_records_are_looked_for(folder: Path) -> None:
    before = list(open_source(f"rec:{folder}").candidates())
    (folder / "train.idx").unlink()
    assert list(open_source(f"rec:{folder}").candidates()) == before


def test_red_and_blue_are_exchanged_without_loss(folder: Path) -> None:
    source = open_source(f"rec-bgr:{folder}")
    for candidate, data in zip(source.candidates(), IMAGES.values(), strict=True):
        swapped = np.asarray(Image.open(io.BytesIO(source.store.read(candidate.place))))
        assert np.array_equal(swapped[:, :, ::-1], np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_a_damaged_record_is_rejected_and_the_others_are_read(folder: Path) -> None:
    source = open_source(f"rec:{folder}")
    places = [candidate.place for candidate in source.candidates()]
    with open(folder / "train.rec", "r+b") as file:
        file.seek(places[2])
        file.write(bytes(4))
    found = list(open_source(f"rec:{folder}").candidates())
    assert [candidate.fault for candidate in found if candidate.fault] == [
        "its record is damaged: no record begins there"
    ]
    assert found[2].fault
    with pytest.raises(Reject, match="its record is damaged: no record begins there"):
        source.store.read(places[2])
    assert source.store.read(places[3]) == list(IMAGES.values())[3]


def test_a_set_that_is_cut_off_is_refused_by_its_index(folder: Path) -> None:
    os.truncate(folder / "train.rec", (folder / "train.rec").stat().st_size // 2)
    with pytest.raises(SourceError, match=r"train\.idx, line \d: .* within the [\d,]+ bytes of the records"):
        list(open_source(f"rec:{folder}").candidates())


def test_verification_sets_beside_are_named_and_other_folders_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "lfw.bin").write_bytes(b"")
    source = open_source(f"rec:{folder}")
    assert isinstance(source, Rec)
    assert [remark.partition(": ")[2] for remark in source.remarks()] == [
        "lfw.bin not read; frl evaluate verification --protocol bin reads them"
    ]
    (tmp_path / "other").mkdir()
    with pytest.raises(SourceError, match=r"has no train\.rec"):
        open_source(f"rec:{tmp_path / 'other'}")
