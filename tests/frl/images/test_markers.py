"""Headers are read without decoding, as Pillow and libjpeg read them; whatever the bytes, the search ends."""

import io

import numpy as np
import pytest
from odd_jpegs import ODD
from PIL import ExifTags, Image

from frl.images.markers import frame, plain_size
from frl.images.turbojpeg import DamagedJpegError, JpegDecoder


def as_jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG")
    return stream.getvalue()


class TestFrame:
    def test_reads_what_pil_reads(self):
        for height, width in [(1, 1), (37, 511), (300, 16)]:
            encoded = as_jpeg(np.zeros((height, width, 3), np.uint8))
            assert frame(memoryview(encoded))[:2] == (height, width)

    @pytest.mark.parametrize("option", [{"progressive": True}, {"icc_profile": bytes(70000)}, {"comment": b"\xff\xc0"}])
    def test_skips_other_segments(self, option, tmp_path):
        Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", **option)
        assert frame(memoryview((tmp_path / "a.jpg").read_bytes()))[:2] == (20, 30)

    @pytest.mark.parametrize(
        "damaged",
        [b"", b"\xff", b"\xff\xd8", bytes(100), b"\xff\xd8\xff\xd9", b"\xff\xd8" + bytes(50), b"\xff\xd8\xff\xff\xff"],
    )
    def test_refuses_what_is_no_jpeg(self, damaged):
        with pytest.raises(ValueError, match="JPEG"):
            frame(memoryview(damaged))

    def test_ends_on_every_mutation(self):
        good = as_jpeg(np.zeros((20, 30, 3), np.uint8))
        rng = np.random.default_rng(0)
        for _ in range(500):
            mutated = bytearray(good)
            mutated[rng.integers(len(good))] = rng.integers(256)
            try:
                height, width, _ = frame(memoryview(bytes(mutated)))
            except ValueError:
                continue
            assert 0 <= height < 65536 and 0 <= width < 65536


def saved(**options) -> bytes:
    stream = io.BytesIO()
    colours = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(colours).convert(options.pop("mode", "RGB")).save(stream, "JPEG", **options)
    return stream.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


PLAIN = [{}, {"progressive": True}, {"comment": b"hello"}, {"restart_marker_blocks": 2}, {"subsampling": "4:4:4"}]
OTHERS = [
    {"mode": "L"},
    {"mode": "CMYK"},
    {"keep_rgb": True},
    {"exif": turned()},
    {"icc_profile": b"profile"},
    {"xmp": b'<x tiff:Orientation="6"/>'},
]


def agrees(data: bytes) -> bool:
    """Whether what ``plain_size`` is certain of is what Pillow finds, or libjpeg refuses the file."""
    size = plain_size(data)
    if size is None:
        return True
    try:
        JpegDecoder().check(data, *size)
    except DamagedJpegError:
        return True
    image = Image.open(io.BytesIO(data))
    upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
    return upright and (image.format, image.mode, image.size, "jfif" in image.info) == ("JPEG", "RGB", size, True)


class TestPlainSize:
    @pytest.mark.parametrize("options", PLAIN)
    def test_knows_the_headers_of_most_crops(self, options):
        assert plain_size(saved(**options)) == (30, 40)

    @pytest.mark.parametrize("options", OTHERS)
    def test_is_certain_of_no_other(self, options):
        assert plain_size(saved(**options)) is None

    @pytest.mark.parametrize("odd", ODD)
    def test_agrees_with_pillow_on_odd_headers(self, odd):
        assert agrees(ODD[odd](saved()))

    @pytest.mark.parametrize("options", [*PLAIN, *OTHERS])
    def test_agrees_with_pillow_whatever_happens_to_the_header(self, options):
        good = saved(**options)
        head = good.index(b"\xff\xda") + 14
        rng = np.random.default_rng(0)
        certain = 0
        for kind in ("replaced", "removed", "inserted", "cut") * 150:
            at, mutated = int(rng.integers(head)), bytearray(good)
            if kind == "replaced":
                mutated[at] = rng.integers(256)
            elif kind == "removed":
                del mutated[at : at + int(rng.integers(1, 20))]
            elif kind == "inserted":
                mutated[at:at] = rng.bytes(int(rng.integers(1, 20)))
            else:
                del mutated[at:]
            assert agrees(bytes(mutated)), (kind, at)
            certain += plain_size(bytes(mutated)) is not None
        assert certain > 50 or options in OTHERS
