"""Losses, gradients and trajectories of DINO, Barlow Twins, VICReg and classification against those of others."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_methods import (
    HIDDEN,
    IDENTITIES,
    OUT,
    STEPS,
    batch_of,
    double_by_default,
    objective_of,
    run_of,
    step_of,
)
from tiny_objective import WIDTH
from torch import Tensor, nn

from frl.config import RunConfig
from frl.objectives.classes import Classes, arcface, cosface
from frl.objectives.swav import swapped_prediction_loss
from frl.training.schedule import learning_rate

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


def compared(name: str, **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    objective = objective_of(run_of(name, **options))
    return lambda one, other: objective.compare(torch.stack([one, other]), slice(0, one.shape[1]))[0]


@pytest.mark.parametrize("weight", [0.0051, 0.3])
def test_barlow_twins(weight: float) -> None:
    losses = pytest.importorskip("lightly.loss")
    theirs = losses.BarlowTwinsLoss(lambda_param=weight)
    assert_equal_with_gradients(
        compared("barlow", redundancy_weight=weight), theirs, features(9, 6) * 2 + 1, features(9, 6, seed=1)
    )


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 3.0, 7.0)])
def test_vicreg(weights: tuple[float, float, float]) -> None:
    losses = pytest.importorskip("lightly.loss")
    theirs = losses.VICRegLoss(*weights)
    names = ("invariance_weight", "variance_weight", "covariance_weight")
    ours = compared("vicreg", **dict(zip(names, weights, strict=True)))
    assert_equal_with_gradients(ours, theirs, features(9, 6) * 0.8, features(9, 6, seed=1) + 3)


def test_dino() -> None:
    """Three steps with a centre that moves; two crops of the teacher, four of the student."""
    losses = pytest.importorskip("lightly.loss")
    objective = objective_of(run_of("dino", outputs=5))
    with double_by_default():
        check_dino(objective, losses.DINOLoss(5, teacher_temp=0.05, center_momentum=0.9))


def check_dino(objective: Any, theirs: nn.Module) -> None:
    for step in range(3):
        taught, predicted = features(2, 7, 5, seed=step), features(4, 7, 5, seed=step + 9)

        def ours(student: Tensor, taught: Tensor = taught) -> Tensor:
            probabilities = ((taught - objective.center) / 0.05).softmax(-1)
            return swapped_prediction_loss(probabilities, student, 0.1)

        def loss(student: Tensor, taught: Tensor = taught) -> Tensor:
            return theirs(list(taught), list(student))

        torch.testing.assert_close(objective.center, theirs.center.view(-1), **EXACT)
        assert_equal_with_gradients(ours, loss, predicted)
        objective.outputs.copy_(taught.mean((0, 1)))
        objective.after_step(step, torch.tensor(True))


@pytest.mark.parametrize(("kind", "margin"), [("cosface", 0.4), ("arcface", 0.5), ("arcface", 1.2), ("cosface", 0.0)])
def test_margins(kind: str, margin: float) -> None:
    """Against pytorch-metric-learning; some samples are beyond the angle at which ArcFace changes its form."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    labels = torch.tensor([0, 4, 2, 1, 3, 0, 2])
    weight, embedded = features(5, 6), features(7, 6, seed=1)
    embedded[:3] = -weight[labels[:3]] + 0.1 * embedded[:3]
    angle = torch.acos(F.cosine_similarity(embedded, weight[labels]))
    assert 3 <= (angle > math.pi - margin).sum() < 7 or kind == "cosface"

    def theirs(embedded: Tensor, weight: Tensor) -> Tensor:
        of_kind = {"arcface": losses.ArcFaceLoss, "cosface": losses.CosFaceLoss}[kind]
        loss = of_kind(5, 6, margin=math.degrees(margin) if kind == "arcface" else margin, scale=64)
        del loss.W
        loss.W = weight.T
        loss.cast_types = lambda *_: None
        return loss(embedded, labels)

    def ours(embedded: Tensor, weight: Tensor) -> Tensor:
        return judged(kind, margin, embedded, weight, labels)

    assert_equal_with_gradients(ours, theirs, embedded, weight)


