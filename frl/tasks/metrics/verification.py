"""What features are worth for telling whether two images, or two sets of images, show one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frl.errors import SourceError

FALSE_ACCEPT_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
"""At which the share of pairs of one person that are accepted is told."""

PAIRS_AT_A_TIME = 1 << 12

OVERSAMPLING, ITERATIONS = 32, 8
"""Of the search for principal components: directions beyond those that are wanted, and passes over the features."""

GRID = np.arange(0, 400) / 100
"""Squared Euclidean distances of unit features that insightface's evaluation tries as thresholds."""


@dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """Outcome of the cross-validation.

    Attributes:
        accuracy: mean over the folds of the share of pairs judged right.
        standard_error: of that mean: the folds' sample standard deviation over the root of their number.
        auc: area under the ROC curve of the held-out pairs.
        eer: the rate at which as many pairs of different people are accepted as pairs of one person refused.
        tar_at_far: by the share of pairs of different people that are accepted, such as "0.001", the share of pairs
            of one person that are; None where there are too few pairs to tell.
        pairs: judged.
        folds: accuracy of each held-out fold.
        thresholds: similarity from which on two images were taken for one person, chosen without that fold.
        fold_aucs: area under the ROC curve of each fold by itself, None where its pairs are of one kind.
        fold_eers: the same of the equal error rate.
        remarks: what a reader has to know, such as what was missing.
    """

    accuracy: float
    standard_error: float
    auc: float
    eer: float
    tar_at_far: Mapping[str, float | None]
    pairs: int
    folds: tuple[float, ...]
    thresholds: tuple[float, ...]
    fold_aucs: tuple[float | None, ...]
    fold_eers: tuple[float | None, ...]
    remarks: tuple[str, ...] = ()


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold t for which ``score >= t`` agrees most often with ``same``.

    Candidates lie half-way between neighbouring scores and outside of all; among the best, the middle one is taken.

    Args:
        scores: ``(P,)`` float64.
        same: ``(P,)`` bool.
    """
    values, index = np.unique(scores, return_inverse=True)
    positives = np.bincount(index, weights=same, minlength=len(values))
    negatives = np.bincount(index, weights=~same, minlength=len(values))
    # With the threshold below value i: the positives from i on and the negatives before i are right.
    right = np.append(np.cumsum(positives[::-1])[::-1], 0) + np.insert(np.cumsum(negatives), 0, 0)
    edges = np.concatenate([[values[0] - 1], (values[:-1] + values[1:]) / 2, [values[-1] + 1]])
    best = np.flatnonzero(right == right.max())
    return float(edges[best[(len(best) - 1) // 2]])


def grid_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """As `best_threshold`, but of insightface's grid: the squared distances 0, 0.01, ..., 3.99 of unit features.

    There a pair is accepted whose distance ``2 - 2 score`` is below the threshold, and the smallest of the best counts.

    Args:
        scores: ``(P,)`` float64, cosine similarities.
        same: ``(P,)`` bool.
    """
    distances = 2 - 2 * scores
    accepted = np.searchsorted(np.sort(distances[same]), GRID)
    wrongly = np.searchsorted(np.sort(distances[~same]), GRID)
    limit = GRID[np.argmax(accepted - wrongly)]
    # The least similarity that is accepted: ``score >= t`` is to say what ``distance < limit`` says.
    return float(np.nextafter(1 - limit / 2, 2))


def roc_auc(scores: np.ndarray, same: np.ndarray) -> float:
    """Probability that a positive pair scores above a negative one, ties counting half (Mann and Whitney, 1947)."""
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    positives, negatives = same.sum(), (~same).sum()
    return float((mean_rank[index][same].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def equal_error_rate(scores: np.ndarray, same: np.ndarray) -> float:
    """Where the ROC curve, its points joined by lines, meets the line on which both kinds of error are as frequent.

    Args:
        scores: ``(P,)``.
        same: ``(P,)`` bool, both kinds among them.
    """
    values, index = np.unique(-scores, return_inverse=True)
    true = np.insert(np.cumsum(np.bincount(index, weights=same, minlength=len(values))), 0, 0) / same.sum()
    false = np.insert(np.cumsum(np.bincount(index, weights=~same, minlength=len(values))), 0, 0) / (~same).sum()
    excess = false + true - 1  # from -1 to 1, never falling
    after = int(np.argmax(excess >= 0))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(false[after - 1] + share * (false[after] - false[after - 1]))


def tar_at_far(
    scores: np.ndarray, same: np.ndarray, rates: Sequence[float] = FALSE_ACCEPT_RATES
) -> dict[str, float | None]:
    """The largest share of positive pairs above a threshold above which no more than a share of the negatives lie.

    Nothing is interpolated. A rate at which not even one negative pair may be accepted has no value: None.

    Args:
        scores: ``(P,)``.
        same: ``(P,)`` bool, both kinds among them.
        rates: false-accept rates.
    """
    positives, negatives = scores[same], np.sort(scores[~same])
    found: dict[str, float | None] = {}
    for rate in rates:
        allowed = int(rate * len(negatives) + 1e-9)
        above = negatives[-1 - allowed] if allowed < len(negatives) else -np.inf
        found[f"{rate:g}"] = float(np.mean(positives > above)) if allowed >= 1 else None
    return found


class Fitted(NamedTuple):
    """What is done to features before they are compared: ``(features - mean) @ projection``.

    Attributes:
        mean: ``(D,)``.
        projection: ``(D, K)``, or None for none.
    """

    mean: NDArray[np.float64]
    projection: NDArray[np.float64] | None

    def __call__(self, features: NDArray[Any]) -> NDArray[np.float64]:
        centred = features - self.mean
        return centred if self.projection is None else centred @ self.projection


def fit(features: NDArray[Any], whiten: int = 0) -> Fitted:
    """The mean of features and, if asked for, their whitening by principal components.

    Whitened features have K numbers of unit variance (with M - 1 in the denominator) that are not correlated.

    Args:
        features: ``(M, D)``.
        whiten: K, principal components that are kept, fewer where the features do not vary along so many; 0: the mean
            alone.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    if not whiten:
        return Fitted(mean, None)
    centred = features - mean
    directions = leading_directions(centred, whiten)
    # Within the directions the components are exact, whatever the search for the directions left open.
    seen = centred @ directions
    variances, turn = np.linalg.eigh(seen.T @ seen / max(len(seen) - 1, 1))
    kept = np.flatnonzero(variances > max(variances[-1], 0) * 1e-10)[::-1]
    return Fitted(mean, directions @ turn[:, kept] / np.sqrt(variances[kept]))


