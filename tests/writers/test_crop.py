"""Samples have the pixels that PIL gives the original, wherever they came from; damage is named, never stored."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import damaged, encode, picture, png_of_zeros
from PIL import Image, ImageOps

from frl.images import sample
from frl.images.photo import UnusableImage
from writers.image.crop import CropSpec, Face, FaceCropper, Placement, Square, crop_square
from writers.reject import Reject
from writers.sources import Box

SPEC = CropSpec(size=256, margin=0.3, quality=90, max_pixels=100_000_000)


class Cropper:
    """A cropper that opens what it is given."""

    def __init__(self) -> None:
        self._crop = FaceCropper(SPEC)

    def __call__(self, data: bytes, box: Box | None = None, eyes: tuple[float, ...] | None = None) -> Face:
        return self._crop(self._crop.open(data), box, eyes)


@pytest.fixture(scope="module")
def cropper() -> Cropper:
    return Cropper()


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def reference(data: bytes) -> Image.Image:
    """The original, upright and in RGB, by PIL's own functions."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def assert_shows(face: Face, expected: Image.Image, *, own_colours: bool = False) -> None:
    """The sample decodes to what ``expected`` becomes when it is stored as a JPEG of the same quality.

    Args:
        own_colours: it was cut out of a JPEG's own colours, so its chroma was not interpolated and thinned out again.
    """
    assert not face.untouched
    assert (face.width, face.height) == expected.size
    assert Image.open(io.BytesIO(face.data)).mode == "RGB"
    stored = encode(expected, quality=SPEC.quality, subsampling="4:2:0")
    difference = np.abs(decode(face.data) - decode(stored))
    assert difference.max() <= (12 if own_colours else 1) and difference.mean() < 1
    assert np.abs(decode(face.data) - np.asarray(expected).astype(int)).mean() < 8
    by_opencv = cv2.cvtColor(cv2.imdecode(np.frombuffer(face.data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(decode(face.data) - by_opencv).max() <= 1


COLOURS = {
    "grey jpeg": lambda p: encode(p.convert("L")),
    "cmyk jpeg": lambda p: encode(p.convert("CMYK"), quality=95),
    "rgb-coded jpeg": lambda p: encode(p, keep_rgb=True),
    "grey png": lambda p: encode(p.convert("L"), "PNG"),
    "grey and alpha png": lambda p: encode(p.convert("LA"), "PNG"),
    "one bit png": lambda p: encode(p.convert("1"), "PNG"),
    "rgb png": lambda p: encode(p, "PNG"),
    "rgba png": lambda p: encode(translucent(p), "PNG"),
    "palette png": lambda p: encode(p.quantize(64), "PNG"),
    "palette png with transparency": lambda p: encode(p.quantize(64), "PNG", transparency=3),
    "16-bit rgb png": lambda p: cv2.imencode(".png", np.asarray(p)[..., ::-1].astype(np.uint16) * 257)[1].tobytes(),
    "webp": lambda p: encode(p, "WEBP", lossless=True),
    "webp with alpha": lambda p: encode(translucent(p), "WEBP", lossless=True, exact=True),
    "bmp": lambda p: encode(p, "BMP"),
    "tiff": lambda p: encode(p, "TIFF", compression="tiff_lzw"),
    "cmyk tiff": lambda p: encode(p.convert("CMYK"), "TIFF"),
    "gif": lambda p: encode(p, "GIF"),
}


def translucent(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_mode_becomes_the_rgb_of_pil(cropper: Cropper, colour: str) -> None:
    data = COLOURS[colour](picture(96, 96))
    assert_shows(cropper(data), reference(data))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(cropper: Cropper, kind: str) -> None:
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    expected = Image.fromarray((grey // 256).astype(np.uint8)).convert("RGB")
    assert_shows(cropper(encode(Image.fromarray(grey), kind)), expected)


def test_pixels_without_a_range_are_rejected(cropper: Cropper) -> None:
    with pytest.raises(UnusableImage, match="32 bits"):
        cropper(encode(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(cropper: Cropper, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(picture(120, 80), kind, exif=exif, **options)
    upright = reference(data)
    assert upright.size == ((120, 80) if orientation <= 4 else (80, 120))
    left, top = (upright.width - 80) // 2, (upright.height - 80) // 2
    assert_shows(cropper(data), upright.crop((left, top, left + 80, top + 80)), own_colours=kind == "JPEG")


def test_a_square_jpeg_that_lies_on_its_side_is_turned(cropper: Cropper) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(picture(80, 80), exif=exif)
    assert_shows(cropper(data), reference(data), own_colours=True)


@pytest.mark.parametrize("side", [1, 7, 48, 255, 256])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}, {"exif": b"Exif\0\0not exif"}]
)
def test_a_jpeg_that_needs_no_change_keeps_its_bytes(cropper: Cropper, side: int, options: dict[str, object]) -> None:
    data = encode(picture(side, side), **options)
    placement = Placement(Square(0, 0, side), side)
    assert cropper(data) == Face(data=data, height=side, width=side, untouched=True, placement=placement)


def test_a_box_about_the_whole_image_changes_nothing(cropper: Cropper) -> None:
    data = encode(picture(100, 100))
    assert cropper(data, Box(5, 10, 80, 70)).untouched  # 80 * 1.3 > 100


def test_trailing_bytes_are_no_damage_but_a_megabyte_of_them_is_not_kept(cropper: Cropper) -> None:
    data = encode(picture(64, 64))
    assert cropper(data + b"trailer").untouched
    face = cropper(data + bytes(1 << 20))
    assert not face.untouched and len(face.data) < 10_000


def test_nothing_is_enlarged_and_large_squares_shrink_to_the_size(cropper: Cropper) -> None:
    assert cropper(encode(picture(90, 60))).width == 60
    assert cropper(encode(picture(257, 257))).width == 256
    assert cropper(encode(picture(500, 400))).height == 256


def test_shrinking_averages(cropper: Cropper) -> None:
    """A fine chequerboard becomes an even grey; without anti-aliasing it would become a moire."""
    chequers = (np.indices((700, 700)).sum(axis=0) % 2 * 255).astype(np.uint8)
    shrunk = decode(cropper(encode(Image.fromarray(chequers), "PNG")).data)
    assert abs(shrunk.mean() - 127.5) < 2 and np.abs(shrunk[4:-4, 4:-4] - 127.5).max() < 6


@pytest.mark.parametrize("side", [300, 512, 1100])
def test_shrinking_moves_nothing(cropper: Cropper, side: int) -> None:
    """Against OpenCV's area average: half a pixel of displacement would show on the gradients' steep sides."""
    original = picture(side, side)
    shrunk = decode(cropper(encode(original, "PNG")).data)
    area = cv2.resize(np.asarray(original), (256, 256), interpolation=cv2.INTER_AREA)
    red, green = (np.abs(shrunk - area)[8:-8, 8:-8, channel].mean() for channel in (0, 1))
    assert max(red, green) < 2 and abs((shrunk - area)[8:-8, 8:-8].mean()) < 0.3


@pytest.mark.parametrize(
    ("box", "square"),
    [
        (Box(100, 60, 40, 50), (88, 52, 153 - 88)),  # inside: 65 = 1.3 * 50 about (120, 85)
        (Box(-10, -10, 40, 50), (0, 0, 65)),  # over the upper left corner
        (Box(290, 190, 40, 50), (300 - 65, 200 - 65, 65)),  # over the lower right one
        (Box(100, 0, 100, 200), (50, 0, 200)),  # larger than the image's shorter side
    ],
)
def test_the_crop_is_the_box_with_its_margin(cropper: Cropper, box: Box, square: tuple[int, int, int]) -> None:
    data = encode(picture(300, 200), "PNG")
    left, top, side = square
    assert_shows(cropper(data, box), reference(data).crop((left, top, left + side, top + side)))


sides = st.integers(1, 4000)
coordinates = st.floats(-5000, 5000)
extents = st.floats(0.01, 5000)


@settings(max_examples=300, deadline=None)
@given(sides, sides, st.builds(Box, coordinates, coordinates, extents, extents), st.floats(0, 2))
def test_the_laws_of_the_square(width: int, height: int, box: Box, margin: float) -> None:
    apart = box.left >= width or box.top >= height or box.left + box.width <= 0 or box.top + box.height <= 0
    if apart:
        with pytest.raises(Reject, match="outside"):
            crop_square(width, height, box, margin)
        return
    left, top, side = crop_square(width, height, box, margin)
    wanted = (1 + margin) * max(box.width, box.height)
    assert 0 <= left <= width - side and 0 <= top <= height - side
    assert side == min(width, height) or abs(side - max(1, wanted)) <= 0.5
    for start, extent, middle in ((left, width, box.left + box.width / 2), (top, height, box.top + box.height / 2)):
        off_centre = start + side / 2 - middle
        at_lower, at_upper = start == 0, start == extent - side
        assert abs(off_centre) <= 0.5 or (at_lower and off_centre > 0) or (at_upper and off_centre < 0)


@settings(max_examples=50, deadline=None)
@given(sides, sides)
def test_without_a_box_the_square_is_central(width: int, height: int) -> None:
    left, top, side = crop_square(width, height, None, 0.3)
    assert side == min(width, height)
    assert abs((width - side) - 2 * left) <= 1 and abs((height - side) - 2 * top) <= 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "empty file"),
        ("html", r"not an image: it is a web page \(HTML\)\. Download it again"),
        ("half", "damaged JPEG: Premature end"),
        ("no end marker", "damaged JPEG: Premature end"),
        ("half with an end marker", "damaged JPEG: Corrupt JPEG data"),
        ("a hole", "damaged JPEG: Corrupt JPEG data"),
        ("zeros", "not an image"),
        ("only a header", "damaged JPEG|cannot be decoded|not an image"),
        ("half a png", "cannot be decoded"),
        ("a flipped bit in a png", "cannot be decoded"),
        ("half a tiff", "cannot be decoded|not an image"),
        ("half a webp", "cannot be decoded|not an image"),
        ("half a cmyk jpeg", "damaged JPEG"),
        ("postscript", "not an image"),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damage_is_named(cropper: Cropper, kind: str, reason: str) -> None:
    with pytest.raises(UnusableImage, match=reason):
        cropper(damaged(kind))


@settings(max_examples=200, deadline=None)
@given(st.data())
@pytest.mark.filterwarnings("ignore")
def test_whatever_is_done_to_a_file_the_sample_verifies_or_there_is_a_reason(data: st.DataObject) -> None:
    """Any exception but a reject fails, and so does a sample in which the verifier finds a fault."""
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP"]))
    mangled = bytearray(encode(picture(40, 40), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        mangled[data.draw(st.integers(0, len(mangled) - 1))] = data.draw(st.integers(0, 255))
    del mangled[data.draw(st.integers(len(mangled) // 2, 2 * len(mangled))) :]
    cropper = Cropper()
    try:
        face = cropper(bytes(mangled))
    except (Reject, UnusableImage) as reject:
        assert str(reject)
    else:
        assert sample.fault(np.frombuffer(face.data, np.uint8), face.height, face.width) is None


@pytest.mark.parametrize(("side", "bits"), [(30_000, 1), (12_000, 8)])
def test_bombs_are_rejected_unopened(tmp_path: Path, side: int, bits: int) -> None:
    """In a process of its own, whose peak of memory nothing else has raised."""
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_of_zeros(side, bits))
    program = """
import resource, sys
from frl.images.photo import UnusableImage
from writers.image.crop import CropSpec, FaceCropper
cropper = FaceCropper(CropSpec(size=256, margin=0.3, quality=90, max_pixels=100_000_000))
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    cropper(cropper.open(data))
except UnusableImage as reject:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, reject)
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(bomb)], capture_output=True, text=True, timeout=300, check=True
    )
    growth, reason = run.stdout.split(" ", 1)
    assert int(growth) < 200_000  # kilobytes
    assert f"{side}" in reason and "pixels" in reason


def test_real_faces_become_what_pil_shows(cropper: Cropper, real_faces: Path) -> None:
    paths = sorted((real_faces / "lfw_color150").glob("*/*.jpg"))[::100]
    paths += sorted((real_faces / "ytf_frames192").glob("*/*.jpg"))[::100]
    for path in paths:
        data = path.read_bytes()
        face = cropper(data)
        original = reference(data)
        side = min(original.size)
        left, top = (original.width - side) // 2, (original.height - side) // 2
        if face.untouched:
            assert face.data == data
        else:
            jpeg_in = Image.open(path).format == "JPEG"
            assert_shows(face, original.crop((left, top, left + side, top + side)), own_colours=jpeg_in)
