"""Sinkhorn: its laws, and equality with the textbook iteration in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import run_ranks

from frl.objectives.sinkhorn import sinkhorn


def textbook(scores: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """The iteration as the SwAV paper writes it, in float64, shifted so that exp cannot overflow."""
    q = np.exp((scores.astype(np.float64) - scores.max()) / epsilon).T
    q /= q.sum()
    prototypes, samples = q.shape
    for _ in range(iterations):
        q /= q.sum(axis=1, keepdims=True) * prototypes
        q /= q.sum(axis=0, keepdims=True) * samples
    return (q * samples).T


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 40), st.integers(2, 30), st.sampled_from([0.03, 0.05, 0.1]), st.integers(1, 6), st.integers(0, 99)
)
def test_equals_the_textbook_in_float64(samples, prototypes, epsilon, iterations, seed):
    scores = torch.rand(samples, prototypes, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    expected = textbook(scores.numpy(), epsilon, iterations)
    np.testing.assert_allclose(sinkhorn(scores, epsilon, iterations).exp().numpy(), expected, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["extreme", "one-hot", "equal"])
def test_hard_inputs_stay_finite_and_rows_sum_to_one(dtype, kind):
    """Fault T7: two samples, 3000 prototypes, logits at the ends of their range, half precision."""
    scores = torch.zeros(2, 3000)
    if kind == "extreme":
        scores = torch.where(torch.rand(2, 3000, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0)
    elif kind == "one-hot":
        scores[0, 5] = scores[1, 7] = 1.0
    q = sinkhorn(scores.to(dtype), 0.05, 3).exp()
    assert q.dtype == torch.float32
    assert torch.isfinite(q).all()
    torch.testing.assert_close(q.sum(1), torch.ones(2), rtol=0, atol=1e-5)
    np.testing.assert_allclose(q.numpy(), textbook(scores.to(dtype).float().numpy(), 0.05, 3), rtol=2e-3, atol=1e-6)


def test_tiny_epsilon_does_not_overflow():
    q = sinkhorn(torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]), 1e-3, 3).exp()
    assert torch.isfinite(q).all()


def test_every_prototype_gets_its_fair_share():
    scores = torch.randn(256, 32, generator=torch.Generator().manual_seed(1)).clamp(-3, 3) / 3
    q = sinkhorn(scores, 0.05, 50).exp()
    torch.testing.assert_close(q.mean(0), torch.full((32,), 1 / 32), rtol=1e-3, atol=0)


def test_leading_dimensions_are_independent_problems():
    scores = torch.rand(2, 10, 6, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(sinkhorn(scores, 0.05, 3), torch.stack([sinkhorn(s, 0.05, 3) for s in scores]))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(2, 30), st.sampled_from([0.05, 0.1]), st.integers(1, 6), st.integers(0, 99))
def test_equals_lightly(samples, prototypes, epsilon, iterations, seed):
    theirs = pytest.importorskip("lightly.loss.swav_loss").sinkhorn
    scores = torch.rand(samples, prototypes, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    expected = theirs(scores.double(), iterations, epsilon)
    torch.testing.assert_close(sinkhorn(scores, epsilon, iterations).double().exp(), expected, rtol=2e-3, atol=1e-6)


def shares(rank: int, world: int, epsilon: float, kind: str) -> torch.Tensor:
    scores = torch.rand(2, 12, 7, generator=torch.Generator().manual_seed(3)) * 2 - 1
    if kind == "extreme":
        scores = scores.sign()
    elif kind == "apart":  # one rank's best is the other's worst
        scores[:, :6, :3], scores[:, 6:, :3] = -1.0, 1.0
    return sinkhorn(scores.chunk(world, dim=1)[rank], epsilon, 3, over_ranks=world > 1).exp()


def all_shares(rank: int, world: int, cases: list[tuple[float, str]]) -> torch.Tensor:
    return torch.stack([shares(rank, world, *case) for case in cases])


def test_two_ranks_equal_one_process():
    cases = [(epsilon, kind) for epsilon in (0.01, 0.03, 0.05, 0.1) for kind in ("even", "extreme", "apart")]
    together = torch.cat(run_ranks(all_shares, 2, cases), dim=2)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, all_shares(0, 1, cases), rtol=1e-4, atol=1e-6)
