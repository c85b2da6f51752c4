"""Gradients through values of all ranks, averaged as DDP does, are those of one process with the joined batch."""

import torch
from tests_support import run_ranks

from frl.objectives import across_ranks

JOINED = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHT = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def of_samples(mine: torch.Tensor, everybody: torch.Tensor) -> torch.Tensor:
    """A loss of each sample that depends on all."""
    return (mine @ everybody.T).tanh().logsumexp(1).mean()


def of_statistics(mean: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
    return (square - mean.square()).log().sum()


def gradients(rank: int, world: int) -> torch.Tensor:
    weight = WEIGHT.clone().requires_grad_()
    features = JOINED.chunk(world)[rank] @ weight
    gather, mean = (across_ranks.gather, across_ranks.mean) if world > 1 else (lambda x: x, lambda x: x)
    loss = of_samples(features, gather(features)) + of_statistics(
        mean(features.mean(0)), mean(features.square().mean(0))
    )
    loss.backward()
    return weight.grad


def test_two_ranks_equal_one_process():
    averaged = torch.stack(run_ranks(gradients, 2)).mean(0)
    torch.testing.assert_close(averaged, gradients(0, 1), rtol=1e-12, atol=1e-12)
