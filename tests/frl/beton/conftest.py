"""A small file by our writer, and stock ffcv."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from beton_samples import Sample, draw_sample

from frl.beton import BetonWriter


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Seven JPEGs of different sizes; three identities and some unknown."""
    return [draw_sample(i, 16 + 3 * i, 40 - 2 * i, i % 4 - 1) for i in range(7)]


@pytest.fixture
def beton_path(tmp_path: Path, samples: list[Sample]) -> Path:
    """A file of ``samples`` by our writer, with what lies beside it."""
    path = tmp_path / "faces.beton"
    with BetonWriter(path, capacity=10, page_size=1 << 21, labels=["a", "b", "c"], settings={"seed": 3}) as writer:
        for sample in samples:
            writer.append(*sample.arguments)
        writer.reject("broken.jpg", "it is empty")
    return path


@pytest.fixture
def bare_path(beton_path: Path) -> Path:
    """The same file alone, as stock ffcv would leave it."""
    for sidecar in beton_path.parent.glob("faces.beton.*"):
        sidecar.unlink()
    return beton_path


@pytest.fixture(scope="session")
def ffcv() -> ModuleType:
    """Stock ffcv, the reference; its import takes seconds."""
    pytest.importorskip("ffcv.reader")
    import ffcv
    import ffcv.fields
    import ffcv.libffcv
    import ffcv.types
    import ffcv.writer

    return ffcv


@pytest.fixture(scope="session")
def write_stock(ffcv: ModuleType) -> Callable[[Path, dict, list[tuple]], None]:
    """Write rows with stock ffcv's own writer, in one worker."""

    def write(path: Path, fields: dict, rows: list[tuple]) -> None:
        writer = ffcv.writer.DatasetWriter(str(path), fields, page_size=1 << 21, num_workers=1)
        writer.from_indexed_dataset(rows)

    return write


@pytest.fixture
def two_gigabytes() -> Iterator[None]:
    """Let the process grow by 2 GB of address space at most."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
