"""Classification over many classes: its parts against plain softmax, its shares, and what is sampled of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.objectives.classes import Classes, arcface, cosface, rows_of, uniform
from pipelines.sampling import hashing

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def sample(count: int, width: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return F.normalize(features, dim=1).requires_grad_(), torch.randint(0, classes, (count,), generator=generator)


def classes_of(count: int, width: int, **options) -> Classes:
    torch.manual_seed(0)
    return Classes(count, width, **options).double()


def test_softmax_is_torchs_cross_entropy_with_its_gradients() -> None:
    classes = classes_of(6, 4, bias=True)
    torch.nn.init.normal_(classes.weight)
    torch.nn.init.normal_(classes.bias)
    features, labels = sample(9, 4, 6)
    judged = classes.judge(features, labels, 1.0, None, 0)
    logits = F.linear(features, classes.weight, classes.bias)
    expected = F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(judged.losses, expected, **EXACT)
    torch.testing.assert_close(judged.plain, expected, **EXACT)
    assert torch.equal(judged.right, logits.argmax(1) == labels)
    inputs = (features, classes.weight, classes.bias)
    weights = torch.arange(9.0, dtype=torch.float64)
    ours = torch.autograd.grad((weights * judged.losses).sum(), inputs, retain_graph=True)
    for one, other in zip(ours, torch.autograd.grad((weights * expected).sum(), inputs), strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("margin", [lambda c: cosface(c, 0.4), lambda c: arcface(c, 0.5)])
def test_the_figures_without_margin_are_those_of_plain_cosines(margin) -> None:
    classes = classes_of(6, 4, bias=False)
    features, labels = sample(9, 4, 6)
    judged = classes.judge(features, labels, 16.0, margin, 0)
    logits = 16 * features @ F.normalize(classes.weight, dim=1).T
    torch.testing.assert_close(judged.plain, F.cross_entropy(logits, labels, reduction="none"), **EXACT)
    assert torch.equal(judged.right, logits.argmax(1) == labels)
    assert (judged.losses > judged.plain).all()


def test_gradients_by_finite_differences() -> None:
    classes = classes_of(5, 3, bias=False)
    torch.nn.init.normal_(classes.weight)
    features, labels = sample(4, 3, 5)

    def loss(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        del classes.weight
        classes.weight = weight  # type: ignore[assignment]
        return classes.judge(features, labels, 4.0, lambda c: arcface(c, 0.5), 0).losses

    assert torch.autograd.gradcheck(loss, (features, classes.weight.detach().clone().requires_grad_()))


@settings(max_examples=60, deadline=None)
@given(classes=st.integers(2, 40), seed=st.integers(0, 2**40), step=st.integers(0, 10**6), share=st.floats(0.02, 0.98))
def test_sampling_is_softmax_over_the_right_and_the_drawn_classes(
    classes: int, seed: int, step: int, share: float
) -> None:
    """What is drawn is a function of seed, step and class alone; right classes always take part."""
    sampled = classes_of(classes, 4, bias=False, sample=share, seed=seed)
    features, labels = sample(6, 4, classes, seed=seed)
    labels[0] = -1
    judged = sampled.judge(features, labels, 8.0, lambda c: c, step)
    drawn = uniform(seed, step, torch.arange(classes)) < share
    drawn[labels[1:]] = True
    logits = (8 * features @ F.normalize(sampled.weight, dim=1).T).masked_fill(~drawn, -torch.inf)
    expected = F.cross_entropy(logits[1:], labels[1:], reduction="none")
    torch.testing.assert_close(judged.losses[1:], expected, **EXACT)
    ours, theirs = (torch.autograd.grad(loss.sum(), sampled.weight)[0] for loss in (judged.losses[1:], expected))
    torch.testing.assert_close(ours, theirs, **EXACT)
    assert (ours[~drawn] == 0).all()


def test_all_classes_sampled_is_the_full_softmax() -> None:
    features, labels = sample(8, 4, 30)
    full, sampled = (classes_of(30, 4, bias=True, sample=share) for share in (1.0, 1 - 1e-12))
    one, other = (classes.judge(features, labels, 1.0, None, 3).losses for classes in (full, sampled))
    torch.testing.assert_close(one, other, **EXACT)


def test_the_sample_has_room_for_what_is_drawn() -> None:
    """The rows are few, and hardly ever too few: of 10,000 classes a tenth, and the right ones."""
    classes = classes_of(10_000, 2, bias=False, sample=0.1)
    place = torch.arange(20)
    for step in range(20):
        rows, taking_part = classes._drawn(place, torch.ones(20, dtype=torch.bool), step)
        assert len(rows) < 1300 and rows.unique().equal(rows)
        drawn = uniform(0, step, torch.arange(10_000)) < 0.1
        drawn[:20] = True
        assert rows[taking_part].equal(drawn.nonzero()[:, 0])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), step=st.integers(0, 2**40), first=st.integers(0, 2**40))
def test_the_draw_is_splitmix64_as_the_crops_have_it(seed: int, step: int, first: int) -> None:
    counters = np.arange(first, first + 5)
    expected = hashing.uniform(hashing.fold(hashing.fold(seed, step), counters))
    assert np.array_equal(uniform(seed, step, torch.from_numpy(counters)).numpy(), expected)


@given(rows=st.integers(1, 30), ranks=st.integers(1, 9))
def test_shares_are_equal_and_make_the_whole(rows: int, ranks: int) -> None:
    whole = torch.arange(1.0, rows + 1)[:, None]
    shares = [rows_of(whole, rank, ranks) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    joined = torch.cat(shares)
    assert torch.equal(joined[:rows], whole) and (joined[rows:] == 0).all()


def test_initial_weights_do_not_depend_on_the_ranks() -> None:
    whole = classes_of(7, 3, bias=True).weight
    parts = torch.cat([classes_of(7, 3, bias=True, rank=rank, ranks=3).weight for rank in range(3)])
    assert torch.equal(parts[:7], whole) and (parts[7:] == 0).all()


def test_arcface_falls_all_the_way() -> None:
    """The further the angle, the lower the score, also where the form changes; and its slope is finite at the ends."""
    cosine = torch.linspace(-1, 1, 2001, dtype=torch.float64, requires_grad=True)
    score = arcface(cosine, 0.5)
    assert (score.diff() > 0).all()
    (slope,) = torch.autograd.grad(score.sum(), cosine)
    assert slope.isfinite().all()
