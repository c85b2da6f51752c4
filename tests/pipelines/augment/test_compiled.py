"""What torch cannot compile is computed as it is."""

import pytest
import torch

from frl.config import AugmentConfig
from pipelines.augment import compiled
from pipelines.augment.normalise import NormaliseCrops


class NoCompiler(RuntimeError):
    """As inductor's, which is one."""


@pytest.fixture
def broken(monkeypatch):
    """A compiler that fails when the graph is needed; the errors that it raised."""
    raised = []

    def compile(function, **options):
        def call(*args):
            raised.append(NoCompiler("No working C++ compiler found\nwith details"))
            raise raised[-1]

        return call

    monkeypatch.setattr(compiled.torch, "compile", compile)
    return raised


def test_without_a_compiler_the_views_are_the_same_and_it_is_said_once(broken, capsys):
    crops = [torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8) for size in (8, 4)]
    expected = NormaliseCrops(AugmentConfig())(crops)
    normalise = NormaliseCrops(AugmentConfig(), compile=True)
    for _ in range(2):
        assert all(map(torch.equal, normalise(crops), expected))
    assert len(broken) == 1
    assert capsys.readouterr().out == "  augment  not compiled: No working C++ compiler found\n"


def test_an_error_that_is_not_the_compilers_stays_one(broken, capsys):
    def wrong(x):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        compiled.Compiled(wrong)(torch.zeros(1))
    assert not capsys.readouterr().out


def test_memory_that_does_not_suffice_is_no_fault_of_the_compiler(monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(compiled.torch, "compile", lambda function, **options: full)
    with pytest.raises(torch.OutOfMemoryError):
        compiled.Compiled(torch.neg)(torch.zeros(1))


def test_kernels_that_do_not_compile_are_done_without(capsys):
    class PTXASError(Exception):
        """As Triton's, which is no RuntimeError."""

    def kernels(x):
        raise PTXASError("ptxas is too old")

    negative = compiled.Compiled(torch.neg, kernels)
    assert negative(torch.ones(1)) == negative(torch.ones(1)) == -1
    assert negative.graph is None
    assert capsys.readouterr().out == "  augment  not compiled: ptxas is too old\n"


def test_kernels_are_taken_where_they_compile():
    assert compiled.Compiled(torch.neg, torch.abs)(-torch.ones(1)) == 1
