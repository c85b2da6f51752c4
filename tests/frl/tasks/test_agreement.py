"""Metrics of numbers and classes against scikit-learn, torchmetrics and pingouin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frl.tasks.metrics import agreement, classes

RNG = np.random.default_rng(3)
TRUE = RNG.normal(size=200)
GUESS = 0.6 * TRUE + 0.4 * RNG.normal(size=200) + 0.3


def test_concordance_and_correlation_are_those_of_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics")
    # torchmetrics divides by N - 1 in one place and by N in none, so the moments are compared through both.
    theirs = torchmetrics.regression.PearsonCorrCoef()(torch.from_numpy(GUESS), torch.from_numpy(TRUE))
    assert agreement.pearson(GUESS, TRUE) == pytest.approx(theirs.item(), abs=1e-6)
    by_hand = 2 * np.cov(GUESS, TRUE, ddof=0)[0, 1] / (GUESS.var() + TRUE.var() + (GUESS.mean() - TRUE.mean()) ** 2)
    assert agreement.concordance(GUESS, TRUE) == pytest.approx(by_hand, abs=1e-12)
    theirs = torchmetrics.regression.ConcordanceCorrCoef()(torch.from_numpy(GUESS), torch.from_numpy(TRUE))
    assert agreement.concordance(GUESS, TRUE) == pytest.approx(theirs.item(), abs=2e-3)


def test_errors_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    assert agreement.mean_absolute_error(GUESS, TRUE) == pytest.approx(metrics.mean_absolute_error(TRUE, GUESS))
    assert agreement.mean_squared_error(GUESS, TRUE) == pytest.approx(metrics.mean_squared_error(TRUE, GUESS))
    assert agreement.root_mean_squared_error(GUESS, TRUE) ** 2 == pytest.approx(metrics.mean_squared_error(TRUE, GUESS))
    assert agreement.explained_variance(GUESS, TRUE) == pytest.approx(metrics.r2_score(TRUE, GUESS))


def test_consistency_is_icc_3_1_of_pingouin():
    pingouin, pandas = pytest.importorskip("pingouin"), pytest.importorskip("pandas")
    faces = np.tile(np.arange(len(TRUE)), 2)
    frame = pandas.DataFrame(
        {"face": faces, "rater": np.repeat(["true", "guess"], len(TRUE)), "au": np.r_[TRUE, GUESS]}
    )
    table = pingouin.intraclass_corr(frame, targets="face", raters="rater", ratings="au").set_index("Type")["ICC"]
    theirs = table["ICC(C,1)"] if "ICC(C,1)" in table else table["ICC3"]
    assert agreement.consistency(GUESS, TRUE) == pytest.approx(theirs, abs=1e-6)


def test_consistency_by_the_analysis_of_variance():
    """(BMS - EMS) / (BMS + EMS), from the sums of squares of Shrout and Fleiss."""
    ratings = np.stack([GUESS, TRUE], axis=1)
    faces, raters = ratings.shape
    between = raters * np.square(ratings.mean(1) - ratings.mean()).sum() / (faces - 1)
    residual = ratings - ratings.mean(1, keepdims=True) - ratings.mean(0) + ratings.mean()
    error = np.square(residual).sum() / ((faces - 1) * (raters - 1))
    expected = (between - error) / (between + error)
    assert agreement.consistency(GUESS, TRUE) == pytest.approx(expected, abs=1e-12)


def test_consistency_forgives_another_mean_and_concordance_does_not():
    assert agreement.consistency(TRUE + 5, TRUE) == pytest.approx(1)
    assert agreement.concordance(TRUE + 5, TRUE) < 0.2


def test_a_constant_has_concordance_0_and_no_correlation():
    constant = np.full(200, 0.1)
    assert agreement.concordance(constant, TRUE) == 0 and agreement.consistency(constant, TRUE) == 0
    assert np.isnan(agreement.pearson(constant, TRUE))


@pytest.mark.parametrize("metric", ["consistency", "pearson", "explained_variance"])
def test_truth_that_never_varies_has_no_figure(metric):
    assert np.isnan(getattr(agreement, metric)(GUESS, np.full(200, 0.1)))


def test_faces_of_which_nothing_is_known_do_not_count():
    holes = TRUE.copy()
    holes[::3] = np.nan
    kept = np.isfinite(holes)
    for name in ("concordance", "consistency", "mean_absolute_error", "sign_agreement"):
        metric = getattr(agreement, name)
        assert metric(GUESS, holes) == pytest.approx(metric(GUESS[kept], TRUE[kept])), name
        assert np.isnan(metric(GUESS, np.full(200, np.nan))), name


def test_signs_agree_where_both_are_on_one_side_of_0():
    assert agreement.sign_agreement(np.array([1.0, -2, 3, 0]), np.array([5.0, 2, 1, -1])) == 0.5


def test_f1_is_that_of_scikit_learn_and_missing_where_nothing_is_true():
    metrics = pytest.importorskip("sklearn.metrics")
    guess, true = GUESS > 0.5, TRUE > 0.5
    assert agreement.f1(guess, true) == pytest.approx(metrics.f1_score(true, guess))
    assert np.isnan(agreement.f1(guess, np.zeros_like(true)))


def test_classes_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    true, named = RNG.integers(0, 4, 300), RNG.integers(0, 4, 300)
    named = np.where(RNG.random(300) < 0.6, true, named)
    found = classes.confusion_matrix(named, true, 4)
    assert np.array_equal(found, metrics.confusion_matrix(true, named, labels=range(4)))
    assert classes.accuracy(found) == pytest.approx(metrics.accuracy_score(true, named))
    assert classes.balanced_accuracy(found) == pytest.approx(metrics.balanced_accuracy_score(true, named))
    assert classes.macro_f1(found) == pytest.approx(metrics.f1_score(true, named, average="macro"))
    assert classes.recalls(found) == pytest.approx(metrics.recall_score(true, named, average=None))


def test_unknown_and_absent_classes_do_not_count():
    found = classes.confusion_matrix(np.array([0, 1, 2]), np.array([0, 0, -1]), 3)
    assert found.sum() == 2 and classes.accuracy(found) == 0.5 and classes.balanced_accuracy(found) == 0.5
    assert np.isnan(classes.accuracy(np.zeros((3, 3), int)))
