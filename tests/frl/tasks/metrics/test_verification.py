"""Rates and thresholds against scikit-learn's ROC curve, and whitening against its PCA."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.decomposition import PCA
from sklearn.metrics import roc_curve
from sklearn.model_selection import KFold

from frl.errors import SourceError
from frl.tasks.layouts.pairs import even_folds
from frl.tasks.metrics.verification import (
    best_threshold,
    cosine_similarity,
    cross_validate,
    equal_error_rate,
    fit,
    grid_threshold,
    tar_at_far,
)


def drawn(seed: int, pairs: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    same = random.random(pairs) < 0.4
    same[:2] = True, False
    scores = random.normal(0.4 * same, 0.3).clip(-1, 1)
    return (scores.round(1) if ties else scores), same


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), pairs=st.integers(2, 300), ties=st.booleans())
def test_rates_are_those_of_the_roc_curve(seed: int, pairs: int, ties: bool) -> None:
    scores, same = drawn(seed, pairs, ties)
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    # Where the curve rises straight up, interp1d may take either end: the root lies between either way.
    equal = brentq(lambda x: 1 - x - interp1d(far, tar)(x), 0, 1)
    assert equal_error_rate(scores, same) == pytest.approx(equal, abs=2e-3) or _on_a_rise(far, tar, scores, same)
    for rate, found in tar_at_far(scores, same, (0.5, 0.1, 0.01)).items():
        if float(rate) * (~same).sum() < 1 - 1e-9:
            assert found is None
        else:
            assert found == pytest.approx(tar[far <= float(rate) + 1e-12].max())


def _on_a_rise(far: np.ndarray, tar: np.ndarray, scores: np.ndarray, same: np.ndarray) -> bool:
    """Whether the rate found lies on an upright piece of the curve that crosses the line of equal errors."""
    rate = equal_error_rate(scores, same)
    ends = tar[np.isclose(far, rate)]
    return len(ends) > 1 and ends.min() <= 1 - rate <= ends.max()


def test_an_equal_error_rate_by_hand() -> None:
    # One of four strangers above one of two pairs of friends: between (1/4, 1/2) and (1/4, 1) both errors are 1/4.
    scores, same = np.array([0.9, 0.8, 0.7, 0.1, 0.1, 0.1]), np.array([True, False, True, False, False, False])
    assert equal_error_rate(scores, same) == 0.25
    assert equal_error_rate(np.array([1.0, 0.0]), np.array([True, False])) == 0.0
    assert equal_error_rate(np.array([0.0, 1.0]), np.array([True, False])) == 1.0
    assert equal_error_rate(np.array([0.5, 0.5]), np.array([True, False])) == 0.5


def test_a_rate_that_the_pairs_cannot_show_is_none() -> None:
    scores, same = drawn(0, 1000, False)
    negatives = int((~same).sum())
    found = tar_at_far(scores, same)
    assert 100 < negatives < 1000 and list(found) == ["0.1", "0.01", "0.001", "0.0001"]
    assert [value is None for value in found.values()] == [False, False, True, True]


def insightface(features: np.ndarray, index: np.ndarray, same: np.ndarray, folds: int) -> list[float]:
    """The published evaluation, written down from its description: distances of unit features on a grid."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    distances = ((unit[index[:, 0]] - unit[index[:, 1]]) ** 2).sum(axis=1)
    accuracies = []
    for train, test in KFold(folds, shuffle=False).split(distances):
        right = [np.mean((distances[train] < t) == same[train]) for t in np.arange(0, 4, 0.01)]
        threshold = np.arange(0, 4, 0.01)[int(np.argmax(right))]
        accuracies.append(float(np.mean((distances[test] < threshold) == same[test])))
    return accuracies


