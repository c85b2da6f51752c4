"""Losses, gradients and whole trajectories against the same methods assembled of lightly's modules, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_objective import WIDTH
from tiny_two_views import ALONE, BATCH, HIDDEN, OUT, STEPS, objective_of, run_of, views_of
from torch import Tensor, nn

from frl.config import RunConfig
from frl.objectives import Objective
from frl.objectives.agreement import agreement
from frl.objectives.contrast import info_nce, similarities, unit
from frl.objectives.momentum import follow, momentum_at
from frl.objectives.simclr import nt_xent
from frl.training.schedule import learning_rate
from frl.training.step import Step

losses = pytest.importorskip("lightly.loss")
heads = pytest.importorskip("lightly.models.modules.heads")
update_momentum = pytest.importorskip("lightly.models.utils").update_momentum

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_equal_with_gradients(ours: Callable, theirs: Callable, *inputs: Tensor) -> None:
    """Values and gradients of two functions, to 1e-10."""
    found, expected = ([x.clone().requires_grad_() for x in inputs] for _ in range(2))
    one, other = ours(*found), theirs(*expected)
    torch.testing.assert_close(one, other, **EXACT)
    one.backward()
    other.backward()
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x.grad, y.grad, **EXACT)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_nt_xent(temperature: float) -> None:
    def ours(one: Tensor, other: Tensor) -> Tensor:
        both = unit(torch.stack([one, other]))
        return nt_xent(both, both, 0, temperature)[0]

    theirs = losses.NTXentLoss(temperature=temperature)
    assert_equal_with_gradients(ours, theirs, features(7, 5), features(7, 5, seed=1))


def test_contrast_with_a_memory_bank() -> None:
    bank = unit(features(32, 5, seed=2))
    theirs = losses.NTXentLoss(temperature=0.2, memory_bank_size=(32, 5)).double()
    theirs.memory_bank.bank = bank.clone()
    keys = features(8, 5, seed=1)

    def ours(queries: Tensor) -> Tensor:
        queries = unit(queries)
        cosines = torch.cat([(queries * unit(keys)).sum(1, keepdim=True), similarities(queries, bank)], dim=1)
        return info_nce(cosines, torch.zeros(8, dtype=torch.int64), 0.2)[0]

    assert_equal_with_gradients(ours, lambda queries: theirs(queries, keys), features(8, 5))


def test_negative_cosine() -> None:
    criterion, z0, z1 = losses.NegativeCosineSimilarity(), features(6, 5, seed=2), features(6, 5, seed=3)

    def theirs(p0: Tensor, p1: Tensor) -> Tensor:
        return 0.5 * (criterion(p0, z1) + criterion(p1, z0))

    assert_equal_with_gradients(
        lambda p0, p1: -agreement([p0, p1], [z0, z1]), theirs, features(6, 5), features(6, 5, seed=1)
    )


def test_momentum_update() -> None:
    student = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    ours, theirs = (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    follow(ours, student, 0.97, torch.tensor(True))
    update_momentum(student, theirs, 0.97)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def with_weights_of(head: nn.Module, ours: nn.Module) -> nn.Module:
    """A head of lightly's with the weights of ours, which lie in the same order."""
    head = head.double()
    state = dict(zip(head.state_dict(), ours.state_dict().values(), strict=True))
    head.load_state_dict(state)
    return head