def leading_directions(centred: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """An orthonormal basis ``(D, K)`` of the directions along which rows ``(M, D)`` vary most.

    K is ``count``, at most M and D. By subspace iteration from a fixed start (Halko, Martinsson and Tropp, 2011,
    algorithm 4.4): the eigenvectors of thousands of numbers would take minutes.
    """
    count = min(count, *centred.shape)
    width = min(count + OVERSAMPLING, *centred.shape)
    basis = np.random.default_rng(0).standard_normal((centred.shape[1], width))
    for _ in range(ITERATIONS):
        basis, _ = np.linalg.qr(centred.T @ (centred @ np.linalg.qr(basis)[0]))
    seen = centred @ basis
    _, turn = np.linalg.eigh(seen.T @ seen)
    return basis @ turn[:, ::-1][:, :count]


def cross_validate(
    features: np.ndarray,
    index: np.ndarray,
    same: np.ndarray,
    fold: np.ndarray,
    *,
    centre: bool = False,
    whiten: int = 0,
    grid: bool = False,
    fitted_on: np.ndarray | None = None,
) -> VerificationResult:
    """Judge each fold with the threshold that suits the other folds best.

    Args:
        features: ``(M, D)`` floating point, one row an image; scaled to unit length here.
        index: ``(P, 2)``, the two images of each pair.
        same: ``(P,)`` bool, both kinds among them.
        fold: ``(P,)``, from 0 to folds - 1.
        centre: subtract the mean feature of the other folds' images before the similarity is taken. Not a part of
            LFW's protocol; common for features that share a large constant part, as pooled rectified ones do.
        whiten: principal components of the other folds' images to which the features are whitened (and centred)
            before, see `fit`; 0: none. Not a part of the protocol either. An image that stands in pairs of several
            folds counts as one of the fold that is judged.
        grid: choose thresholds from insightface's grid, see `grid_threshold`, in place of all that differ.
        fitted_on: ``(N, D)``, features of other images, on which centring and whitening are fitted instead.

    Raises:
        SourceError: the folds share so many images that centring and whitening cannot be fitted.
    """
    accuracies, thresholds, held_out_scores = [], [], np.empty(len(same))
    transformed = centre or whiten > 0
    once = None
    if not transformed:
        once = cosine_similarity(features, index)
    elif fitted_on is not None:
        once = cosine_similarity(fit(fitted_on, whiten)(features), index)
    choose = grid_threshold if grid else best_threshold
    for k in range(int(fold.max()) + 1):
        held_out = fold == k
        scores = once
        if scores is None:
            scores = cosine_similarity(fit(features[_others(index, held_out)], whiten)(features), index)
        threshold = choose(scores[~held_out], same[~held_out])
        accuracies.append(float(np.mean((scores[held_out] >= threshold) == same[held_out])))
        thresholds.append(threshold)
        held_out_scores[held_out] = scores[held_out]
    parts = [(held_out_scores[fold == k], same[fold == k]) for k in range(len(accuracies))]
    return VerificationResult(
        accuracy=float(np.mean(accuracies)),
        standard_error=float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))),
        auc=roc_auc(held_out_scores, same),
        eer=equal_error_rate(held_out_scores, same),
        tar_at_far=tar_at_far(held_out_scores, same),
        pairs=len(same),
        folds=tuple(accuracies),
        thresholds=tuple(thresholds),
        fold_aucs=tuple(roc_auc(*part) if 0 < part[1].mean() < 1 else None for part in parts),
        fold_eers=tuple(equal_error_rate(*part) if 0 < part[1].mean() < 1 else None for part in parts),
    )


