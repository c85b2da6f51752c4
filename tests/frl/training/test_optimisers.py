"""The optimisers against timm's and torch's own, and what all of them promise."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_objective import tiny_objective, tiny_views
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from frl.config import OptimConfig, RunConfig
from frl.errors import ConfigError
from frl.monitoring.traffic import Traffic
from frl.objectives import Objective
from frl.runtime.distributed import World
from frl.training.optimisers import AdamW, LarcSGD, Optimiser, build_optimiser, groups_of, set_rates
from frl.training.step import Step


def twin_networks() -> tuple[nn.Module, nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))

    return make(), make()


WITHOUT_A_COMPILER = """
import sys
import torch
from torch import nn
from frl.training.optimisers import AdamW, LarcSGD
for kind in (LarcSGD, AdamW):
    network = nn.Linear(3, 2)
    optimiser = kind(network.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        network(torch.ones(4, 3)).sum().backward()
        optimiser.step()
    optimiser.load_state_dict(optimiser.state_dict())
print("torch._dynamo" in sys.modules)
"""


def test_torchs_compiler_is_not_imported_to_be_told_to_leave_an_optimiser_alone():
    """Its import takes nearly as long as that of torch."""
    command = [sys.executable, "-c", WITHOUT_A_COMPILER]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert ended.stdout.strip() == "False"


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


CHOICES = {
    "larc": OptimConfig(weight_decay=1e-2),
    "larc, Nesterov": OptimConfig(weight_decay=1e-2, nesterov=True),
    "lars": OptimConfig(optimiser="lars", weight_decay=1e-2),
    "lars, Nesterov": OptimConfig(optimiser="lars", weight_decay=1e-2, nesterov=True),
    "lars, nothing excluded": OptimConfig(optimiser="lars", weight_decay=1e-2, exclude_bias_and_norm="off"),
    "sgd": OptimConfig(optimiser="sgd", weight_decay=1e-2),
    "sgd, Nesterov": OptimConfig(optimiser="sgd", weight_decay=1e-2, nesterov=True),
    "sgd, biases and norms excluded": OptimConfig(optimiser="sgd", weight_decay=1e-2, exclude_bias_and_norm="on"),
    "adamw": OptimConfig(optimiser="adamw", weight_decay=1e-2, betas=(0.8, 0.99)),
    "adamw, nothing excluded": OptimConfig(optimiser="adamw", weight_decay=1e-2, exclude_bias_and_norm="off"),
}


class Learner(Objective):
    """A network of convolution, BatchNorm and linear layer, whose groups a test may choose."""

    groups: list[dict[str, Any]] | None = None

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.network, _ = twin_networks()

    def parameter_groups(self) -> list[dict[str, Any]]:
        return super().parameter_groups() if self.groups is None else self.groups

    def forward(self, *_: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def metrics(cls, config: Any) -> tuple[()]:
        return ()


def theirs_of(config: OptimConfig, network: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The same of others: timm's Lars, with what is excluded in a group that it does not adapt; torch's SGD, AdamW."""
    timm_optim = pytest.importorskip("timm.optim")
    split = config.exclude_bias_and_norm == "on" or (
        config.exclude_bias_and_norm == "auto" and config.optimiser in ("lars", "adamw")
    )
    named = list(network.named_parameters())
    matrices = [p for name, p in named if not split or (p.ndim > 1 and not name.endswith("bias"))]
    rest = [p for name, p in named if split and (p.ndim <= 1 or name.endswith("bias"))]
    groups = [{"params": matrices}, {"params": rest, "weight_decay": 0.0, "always_adapt": False}]
    if config.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=config.betas, weight_decay=config.weight_decay, foreach=False)
    settings = {"lr": lr, "momentum": config.momentum, "weight_decay": config.weight_decay, "nesterov": config.nesterov}
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, **settings, foreach=False)
    return timm_optim.Lars(groups, trust_coeff=config.trust, always_adapt=True, **settings, foreach=False)


