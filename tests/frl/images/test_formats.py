"""Formats are told by content; what is not decoded is named with what would read it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import encode, picture

from frl.images.formats import DECODED, HEAD, sniff, why_not_decoded
from frl.images.photo import Photo, UnusableImage
from frl.images.turbojpeg import JpegDecoder


@pytest.mark.parametrize("kind", DECODED)
def test_what_pillow_writes_is_recognised(kind: str) -> None:
    data = encode(picture(40, 30), kind)
    assert sniff(data[:HEAD]) == kind
    assert Photo(data, JpegDecoder(), 10**6).pixels().image.size == (40, 30)


OTHERS = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ",
    "camera raw": b"II*\0\x10\0\0\0CR\2\0",
    "Photoshop": b"8BPS\0\1\0\0\0\0\0\0\0\3",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_decoded_is_named_with_a_reader(kind: str) -> None:
    data = OTHERS[kind] + bytes(200)
    assert sniff(data[:HEAD]) == kind
    with pytest.raises(UnusableImage, match=f"{kind}, which is not decoded: .*"):
        Photo(data, JpegDecoder(), 10**6)


def test_heic_names_pillow_heif() -> None:
    assert "pillow-heif" in why_not_decoded(OTHERS["HEIC"])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"name,identity\n",
        b"P1 is the first of them\n",
        b"P5 3 of 4\n",
        b"BMW cars: a list of them, one a line\n",
        b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    ],
)
def test_texts_and_films_are_no_images(text: bytes) -> None:
    assert sniff(text[:HEAD]) is None


@given(st.binary(max_size=HEAD))
def test_any_bytes_have_an_answer(head: bytes) -> None:
    sniff(head)
    assert why_not_decoded(head)


GREYS = bytes(range(200))
"""Of an image of 20 x 10."""


@pytest.mark.parametrize(
    "data",
    [
        b"P5\n# by a camera\n20 10\n255\n" + GREYS,
        b"P5 20 10 65535\n" + b"".join(bytes((value, 77)) for value in GREYS),
        b"P2\n20 10\n255\n" + b" ".join(b"%d" % value for value in GREYS),
        b"P6 20 10 255\n" + b"".join(bytes((value,) * 3) for value in GREYS),
    ],
    ids=["binary", "16-bits", "text", "colour"],
)
def test_netpbm_of_every_kind_has_the_greys_it_was_given(data: bytes) -> None:
    """As the FERET, ORL and Yale databases have them."""
    photo = Photo(data, JpegDecoder(), 10**6)
    assert np.asarray(photo.pixels().image)[:, :, 1].tobytes() == GREYS
    with pytest.raises(UnusableImage, match="cannot be decoded"):
        Photo(data[:-40], JpegDecoder(), 10**6)
