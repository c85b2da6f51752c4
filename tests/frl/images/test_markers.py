"""The frame header is found without decoding, and whatever the bytes, the search ends."""

import io

import numpy as np
import pytest
from PIL import Image

from frl.images.markers import frame


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