@pytest.mark.parametrize("choice", CHOICES)
def test_equals_the_others_over_several_steps_in_float64(choice: str) -> None:
    config = CHOICES[choice]
    ours, theirs = Learner().double(), twin_networks()[1].double()
    optimiser = build_optimiser(config, ours)
    peer = theirs_of(config, theirs, lr=0.0)
    generator = torch.Generator().manual_seed(1)
    for step in range(8):
        rate = 0.01 * (step + 1)
        set_rates(optimiser, rate, peak=1.0, weight_decay=config.weight_decay)
        for group in peer.param_groups:
            group["lr"] = rate
        for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator, dtype=torch.float64) + mine.detach()
            reference.grad = mine.grad.clone()
        optimiser.step()
        peer.step()
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-12)


def a_step(objective: Objective, optimiser: Optimiser, seed: int, poison: float | None = None) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in objective.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    if poison is not None:
        list(objective.parameters())[2].grad[1] = poison  # type: ignore[index]
    set_rates(optimiser, rate=0.1, peak=0.2, weight_decay=0.01)
    optimiser.step()


def everything(objective: Objective, optimiser: Optimiser) -> list[torch.Tensor]:
    """Copies of the weights and of all that the optimiser keeps."""
    kept = [value for state in optimiser.state_dict()["state"].values() for value in state.values()]
    return [tensor.detach().clone() for tensor in [*objective.parameters(), *kept]]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_nothing_moves_where_a_gradient_is_not_finite(choice: str, poison: float) -> None:
    """Weights, momentum, moments and counters: as if the step had not been."""
    run, other = Learner(), Learner()
    optimiser, undisturbed = (build_optimiser(CHOICES[choice], objective) for objective in (run, other))
    before = everything(run, optimiser)[: len(list(run.parameters()))]
    a_step(run, optimiser, seed=0, poison=poison)  # the first of all: nothing is there yet
    assert not optimiser.finite
    assert all(map(torch.equal, run.parameters(), before))
    a_step(run, optimiser, seed=1)
    assert optimiser.finite
    before = everything(run, optimiser)
    a_step(run, optimiser, seed=2, poison=poison)
    assert not optimiser.finite and optimiser.finite.shape == () and optimiser.finite.dtype == torch.bool
    assert all(map(torch.equal, everything(run, optimiser), before))
    a_step(run, optimiser, seed=3)
    for seed in (1, 3):
        a_step(other, undisturbed, seed)
    assert all(map(torch.equal, everything(run, optimiser), everything(other, undisturbed)))


@pytest.mark.parametrize("choice", CHOICES)
def test_a_step_asks_nothing_of_the_host(choice: str) -> None:
    objective = Learner()
    optimiser = build_optimiser(CHOICES[choice], objective)
    for seed in range(2):
        with Traffic() as traffic:
            a_step(objective, optimiser, seed)
        assert not traffic.waits


