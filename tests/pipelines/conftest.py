"""Small data sets for the tests of the pipelines."""

import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frl.beton import BetonWriter
from frl.config import AugmentConfig, ColourConfig, CropSpec

WriteBeton = Callable[..., Path]


def has_dali() -> bool:
    """Whether NVIDIA's DALI is installed, without importing it."""
    return importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None


THREADED = [
    "threads",
    pytest.param("ffcv", marks=pytest.mark.skipif(importlib.util.find_spec("ffcv") is None, reason="no ffcv")),
    "torch",
]
ENGINES = [*THREADED, pytest.param("dali", marks=pytest.mark.skipif(not has_dali(), reason="no DALI"))]


MILD = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
TWO_VIEWS = AugmentConfig(
    crops=(
        CropSpec(size=40, count=1, scale=(0.14, 1.0), colour=ColourConfig(**MILD, blur_p=1)),
        CropSpec(size=40, count=1, scale=(0.14, 1.0), colour=ColourConfig(**MILD, blur_p=0.1, solarise_p=0.5)),
        CropSpec(size=9, count=1, scale=(0.05, 0.14), colour=ColourConfig(jitter_p=0, grey_p=0, blur_p=0)),
    )
)
"""Two views of one size that differ as BYOL's do, and a third too small for a blur."""


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth, colourful image with some sharp edges: ``(height, width, 3)`` uint8."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    image = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
    top, left = rng.integers(0, [height, width])
    image[top : top + height // 4, left : left + width // 3] = rng.integers(0, 256, 3)
    return image


def encode(image: np.ndarray, mode: str | None = None) -> bytes:
    """The image as JPEG bytes, converted to another mode (``CMYK``) if one is given."""
    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    (picture.convert(mode) if mode else picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture
def as_jpeg() -> Callable[..., bytes]:
    """Encode an array as a JPEG."""
    return encode


@pytest.fixture
def write_beton(tmp_path) -> WriteBeton:
    """Write pictures of the given (height, width) to a ``.beton``; ``replaced`` maps samples to other bytes."""

    def write(
        sizes: Sequence[tuple[int, int]], replaced: dict[int, bytes] | None = None, name: str = "a.beton"
    ) -> Path:
        path = tmp_path / name
        with BetonWriter(path, capacity=len(sizes), page_size=1 << 21, labels=["a", "b", "c"]) as writer:
            for i, (height, width) in enumerate(sizes):
                encoded = (replaced or {}).get(i) or encode(picture(height, width, seed=i))
                writer.append(encoded, height, width, i % 3, f"face_{i:03}.jpg")
        return path

    return write


@pytest.fixture(params=["zeros", "cut off", "larger", "smaller", "no scan", "CMYK"])
def broken_beton(request, write_beton, as_jpeg) -> Path:
    """Twelve pictures of 48 x 48 pixels, of which sample 5 is broken in one of several ways."""
    good = encode(picture(48, 48))
    replacement = {
        "zeros": bytes(900),
        "cut off": good[: len(good) // 2],
        "larger": encode(picture(96, 96)),
        "smaller": encode(picture(24, 24)),
        "no scan": good[: good.index(b"\xff\xda")] + b"\xff\xd9",
        "CMYK": encode(picture(48, 48), mode="CMYK"),
    }[request.param]
    return write_beton([(48, 48)] * 12, {5: replacement}, name="broken.beton")


@pytest.fixture
def tiny_beton(write_beton) -> Path:
    """23 pictures of 48 x 48 pixels."""
    return write_beton([(48, 48)] * 23)