@pytest.mark.parametrize("seed", range(4))
def test_both_choices_of_thresholds_agree(seed: int) -> None:
    random = np.random.default_rng(seed)
    count, pairs = 200, 700
    people = random.standard_normal((count // 2, 16))
    features = np.repeat(people, 2, axis=0) + 0.6 * random.standard_normal((count, 16))
    same = random.random(pairs) < 0.5
    first = random.integers(0, count, pairs)
    index = np.stack([first, np.where(same, first ^ 1, (first + random.integers(2, 50, pairs)) % count)], 1)
    same = index[:, 0] // 2 == index[:, 1] // 2
    fold = even_folds(pairs, 10)
    grid = cross_validate(features, index, same, fold, grid=True)
    assert grid.folds == pytest.approx(insightface(features, index, same, 10))
    ours = cross_validate(features, index, same, fold)
    assert 0.7 < ours.accuracy < 0.99 and ours.accuracy == pytest.approx(grid.accuracy, abs=0.01)
    # The curve pools the folds.
    cosines = np.array([features[a] @ features[b] / np.linalg.norm(features[a]) / np.linalg.norm(features[b])
                        for a, b in index])  # fmt: skip
    assert ours.eer == pytest.approx(equal_error_rate(cosines, same)) and ours.pairs == pairs
    assert len(ours.fold_aucs) == len(ours.fold_eers) == 10


def test_the_grid_takes_the_smallest_of_the_best() -> None:
    # Squared distances 0.212 (same) and 1 (different): of 0.22, 0.23, ..., 1.00 the first.
    threshold = grid_threshold(np.array([0.894, 0.5]), np.array([True, False]))
    assert threshold == pytest.approx(1 - 0.22 / 2, abs=1e-12)


def test_even_folds_are_those_of_kfold() -> None:
    for count, folds in ((10, 10), (23, 5), (6000, 10)):
        expected = np.empty(count, int)
        for number, (_, test) in enumerate(KFold(folds).split(np.empty(count))):
            expected[test] = number
        assert even_folds(count, folds).tolist() == expected.tolist()


@pytest.mark.parametrize(("rows", "width", "kept"), [(900, 120, 20), (60, 400, 20), (50, 8, 20), (40, 200, 60)])
def test_whitening_is_that_of_principal_components(rows: int, width: int, kept: int) -> None:
    random = np.random.default_rng(rows)
    strengths = np.exp(-np.arange(width) / 15)
    features = random.standard_normal((rows, width)) * strengths @ random.standard_normal((width, width)) + 3
    count = min(kept, rows - 1, width)
    ours = fit(features, kept)(features)
    theirs = PCA(count, whiten=True, svd_solver="full").fit_transform(features)
    assert ours.shape == (rows, count)
    np.testing.assert_allclose(ours.T @ ours / (rows - 1), np.eye(count), atol=1e-6)
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=2e-3 * np.abs(theirs @ theirs.T).max())


def test_features_that_vary_along_few_directions_are_whitened_to_these() -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((50, 3)) @ random.standard_normal((3, 10)) + 1
    assert fit(features, 6)(features).shape == (50, 3)
    assert fit(np.ones((5, 4)), 2)(np.ones((5, 4))).shape == (5, 0)


def test_what_is_fitted_never_sees_the_fold_that_is_judged() -> None:
    """The held-out fold's own images change nothing but its own scores."""
    random = np.random.default_rng(1)
    features = random.standard_normal((40, 6)) * (5, 3, 1, 1, 1, 1) + 2
    index = np.arange(40).reshape(-1, 2)
    same, fold = np.arange(20) % 2 == 0, even_folds(20, 2)
    before = cross_validate(features, index, same, fold, whiten=4)
    features[20:] = random.standard_normal((20, 6)) * 9  # the images of fold 1
    after = cross_validate(features, index, same, fold, whiten=4)
    assert after.thresholds[1] == before.thresholds[1] and after.thresholds[0] != before.thresholds[0]


def test_an_image_in_pairs_of_two_folds_is_one_of_the_fold_that_is_judged() -> None:
    random = np.random.default_rng(3)
    features = random.standard_normal((40, 6)) * (5, 3, 1, 1, 1, 1) + 2
    index = np.arange(40).reshape(-1, 2)
    index[10:14, 0] = [0, 1, 2, 3]  # images of fold 0 in pairs of fold 1
    same, fold = np.arange(20) % 2 == 0, even_folds(20, 2)
    for whiten in (0, 4):
        found = cross_validate(features, index, same, fold, centre=True, whiten=whiten)
        for k, others in enumerate((np.setdiff1d(index[10:], np.arange(20)), np.arange(4, 20))):
            scores = cosine_similarity(fit(features[others], whiten)(features), index)
            assert found.thresholds[k] == best_threshold(scores[fold != k], same[fold != k])


def test_folds_of_the_same_images_leave_nothing_to_fit_on() -> None:
    index = np.array([[0, 1], [2, 3], [0, 2], [1, 3]])
    arguments = np.eye(4), index, np.array([True, False] * 2), np.array([0, 0, 1, 1])
    with pytest.raises(SourceError, match=r"the pairs: hold .* none is left to fit .* --fit-data"):
        cross_validate(*arguments, centre=True)
    cross_validate(*arguments)


def test_what_is_fitted_may_come_from_other_images() -> None:
    random = np.random.default_rng(2)
    features, others = random.standard_normal((40, 6)) + 2, random.standard_normal((99, 6)) * 3 + 1
    index = random.permutation(40).reshape(-1, 2)
    same, fold = np.arange(20) % 2 == 0, even_folds(20, 2)
    found = cross_validate(features, index, same, fold, whiten=3, fitted_on=others)
    transformed = PCA(3, whiten=True).fit(others).transform(features)
    assert found.thresholds == pytest.approx(cross_validate(transformed, index, same, fold).thresholds, abs=1e-4)
    centred = cross_validate(features, index, same, fold, centre=True, fitted_on=others)
    expected = cross_validate(features - others.mean(axis=0), index, same, fold)
    assert centred.thresholds == pytest.approx(expected.thresholds) and centred.folds == expected.folds
