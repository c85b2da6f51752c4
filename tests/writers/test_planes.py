"""Samples cut out of a JPEG's own colours show what the JPEG shows, whatever its chroma, and as sharp as before."""

from __future__ import annotations

import io
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encode, picture
from PIL import Image

from frl.images import sample
from frl.images.photo import Photo, Plane
from frl.images.turbojpeg import JpegDecoder, JpegEncoder
from writers.image.crop import CropSpec, FaceCropper
from writers.image.planes import cut, shrink
from writers.sources import Box

CROPPER = FaceCropper(CropSpec(size=64, margin=0.0, quality=95, max_pixels=10_000_000))
CHROMA = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}


def stored(width: int, height: int, chroma: str) -> bytes:
    """A smooth photograph with steep edges, as a JPEG."""
    coarse = np.random.default_rng(0).integers(0, 256, (7, 7, 3)).astype(np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels[:, width // 2 :] //= 2
    options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, CHROMA[chroma]]
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


def show(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    return 10 * math.log10(255**2 / max(1e-9, np.mean((image - reference) ** 2)))


@pytest.mark.parametrize("chroma", CHROMA)
@pytest.mark.parametrize("box", [Box(0, 0, 97, 97), Box(13, 7, 64, 64), Box(12, 8, 33, 33), Box(52, 3, 81, 81)])
def test_the_sample_shows_the_square(chroma: str, box: Box) -> None:
    """Beside Pillow's crop of the pixels in RGB; odd sides and corners, where half a sample of chroma is cut."""
    data = stored(133, 97, chroma)
    face = CROPPER(CROPPER.open(data), box)
    corners = (box.left, box.top, box.left + box.width, box.top + box.height)
    side = min(64, int(box.width))
    whole = Image.open(io.BytesIO(data)).resize((side, side), Image.Resampling.LANCZOS, corners)
    assert (face.width, face.height) == (side, side) and not face.untouched
    assert sample.fault(np.frombuffer(face.data, np.uint8), side, side) is None
    expected = show(encode(whole, quality=95, subsampling="4:2:0"))
    assert psnr(show(face.data), expected) > 33
    assert np.abs((show(face.data) - expected).mean(axis=(0, 1))).max() < 1


def test_a_crop_along_the_blocks_loses_nothing() -> None:
    """At the same quality the same numbers are stored again."""
    data = encode(picture(96, 64), quality=95, subsampling="4:2:0")
    face = CROPPER(CROPPER.open(data), Box(16, 0, 64, 64))
    assert np.abs(show(face.data) - show(data)[:, 16:80])[:, 2:-2].max() <= 2


@pytest.mark.parametrize("kind", ["rgb-coded", "grey"])
def test_other_colours_take_the_way_through_rgb(kind: str) -> None:
    image = picture(80, 70)
    data = encode(image, keep_rgb=True) if kind == "rgb-coded" else encode(image.convert("L"))
    photo = Photo(data, JpegDecoder(), 10_000)
    assert photo.planes() is None
    assert psnr(show(CROPPER(CROPPER.open(data)).data), show(CROPPER(CROPPER.open(png_of(data))).data)) > 45


def png_of(data: bytes) -> bytes:
    return encode(Image.open(io.BytesIO(data)).convert("RGB"), "PNG")


def test_pixels_that_a_detector_has_seen_are_used() -> None:
    photo = Photo(encode(picture(80, 70)), JpegDecoder(), 10_000)
    photo.pixels()
    assert photo.planes() is None


sizes = st.integers(1, 60)


@settings(max_examples=100, deadline=None)
@given(sizes, sizes, sizes)
def test_shrinking_is_interpolation_and_averaging(height: int, width: int, side: int) -> None:
    """Beside the same in double precision."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.uint8)
    multiple = math.ceil(max(height, width) / side)
    if pixels.shape == (side, side):
        expected = pixels.astype(float)
    else:
        down, across = (interpolation(extent, multiple * side) for extent in (height, width))
        blocks = np.kron(np.eye(side), np.full((1, multiple), 1 / multiple))
        expected = blocks @ down @ pixels @ across.T @ blocks.T
    assert np.abs(shrink(pixels, side) - expected).max() < 2


def interpolation(extent: int, count: int) -> np.ndarray:
    """(count, extent): the weights of linear interpolation at ``count`` places spread over ``extent`` pixels."""
    places = ((np.arange(count) + 0.5) * extent / count - 0.5).clip(0, extent - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(extent)))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 20), st.integers(0, 20), st.integers(1, 40), st.integers(1, 40), st.sampled_from([0.25, 0.5, 1.0])
)
def test_a_ramp_stays_a_ramp(left: int, top: int, extent: int, side: int, across: float) -> None:
    """Each pixel of the result has the value of the place that it covers, beyond the edge that of the edge."""
    ramp = np.tile(np.arange(60, dtype=np.uint8) * 4, (60, 1))
    result = cut(Plane(ramp, across, across, 0.0, 0.0), left, top, extent, side)
    assert result.shape == (side, side)
    places = across * (left + (np.arange(side) + 0.5) * extent / side) - 0.5
    inner = result[:, 1:-1] - 4 * places.clip(0, 59)[1:-1]
    assert not inner.size or np.abs(inner).max() <= 2


@pytest.mark.parametrize("size", [180, 256, 300, 400])
def test_photographs_are_as_sharp_as_by_pillow(real_faces: Path, size: int) -> None:
    """Both filters are as near to Lanczos'; see docs/writer_benchmark.md."""
    ours, pillows = [], []
    for path in sorted((real_faces / "flickr_uncropped800").glob("*.jpg"))[::10]:
        grey = Image.open(path).convert("L")
        side = min(grey.size)
        grey = grey.crop((0, 0, side, side))
        best = np.asarray(grey.resize((size, size), Image.Resampling.LANCZOS)).astype(float)
        ours.append(psnr(shrink(np.asarray(grey), size), best))
        pillows.append(psnr(np.asarray(grey.resize((size, size), Image.Resampling.HAMMING)), best))
    assert np.mean(ours) > np.mean(pillows) - 1.5


@pytest.mark.parametrize("side", [1, 2, 7, 8, 33])
def test_encoding_planes_keeps_them(side: int) -> None:
    half = (side + 1) // 2
    planes = [np.full((extent, extent), value, np.uint8) for extent, value in ((side, 200), (half, 90), (half, 160))]
    decoded = JpegDecoder().decode_planes(JpegEncoder().encode(planes, side, 95), side, side)
    assert decoded is not None and decoded.thinning == (2, 2)
    for plane, kept in zip(planes, decoded.planes, strict=True):
        assert np.abs(plane.astype(int) - kept[: len(plane), : len(plane)]).max() <= 2
