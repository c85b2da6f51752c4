"""Leave-one-out k-NN against a slow float64 classifier, and on cases whose answer is known."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.errors import ConfigError
from frl.evaluate import knn
from frl.evaluate.knn import classify, knn_accuracy, leave_one_out


def slow_classify(vectors: np.ndarray, labels: np.ndarray, neighbours: int, temperature: float) -> list[set[int]]:
    """For each image the identities whose votes, in float64, are within rounding of the most."""
    winners = []
    for i, query in enumerate(vectors):
        cosines = sorted(((float(query @ v), int(labels[j])) for j, v in enumerate(vectors) if j != i), reverse=True)
        votes: dict[int, float] = defaultdict(float)
        for cosine, label in cosines[:neighbours]:
            votes[label] += math.exp((cosine - 1) / temperature)
        most = max(votes.values())
        winners.append({label for label, vote in votes.items() if vote >= most * (1 - 1e-4)})
    return winners


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 40),
    identities=st.integers(1, 8),
    neighbours=st.integers(1, 50),
    temperature=st.sampled_from([0.05, 0.07, 1.0]),
    similarities_per_chunk=st.sampled_from([1, 100, 1 << 20]),
)
def test_equals_the_slow_classifier(
    seed: int, count: int, identities: int, neighbours: int, temperature: float, similarities_per_chunk: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((count, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = random.integers(0, identities, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knn, "SIMILARITIES_PER_CHUNK", similarities_per_chunk)
        named = classify(torch.from_numpy(vectors).float(), torch.from_numpy(labels), neighbours, temperature)
    for ours, allowed in zip(named.tolist(), slow_classify(vectors, labels, neighbours, temperature), strict=True):
        assert ours in allowed


def circle(*degrees: float) -> torch.Tensor:
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_nearest_neighbour_by_hand() -> None:
    # Each image's nearest other: 0 -> 10 (right), 10 -> 0 (right), 90 -> 105 (wrong), 105 -> 90 (wrong), 200 -> 105.
    result = leave_one_out(circle(0, 10, 90, 105, 200), torch.tensor([4, 4, 7, 9, 7]), neighbours=1)
    assert (result.queries, result.images, result.identities) == (4, 5, 2)
    assert result.accuracy == 0.5


def test_many_far_voters_do_not_outvote_a_near_one_at_low_temperature() -> None:
    vectors, labels = circle(0, 5, 60, 61, 62), torch.tensor([1, 1, 2, 2, 2])
    assert classify(vectors, labels, neighbours=4, temperature=0.07)[0] == 1
    assert classify(vectors, labels, neighbours=4, temperature=100.0)[0] == 2


def test_equal_votes_go_to_the_nearest() -> None:
    # At this temperature all weights round to one: two votes for each identity.
    vectors, labels = circle(0, 20, 30, 40, 50), torch.tensor([5, 8, 3, 3, 8])
    assert classify(vectors, labels, neighbours=4, temperature=1e12)[0] == 8


def test_an_image_does_not_vote_for_itself() -> None:
    copies = circle(0, 0, 0)
    assert classify(copies, torch.tensor([1, 2, 2]), neighbours=1, temperature=0.07)[0] == 2


def test_single_images_vote_but_are_not_asked_about() -> None:
    # The stranger at 1 degree is the nearest of both: it misleads them, and its own question does not count.
    result = leave_one_out(circle(0, 1, 2.5), torch.tensor([1, 9, 1]), neighbours=1)
    assert (result.accuracy, result.queries) == (0.0, 2)


def test_unknown_identities_take_no_part() -> None:
    result = leave_one_out(circle(0, 1, 2.5), torch.tensor([1, -1, 1]), neighbours=1)
    assert (result.accuracy, result.queries, result.images) == (1.0, 2, 2)


def test_relabelling_and_reordering_change_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    vectors = torch.nn.functional.normalize(torch.randn(60, 5, generator=generator), dim=1)
    labels = torch.randint(0, 6, (60,), generator=generator)
    order = torch.randperm(60, generator=generator)
    assert knn_accuracy(vectors, labels) == knn_accuracy(vectors[order], 1000 - 7 * labels[order])


@pytest.mark.parametrize("labels", [[1, 2, 3], [-1, -1, 5]])
def test_nothing_to_ask_is_refused(labels: list[int]) -> None:
    with pytest.raises(ConfigError, match="no identity has two images"):
        knn_accuracy(circle(0, 1, 2), torch.tensor(labels))


@pytest.mark.parametrize(("option", "value"), [("neighbours", 0), ("temperature", 0.0), ("temperature", math.nan)])
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"--{option}"):
        leave_one_out(circle(0, 1), torch.tensor([1, 1]), **{option: value})