class Assembled:
    """A method put together as lightly's examples put it together, beginning with the weights of ``objective``."""

    def __init__(self, objective: Any, config: RunConfig) -> None:
        self.config = config
        self.backbone = copy.deepcopy(objective.backbone)
        self.projector = with_weights_of(self.head(), objective.projector)
        self.learning = [self.backbone, self.projector]
        self.fixed: list[nn.Module] = []  # at the peak of the learning rate all the time

    def step(self, step: int) -> float:
        one, other = views_of(step)[0].chunk(2)
        loss = self.loss(one, other)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.after(step)
        return loss.item()

    def train(self) -> list[float]:
        optim = self.config.optim
        parts = [(self.learning, {}), (self.fixed, {"lr": optim.lr * optim.lr_scale})]
        groups = [{"params": [p for m in modules for p in m.parameters()], **own} for modules, own in parts if modules]
        self.optimiser = torch.optim.SGD(groups, momentum=optim.momentum, weight_decay=optim.weight_decay)
        found = []
        for step in range(STEPS):
            self.optimiser.param_groups[0]["lr"] = learning_rate(step, STEPS // optim.epochs, optim)
            found.append(self.step(step))
        return found

    def add_teacher(self) -> None:
        self.teacher, self.key_projector = copy.deepcopy(self.backbone), copy.deepcopy(self.projector)

    def add_predictor(self, head: nn.Module, objective: Any) -> None:
        self.predictor = with_weights_of(head, objective.predictor)
        self.learning.append(self.predictor)

    def follow(self, momentum: float) -> None:
        update_momentum(self.backbone, self.teacher, momentum)
        update_momentum(self.projector, self.key_projector, momentum)

    def after(self, step: int) -> None:
        pass


class SimCLR(Assembled):
    def __init__(self, objective: Any, config: RunConfig) -> None:
        super().__init__(objective, config)
        self.criterion = losses.NTXentLoss(temperature=config.objective.temperature)

    def head(self) -> nn.Module:
        return heads.SimCLRProjectionHead(WIDTH, HIDDEN, OUT)

    def loss(self, one: Tensor, other: Tensor) -> Tensor:
        return self.criterion(*self.projector(self.backbone(torch.cat([one, other]))).chunk(2))


class MoCo(Assembled):
    def __init__(self, objective: Any, config: RunConfig) -> None:
        super().__init__(objective, config)
        self.add_teacher()
        size = (config.objective.queue_length, OUT)
        self.criterion = losses.NTXentLoss(config.objective.temperature, memory_bank_size=size).double()
        self.criterion.memory_bank.bank = objective.queue.keys.clone()

    def head(self) -> nn.Module:
        return heads.MoCoProjectionHead(WIDTH, HIDDEN, OUT)

    def loss(self, one: Tensor, other: Tensor) -> Tensor:
        groups = self.config.objective.bn_groups
        queries = torch.cat([self.projector(self.backbone(part)) for part in one.chunk(groups)])
        with torch.no_grad():
            keys = torch.empty_like(queries)
            for group in range(groups):
                keys[group::groups] = self.key_projector(self.teacher(other[group::groups]))
        return self.criterion(queries, keys)

    def after(self, step: int) -> None:
        self.follow(self.config.objective.momentum)


class WithPredictor(Assembled):
    def both(self, one: Tensor, other: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Projection and prediction of each view."""
        projected = [self.projector(self.backbone(view)) for view in (one, other)]
        return [(each, self.predictor(each)) for each in projected]

    def taught(self, one: Tensor, other: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return [self.key_projector(self.teacher(view)) for view in (one, other)]


class MoCoV3(WithPredictor):
    def __init__(self, objective: Any, config: RunConfig) -> None:
        super().__init__(objective, config)
        self.add_teacher()
        blocks = [(OUT, HIDDEN, nn.BatchNorm1d(HIDDEN), nn.ReLU()), (HIDDEN, OUT, None, None, False)]
        self.add_predictor(heads.ProjectionHead(blocks), objective)

    def head(self) -> nn.Module:
        last = nn.BatchNorm1d(OUT, affine=False)
        return heads.ProjectionHead([(WIDTH, HIDDEN, nn.BatchNorm1d(HIDDEN), nn.ReLU()), (HIDDEN, OUT, last, None)])

    def loss(self, one: Tensor, other: Tensor) -> Tensor:
        """``contrastive_loss`` of the authors' builder, both directions."""
        temperature = self.config.objective.temperature
        (_, q1), (_, q2) = self.both(one, other)
        k1, k2 = self.taught(one, other)
        loss = torch.zeros((), dtype=torch.float64)
        for query, key in ((q1, k2), (q2, k1)):
            logits = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T / temperature
            loss = loss + F.cross_entropy(logits, torch.arange(BATCH)) * 2 * temperature
        return loss

    def after(self, step: int) -> None:
        self.follow(momentum_at(step + 1, STEPS, self.config.objective.momentum))


class BYOL(WithPredictor):
    def __init__(self, objective: Any, config: RunConfig) -> None:
        super().__init__(objective, config)
        self.add_teacher()
        self.add_predictor(self.head(OUT), objective)

    def head(self, width: int = WIDTH) -> nn.Module:
        return heads.ProjectionHead(
            [(width, HIDDEN, nn.BatchNorm1d(HIDDEN), nn.ReLU()), (HIDDEN, OUT, None, None, False)]
        )

    def loss(self, one: Tensor, other: Tensor) -> Tensor:
        criterion = losses.NegativeCosineSimilarity()
        (_, p1), (_, p2) = self.both(one, other)
        z1, z2 = self.taught(one, other)
        return (2 + 2 * criterion(p1, z2)) + (2 + 2 * criterion(p2, z1))

    def after(self, step: int) -> None:
        self.follow(momentum_at(step, STEPS, self.config.objective.momentum))


class SimSiam(WithPredictor):
    def __init__(self, objective: Any, config: RunConfig) -> None:
        super().__init__(objective, config)
        predictor = heads.SimSiamPredictionHead(OUT, config.objective.predictor_dim, OUT)
        self.add_predictor(predictor, objective)
        self.fixed = [self.learning.pop()]

    def head(self) -> nn.Module:
        return heads.SimSiamProjectionHead(WIDTH, HIDDEN, OUT)

    def loss(self, one: Tensor, other: Tensor) -> Tensor:
        criterion = losses.NegativeCosineSimilarity()
        (z1, p1), (z2, p2) = self.both(one, other)
        return 0.5 * (criterion(p1, z2.detach()) + criterion(p2, z1.detach()))


METHODS = {"simclr": SimCLR, "moco-v2": MoCo, "moco-v3": MoCoV3, "byol": BYOL, "simsiam": SimSiam}


@pytest.fixture
def double_by_default() -> Iterator[None]:
    """So that the optimiser's rates are not rounded to float32 on the device."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("name", METHODS)
def test_thirty_steps_have_the_losses_of_the_assembled_method(name: str) -> None:
    config = run_of(name)
    objective: Objective = objective_of(config)
    expected = METHODS[name](objective, config).train()
    step = Step(config, objective, STEPS // config.optim.epochs, ALONE)
    found = [step(views_of(index)).loss.item() for index in range(STEPS)]
    assert found == pytest.approx(expected, abs=1e-9, rel=0)
    assert abs(found[-1] - found[0]) > 1e-3, "the weights moved"
