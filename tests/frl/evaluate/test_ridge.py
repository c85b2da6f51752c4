"""Ridge regression against scikit-learn's, and what is chosen with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frl.beton.targets import Kind, TargetSpec
from frl.evaluate.frozen import NeighbourHead, RidgeHead
from frl.evaluate.ridge import PENALTIES, Ridge
from frl.tasks.registry import Truth, task_of

SHAPES = [(30, 50), (50, 30), (40, 40)]


def data(count: int, width: int, outputs: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    features = torch.randn(count, width, generator=generator).relu() + 3
    targets = features @ torch.randn(width, outputs, generator=generator) + torch.randn(
        count, outputs, generator=generator
    )
    return features, targets


@pytest.mark.parametrize("count, width", SHAPES)
@pytest.mark.parametrize("penalty", [1e-4, 1e-1])
def test_it_is_scikit_learns(count, width, penalty):
    linear = pytest.importorskip("sklearn.linear_model")
    features, targets = data(count, width)
    rows = torch.arange(count - 5)
    ridge = Ridge(features, targets)
    double = features.double()
    alpha = penalty * len(rows) * float((double - double.mean(0)).square().sum(1).mean())
    theirs = linear.Ridge(alpha=alpha, solver="cholesky").fit(double[rows].numpy(), targets[rows].double().numpy())
    expected = theirs.predict(double.numpy())
    assert np.allclose(ridge.fit(rows, penalty)(features), expected, atol=1e-6)
    test = torch.arange(count - 5, count)
    (said,) = ridge.predictions(rows, test, [penalty])
    assert np.allclose(said, expected[-5:], atol=1e-6)


@pytest.mark.parametrize("count, width", SHAPES)
def test_unknown_numbers_are_left_out_each_for_itself(count, width):
    features, targets = data(count, width)
    holes = targets.clone()
    holes[::4, 1] = torch.nan
    holes[:, 2] = torch.nan
    fit = Ridge(features, holes).fit(torch.arange(count), 1e-2)
    kept = torch.ones(count, dtype=torch.bool)
    kept[::4] = False
    whole = Ridge(features, targets)
    assert torch.allclose(fit(features)[:, 0], whole.fit(torch.arange(count), 1e-2)(features)[:, 0])
    fewer = whole.fit(torch.arange(count)[kept], 1e-2)
    assert torch.allclose(fit(features)[:, 1], fewer(features)[:, 1])
    assert fit(features)[:, 2].isnan().all()


def truth(values: np.ndarray, subjects: np.ndarray | None = None) -> Truth:
    spec = TargetSpec(name="score", kind=Kind.VECTOR, shape=(values.shape[1],))
    count = len(values)
    return Truth(
        values={"score": values},
        specs={"score": spec},
        subjects=np.full(count, -1) if subjects is None else subjects,
        sides=np.full((count, 2), 10.0),
    )


def test_the_penalty_grows_with_the_noise():
    """Many features and a target of which most is noise, against one that is all signal."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(200, 120, generator=generator)
    signal = features @ torch.randn(120, 1, generator=generator) / 11
    chosen = {}
    for noise in (0.0, 3.0):
        targets = signal + noise * torch.randn(200, 1, generator=generator)
        known = truth(targets.double().numpy())
        (found,) = RidgeHead(task_of("numbers:score", known), features, targets).fit(np.arange(200), known, [features])
        chosen[noise] = found.value
    assert chosen[0.0] == PENALTIES[0] and chosen[3.0] >= 1e-2


def test_neighbours_say_the_weighted_mean_of_those_that_are_known():
    features = torch.tensor([[1.0, 0], [0.99, 0.05], [-1, 0], [-1, 0.1]])
    targets = torch.tensor([[1.0, torch.nan], [3, 5], [10, 20], [12, torch.nan]])
    known = truth(targets.double().numpy())
    head = NeighbourHead(task_of("numbers:score", known), features, targets)
    asked = head.vectors[:1]
    (said,) = head._say(torch.arange(4), asked, 2)
    assert 1 < said[0] < 2.1 and said[1] == 5
    (alone,) = head._say(torch.arange(4), asked, 1)
    assert alone[0] == 1 and alone[1] == 12.5  # of the nearest one nothing is known: the mean of all


def test_a_head_is_chosen_on_subjects_that_it_did_not_see():
    """Features that tell subjects apart perfectly and nothing else: one neighbour looks best only to who peeks."""
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(40), 5)
    own = rng.normal(size=(40, 1))
    features = torch.from_numpy(rng.normal(size=(40, 30))[subjects] + 0.01 * rng.normal(size=(200, 30))).float()
    values = own[subjects]
    for who, is_one in ((np.full(200, -1), True), (subjects, False)):
        known = truth(values, who)
        head = NeighbourHead(task_of("numbers:score", known), features, torch.from_numpy(values))
        (found,) = head.fit(np.arange(200), known, [features])
        assert (found.value <= 3) == is_one
