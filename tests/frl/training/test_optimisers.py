"""LARC-SGD against timm's Lars and against plain SGD."""

import pytest
import torch
from torch import nn

from frl.training.optimisers import LarcSGD


def twin_networks() -> tuple[nn.Module, nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))

    return make(), make()


def train_both(ours: nn.Module, theirs: nn.Module, optimisers: list[torch.optim.Optimizer], steps: int = 6) -> None:
    images = torch.randn(steps, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for batch in images:
        for network, optimiser in zip((ours, theirs), optimisers, strict=True):
            optimiser.zero_grad()
            network(batch).square().mean().backward()
            optimiser.step()


@pytest.mark.parametrize("weight_decay", [0.0, 1e-6, 1e-2])
def test_equals_timm_lars(weight_decay):
    timm_optim = pytest.importorskip("timm.optim")
    ours, theirs = twin_networks()
    settings = {"lr": 0.5, "momentum": 0.9, "weight_decay": weight_decay}
    # timm's Lars without `always_adapt` skips parameters without weight decay; apex's LARC adapts all of them.
    peer = timm_optim.Lars(theirs.parameters(), trust_coeff=0.001, always_adapt=True, **settings)
    train_both(ours, theirs, [LarcSGD(ours.parameters(), trust=0.001, **settings), peer])
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-6, atol=1e-8)


def test_without_trust_it_is_sgd():
    ours, theirs = twin_networks()
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}
    sgd = torch.optim.SGD(theirs.parameters(), **settings)
    train_both(ours, theirs, [LarcSGD(ours.parameters(), trust=0, **settings), sgd])
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-6, atol=1e-8)


def test_the_step_length_follows_the_weights_not_the_gradient():
    for scale in (1e-3, 1.0, 1e3):
        weight = nn.Parameter(torch.full((4,), 2.0))
        weight.grad = torch.full((4,), scale)
        LarcSGD([weight], lr=1.0, momentum=0.0, trust=0.001).step()
        torch.testing.assert_close((2.0 - weight.detach()).norm(), torch.tensor(0.001 * 4.0), rtol=1e-3, atol=0)


def test_zero_weights_take_the_plain_gradient():
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.ones(3)
    LarcSGD([weight], lr=0.5, momentum=0.0, weight_decay=0.1).step()
    torch.testing.assert_close(weight.detach(), torch.full((3,), -0.5))


def test_a_zero_gradient_moves_nothing():
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.zeros(3)
    LarcSGD([weight], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(weight.detach(), torch.ones(3))


def test_a_parameter_without_gradient_keeps_weight_and_momentum():
    weight = nn.Parameter(torch.ones(3))
    optimiser = LarcSGD([weight], lr=0.5)
    weight.grad = torch.ones(3)
    optimiser.step()
    before = weight.detach().clone(), optimiser.state[weight]["momentum_buffer"].clone()
    weight.grad = None
    optimiser.step()
    assert torch.equal(weight, before[0])
    assert torch.equal(optimiser.state[weight]["momentum_buffer"], before[1])


@pytest.mark.parametrize("trust", [0.001, 0.0])
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_a_step_that_is_not_finite_changes_nothing(poison, trust):
    weights = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((2, 2), 2.0))]
    optimiser = LarcSGD(weights, lr=0.5, weight_decay=0.1, trust=trust)

    def step(bad: bool) -> None:
        for weight in weights:
            weight.grad = torch.full_like(weight, 0.3)
        if bad:
            weights[1].grad[0, 1] = poison
        optimiser.step()

    step(bad=False)
    assert optimiser.finite
    before = [(w.detach().clone(), optimiser.state[w]["momentum_buffer"].clone()) for w in weights]
    step(bad=True)
    assert not optimiser.finite
    for weight, (value, momentum) in zip(weights, before, strict=True):
        assert torch.equal(weight, value) and torch.equal(optimiser.state[weight]["momentum_buffer"], momentum)
    step(bad=False)
    assert optimiser.finite and all((w != value).all() for w, (value, _) in zip(weights, before, strict=True))
