"""Whatever the layout: every good image is written, every bad one named, nothing else is left behind."""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from pathlib import Path

import pytest
from pictures import damaged, encode, picture, png_of_zeros
from processes import left_in_shared_memory
from source_layouts import LAYOUTS, Layout

from frl.beton import Beton, verify
from frl.errors import FrlError
from writers.config import WriteConfig, crop_spec
from writers.flow import prepare_all, start_pool
from writers.image.crop import FaceCropper
from writers.item_list import choose
from writers.prepare import Preparation
from writers.reject import Reject
from writers.sources import Stream, open_sources
from writers.targets import find_targets
from writers.to_beton import main

PEOPLE = ("Ann", "Bob", "Cleo_van_Dyk")

BAD = {
    "empty": "empty file",
    "html": "not an image",
    "half": "damaged JPEG",
    "no end marker": "damaged JPEG",
    "900 megapixels": "30000 x 30000 pixels",
    "144 megapixels": "12000 x 12000 pixels",
}


@cache
def good_images() -> dict[str, bytes]:
    """Of every kind that cameras and programs write."""
    wide = picture(60, 40)
    kinds = {
        "cmyk.jpg": encode(wide.convert("CMYK")),
        "grey.jpg": encode(wide.convert("L")),
        "sixteen_bits.png": encode(wide.convert("I;16"), "PNG"),
        "alpha.png": encode(wide.convert("RGBA"), "PNG"),
        "palette.png": encode(wide.convert("P"), "PNG"),
    }
    for orientation in range(1, 9):
        exif = wide.getexif()
        exif[0x0112] = orientation
        kinds[f"turned{orientation}.jpg"] = encode(wide, exif=exif)
    plain = {f"{i}.jpg": encode(picture(24 + i % 7, 24 + i % 7), quality=50 + i % 40) for i in range(181)}
    return {named(number, path): data for number, (path, data) in enumerate([*kinds.items(), *plain.items()])}


@cache
def bad_images() -> dict[str, bytes]:
    bombs = {"900 megapixels": png_of_zeros(30_000, 1), "144 megapixels": png_of_zeros(12_000, 8)}
    images = bombs | {kind: damaged(kind) for kind in BAD.keys() - bombs.keys()}
    return {named(900 + number, "x.jpg"): images[kind] for number, kind in enumerate(BAD)}


def named(number: int, path: str) -> str:
    """A path as LFW has it, with the suffix of another."""
    person = PEOPLE[number % len(PEOPLE)]
    return f"{person}/{person}_{number:04}{os.path.splitext(path)[1]}"


def images_for(layout: Layout) -> dict[str, bytes]:
    images = good_images() | bad_images()
    return {path: data for path, data in images.items() if data or not layout.bare}


def columns(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


@pytest.fixture(params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


def test_good_images_are_written_and_bad_ones_named(
    tmp_path: Path, layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    shared_memory = set(os.listdir("/dev/shm"))
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    images = images_for(layout)
    source, out = layout.build(tmp_path / "in", images), tmp_path / "out" / "faces.beton"
    names = {path: layout.name(path, number) for number, path in enumerate(images)}
    bad = [path for path in bad_images() if path in images]

    assert main([source, "--out", str(out), "--workers", "2"]) == 0
    printed = capsys.readouterr().out
    assert f"read {len(images)} = written {len(images) - len(bad)} + rejected {len(bad)}" in printed
    rejects = dict(columns(Path(f"{out}.rejects.tsv")))
    assert rejects.keys() == {names[path] for path in bad}
    for path, reason in zip(bad_images(), BAD.values(), strict=True):
        assert path not in names or reason in rejects[names[path]]
    assert verify(out, deep=True).ok
    check_samples(out, names, layout)
    assert {path.name for path in out.parent.glob("*")} >= {"faces.beton"}
    assert list(out.parent.glob(".*")) == []

    assert main([source, "--out", str(out), "--workers", "2", "--overwrite", "--max-rejects", "0"]) == 1
    assert "--max-rejects: 0" in capsys.readouterr().err
    assert verify(out, deep=True).ok and list(out.parent.glob(".*")) == []
    assert not left_in_shared_memory(shared_memory)


def check_samples(out: Path, names: dict[str, str], layout: Layout) -> None:
    """Pixels and people are those of the images."""
    cropper = FaceCropper(crop_spec(WriteConfig(sources=(), out=out)))
    identities = json.loads(Path(f"{out}.json").read_text())["identities"]
    samples = {name: (i, int(label)) for i, (_, label, name, *_) in enumerate(columns(Path(f"{out}.samples.tsv")))}
    assert samples.keys() == {names[path] for path in good_images()}
    with Beton(out) as beton:
        for path, data in good_images().items():
            index, label = samples[names[path]]
            assert beton.encoded(index).tobytes() == cropper(cropper.open(data)).data
            assert beton.labels[index] == label
            assert (os.path.basename(identities[label]) if label >= 0 else None) == (
                layout.person(path) if layout.labelled else None
            )


def test_bombs_take_no_memory(tmp_path: Path, layout: Layout) -> None:
    images = {path: data for path, data in bad_images().items() if data} | dict(list(good_images().items())[:3])
    config = WriteConfig(sources=(layout.build(tmp_path, images),), out=tmp_path / "faces.beton")
    sources = open_sources(config.sources)
    ((name, source),) = sources.items()
    store = source.store
    stores = {} if isinstance(store, Stream) else {name: store}
    preparation = Preparation(
        stores=stores,
        spec=crop_spec(config),
        detect=config.detect,
        curate=config.curate,
        targets=find_targets(sources),
    )
    prepare = preparation()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak_kilobytes()
    items = choose(sources, config)
    data = dict(store.contents()) if isinstance(store, Stream) else {}
    outcomes = [face for item in items for face in prepare(item._replace(data=data.get(item.candidate.place)))]
    assert sum(isinstance(outcome, Reject) for outcome in outcomes) == 5
    assert peak_kilobytes() - before < 200_000


def peak_kilobytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_a_source_that_vanishes_ends_the_command_or_is_rejected(tmp_path: Path, layout: Layout) -> None:
    """After it was listed. Nothing hangs, and each image is named or the error says which."""
    (tmp_path / "in").mkdir()
    config = WriteConfig(
        sources=(layout.build(tmp_path / "in", good_images()),), out=tmp_path / "faces.beton", workers=1
    )
    sources = open_sources(config.sources)
    items = choose(sources, config)
    shutil.rmtree(tmp_path / "in")
    with start_pool(sources, config) as pool:
        try:
            outcomes = list(prepare_all(items, sources, pool, config.out))
        except FrlError as error:
            assert str(tmp_path / "in") in str(error) or any(item.name in str(error) for item in items)
        else:
            assert all(isinstance(outcome, Reject) and "No such file" in str(outcome) for _, (outcome,) in outcomes)
    assert list(tmp_path.iterdir()) == []
