"""Weighted k-nearest-neighbour classification of identities, leave-one-out (Wu et al., 2018, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from frl.errors import ConfigError

SIMILARITIES_PER_CHUNK = 1 << 24  # 64 MiB of float32


@dataclass(frozen=True, kw_only=True)
class KnnResult:
    """Identity accuracy of a leave-one-out k-NN classifier.

    Attributes:
        accuracy: share of the queries whose identity was named right.
        queries: images asked about: those whose identity has another image.
        images: labelled images among which the neighbours were sought.
        identities: of the queries.
        neighbours: that voted for each.
    """

    accuracy: float
    queries: int
    images: int
    identities: int
    neighbours: int = 20

    def __str__(self) -> str:
        voters = f"{self.neighbours} neighbours vote"
        return f"{self.accuracy:.1%} of {self.queries:,} images of {self.identities:,} identities, {voters}"


def require_pairs(labels: ArrayLike, subject: object) -> None:
    """Refuse labels from which no k-NN accuracy that tells people apart can be had; to call before hours of training.

    Args:
        labels: ``(N,)`` integers, -1 where unknown: of the images that will be used.
        subject: what the error names, such as the file.

    Raises:
        ConfigError: if fewer than two identities have two images.
    """
    labels = np.asarray(labels)
    known = labels[labels >= 0]
    _, sizes = np.unique(known, return_counts=True)
    pairs = int((sizes > 1).sum())
    if pairs >= 2:
        return
    cause = f"of its {len(labels):,} images, none has a label"
    if len(known):
        cause = f"{pairs} of its {len(sizes):,} identities have two images, and k-NN needs two such identities"
    remedy = "Give a .beton of labelled people with several images each (folders of people give labels to frl write)."
    raise ConfigError(subject, cause, remedy)


@torch.inference_mode()
def classify(vectors: torch.Tensor, labels: torch.Tensor, neighbours: int, temperature: float) -> torch.Tensor:
    """The identity that the other images vote for, ``(N,)`` int64.

    Each of the ``neighbours`` most similar other images votes for its identity with weight
    ``exp(cosine / temperature)``. Between identities with equal votes the nearer neighbour decides; which of several
    equally similar images is the last to vote is up to ``torch.topk``.

    Args:
        vectors: ``(N, D)``, unit length, N >= 2.
        labels: ``(N,)`` int64.
        neighbours: voters for each image; at most the N - 1 others.
        temperature: the smaller, the more the nearest neighbours count.
    """
    count = len(vectors)
    rows = max(1, SIMILARITIES_PER_CHUNK // count)
    named = torch.empty_like(labels)
    for start in range(0, count, rows):
        chunk = torch.arange(start, min(start + rows, count), device=vectors.device)
        similarity = vectors[chunk] @ vectors.T
        similarity[torch.arange(len(chunk), device=vectors.device), chunk] = -torch.inf
        cosine, nearest = similarity.topk(min(neighbours, count - 1), dim=1)
        # Relative to the nearest, which changes no order but cannot overflow.
        weight = torch.exp((cosine - cosine[:, :1]) / temperature)
        voter = labels[nearest]
        # For each voter the votes of all that agree with it, itself included.
        votes = (weight[:, None, :] * (voter[:, :, None] == voter[:, None, :])).sum(dim=2)
        named[chunk] = voter.gather(1, votes.argmax(dim=1, keepdim=True)).squeeze(1)
    return named


def leave_one_out(
    vectors: torch.Tensor, labels: torch.Tensor, *, neighbours: int = 20, temperature: float = 0.07
) -> KnnResult:
    """Leave-one-out accuracy of `classify` on the device of ``vectors``.

    Images of unknown identity (label -1) take no part. An image that is the only one of its identity cannot be named
    right: it stays among the neighbours but is not asked about.

    Args:
        vectors: ``(N, D)`` float32, unit length.
        labels: ``(N,)`` int64.
        neighbours: voters for each image.
        temperature: of the votes' weights.

    Raises:
        ConfigError: if no identity has two images, or an option is out of range.
    """
    if neighbours < 1:
        raise ConfigError("--neighbours", f"{neighbours} neighbours cannot vote", "Use at least 1.")
    if not temperature > 0:
        raise ConfigError("--temperature", f"{temperature} is not positive", "The usual value is 0.07.")
    known = labels >= 0
    vectors, labels = vectors[known], labels[known]
    _, identity, sizes = labels.unique(return_inverse=True, return_counts=True)
    asked = sizes[identity] > 1
    if not asked.any():
        raise ConfigError("k-NN", "no identity has two images", "Use a data set with labels, or raise the limit.")
    right = classify(vectors, labels, neighbours, temperature) == labels
    return KnnResult(
        accuracy=right[asked].double().mean().item(),
        queries=int(asked.sum()),
        images=len(labels),
        identities=int((sizes > 1).sum()),
        neighbours=neighbours,
    )


def knn_accuracy(vectors: torch.Tensor, labels: torch.Tensor, *, neighbours: int = 20) -> float:
    """The accuracy that `leave_one_out` finds, for a log."""
    return leave_one_out(vectors, labels, neighbours=neighbours).accuracy
