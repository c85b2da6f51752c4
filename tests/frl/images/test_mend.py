"""What is odd about a JPEG is put right without a change of a pixel; damage stays damage."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_jpegs import ODD, adobe, padded, padded_scans, scan_header
from pictures import damaged, encode, picture
from PIL import Image

from frl.images import sample
from frl.images.markers import frame, whole_frame
from frl.images.mend import mendings
from frl.images.photo import Photo, UnusableImage
from frl.images.turbojpeg import DamagedJpegError, JpegDecoder

CLEAN = encode(picture(96, 96), quality=90)


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def opened(data: bytes) -> Photo:
    return Photo(data, JpegDecoder(), 10**8)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_photograph_has_the_pixels_of_the_clean_one(kind: str) -> None:
    odd = ODD[kind](CLEAN)
    assert odd != CLEAN and np.array_equal(by_pillow(odd), by_pillow(CLEAN))  # an independent decoder sees no damage
    photo = opened(odd)
    assert np.array_equal(np.asarray(photo.pixels().image), by_pillow(CLEAN))
    # What would be stored is what libffcv takes, too: libjpeg-turbo has no complaint left.
    assert sample.fault(np.frombuffer(photo.data, np.uint8), 96, 96) is None
    assert photo.mended == (sample.fault(np.frombuffer(odd, np.uint8), 96, 96) is not None)
    assert photo.mended or kind in ("one zero", "two zeros")  # of which the decoder takes no notice


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("part", ["planes", "check"])
def test_every_way_to_decode_is_forgiving(kind: str, part: str) -> None:
    photo, clean = opened(ODD[kind](CLEAN)), opened(CLEAN)
    mine, theirs = getattr(photo, part)(), getattr(clean, part)()
    if part == "planes":
        for plane, expected in zip(mine, theirs, strict=True):
            assert np.array_equal(plane.pixels, expected.pixels)


def test_a_clean_file_is_left_alone() -> None:
    photo = opened(CLEAN + b"whatever follows the image")
    photo.check()
    assert not photo.mended and list(mendings(photo.data)) == []


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}])
def test_zeros_behind_every_scan(options: dict[str, object]) -> None:
    clean = encode(picture(96, 96), quality=90, **options)
    photo = opened(padded_scans(clean, 64))
    assert np.array_equal(np.asarray(photo.pixels().image), by_pillow(clean)) and photo.mended


def test_grey_and_cmyk() -> None:
    for image in (picture(64, 64).convert("L"), picture(64, 64).convert("CMYK")):
        clean = encode(image, quality=95)
        photo = opened(padded(scan_header(clean, b"\0\0\0"), 8))
        assert np.array_equal(np.asarray(photo.pixels().image), by_pillow(clean)) and photo.mended


KINDS = ["half", "no end marker", "half with an end marker", "a hole", "only a header", "half a cmyk jpeg"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", ["as it is", "JFIF 2.0", "scan ends at 0"])
def test_damage_is_no_oddity(kind: str, odd: str) -> None:
    """Neither alone nor behind a warning that comes first and hides the next."""
    data = damaged(kind)
    if odd != "as it is" and b"\xff\xda" in data:
        data = ODD[odd](data)
    with pytest.raises(UnusableImage):
        opened(data).pixels()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("optimize", [False, True])
def test_zeros_in_the_place_of_the_image_are_no_filling(share: float, optimize: bool) -> None:
    """A download that broke off, in a file of the full size: with some tables, zeros decode to grey and leave some."""
    clean = encode(picture(200, 200), optimize=optimize)
    start = int(len(clean) * share)
    data = clean[:start] + bytes(len(clean) - start + 4000) + clean[-2:]
    with pytest.raises(UnusableImage, match="damaged JPEG"):
        opened(data).pixels()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mended_file_decodes_without_complaint_or_is_refused(data: st.DataObject) -> None:
    """Bytes flipped anywhere: what is accepted has no complaint, and its pixels are Pillow's."""
    broken = bytearray(ODD[data.draw(st.sampled_from(list(ODD)))](CLEAN))
    for _ in range(data.draw(st.integers(0, 3))):
        broken[data.draw(st.integers(2, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        photo = opened(bytes(broken))
        pixels = np.asarray(photo.pixels().image)
    except UnusableImage:
        return
    if photo.mended:
        height, width, channels = whole_frame(np.frombuffer(photo.data, np.uint8))
        if channels in (1, 3):
            assert np.array_equal(JpegDecoder().decode(photo.data, width, height), by_pillow(photo.data))
    assert pixels.shape[2] == 3


def test_markers_are_read_alike_with_and_without_the_whole_file() -> None:
    for data in (
        CLEAN,
        adobe(CLEAN, 1),
        encode(picture(30, 20), progressive=True),
        ODD["zeros between segments"](CLEAN),
    ):
        assert frame(data) == frame(memoryview(data)) == whole_frame(np.frombuffer(data, np.uint8))


def test_the_decoder_itself_stays_strict() -> None:
    with pytest.raises(DamagedJpegError, match="JFIF revision"):
        JpegDecoder().check(ODD["JFIF 2.0"](CLEAN), 96, 96)
