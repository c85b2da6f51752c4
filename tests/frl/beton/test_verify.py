"""A deep verification names the sample that is broken, and says what it could not see."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from beton_samples import Sample, draw_image, draw_sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from frl.beton import Beton, BetonWriter, verify
from frl.errors import BetonError
from frl.images import markers, sample

TURNED = Image.Exif()
TURNED[0x0112] = 6
"""Orientation: to be shown rotated by a quarter."""


def flip(path: Path, offset: int, mask: int = 0x10) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def write_one(path: Path, encoded: bytes, height: int = 24, width: int = 32) -> None:
    """Three samples, the second of which is ``encoded``."""
    good = draw_sample(0)
    with BetonWriter(path, capacity=3) as writer:
        writer.append(*good.arguments)
        writer.append(encoded, height, width, -1, "odd.jpg")
        writer.append(*good.arguments)


def pillow_jpeg(image: np.ndarray, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def test_a_sound_file_passes(beton_path: Path) -> None:
    shallow, deep = verify(beton_path), verify(beton_path, deep=True)
    assert shallow.ok and deep.ok
    assert (deep.samples, deep.nbytes, deep.faults) == (7, beton_path.stat().st_size, ())
    assert "checksum of every image" in deep.checked and not deep.unchecked
    assert "images" in shallow.unchecked[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=st.integers(0, 6), share=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_one_flipped_byte_names_the_sample(
    beton_path: Path, samples: list[Sample], sample: int, share: float, mask: int
) -> None:
    beton = Beton(beton_path)
    offset = int(beton.pointers[sample]) + int(share * len(samples[sample].encoded))
    flip(beton_path, offset, mask)
    try:
        report = verify(beton_path, deep=True)
        assert verify(beton_path).ok
    finally:
        flip(beton_path, offset, mask)
    assert report.fault_count == 1 and not report.ok
    assert report.faults[0].startswith(f"sample {sample} ({samples[sample].name}): its bytes differ")


def test_without_sidecars_it_says_what_it_cannot_see(bare_path: Path) -> None:
    report = verify(bare_path, deep=True)
    assert report.ok
    assert report.checked == ("structure", "decoding of every JPEG")
    assert [line.split(":")[0] for line in report.unchecked] == [
        "metadata",
        "changed bytes in images that still decode",
    ]


def test_a_changed_sidecar_is_named(beton_path: Path) -> None:
    lines = beton_path.parent / "faces.beton.samples.tsv"
    flip(lines, 3, 1)
    report = verify(beton_path)
    assert report.faults == ("faces.beton.samples.tsv differs from the digest in faces.beton.json",)
    lines.write_bytes(b"\n" + lines.read_bytes())
    report = verify(beton_path, deep=True)
    assert "faces.beton.samples.tsv is damaged" in report.unchecked[0]
    lines.unlink()
    assert "cannot be read" in verify(beton_path).faults[0]


def test_a_manifest_of_other_numbers_is_named(beton_path: Path) -> None:
    path = beton_path.parent / "faces.beton.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"samples": 6}))
    assert "states (6, " in verify(beton_path).faults[0]


def test_a_damaged_structure_is_refused(beton_path: Path) -> None:
    flip(beton_path, 0)
    with pytest.raises(BetonError, match="version"):
        verify(beton_path)


def broken_jpegs() -> dict[str, tuple[bytes, str]]:
    good = draw_sample(5).encoded
    scan = good.index(b"\xff\xda")
    cmyk = pillow_jpeg(draw_image(5, 24, 32), "CMYK")
    progressive = pillow_jpeg(draw_image(5, 24, 32), progressive=True)
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    return {
        "zeros": (bytes(500), "not a JPEG"),
        "a web page": (b"<html>" * 50, "not a JPEG"),
        "half": (good[: len(good) // 2], "truncated"),
        "no end": (good[:-2], "truncated"),
        "headers only": (good[:scan] + b"\xff\xd9", "ends before its image"),
        "a byte": (good[:1], "not a JPEG"),
        "zeros inside": (good[:scan] + bytes(len(good) - scan - 2) + b"\xff\xd9", "ends before its image"),
        "no tables": (good[:2] + good[good.index(b"\xff\xc0") :], "cannot be decoded"),
        "CMYK": (cmyk, "4 channels"),
        "other size": (draw_sample(5, 32, 24).encoded, "32 x 24 pixels, the metadata says 24 x 32"),
        "scans without end": (progressive[:-2] + 300 * last_scan + b"\xff\xd9", "more than 256 scans"),
    }


@pytest.mark.parametrize("kind", broken_jpegs())
@pytest.mark.parametrize("sidecars", [True, False])
def test_a_broken_jpeg_is_named(tmp_path: Path, kind: str, sidecars: bool) -> None:
    encoded, reason = broken_jpegs()[kind]
    path = tmp_path / "a.beton"
    write_one(path, encoded)
    if not sidecars:
        for sidecar in tmp_path.glob("a.beton.*"):
            sidecar.unlink()
    report = verify(path, deep=True)
    assert report.fault_count == 1
    assert report.faults[0].startswith("sample 1 (odd.jpg): " if sidecars else "sample 1: ")
    assert reason in report.faults[0]


@pytest.mark.parametrize(
    "encoded",
    [
        pillow_jpeg(draw_image(5, 24, 32), "L"),
        pillow_jpeg(draw_image(5, 24, 32), progressive=True),
        pillow_jpeg(draw_image(5, 24, 32), optimize=True, subsampling=0),
        pillow_jpeg(draw_image(5, 24, 32), exif=TURNED),
        pillow_jpeg(draw_image(5, 24, 32), restart_marker_blocks=1),
        pillow_jpeg(draw_image(5, 24, 32), icc_profile=b"\xff\xda\xff\xd9" * 30_000),
        draw_sample(5).encoded + b"\0" * 99,
    ],
    ids=["grey", "progressive", "4:4:4", "turned by EXIF", "restart markers", "markers in a profile", "padded"],
)
def test_unusual_jpegs_pass(tmp_path: Path, encoded: bytes) -> None:
    write_one(tmp_path / "a.beton", encoded)
    report = verify(tmp_path / "a.beton", deep=True)
    assert report.ok, report.faults


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), quality=st.integers(1, 100), progressive=st.booleans())
def test_the_frame_is_what_pillow_finds(height: int, width: int, quality: int, progressive: bool) -> None:
    encoded = pillow_jpeg(draw_image(0, height, width), quality=quality, progressive=progressive)
    with Image.open(io.BytesIO(encoded)) as image:
        assert markers.whole_frame(np.frombuffer(encoded, np.uint8)) == (image.height, image.width, 3)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_bytes_get_an_answer(data: st.DataObject) -> None:
    encoded = bytearray(draw_sample(3).encoded)
    for _ in range(data.draw(st.integers(1, 4))):
        offset = data.draw(st.integers(0, len(encoded) - 1))
        encoded[offset] = data.draw(st.sampled_from([0, 1, 0xFF, 0xD8, 0xD9, 0xDA, 0xC0, 0xC2]))
    cut = data.draw(st.integers(1, len(encoded)))
    fault = sample.fault(np.frombuffer(encoded[:cut], np.uint8), 24, 32)
    if fault is None:
        with Image.open(io.BytesIO(encoded[:cut])) as image:
            image.load()  # Pillow raises where the data end too early.
            assert (image.height, image.width) == (24, 32)


def test_many_faults_are_counted_and_some_named(tmp_path: Path) -> None:
    with BetonWriter(tmp_path / "a.beton", capacity=700) as writer:
        for i in range(700):
            writer.append(b"nonsense" if i % 2 else draw_sample(0).encoded, 24, 32, -1, f"{i}.jpg")
    report = verify(tmp_path / "a.beton", deep=True, workers=2)
    assert report.fault_count == 350
    assert [fault.split(":")[0] for fault in report.faults] == [f"sample {i} ({i}.jpg)" for i in range(1, 200, 2)]
