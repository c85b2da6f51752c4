"""Fixtures shared by all tests."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# Processes that tests start are forked from a server that has imported these once. It has started no threads.
multiprocessing.set_forkserver_preload(["torch", "torch.distributed", "frl.training.train", "pipelines.loader"])


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """The folder of real faces beside a development checkout; tests that want it skip elsewhere."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "faces"
    if not folder.is_dir():
        pytest.skip("the folder of real faces is not here")
    return folder


@pytest.fixture(autouse=True)
def numerics_of_a_test_end_with_it() -> Iterator[None]:
    """What a test sets for the whole process, so that runs repeat bit for bit, is not the next one's."""
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)
