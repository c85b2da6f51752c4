"""What the writer makes of odd JPEGs, every engine decodes, and ``frl verify --deep`` finds sound."""

import io
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from odd_jpegs import ODD
from pictures import encode, picture
from PIL import Image

from frl.beton import Beton, verify
from frl.config import DataConfig
from pipelines.engines.engine import Request
from pipelines.loader import open_engine
from tests.pipelines.conftest import ENGINES
from writers.to_beton import main

SIDE = 64


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd")
    (root / "faces").mkdir()
    for number, odd in enumerate(ODD.values()):
        (root / "faces" / f"{number:02}.jpg").write_bytes(odd(encode(picture(SIDE, SIDE), quality=90)))
    out = root / "odd.beton"
    options = ["--workers", "1", "--dedupe", "none", "--max-rejects", "0"]
    assert main([f"folder:{root / 'faces'}", "--out", str(out), *options]) == 0
    return out


def test_they_verify(written: Path) -> None:
    report = verify(written, deep=True)
    assert report.ok and report.samples == len(ODD), report.faults


@pytest.mark.parametrize("engine", ENGINES)
def test_they_are_decoded(written: Path, engine: str) -> None:
    expected = np.asarray(picture(SIDE, SIDE)).astype(int)
    with Beton(written) as beton:
        data = DataConfig(data=(written,), engine=engine, workers=1)
        with closing(open_engine(beton, data, torch.device("cpu"))) as source:
            (batch,) = source.images([Request(samples=np.arange(len(beton)), share=slice(0, len(beton)))])
        assert batch.broken == 0
        for image, encoded in zip(batch.images.numpy(), map(beton.encoded, range(len(beton))), strict=True):
            assert np.abs(image.astype(int) - expected).mean() < 4
            assert Image.open(io.BytesIO(encoded.tobytes())).mode == "RGB"
