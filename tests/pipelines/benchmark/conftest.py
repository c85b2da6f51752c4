"""A data set for the benchmarks' tests."""

from pathlib import Path

import pytest
from beton_samples import draw_sample

from frl.beton import BetonWriter


@pytest.fixture
def many_faces(tmp_path) -> Path:
    """40 pictures of 64 x 64 pixels."""
    path = tmp_path / "many.beton"
    with BetonWriter(path, capacity=40, page_size=1 << 21) as writer:
        for i in range(40):
            writer.append(*draw_sample(i, 64, 64).arguments)
    return path
