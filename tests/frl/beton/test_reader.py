"""Reading what stock ffcv and our writer wrote."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from beton_samples import Sample, draw_image, draw_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.beton import Beton, BetonWriter, verify
from frl.beton.facts import gather
from frl.beton.layout import FieldType
from frl.beton.manifest import manifest_path, samples_path
from frl.beton.samples import stored_samples
from frl.errors import BetonError

ROOT = Path(__file__).resolve().parents[3]
SMART_BYTES = 1500
"""ffcv's `smart` mode writes larger images as JPEGs, the others raw."""

Write = Callable[[Path, dict, list[tuple]], None]


@st.composite
def stock_tables(draw: st.DrawFn) -> tuple[list[str], list[tuple[int, int]], str]:
    """Field kinds in some order with one image among them, image sizes, and ffcv's mode of writing them."""
    others = draw(st.lists(st.sampled_from(["float", "bytes", "array", "json", "tensor"]), max_size=3, unique=True))
    label = draw(st.sampled_from([[], ["int"]]))
    kinds = draw(st.permutations(["image", *others, *label]))
    sizes = draw(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6))
    return kinds, sizes, draw(st.sampled_from(["jpg", "raw", "smart"]))


def stock_field(ffcv: ModuleType, kind: str, mode: str) -> object:
    fields = ffcv.fields
    return {
        "image": lambda: fields.RGBImageField(write_mode=mode, smart_threshold=SMART_BYTES),
        "int": fields.IntField,
        "float": fields.FloatField,
        "bytes": fields.BytesField,
        "json": fields.JSONField,
        "array": lambda: fields.NDArrayField(np.dtype("<f4"), (2, 3)),
        "tensor": lambda: fields.TorchTensorField(torch.int32, (5,)),
    }[kind]()


def stock_value(kind: str, i: int, size: tuple[int, int]) -> object:
    """The value of row ``i``; byte strings are empty every other row, which stock ffcv places oddly."""
    return {
        "image": draw_image(i, *size),
        "int": 1000 - i,
        "float": i / 3,
        "bytes": np.full(i % 2 * 7, i, np.uint8),
        "json": {"row": i},
        "array": np.full((2, 3), i, np.float32),
        "tensor": torch.full((5,), i, dtype=torch.int32),
    }[kind]


