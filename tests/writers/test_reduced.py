"""Large JPEGs that are reduced while they are decoded show the same face, at the same place, and hide no damage."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encode, picture
from PIL import Image, ImageOps

from frl.images.photo import Photo, Raster, UnusableImage
from frl.images.turbojpeg import EIGHTHS, JpegDecoder
from writers.image.crop import CropSpec, FaceCropper, crop_square
from writers.sources import Box

CROPPER = FaceCropper(CropSpec(size=64, margin=0.0, quality=100, max_pixels=100_000_000))
ORIENTATION = 0x0112


@cache
def scenery(width: int, height: int) -> Image.Image:
    """Noise with the spectrum of photographs (amplitude 1/f), and edges."""
    noise = np.random.default_rng(0).normal(size=(height, width, 3))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    pixels = np.fft.irfft2(np.fft.rfft2(noise, axes=(0, 1)) / frequency[..., None], (height, width), axes=(0, 1))
    y, x = np.mgrid[:height, :width]
    pixels = 0.9 * pixels[..., :1] + 0.1 * pixels  # most of what photographs show is light and shade
    pixels += 2 * pixels.std() * ((x // 61 + y // 83) % 2)[..., None]
    low, high = np.percentile(pixels, (1, 99))
    return Image.fromarray((255 * (pixels - low) / (high - low)).clip(0, 255).astype(np.uint8))


def turned(image: Image.Image, orientation: int = 1, **options: object) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(image, exif=exif, quality=95, **options)


def upright(data: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def by_pillow(data: bytes, box: Box | None) -> Image.Image:
    """All of the photograph decoded, then the same crop and filter."""
    whole = upright(data)
    left, top, side = crop_square(*whole.size, box, 0.0)
    return whole.resize((64, 64), Image.Resampling.HAMMING, box=(left, top, left + side, top + side))


def show(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    return 10 * math.log10(255**2 / max(1e-9, np.mean((image - reference) ** 2)))


def displacement(image: np.ndarray, reference: np.ndarray) -> float:
    """By how many pixels an image is moved, by least squares on the gradients (Lucas and Kanade, 1981)."""
    change = (image - reference).mean(axis=2)[2:-2, 2:-2].ravel()
    gradients = np.gradient(((image + reference) / 2).mean(axis=2))
    steepness = np.stack([gradient[2:-2, 2:-2].ravel() for gradient in gradients], axis=1)
    return float(np.abs(np.linalg.lstsq(steepness, -change, rcond=None)[0]).max())


def reduced_and_whole(data: bytes, box: Box | None) -> tuple[np.ndarray, np.ndarray]:
    """A face as it is stored, and as it is when all of the photograph is decoded."""
    face = CROPPER(CROPPER.open(data), box)
    return show(face.data), show(encode(by_pillow(data, box), quality=100, subsampling="4:2:0"))


@pytest.mark.parametrize("side", [170, 230, 340, 650])  # decoded at 4/8, 3/8, 2/8 and 1/8
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_face_lies_where_it_lay(orientation: int, side: int) -> None:
    """Sides that are no multiples of eight, and boxes whose edges fall between the reduced pixels."""
    data = turned(scenery(733, 691), orientation)
    for left, top in ((0, 0), (13, 38), (691 - side, 691 - side)):
        face, whole = reduced_and_whole(data, Box(left, top, side, side))
        assert displacement(face, whole) < 0.06
        assert psnr(face, whole) > 31


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}])
@pytest.mark.parametrize(("make", "at_least"), [(picture, 38), (scenery, 35)])
def test_a_reduced_face_looks_as_the_whole_one_reduced(
    make: Callable[[int, int], Image.Image], at_least: float, options: dict[str, object]
) -> None:
    for width, height in ((1021, 767), (530, 420), (301, 333)):
        assert psnr(*reduced_and_whole(turned(make(width, height), **options), None)) > at_least


def test_a_grey_photograph_is_reduced_too() -> None:
    assert psnr(*reduced_and_whole(turned(scenery(611, 500).convert("L")), None)) > 38


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_face_is_levelled_about_the_same_point(orientation: int) -> None:
    """Beside the same face that was levelled in all of its pixels: a PNG is never reduced."""
    data = turned(scenery(733, 691), orientation)
    box, eyes = Box(131, 127, 357, 357), (200.0, 280.0, 350.0, 320.0)
    faces = [show(CROPPER(CROPPER.open(file), box, eyes).data) for file in (data, encode(upright(data), "PNG"))]
    assert displacement(*faces) < 0.02
    assert psnr(*faces) > 33


sides = st.integers(1, 90)


@settings(max_examples=150, deadline=None)
@given(sides, sides, st.floats(0.01, 1), st.integers(1, 8))
def test_the_laws_of_reduction(width: int, height: int, scale: float, orientation: int) -> None:
    """No less than was asked for, no more than the next scale; the corners of the photograph lie inside."""
    photo = Photo(turned(picture(width, height), orientation), JpegDecoder(), 10_000)
    image, reduced, left, top = photo.pixels(scale)
    smallest = min(n for n in EIGHTHS if n >= 8 * scale) / 8
    assert reduced == (smallest if max(width, height) >= 8 else 1)
    for extent, start, side in ((image.width, left, photo.width), (image.height, top, photo.height)):
        assert extent == math.ceil(reduced * side)
        assert 0 <= start < 1 and start + reduced * side <= extent


@pytest.mark.parametrize("side", [170, 230, 340, 650])
@pytest.mark.parametrize("progressive", [False, True])
def test_damage_outside_the_crop_is_named_at_every_scale(side: int, progressive: bool) -> None:
    whole = turned(scenery(700, 700), progressive=progressive)
    middle = len(whole) // 2
    for damaged in (
        whole[:middle],
        whole[:-2],
        whole[:middle] + b"\xff\xd9",
        whole[:middle] + bytes(300) + whole[middle + 300 :],
    ):
        with pytest.raises(UnusableImage, match="damaged JPEG"):
            CROPPER(CROPPER.open(damaged), Box(0, 0, side, side))


def test_after_a_detector_has_seen_all_pixels_they_are_used() -> None:
    photo = CROPPER.open(turned(scenery(600, 600)))
    whole = photo.pixels()
    assert whole == Raster(whole.image) and whole.image.size == (600, 600)
    assert photo.pixels(0.1) is whole


def test_real_photographs_look_as_those_reduced_whole(real_faces: Path) -> None:
    for path in sorted((real_faces / "flickr_uncropped800").rglob("*.jpg"))[::12]:
        face, whole = reduced_and_whole(path.read_bytes(), None)
        assert displacement(face, whole) < 0.01
        assert psnr(face, whole) > 38
