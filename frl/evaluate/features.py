"""Frozen features of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from frl.batch import Batch
from frl.errors import CheckpointError, LoaderError


class Features(NamedTuple):
    """One feature vector per image, in the order of the loader.

    Attributes:
        vectors: ``(N, D)`` float32, on the device of the batches.
        labels: ``(N,)`` int64, identity of each image, -1 where unknown.
    """

    vectors: torch.Tensor
    labels: torch.Tensor


@torch.inference_mode()
def extract_features(
    network: nn.Module, batches: Iterable[Batch], *, normalise: bool = True, autocast: torch.dtype | None = None
) -> Features:
    """Run ``network`` in evaluation mode over batches of one view each.

    Args:
        network: images ``(B, 3, H, W)`` to features, which are flattened to ``(B, D)``; on the device of the batches.
            Its train/eval modes are restored.
        batches: each with one view of B images.
        normalise: scale every feature to unit length, so that inner products are cosine similarities.
        autocast: compute in this lower precision where PyTorch deems it safe; None: float32 throughout.

    Raises:
        LoaderError: if there is no image, or a batch has several views or crops.
        CheckpointError: if a feature is infinite or NaN, from which figures would follow that look like chance.
    """
    vectors, labels = [], []
    with evaluating(network):
        for batch in batches:
            if len(batch.views) != 1 or len(batch.views[0]) != len(batch.labels):
                raise LoaderError("batch", "evaluation takes one view of each image", "Use a loader of whole images.")
            images = batch.views[0]
            with torch.autocast(images.device.type, dtype=autocast, enabled=autocast is not None):
                pooled = network(images).flatten(1).float()
            vectors.append(F.normalize(pooled, dim=1) if normalise else pooled)
            labels.append(batch.labels)
    if not vectors:
        raise LoaderError("loader", "it gave no image to evaluate", "Check the data set and the limit.")
    features = Features(torch.cat(vectors), torch.cat(labels))
    sound = features.vectors.isfinite().all(dim=1)
    if not sound.all():
        cause = f"its features of {int((~sound).sum()):,} of {len(sound):,} images are infinite or NaN"
        raise CheckpointError("the network", cause, "The weights are of a run that diverged, or the precision too low.")
    return features


class OfMirrorImages(nn.Module):
    """The features of the mirror images, in the place of the images'."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(B, 3, H, W)`` to what the network gives."""
        return self.network(images.flip(3))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; afterwards every submodule is in the mode it had."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