def require_own_images(index: np.ndarray, fold: np.ndarray) -> None:
    """Refuse pairs ``(P, 2)`` on whose folds ``(P,)`` `cross_validate` could fit nothing.

    Raises:
        SourceError: some fold has so many images of the others that fewer than two are left.
    """
    for k in range(int(fold.max()) + 1):
        _others(index, fold == k)


def _others(index: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """The images of the pairs ``(P, 2)`` that are not held out, without those that also stand in a pair that is.

    Raises:
        SourceError: fewer than two are left, on which nothing can be fitted.
    """
    others = np.setdiff1d(index[~held_out], index[held_out])
    if len(others) < 2:
        cause = "hold the images of one fold in the others, too, so that none is left to fit centring and whitening on"
        remedy = "Give folds with images of their own, or others by --fit-data, or leave out --centre and --whiten."
        raise SourceError("the pairs", cause, remedy)
    return others


def cosine_similarity(features: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Cosine similarity of the rows ``index[:, 0]`` and ``index[:, 1]``, ``(P,)`` float64; 0 where a row is zero."""
    norms = np.linalg.norm(features.astype(np.float64), axis=1)
    products = np.empty(len(index))
    for start in range(0, len(index), PAIRS_AT_A_TIME):
        first, second = index[start : start + PAIRS_AT_A_TIME].T
        products[start : start + PAIRS_AT_A_TIME] = np.einsum(
            "pd,pd->p", features[first], features[second], dtype=np.float64
        )
    lengths = norms[index[:, 0]] * norms[index[:, 1]]
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
