"""Face verification by a threshold on the cosine similarity of a network's features."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import nn

from frl.config import AugmentConfig
from frl.evaluate.features import extract_features
from frl.evaluate.images import image_batches
from frl.tasks.metrics.verification import VerificationResult
from frl.tasks.recognition import Verification


def verification(
    network: nn.Module,
    *,
    images: str | os.PathLike[str],
    pairs: str | os.PathLike[str],
    size: int,
    augment: AugmentConfig,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    flip: bool = False,
    centre: bool = False,
) -> VerificationResult:
    """Verify the listed pairs of faces with the cosine similarity of a network's features.

    Args:
        network: images ``(B, 3, size, size)`` to features; on ``device``.
        images: folder that holds ``name/name_0001.jpg`` and so on; each file is shown once.
        pairs: list in the format of LFW's ``pairs.txt``.
        size: side of the views, in pixels.
        augment: gives the mean and standard deviation of the normalisation.
        batch_size: images in a batch.
        device: where the features are computed.
        flip: add the feature of the mirrored image to that of the image.
        centre: see ``frl.tasks.metrics.verification.cross_validate``.

    Raises:
        SourceError: if the list breaks its format or an image cannot be read.
    """
    task = Verification.of(images, pairs, centre=centre)
    batches = image_batches(task.images, size=size, augment=augment, batch_size=batch_size, device=device)
    features = extract_features(Mirrored(network) if flip else network, batches, normalise=False)
    return task.result(features.vectors.cpu().numpy())


class Mirrored(nn.Module):
    """The sum of the unit features of an image and its mirror image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(B, 3, H, W)`` to features ``(B, D)``, float32."""
        both = (self.network(view).flatten(1).float() for view in (images, images.flip(3)))
        return torch.stack([F.normalize(features, dim=1) for features in both]).sum(dim=0)
