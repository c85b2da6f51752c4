"""What a run sets of torch, and that it leaves as it was what would surprise the next one."""

import os
from pathlib import Path

import pytest
import torch

from frl.errors import ConfigError
from frl.runtime.numerics import FIXED_WORKSPACES, WORKSPACE, exact_products, numerics

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """``numerics`` may add to it."""
    monkeypatch.setenv(WORKSPACE, FIXED_WORKSPACES[0])
    monkeypatch.delenv(WORKSPACE)


@pytest.fixture
def allowed_tf32():
    """As in a container of NVIDIA."""
    products = torch.backends.cuda.matmul
    torch.set_float32_matmul_precision("high")
    products.allow_fp16_reduced_precision_reduction = True
    products.allow_bf16_reduced_precision_reduction = True
    yield
    exact_products()


def test_products_are_exact_whatever_was_allowed_before(allowed_tf32):
    with numerics(GPU):
        products = torch.backends.cuda.matmul
        assert torch.get_float32_matmul_precision() == "highest" and not products.allow_tf32
        assert not products.allow_fp16_reduced_precision_reduction
        assert not products.allow_bf16_reduced_precision_reduction


@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_deterministic_run_ends_with_its_context(device):
    def state():
        cudnn = torch.backends.cudnn
        return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark

    before = state()
    with numerics(device, deterministic=True):
        assert state() == (True, True, False)
        assert os.environ[WORKSPACE] in FIXED_WORKSPACES
        assert torch.empty(3).isnan().all()  # what nobody has written does not go unnoticed
    assert state() == before


def test_only_a_gpu_tries_its_convolutions():
    with numerics(GPU):
        assert torch.backends.cudnn.benchmark
    with numerics(CPU):
        assert not torch.backends.cudnn.benchmark


def test_an_environment_that_is_not_deterministic_is_refused(monkeypatch):
    monkeypatch.setenv(WORKSPACE, ":0:0")
    with pytest.raises(ConfigError, match=r"--deterministic.*:0:0.*:4096:8"), numerics(GPU, deterministic=True):
        pytest.fail("it went on")


def test_nobody_else_allows_products_to_be_less_exact():
    root = Path(__file__).parents[3]
    allowing = ("set_float32_matmul_precision", "allow_tf32", "fp32_precision", "reduced_precision_reduction")
    sources = [path for folder in ("frl", "pipelines", "scripts", "writers") for path in (root / folder).rglob("*.py")]
    found = [path.name for path in sources if any(word in path.read_text() for word in allowing)]
    assert found == ["numerics.py"]
