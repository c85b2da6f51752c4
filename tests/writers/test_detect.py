"""Detectors find real faces, boxes and landmarks come back in the photograph's pixels, and faults are named."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encode, picture
from PIL import Image
from spots_network import yunet_of_spots

from frl.beton import Beton, verify
from frl.errors import ConfigError
from writers.detect import DetectConfig, Detection, FaceFinder, Region, start, validate
from writers.detect.finder import LONGEST
from writers.detect.yunet import LARGEST, YuNetDetector
from writers.image.crop import CropSpec, FaceCropper, eye_tilt
from writers.reject import Reason, Reject
from writers.sources import Box
from writers.to_beton import main


class Spots:
    """A detector of white spots on black; remembers what it was shown."""

    smallest = 20
    min_score = 0.5

    def __init__(self) -> None:
        self.shown = (0, 0)

    def __call__(self, pixels: np.ndarray, min_score: float) -> list[Detection]:
        height, width = pixels.shape[:2]
        self.shown = (width, height)
        _, _, spots, _ = cv2.connectedComponentsWithStats((pixels[..., 0] > 127).astype(np.uint8))
        found = [Detection(Box(*map(float, spot[:4])), 1.0, [float(spot[0])] * 10) for spot in spots[1:]]
        return [spot for spot in found if spot.score >= min_score]


def scene(width: int, height: int, *spots: tuple[int, int, int]) -> np.ndarray:
    pixels = np.zeros((height, width, 3), np.uint8)
    for left, top, side in spots:
        pixels[top : top + side, left : left + side] = 255
    return pixels


@pytest.mark.parametrize("min_face", [10, 20, 40])
def test_faces_come_back_in_the_pixels_of_the_photograph_the_largest_first(min_face: int) -> None:
    detector = Spots()
    find = FaceFinder(detector, min_face=min_face, max_faces=9)
    regions = find(scene(400, 300, (40, 80, 60), (200, 120, 100)))
    assert detector.shown == (400 * 20 // min_face, 300 * 20 // min_face)
    for region, expected in zip(regions, [(200, 120, 100, 100), (40, 80, 60, 60)], strict=True):
        assert isinstance(region, Region) and region.box is not None and region.points is not None
        assert np.abs(np.subtract(region.box, expected)).max() <= 2
        assert abs(region.points[0] - expected[0]) <= 2


def test_a_large_photograph_is_searched_at_a_bounded_size() -> None:
    detector = Spots()
    (region,) = FaceFinder(detector, min_face=10, max_faces=9)(scene(3000, 500, (1000, 100, 300)))
    assert max(detector.shown) == LONGEST
    assert isinstance(region, Region) and region.box is not None
    assert np.abs(np.subtract(region.box, (1000, 100, 300, 300))).max() <= 4


def test_small_faces_and_those_beyond_the_number_have_their_reasons() -> None:
    find = FaceFinder(Spots(), min_face=20, max_faces=2)
    found = find(scene(400, 300, (0, 0, 15), (100, 100, 40), (200, 100, 50), (300, 100, 30)))
    assert [type(region) for region in found] == [Region, Region, Reject, Reject]
    assert [str(reject) for reject in found[2:]] == [
        "2 faces of the photograph are larger",
        "a face of 15 pixels, fewer than 20",
    ]
    with pytest.raises(Reject, match="no face") as caught:
        find(scene(50, 50))
    assert caught.value.reason is Reason.NO_FACE


SPEC = CropSpec(size=256, margin=0.3, quality=95, max_pixels=10**8)


@settings(max_examples=15, deadline=None)
@given(st.floats(-60, 60), st.integers(30, 200), st.integers(0, 500), st.integers(0, 400), st.integers(32, 300))
def test_a_level_face_is_the_photograph_turned_about_its_centre(
    degrees: float, side: int, left: int, top: int, size: int
) -> None:
    """Against the formula of the picture itself, wherever the sample's pixels lie inside the photograph."""
    width, height = 640, 480
    photo = encode(picture(width, height), "PNG")
    tilt = math.radians(degrees)
    left, top = min(left, width - side), min(top, height - side)
    middle = (left + side / 2, top + side / 2)
    eyes = (middle[0], middle[1], middle[0] + math.cos(tilt), middle[1] + math.sin(tilt))
    crop = FaceCropper(CropSpec(size=size, margin=0, quality=95, max_pixels=10**8))
    face = crop(crop.open(photo), Box(left, top, side, side), eyes)
    assert face.width == face.height == min(side, size) and not face.untouched
    shown = cv2.imdecode(np.frombuffer(face.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    step = side / face.width
    v, u = (
        np.mgrid[: face.height, : face.width] + 0.5
    ) * step - side / 2  # from the centre, in the photograph's pixels
    x = middle[0] - 0.5 + math.cos(tilt) * u - math.sin(tilt) * v
    y = middle[1] - 0.5 + math.sin(tilt) * u + math.cos(tilt) * v
    inside = (x >= 2) & (y >= 2) & (x <= width - 3) & (y <= height - 3)
    for channel, expected in ((0, 255 * x / width), (1, 255 * y / height)):
        assert np.abs(shown[..., channel] - expected)[inside].mean() < 6 if inside.any() else True


def test_eyes_that_are_exchanged_turn_no_face_upside_down() -> None:
    crop = FaceCropper(SPEC)
    photo = crop.open(encode(picture(200, 200)))
    left, right, rest = [75.0, 80.0], [120.0, 82.0], [100.0, 100.0, 80.0, 120.0, 115.0, 121.0]
    assert crop(photo, Box(50, 50, 100, 100), left + right + rest).width == 130
    with pytest.raises(Reject, match="its eyes seem to be exchanged: the one on the image's left comes first"):
        crop(photo, Box(50, 50, 100, 100), right + left + rest)
    headstand = [200 - number for number in left + right + rest]
    assert abs(crop(photo, Box(50, 50, 100, 100), headstand).placement.tilt) == pytest.approx(math.pi, abs=0.1)


def test_level_eyes_change_nothing_and_a_turn_is_undone() -> None:
    assert eye_tilt((10, 20, 50, 20)) == 0
    assert eye_tilt((10, 20, 10, 60)) == pytest.approx(math.pi / 2)
    crop = FaceCropper(SPEC)
    data = encode(picture(100, 100))
    assert crop(crop.open(data), None, (10, 20, 50, 20)).untouched
    assert not crop(crop.open(data), None, (10, 20, 50, 25)).untouched


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"min_face": 0}, "--min-face"),
        ({"max_faces": 0}, "--max-faces"),
        ({"detect": "yunet"}, "--yunet-model"),
        ({"yunet_model": Path("a.onnx")}, "--yunet-model"),
        ({"detect": "yunet", "yunet_model": Path("nowhere.onnx")}, "nowhere.onnx: cannot be read"),
        ({"detect": "dlib", "align": "eyes"}, "needs landmarks"),
    ],
)
def test_options_that_cannot_work_are_refused(
    options: dict[str, object], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where YuNet's network is not
    with pytest.raises(ConfigError, match=complaint):
        validate(DetectConfig(**options))


def test_a_model_of_another_digest_or_another_kind_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "face_detection_yunet.onnx"
    model.write_bytes(b"no network")
    digest = hashlib.sha256(b"no network").hexdigest()
    with pytest.raises(ConfigError, match=f"its SHA-256 is {digest}, not 00"):
        YuNetDetector(model, "00" * 32)
    with pytest.raises(ConfigError, match="cannot run it"):
        YuNetDetector(model, digest.upper())


def test_yunets_outputs_become_boxes_and_points(tmp_path: Path) -> None:
    """A stand-in network whose answer is known; the real one's accuracy is not what is tested."""
    detector = YuNetDetector(yunet_of_spots(tmp_path / "spots.onnx"))
    found = detector(scene(320, 288, (64, 96, 32)), 0.9)
    best = max(found, key=lambda face: face.box.width)
    assert best.box.width == pytest.approx(32, abs=1) and best.score == pytest.approx(1, abs=0.01)
    assert np.hypot(best.box.left + 16 - 64, best.box.top + 16 - 96) <= 24  # its priors are the cells' corners
    assert best.points is not None and len(best.points) == 10
    assert detector(scene(320, 288), 0.5) == []


def test_yunet_sees_large_faces_at_half_the_size_and_names_each_once(tmp_path: Path) -> None:
    detector = YuNetDetector(yunet_of_spots(tmp_path / "spots.onnx"))
    photograph = scene(LARGEST * 4, LARGEST * 4, (512, 512, 128))
    found = detector(photograph, 0.9)
    assert max(face.box.width for face in found) == pytest.approx(128, abs=4)
    for i, one in enumerate(found):
        for other in found[:i]:
            assert overlap(one.box, other.box) <= 0.31


def overlap(a: Box, b: Box) -> float:
    across = max(0.0, min(a.left + a.width, b.left + b.width) - max(a.left, b.left))
    down = max(0.0, min(a.top + a.height, b.top + b.height) - max(a.top, b.top))
    return across * down / (a.width * a.height + b.width * b.height - across * down)


@pytest.fixture(scope="module")
def photographs(real_faces: Path) -> list[Path]:
    pytest.importorskip("dlib")
    return sorted((real_faces / "flickr_uncropped800").glob("*.jpg"))[:16]


def test_dlib_finds_nearly_all_annotated_faces(photographs: list[Path]) -> None:
    find = start(DetectConfig(detect="dlib", min_face=160))  # half the size, a quarter of the time
    assert find is not None
    hits, faces = 0, 0
    for path in photographs:
        found = find.detect(np.asarray(Image.open(path).convert("RGB")))
        for points in np.array(json.loads(path.with_suffix(".faces.json").read_text())):
            annotated = Box(*points.min(0), *np.ptp(points, axis=0))
            hits += max((overlap(annotated, face.box) for face in found), default=0) >= 0.4
            faces += 1
    assert faces >= 16 and hits >= 0.85 * faces


def test_photographs_become_faces_whatever_the_number_of_workers(
    photographs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    both = np.vstack([np.asarray(Image.open(path).convert("RGB").resize((360, 360))) for path in photographs[:2]])
    (folder / "two.png").write_bytes(encode(Image.fromarray(both), "PNG"))
    (folder / "nobody.png").write_bytes(encode(picture(300, 300), "PNG"))
    contents = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.beton"
        options = ["--detect", "dlib", "--min-face", "100", "--workers", str(workers)]
        assert main([str(folder), "--out", str(out), *options]) == 0
        assert "1 without a face" in capsys.readouterr().out
        assert verify(out, deep=True).ok
        contents.append(out.read_bytes())
        with Beton(out) as beton:
            names = {line.split("\t")[2] for line in Path(f"{out}.samples.tsv").read_text().splitlines()}
            assert set(beton.heights) <= set(range(100, 257)) and (beton.heights == beton.widths).all()
    assert contents[0] == contents[1]
    assert {name for name in names if "two" in name} == {"photos/two#1.png", "photos/two#2.png"}
    assert "nobody" in Path(f"{out}.rejects.tsv").read_text()