class Operations(TorchDispatchMode):
    """Counts those that compute something; a view does not."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        if not function.is_view and function.namespace == "aten":
            self.counted[str(function)] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("choice", CHOICES)
def test_a_step_has_as_many_operations_for_many_parameters_as_for_few(choice: str) -> None:
    def count(parameters: int) -> int:
        objective = Learner()
        objective.network = nn.Sequential(*[nn.Linear(3, 3) for _ in range(parameters // 2)])
        optimiser = build_optimiser(CHOICES[choice], objective)
        a_step(objective, optimiser, seed=0)
        for parameter in objective.parameters():
            parameter.grad = torch.ones_like(parameter)
        with Operations() as operations:
            optimiser.step()
        return operations.counted.total()

    assert count(160) == count(8) <= 65


@pytest.mark.parametrize("choice", CHOICES)
def test_a_saved_optimiser_goes_on_bit_for_bit(choice: str) -> None:
    config = CHOICES[choice]
    run = Learner()
    optimiser = build_optimiser(config, run)
    for seed in range(3):
        a_step(run, optimiser, seed)
    file = io.BytesIO()
    torch.save((run.state_dict(), optimiser.state_dict()), file)
    file.seek(0)
    weights, saved = torch.load(file, weights_only=True)
    again = Learner()
    again.load_state_dict(weights)
    resumed = build_optimiser(config, again)
    resumed.load_state_dict(saved)
    for seed in range(3, 6):
        a_step(run, optimiser, seed)
        a_step(again, resumed, seed)
    assert all(map(torch.equal, everything(run, optimiser), everything(again, resumed)))


def test_biases_and_norms_are_excluded_as_each_ones_users_publish_it() -> None:
    objective = Learner()
    for config, groups in ((OptimConfig(), 1), (OptimConfig(optimiser="sgd"), 1), (OptimConfig(optimiser="adamw"), 2)):
        assert len(groups_of(config, objective)) == groups
    matrices, rest = groups_of(OptimConfig(optimiser="lars"), objective)
    named = {id(parameter): name for name, parameter in objective.named_parameters()}
    assert [named[id(p)] for p in matrices["params"]] == ["network.0.weight", "network.4.weight"]
    assert {named[id(p)] for p in rest["params"]} == {
        "network.0.bias",
        "network.1.weight",
        "network.1.bias",
        "network.4.bias",
    }


def test_an_objective_may_fix_and_scale_the_rate_of_a_group() -> None:
    objective = Learner()
    first, *others = objective.parameters()
    objective.groups = [{"params": [first], "fixed_lr": True, "lr_scale": 0.5}, {"params": others, "lr_scale": 10.0}]
    for optimiser in ("larc", "lars", "adamw"):
        built = build_optimiser(OptimConfig(optimiser=optimiser), objective)  # type: ignore[arg-type]
        set_rates(built, rate=0.1, peak=0.8, weight_decay=0.3)
        rates = {id(p): (group["lr"], group["weight_decay"]) for group in built.param_groups for p in group["params"]}
        excludes = optimiser != "larc"
        assert rates[id(first)] == (0.4, 0.3)
        assert {rates[id(p)] for p in others} == ({(1.0, 0.3), (1.0, 0.0)} if excludes else {(1.0, 0.3)})


@pytest.mark.parametrize(
    ("groups", "cause"),
    [
        (lambda all_of: [{"params": all_of[1:]}], "hold 5 parameters .* of 6 that learn"),
        (lambda all_of: [{"params": all_of}, {"params": all_of[:1]}], "hold 7 parameters"),
        (lambda all_of: [{"params": all_of, "lr": 0.1}], "say lr, which nobody reads"),
        *((lambda all_of, s=scale: [{"params": all_of, "lr_scale": s}], "scale") for scale in (-1.0, float("nan"))),
        (lambda all_of: [{"params": all_of, "lr_scale": float("inf")}], "scale"),
    ],
)
def test_groups_that_are_no_division_are_refused(groups: Any, cause: str) -> None:
    objective = Learner()
    objective.groups = groups(list(objective.parameters()))
    with pytest.raises(ConfigError, match=f"parameter groups of Learner: {cause}"):
        build_optimiser(OptimConfig(), objective)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_training_step_sets_rate_and_decay_and_waits_for_nothing(choice: str) -> None:
    optim = replace(CHOICES[choice], batch_size=16, epochs=2, final_weight_decay=0.5, warmup_epochs=0)
    alone = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
    step = Step(RunConfig(optim=optim, precision="fp32"), tiny_objective(), 4, alone)
    views = tiny_views(16)
    step(views)
    with Traffic() as traffic:
        step(views)
    assert not traffic.waits and step.finite
    decays = {group["weight_decay"] for group in step.optimiser.param_groups}
    assert max(decays) == pytest.approx(0.5 + 0.5 * (0.01 - 0.5) * (1 + torch.cos(torch.tensor(torch.pi / 8)).item()))


def test_adamw_is_built_with_its_betas() -> None:
    built = build_optimiser(OptimConfig(optimiser="adamw", betas=(0.7, 0.9)), Learner())
    assert isinstance(built, AdamW) and all(group["betas"] == (0.7, 0.9) for group in built.param_groups)


@pytest.mark.parametrize(
    ("optim", "option"),
    [
        (OptimConfig(optimiser="adamw", nesterov=True), "nesterov"),
        (OptimConfig(optimiser="adamw", momentum=0.5), "momentum"),
        (OptimConfig(optimiser="sgd", trust=0.02), "trust"),
        (OptimConfig(betas=(0.9, 0.95)), "betas"),
        (OptimConfig(nesterov=True, momentum=0.0), "nesterov"),
    ],
)
def test_an_option_that_the_optimiser_would_ignore_is_refused(optim: OptimConfig, option: str) -> None:
    with pytest.raises(ConfigError, match=f"--optim.{option}: "):
        optim.check()