def judged(kind: str, margin: float, embedded: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    classes = Classes(5, 6, bias=False)
    del classes.weight
    classes.weight = weight  # type: ignore[assignment]
    of_kind = {"arcface": arcface, "cosface": cosface}[kind]
    return classes.judge(F.normalize(embedded, dim=1), labels, 64.0, lambda c: of_kind(c, margin), 0).losses.mean()


class Assembled:
    """A method put together of other projects' modules, beginning with the weights of ``objective``."""

    def __init__(self, objective: Any, config: RunConfig) -> None:
        self.config = config
        self.backbone = copy.deepcopy(objective.backbone)
        self.build(objective)

    def train(self) -> list[float]:
        optim = self.config.optim
        parameters = [parameter for module in self.learning() for parameter in module.parameters()]
        optimiser = torch.optim.SGD(
            [p for p in parameters if p.requires_grad], momentum=optim.momentum, weight_decay=optim.weight_decay
        )
        found = []
        for step in range(STEPS):
            optimiser.param_groups[0]["lr"] = learning_rate(step, STEPS // optim.epochs, optim)
            views, labels = batch_of(self.config, step)
            loss = self.loss(step, views, labels)
            optimiser.zero_grad()
            loss.backward()
            self.before(step)
            optimiser.step()
            self.after(step)
            found.append(loss.item())
        return found

    def before(self, step: int) -> None: ...

    def after(self, step: int) -> None: ...


def with_weights_of(head: nn.Module, ours: nn.Module) -> nn.Module:
    """A head of lightly's with the weights of ours, which lie in the same order."""
    head = head.double()
    head.load_state_dict(dict(zip(head.state_dict(), ours.state_dict().values(), strict=True)))
    return head


class Decorrelated(Assembled):
    def build(self, objective: Any) -> None:
        heads = pytest.importorskip("lightly.models.modules.heads")
        losses = pytest.importorskip("lightly.loss")
        norm = lambda: (nn.BatchNorm1d(HIDDEN), nn.ReLU())  # noqa: E731
        blocks = [(WIDTH, HIDDEN, *norm()), (HIDDEN, HIDDEN, *norm()), (HIDDEN, OUT + 1, None, None, False)]
        self.projector = with_weights_of(heads.ProjectionHead(blocks), objective.expander)
        config = self.config.objective
        self.criterion = (
            losses.BarlowTwinsLoss(lambda_param=config.redundancy_weight)
            if config.name == "barlow"
            else losses.VICRegLoss()
        )

    def learning(self) -> list[nn.Module]:
        return [self.backbone, self.projector]

    def loss(self, step: int, views: list[Tensor], labels: Tensor) -> Tensor:
        return self.criterion(*(self.projector(self.backbone(view)) for view in views[0].chunk(2)))


class DINO(Assembled):
    def build(self, objective: Any) -> None:
        heads = pytest.importorskip("lightly.models.modules.heads")
        losses = pytest.importorskip("lightly.loss")
        config = self.config.objective
        self.head, self.teacher_head = (
            heads.DINOProjectionHead(WIDTH, HIDDEN, OUT, config.outputs, batch_norm=True, freeze_last_layer=1)
            for _ in range(2)
        )
        self.head.layers.load_state_dict(objective.head.layers.state_dict())
        self.head.last_layer.weight_v.data.copy_(objective.head.last.weight)
        self.teacher_head.load_state_dict(self.head.state_dict())
        self.teacher = copy.deepcopy(self.backbone)
        self.backbone.requires_grad_(True)  # of the teacher's, which was exported
        self.criterion = losses.DINOLoss(config.outputs, center_momentum=config.center_momentum)

    def learning(self) -> list[nn.Module]:
        return [self.backbone, self.head]

    def loss(self, step: int, views: list[Tensor], labels: Tensor) -> Tensor:
        with torch.no_grad():
            taught = self.teacher_head(self.teacher(views[0]))
        predicted = self.head(torch.cat([self.backbone(view) for view in views]))
        temperature = 0.04 + 0.03 * min(step / 20, 1)
        return self.criterion(list(taught.chunk(2)), list(predicted.chunk(4)), teacher_temp=temperature)

    def before(self, step: int) -> None:
        self.head.cancel_last_layer_gradients(step // 10)

    def after(self, step: int) -> None:
        momentum = 1 - 0.1 * (math.cos(math.pi * step / STEPS) + 1) / 2
        update = pytest.importorskip("lightly.models.utils").update_momentum
        update(self.backbone, self.teacher, momentum)
        update(self.head, self.teacher_head, momentum)


class BalancedDINO(DINO):
    def build(self, objective: Any) -> None:
        super().build(objective)
        self.sinkhorn = pytest.importorskip("lightly.loss.swav_loss").sinkhorn
        self.criterion = self.cross_entropies

    def cross_entropies(self, taught: list[Tensor], predicted: list[Tensor], teacher_temp: float) -> Tensor:
        """Of every pair of two crops; the outputs of all images in both crops of the teacher are balanced together."""
        with torch.no_grad():
            balanced = self.sinkhorn(torch.cat(taught), 3, teacher_temp).chunk(2)
        pairs = [(q, p) for i, q in enumerate(balanced) for j, p in enumerate(predicted) if i != j]
        return torch.stack([F.cross_entropy(p / 0.1, q) for q, p in pairs]).mean()


class Classified(Assembled):
    def build(self, objective: Any) -> None:
        losses = pytest.importorskip("pytorch_metric_learning.losses")
        self.embedding = copy.deepcopy(objective.embedding)
        config = self.config.objective
        if config.loss == "arcface":
            self.criterion = losses.ArcFaceLoss(IDENTITIES, OUT, margin=math.degrees(0.5), scale=config.scale).double()
        else:
            self.criterion = losses.CosFaceLoss(IDENTITIES, OUT, margin=0.4, scale=config.scale).double()
        self.criterion.W.data = objective.classes.weight.detach().T.clone()

    def learning(self) -> list[nn.Module]:
        return [self.backbone, self.embedding, self.criterion]

    def loss(self, step: int, views: list[Tensor], labels: Tensor) -> Tensor:
        embedded = torch.cat([self.embedding(self.backbone(view)) for view in views])
        labels = labels.repeat(2)
        known = labels >= 0
        return self.criterion(embedded[known], labels[known]) * known.sum() / len(labels)


METHODS = {
    "barlow": Decorrelated,
    "vicreg": Decorrelated,
    "dino": DINO,
    "dino, balanced": BalancedDINO,
    "cosface": Classified,
    "arcface": Classified,
    "arcface, shared": Classified,
}


@pytest.mark.parametrize("name", METHODS)
def test_thirty_steps_have_the_losses_of_the_assembled_method(name: str) -> None:
    with double_by_default():
        config = run_of(name)
        objective = objective_of(config)
        expected = METHODS[name](objective, config).train()
        step = step_of(config, objective)
        found = [step(*batch_of(config, index)).loss.item() for index in range(STEPS)]
    assert found == pytest.approx(expected, abs=1e-9, rel=0)
    assert abs(found[-1] - found[0]) > 1e-3, "the weights moved"
