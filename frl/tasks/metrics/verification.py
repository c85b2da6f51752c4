"""Same person or not: the accuracy of a threshold on similarities, and the area under their ROC curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """Outcome of the cross-validation.

    Attributes:
        accuracy: mean over the folds of the share of pairs judged right.
        standard_error: of that mean: the folds' sample standard deviation over the root of their number.
        auc: area under the ROC curve of the held-out pairs.
        folds: accuracy of each held-out fold.
        thresholds: similarity from which on two images were taken for one person, chosen without that fold.
    """

    accuracy: float
    standard_error: float
    auc: float
    folds: tuple[float, ...]
    thresholds: tuple[float, ...]


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


def roc_auc(scores: np.ndarray, same: np.ndarray) -> float:
    """Probability that a positive pair scores above a negative one, ties counting half (Mann and Whitney, 1947)."""
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    positives, negatives = same.sum(), (~same).sum()
    return float((mean_rank[index][same].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def cross_validate(
    features: np.ndarray, index: np.ndarray, same: np.ndarray, fold: np.ndarray, *, centre: bool = False
) -> VerificationResult:
    """Judge each fold with the threshold that suits the other folds best.

    Args:
        features: ``(M, D)`` floating point, one row an image; scaled to unit length here.
        index: ``(P, 2)``, the two images of each pair.
        same: ``(P,)`` bool.
        fold: ``(P,)``, from 0 to folds - 1.
        centre: subtract the mean feature of the other folds' images before the similarity is taken. Not a part of
            LFW's protocol; common for features that share a large constant part, as pooled rectified ones do.
    """
    accuracies, thresholds, held_out_scores = [], [], np.empty(len(same))
    for k in range(int(fold.max()) + 1):
        held_out = fold == k
        mean = features[np.unique(index[~held_out])].mean(axis=0) if centre else 0.0
        scores = cosine_similarity(features - mean, index)
        threshold = best_threshold(scores[~held_out], same[~held_out])
        accuracies.append(float(np.mean((scores[held_out] >= threshold) == same[held_out])))
        thresholds.append(threshold)
        held_out_scores[held_out] = scores[held_out]
    return VerificationResult(
        accuracy=float(np.mean(accuracies)),
        standard_error=float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))),
        auc=roc_auc(held_out_scores, same),
        folds=tuple(accuracies),
        thresholds=tuple(thresholds),
    )


def cosine_similarity(features: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Cosine similarity of the rows ``index[:, 0]`` and ``index[:, 1]``, ``(P,)`` float64; 0 where a row is zero."""
    norms = np.linalg.norm(features.astype(np.float64), axis=1)
    first, second = index.T
    products = np.array([np.dot(features[a], features[b]) for a, b in index], dtype=np.float64)
    lengths = norms[first] * norms[second]
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
