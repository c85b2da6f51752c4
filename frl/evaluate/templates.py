"""Verification of templates, sets of images of one person, as insightface does it on IJB-B and IJB-C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from frl.config import AugmentConfig
from frl.errors import SourceError
from frl.evaluate.faces import FaceImages
from frl.evaluate.features import extract_features
from frl.tasks.layouts.ijb import Templates
from frl.tasks.layouts.pairs import SHOWN
from frl.tasks.metrics.verification import equal_error_rate, roc_auc, tar_at_far

FALSE_ACCEPT_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)

PAIRS_AT_A_TIME = 1 << 14


@dataclass(frozen=True, kw_only=True)
class TemplateResult:
    """How well templates are told apart.

    Attributes:
        tar_at_far: by the share of pairs of different people that are accepted, such as "0.0001", the share of pairs
            of one person that are; None where there are too few pairs to tell.
        auc: area under the ROC curve.
        eer: the rate at which both kinds of error are as frequent.
        pairs: of templates, judged.
        remarks: what a reader has to know, such as what was missing.
    """

    tar_at_far: Mapping[str, float | None]
    auc: float
    eer: float
    pairs: int
    remarks: tuple[str, ...] = ()


def verify_templates(
    network: nn.Module,
    templates: Templates,
    *,
    size: int,
    augment: AugmentConfig,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    aligned: bool = True,
) -> TemplateResult:
    """Verify pairs of templates with the cosine similarity of their pooled features, see `pool`.

    Of N images no more than a batch is in memory, and of features one a template.

    Args:
        network: images ``(B, 3, size, size)`` to features; on ``device``. The protocol adds the features of mirror
            images as they are: ``Mirrored(network, unit=False)``.
        templates: the benchmark.
        size: side of the views, in pixels; the protocol's is 112.
        augment: gives the mean and standard deviation of the normalisation.
        batch_size: images in a batch.
        device: where the features are computed.
        aligned: align the faces by their points, as the protocol does; else their central squares are shown.

    Raises:
        SourceError: if too few images can be used.
    """
    shown = FaceImages(
        names=templates.names,
        read=templates.read,
        size=size,
        augment=augment,
        points=templates.points if aligned else None,
        batch_size=batch_size,
        device=device,
    )
    pooled, images = pool(network, shown, templates)
    kept = (images > 0)[templates.pairs].all(axis=1)
    remarks = list(templates.remarks)
    if shown.faults:
        named = ", ".join(f"{shown.names[row]}: {shown.faults[row]}" for row in sorted(shown.faults)[:SHOWN])
        some = f"{len(shown.faults):,} of {len(shown.names):,} images cannot be used ({named}, ...)"
        remarks.append(f"{some}: {int((~kept).sum()):,} of {len(templates.pairs):,} pairs are left out")
    same = templates.same[kept]
    if same.all() or not same.any():
        raise SourceError("pairs", f"{'; '.join(remarks)}; no two kinds of pairs remain", "Complete the images.")
    scores = similarities(pooled, templates.pairs[kept])
    return TemplateResult(
        tar_at_far=tar_at_far(scores, same, FALSE_ACCEPT_RATES),
        auc=roc_auc(scores, same),
        eer=equal_error_rate(scores, same),
        pairs=len(same),
        remarks=tuple(remarks),
    )


def pool(network: nn.Module, shown: FaceImages, templates: Templates) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """The feature of each template, and of how many images it is.

    A feature is that of its image times the detector's score, the mean over the images of one media, the sum over the
    medias of a template, and of unit length at the end. An image that cannot be used counts as a feature of zeros.

    Returns:
        ``(T, D)`` float32 on the device of the batches; ``(T,)``.
    """
    order = np.argsort(templates.images, kind="stable")
    sorted_images = templates.images[order]
    sums: torch.Tensor | None = None
    count = np.zeros(templates.count, np.int64)
    for batch in shown:
        vectors = extract_features(network, [batch], normalise=False).vectors
        if sums is None:
            sums = torch.zeros(templates.count, vectors.shape[1], device=vectors.device)
        first = int(batch.samples[0])
        entries = order[slice(*np.searchsorted(sorted_images, (first, first + len(vectors))))]
        entries = entries[~np.isin(templates.images[entries], list(shown.faults))]
        rows, into = templates.images[entries], templates.template[entries]
        weights = torch.from_numpy(templates.weights[rows] * templates.shares[entries]).to(vectors)
        sums.index_add_(0, torch.from_numpy(into).to(vectors.device), vectors[rows - first] * weights[:, None])
        count += np.bincount(into, minlength=templates.count)
    if sums is None:
        raise SourceError("templates", "there is no image", "Complete the images.")
    return F.normalize(sums, dim=1), count


def similarities(features: torch.Tensor, pairs: NDArray[np.int32]) -> NDArray[np.float64]:
    """Inner products of the rows that each of ``(P, 2)`` pairs names: ``(P,)``."""
    scores = np.empty(len(pairs))
    for start in range(0, len(pairs), PAIRS_AT_A_TIME):
        first, second = torch.from_numpy(pairs[start : start + PAIRS_AT_A_TIME].T.astype(np.int64)).to(features.device)
        products = (features[first] * features[second]).sum(dim=1)
        scores[start : start + PAIRS_AT_A_TIME] = products.double().cpu().numpy()
    return scores
