"""Decoders: libffcv's pixels bit for bit out of a wheel, PIL's within a tolerance, and what each says of damage."""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from frl.errors import LoaderError
from frl.images.markers import frame
from pipelines.engines import decoders
from pipelines.engines.broken import Undecodable
from pipelines.engines.decoders import Decoder, pil_decoder, simplejpeg_decoder
from pipelines.engines.ffcv_engine import libffcv_decoder
from pipelines.loader import DECODERS
from tests.pipelines.conftest import THREADED, encode, picture

needs_ffcv = pytest.mark.skipif(importlib.util.find_spec("ffcv") is None, reason="ffcv is not installed")


def jpeg(height: int, width: int, **options: object) -> bytes:
    """A picture, encoded in one of the ways that Pillow knows."""
    stream = io.BytesIO()
    Image.fromarray(picture(height, width, seed=height)).save(stream, "JPEG", **options)
    return stream.getvalue()


def decoded(decode: Decoder, data: bytes) -> np.ndarray:
    """``(height, width, 3)``; what lies behind the image in the buffer must stay as it was."""
    height, width, _ = frame(data)
    out = np.full(height * width * 3 + 64, 7, np.uint8)
    encoded = np.frombuffer(data, np.uint8)
    assert not encoded.flags.writeable, "as a view into a mapped file"
    decode(encoded, height, width, out)
    assert (out[height * width * 3 :] == 7).all()
    return out[:-64].reshape(height, width, 3)


def verdict(decode: Decoder, data: bytes) -> np.ndarray | None:
    """The pixels, or None if it refuses."""
    try:
        return decoded(decode, data)
    except Undecodable:
        return None


WAYS = [
    *({"quality": quality, "subsampling": thin} for quality in (35, 90, 100) for thin in ("4:4:4", "4:2:2", "4:2:0")),
    {"progressive": True},
    {"restart_marker_blocks": 2},
]


@needs_ffcv
@pytest.mark.parametrize("options", WAYS, ids=str)
def test_simplejpeg_gives_libffcv_s_pixels(options: dict) -> None:
    for height, width in ((64, 64), (17, 23), (1, 1), (250, 187)):
        data = jpeg(height, width, **options)
        np.testing.assert_array_equal(decoded(simplejpeg_decoder(), data), decoded(libffcv_decoder(), data))


def faces(folder: Path, count: int) -> Iterable[bytes]:
    """JPEGs spread over all data sets of a folder."""
    paths = sorted(folder.rglob("*.jpg"))
    for path in paths[:: max(1, len(paths) // count)][:count]:
        yield path.read_bytes()


@needs_ffcv
def test_of_real_faces_too(real_faces: Path) -> None:
    for data in faces(real_faces, 120):
        np.testing.assert_array_equal(decoded(simplejpeg_decoder(), data), decoded(libffcv_decoder(), data))


@settings(max_examples=150, deadline=None)
@given(st.data())
@needs_ffcv
def test_simplejpeg_notices_the_damage_that_libffcv_notices(draw: st.DataObject) -> None:
    """And where both take the data, their pixels are the same: neither leaves anything as it was."""
    whole = jpeg(48, 40, quality=80)
    scan = whole.index(b"\xff\xda") + 14  # both of our callers look at the header themselves
    at = draw.draw(st.integers(scan, len(whole) - 3))
    damaged = {
        "cut": lambda: whole[:at],
        "bit": lambda: whole[:at] + bytes([whole[at] ^ 1 << draw.draw(st.integers(0, 7))]) + whole[at + 1 :],
        "zeros": lambda: whole[:at] + bytes(min(40, len(whole) - at)) + whole[at + 40 :],
    }[draw.draw(st.sampled_from(["cut", "bit", "zeros"]))]()
    ours, theirs = verdict(simplejpeg_decoder(), damaged), verdict(libffcv_decoder(), damaged)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        np.testing.assert_array_equal(ours, theirs)


def assert_near(data: bytes) -> None:
    """Fast against accurate DCT: 1.25 grey levels on average, 10 at most (measured on 900 faces: 1.0 and 9)."""
    fast, accurate = decoded(simplejpeg_decoder(), data), decoded(pil_decoder(), data)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(accurate, np.asarray(image.convert("RGB")))
    difference = np.abs(fast.astype(int) - accurate)
    assert difference.max() <= 10 and difference.mean() < 1.25


def test_pil_s_pixels_are_within_a_tolerance() -> None:
    for height, width in ((48, 48), (64, 48), (31, 64), (17, 9)):
        assert_near(jpeg(height, width, quality=90))


def test_of_real_faces_as_well(real_faces: Path) -> None:
    for data in faces(real_faces / "ytf_frames192", 24):
        assert_near(data)


@pytest.mark.parametrize("name", THREADED)
class TestEveryDecoder:
    def test_grey_becomes_rgb(self, name: str) -> None:
        grey = np.tile(np.arange(48, dtype=np.uint8) * 5, (40, 1))
        pixels = decoded(DECODERS[name](), encode(grey))
        assert (pixels == pixels[..., :1]).all() and np.abs(pixels[..., 0].astype(int) - grey).max() <= 4

    def test_a_file_that_ends_early_is_refused(self, name: str) -> None:
        whole = jpeg(64, 64)
        decode = DECODERS[name]()
        for keep in (len(whole) // 3, len(whole) // 2, len(whole) - 200):
            with pytest.raises(Undecodable, match="damaged or cut off"):
                decoded(decode, whole[:keep])

    def test_python_s_lock_is_free_meanwhile(self, name: str) -> None:
        """Held to the end, the lock would keep the other thread waiting for as long as the decoding takes."""
        data = np.frombuffer(jpeg(3000, 3000), np.uint8)
        decode, out = DECODERS[name](), np.empty(3000 * 3000 * 3, np.uint8)
        interval, progress, over = sys.getswitchinterval(), [0], threading.Event()

        def count() -> None:
            while not over.is_set():
                progress[0] += 1
                time.sleep(0.0005)

        counter = threading.Thread(target=count)
        sys.setswitchinterval(1000)  # a thread that runs Python code is never asked for the lock
        try:
            counter.start()
            for _ in range(50):  # a busy machine may give the other thread no time during one of them
                before = progress[0]
                decode(data, 3000, 3000, out)
                if (during := progress[0] - before) > 3:
                    break
        finally:
            over.set()
            sys.setswitchinterval(interval)
            counter.join()
        assert during > 3


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError()])
def test_pil_without_memory_says_nothing_of_the_data(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(decoders.Image, "open", fail)
    with pytest.raises(type(error)):
        decoded(pil_decoder(), jpeg(8, 8))


def test_simplejpeg_without_memory_says_nothing_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("Insufficient memory (case 4)")  # libjpeg-turbo, jerror.h

    monkeypatch.setattr("simplejpeg.decode_jpeg", fail)
    with pytest.raises(MemoryError):
        decoded(simplejpeg_decoder(), jpeg(8, 8))


def test_missing_simplejpeg_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with pytest.raises(LoaderError, match=r"simplejpeg: it is not installed.*pip install simplejpeg.*--engine torch"):
        simplejpeg_decoder()


def test_the_loader_imports_neither_ffcv_nor_torchvision() -> None:
    """They take seconds; torchvision brings torch._dynamo."""
    words = (
        "import sys, pipelines.loader; print([m for m in ('ffcv', 'torchvision', 'torch._dynamo') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", words], env=environment, capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "[]", run.stderr