@settings(max_examples=15, deadline=None)
@given(table=stock_tables())
def test_reads_what_stock_ffcv_writes(ffcv: ModuleType, write_stock: Write, table: tuple) -> None:
    kinds, sizes, mode = table
    jpg = [mode == "jpg" or mode == "smart" and 3 * h * w > SMART_BYTES for h, w in sizes]
    rows = [tuple(stock_value(kind, i, size) for kind in kinds) for i, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stock.beton"
        write_stock(path, {kind: stock_field(ffcv, kind, mode) for kind in kinds}, rows)
        with Beton(path) as beton:
            assert [field.name for field in beton.fields] == list(kinds)
            assert beton.heights.tolist() == [height for height, _ in sizes]
            assert beton.widths.tolist() == [width for _, width in sizes]
            assert beton.max_side == max(max(size) for size in sizes)
            assert beton.modes.tolist() == [0 if is_jpg else 1 for is_jpg in jpg]
            assert beton.labels.tolist() == [1000 - i if "int" in kinds else -1 for i in range(len(sizes))]
            for i, size in enumerate(sizes):
                image = draw_image(i, *size)
                jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
                assert beton.encoded(i).tobytes() == (jpeg.tobytes() if jpg[i] else image.tobytes())


def test_reads_pages_of_several_stock_workers(ffcv: ModuleType, tmp_path: Path) -> None:
    # Two workers write their pages in turn, so the allocation table is not in the order of the samples.
    images = [draw_image(i, 500, 400) for i in range(24)]
    fields = {"label": ffcv.fields.IntField(), "image": ffcv.fields.RGBImageField(write_mode="raw")}
    writer = ffcv.writer.DatasetWriter(str(tmp_path / "pages.beton"), fields, page_size=1 << 21, num_workers=2)
    writer.from_indexed_dataset([(i, image) for i, image in enumerate(images)], chunksize=3)
    with Beton(tmp_path / "pages.beton") as beton:
        assert len(set((beton.pointers // beton.page_size).tolist())) > 5
        assert beton.labels.tolist() == list(range(24))
        for i, image in enumerate(images):
            assert np.array_equal(beton.encoded(i).reshape(500, 400, 3), image)


def test_chooses_the_fields_by_name(ffcv: ModuleType, write_stock: Write, tmp_path: Path) -> None:
    fields = {
        "mask": ffcv.fields.RGBImageField(write_mode="raw"),
        "age": ffcv.fields.IntField(),
        "image": ffcv.fields.RGBImageField(write_mode="raw"),
        "label": ffcv.fields.IntField(),
    }
    write_stock(tmp_path / "named.beton", fields, [(draw_image(0, 4, 4), 50, draw_image(1, 5, 6), 7)])
    with Beton(tmp_path / "named.beton") as beton:
        assert (beton.heights[0], beton.widths[0], beton.labels[0]) == (5, 6, 7)
    del fields["label"]
    fields["camera"] = ffcv.fields.IntField()
    write_stock(tmp_path / "vague.beton", fields, [(draw_image(0, 4, 4), 50, draw_image(1, 5, 6), 7)])
    with Beton(tmp_path / "vague.beton") as beton:
        assert beton.labels.tolist() == [-1]


def test_a_file_without_images_is_refused(ffcv: ModuleType, write_stock: Write, tmp_path: Path) -> None:
    fields = {"label": ffcv.fields.IntField(), "text": ffcv.fields.BytesField()}
    write_stock(tmp_path / "text.beton", fields, [(1, np.arange(3, dtype=np.uint8))])
    with pytest.raises(BetonError, match="no image field"):
        Beton(tmp_path / "text.beton")


def test_reads_what_we_write(beton_path: Path, samples: list[Sample]) -> None:
    with Beton(beton_path) as beton:
        assert len(beton) == len(samples)
        assert [(field.name, field.type_id) for field in beton.fields] == [
            ("image", FieldType.IMAGE),
            ("label", FieldType.INT),
        ]
        assert beton.labels.tolist() == [sample.label for sample in samples]
        assert list(zip(beton.heights.tolist(), beton.widths.tolist(), strict=True)) == [
            (sample.height, sample.width) for sample in samples
        ]
        for i, sample in enumerate(samples):
            assert beton.encoded(i).tobytes() == sample.encoded
            assert beton.name(i) == f"sample {i} ({sample.name})"
        dtypes = [a.dtype for a in (beton.heights, beton.modes, beton.pointers, beton.nbytes, beton.labels)]
        assert dtypes == [np.uint16, np.uint8, np.uint64, np.uint64, np.int64]


def test_the_pickled_copy_reads_the_same(beton_path: Path, samples: list[Sample]) -> None:
    copy = pickle.loads(pickle.dumps(Beton(beton_path)))
    assert copy.encoded(3).tobytes() == samples[3].encoded
    assert copy.fingerprint == Beton(beton_path).fingerprint


def test_encoded_images_are_views_that_nobody_can_change(beton_path: Path, samples: list[Sample]) -> None:
    beton = Beton(beton_path)
    view = beton.encoded(2)
    assert np.shares_memory(view, beton.data)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    beton.close()
    assert view.tobytes() == samples[2].encoded
    with pytest.raises(ValueError, match="closed"):
        beton.encoded(2)


@pytest.mark.parametrize("index", [-1, 7])
def test_there_is_no_such_sample(beton_path: Path, index: int) -> None:
    with pytest.raises(IndexError, match="holds 7"):
        Beton(beton_path).encoded(index)


def test_closing_gives_back_descriptor_and_mapping(beton_path: Path) -> None:
    def held() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text()
        return len(os.listdir("/proc/self/fd")), maps.count(str(beton_path))

    before = held()
    for _ in range(5):
        with Beton(beton_path) as beton:
            assert held() != before
            beton.encoded(0)
    assert held() == before


def test_names_come_from_any_block_of_the_sidecar(tmp_path: Path) -> None:
    sample = draw_sample(0)
    with BetonWriter(tmp_path / "many.beton", capacity=3000) as writer:
        for i in range(3000):
            writer.append(sample.encoded, sample.height, sample.width, -1, f"a\\b\tc\n{i}é\udcff.jpg")
    beton = Beton(tmp_path / "many.beton")
    for i in (0, 1023, 1024, 2047, 2048, 2999):
        assert beton.name(i) == f"sample {i} (a\\b\tc\n{i}é\udcff.jpg)"
    (tmp_path / "many.beton.samples.tsv").unlink()
    assert Beton(tmp_path / "many.beton").name(5) == "sample 5"


def test_the_fingerprint_tells_data_sets_apart(tmp_path: Path) -> None:
    def write(name: str, *samples: Sample) -> str:
        with BetonWriter(tmp_path / name, capacity=2) as writer:
            for sample in samples:
                writer.append(*sample.arguments)
        return Beton(tmp_path / name).fingerprint

    one = write("one.beton", draw_sample(0, label=1), draw_sample(1, label=2))
    assert write("same.beton", draw_sample(0, label=1), draw_sample(1, label=2)) == one
    assert write("label.beton", draw_sample(0, label=1), draw_sample(1, label=3)) != one
    assert write("fewer.beton", draw_sample(0, label=1)) != one


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.beton")  # Opening it would wait for a writer.
    for path in (tmp_path / "pipe.beton", tmp_path, tmp_path / "absent.beton"):
        with pytest.raises(BetonError, match=str(path)):
            Beton(path)


def test_a_link_has_what_lies_beside_the_file_it_leads_to(beton_path: Path, tmp_path: Path) -> None:
    """Manifest, lines and rejects are those of the file; of a link beside which there is one, they are the link's."""
    link = tmp_path / "links" / "other.beton"
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(beton_path, link.parent))
    with Beton(link) as beton, Beton(beton_path) as plain:
        assert beton.path == link and beton.manifest == plain.manifest is not None
        assert [beton.name(i) for i in range(len(beton))] == [plain.name(i) for i in range(len(plain))]
        assert list(stored_samples(beton))[0].name == list(stored_samples(plain))[0].name
        assert gather(beton).rejects == gather(plain).rejects != {}
    report = verify(link, deep=True)
    assert report.ok and report.unchecked == ()
    samples_path(beton_path).write_text("")
    assert "faces.beton.samples.tsv differs" in verify(link).faults[0]
    manifest_path(link).write_text("{}")
    with pytest.raises(BetonError, match=r"other.beton.json: is not a readable manifest"):
        Beton(link)


def test_who_writes_over_a_link_leaves_the_file_and_what_lies_beside_it(beton_path: Path, tmp_path: Path) -> None:
    files = {path: path.read_bytes() for path in tmp_path.glob("faces.beton*")}
    link = tmp_path / "other.beton"
    link.symlink_to(beton_path)
    with BetonWriter(link, capacity=1, overwrite=True) as writer:
        writer.append(*draw_sample(9).arguments)
    assert not link.is_symlink() and verify(link, deep=True).samples == 1
    assert {path: path.read_bytes() for path in tmp_path.glob("faces.beton*")} == files


@pytest.mark.parametrize("targets", [[], ["--landmarks"]])
def test_a_million_samples_open_in_little_memory(targets: list[str]) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "bench" / "opening.py"), "1000000", *targets]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=300).stdout)
    assert result["samples"] == 1_000_000
    assert result["open"]["peak_mb"] < 150
