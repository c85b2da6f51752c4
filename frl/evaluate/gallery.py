"""Images with their features: what reports and embedding projectors show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from frl.batch import Batch
from frl.config import AugmentConfig
from frl.evaluate.features import Features, extract_features
from frl.objectives import Metric
from frl.pixels import restored


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images with what is known of them.

    Attributes:
        images: ``(N, H, W, 3)`` uint8.
        vectors: ``(N, D)`` features of the images, unit length.
        labels: ``(N,)`` int64, identities; -1 where unknown.
    """

    images: NDArray[np.uint8]
    vectors: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a probe found out.

    Attributes:
        scores: by name, such as ``knn_top1``.
        gallery: a few of the images that it looked at; None: there is no picture to show.
        words: what the scores are of, in a line for the log.
        described: how those scores are drawn that not every run has.
    """

    scores: dict[str, float]
    gallery: Gallery | None = None
    words: str = ""
    described: tuple[Metric, ...] = ()


def extract_gallery(
    network: nn.Module, batches: Iterable[Batch], augment: AugmentConfig, *, side: int, pictures: int
) -> tuple[Features, Gallery]:
    """Features of every image, and a gallery of the first ones.

    Args:
        network: as `extract_features` takes it.
        batches: each with one view of B images, normalised as ``augment`` says.
        augment: its mean and standard deviation are undone.
        side: larger pictures are shrunk to this side.
        pictures: images in the gallery at most.
    """
    kept: list[NDArray[np.uint8]] = []

    def keeping() -> Iterator[Batch]:
        for batch in batches:
            missing = pictures - sum(map(len, kept))
            if missing > 0:
                kept.append(thumbnails(batch.views[0][:missing], augment, side))
            yield batch

    features = extract_features(network, keeping())
    images = np.concatenate(kept)
    count = len(images)
    vectors, labels = (part[:count].clone() for part in features)  # so that the rest can be let go
    return features, Gallery(images=images, vectors=vectors, labels=labels)


def thumbnails(view: torch.Tensor, augment: AugmentConfig, side: int) -> NDArray[np.uint8]:
    """Undo the normalisation of ``(N, 3, H, W)``, shrink to at most ``side``; ``(N, H, W, 3)`` uint8."""
    pictures = restored(view, augment)
    if max(pictures.shape[2:]) > side:
        pictures = F.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
    return (pictures * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().contiguous().numpy()
