"""A step that is not finite leaves no trace (fault T6); see ``test_train.py`` for whole runs."""

import math

import pytest
import torch
from tests_support import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from frl.training.nonfinite import BufferGuard, tell_all_ranks


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_bad_loss_poisons_every_gradient_even_where_it_is_flat(value):
    weight = nn.Parameter(torch.ones(2))
    loss = (weight * 0).sum() + value
    tell_all_ranks(loss).backward()
    assert weight.grad is not None and weight.grad.isnan().all()


def test_a_good_loss_keeps_its_gradient_bit_for_bit():
    weight = nn.Parameter(torch.randn(5, generator=torch.Generator().manual_seed(0)))
    (plain,) = torch.autograd.grad(weight.exp().sum(), weight)
    (told,) = torch.autograd.grad(tell_all_ranks(weight.exp().sum()), weight)
    assert torch.equal(plain, told)


def test_buffers_are_kept_or_put_back():
    norm = nn.BatchNorm1d(4)
    guard = BufferGuard(norm)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    guard.remember()
    norm(torch.full((3, 4), math.nan))
    guard.settle(torch.tensor(False))
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())
    guard.remember()
    norm(torch.randn(3, 4))
    guard.settle(torch.tensor(True))
    assert norm.num_batches_tracked == 1 and not torch.equal(norm.running_mean, before["running_mean"])


def verdicts(rank: int, world: int) -> torch.Tensor:
    model = DistributedDataParallel(nn.Linear(3, 1))
    loss = model(torch.ones(2, 3)).sum() + (math.inf if rank == 1 else 0.0)
    tell_all_ranks(loss).backward()
    return torch.stack([p.grad.isfinite().all() for p in model.parameters()]).int()


def test_the_bad_loss_of_one_rank_is_known_to_the_other():
    assert all((verdict == 0).all() for verdict in run_ranks(verdicts, 2))
