"""Telling the one that belongs to a sample from all others by its similarity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from frl.objectives.diagnosis import Metric

FIGURES = (
    Metric(name="positive_similarity", title="Similarities", label="of two views", note="cosines"),
    Metric(name="negative_similarity", title="Similarities", label="of two images", note="cosines"),
    Metric(
        name="contrast_top1",
        title="Contrast",
        label="top-1",
        note="the other view is nearer than every other image",
        lower=0,
        percent=True,
    ),
)
"""How the figures of ``info_nce`` are drawn."""


def unit(features: Tensor) -> Tensor:
    """``(..., D)`` of any floating dtype to unit vectors of at least float32."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)


def similarities(one: Tensor, other: Tensor) -> Tensor:
    """Cosines ``(N, M)`` of unit vectors ``(N, D)`` and ``(M, D)``.

    Kept out of autocast: bf16 would round them by 0.4 %, which a small temperature multiplies.
    """
    with torch.autocast(one.device.type, enabled=False):
        return one @ other.T


def info_nce(
    similarities: Tensor, positives: Tensor, temperature: float, *, own: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of finding each sample's positive among all candidates (van den Oord et al., 2018, eq. 4).

    Args:
        similarities: ``(N, M)`` cosines of N samples to M candidates.
        positives: ``(N,)`` int64, the candidate that belongs to each sample.
        temperature: divides the cosines.
        own: ``(N,)`` int64, the candidate that is the sample itself and takes no part; None: there is none.

    Returns:
        The mean over the samples, a scalar, and the figures that ``FIGURES`` describes, without gradient. Of a tie no
        candidate is the nearest, so features that are all alike tell nothing apart.
    """
    logits = similarities / temperature
    if own is not None:
        logits = logits.scatter(1, own.unsqueeze(1), -torch.inf)
    positive = logits.gather(1, positives.unsqueeze(1))
    loss = (logits.logsumexp(1, keepdim=True) - positive).mean()
    with torch.no_grad():
        agreement = positive.mean() * temperature
        negatives = similarities.shape[1] - (1 if own is None else 2)
        total = similarities.sum(1).mean() - agreement
        if own is not None:
            total = total - similarities.gather(1, own.unsqueeze(1)).mean()
        nearest = ((logits >= positive).sum(1) == 1).to(loss).mean()
    figures = {"positive_similarity": agreement, "negative_similarity": total / negatives, "contrast_top1": nearest}
    return loss, figures


def contrast_of_several(
    similarities: Tensor, alike: Tensor, temperature: float, *, own: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """``info_nce`` where a sample has several positives, say all images of a person: the mean over them.

    This is the supervised contrastive loss (Khosla et al., 2020, eq. 2). With one positive each it is ``info_nce``.

    Args:
        similarities: ``(N, M)`` cosines of N samples to M candidates.
        alike: ``(N, M)`` bool, the candidates that belong to each sample: at least one beside itself.
        temperature: divides the cosines.
        own: ``(N,)`` int64, the candidate that is the sample itself and takes no part; None: there is none.

    Returns:
        The mean over the samples, a scalar, and the figures that ``FIGURES`` describes, without gradient.
    """
    logits, others = similarities / temperature, ~alike
    if own is not None:
        itself = own.unsqueeze(1)
        logits = logits.scatter(1, itself, -torch.inf)
        alike, others = (mask.scatter(1, itself, False) for mask in (alike, others))
    positive = logits.where(alike, 0).sum(1) / alike.sum(1)
    loss = (logits.logsumexp(1) - positive).mean()
    with torch.no_grad():
        negative = similarities.where(others, 0).sum(1) / others.sum(1).clamp_min(1)
        nearest = logits.where(alike, -torch.inf).amax(1) > logits.where(others, -torch.inf).amax(1)
    figures = {
        "positive_similarity": positive.detach().mean() * temperature,
        "negative_similarity": negative.mean(),
        "contrast_top1": nearest.to(loss).mean(),
    }
    return loss, figures
