"""Face verification by a threshold on the cosine similarity of a network's features."""

from __future__ import annotations

import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from frl.config import AugmentConfig
from frl.errors import SourceError
from frl.evaluate.faces import FaceImages
from frl.evaluate.features import extract_features
from frl.tasks.layouts.lfw import open_lfw
from frl.tasks.layouts.pairs import FacePairs
from frl.tasks.metrics.verification import VerificationResult, require_own_images
from frl.tasks.recognition import Comparison, Verification


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
    """Verify the pairs of a list in LFW's format, see `verify_pairs`.

    Args:
        network: images ``(B, 3, size, size)`` to features; on ``device``.
        images: folder that holds ``name/name_0001.jpg`` (or ``.png``) and so on; each file is shown once.
        pairs: list in the format of LFW's ``pairs.txt``.
        size: side of the views, in pixels.
        augment: gives the mean and standard deviation of the normalisation.
        batch_size: images in a batch.
        device: where the features are computed.
        flip: add the feature of the mirrored image to that of the image.
        centre: see ``frl.tasks.metrics.verification.cross_validate``.

    Raises:
        SourceError: if the list breaks its format, or too few images can be used.
    """
    return verify_pairs(
        Mirrored(network) if flip else network,
        open_lfw(images, pairs),
        size=size,
        augment=augment,
        batch_size=batch_size,
        device=device,
        comparison=Comparison(centre=centre),
    )


def verify_pairs(
    network: nn.Module,
    faces: FacePairs,
    *,
    size: int,
    augment: AugmentConfig,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    aligned: bool = False,
    comparison: Comparison = Comparison(),  # noqa: B008, it is frozen
    fitted_on: np.ndarray | None = None,
) -> VerificationResult:
    """Verify pairs of faces with the cosine similarity of a network's features.

    Args:
        network: images ``(B, 3, size, size)`` to features; on ``device``. `Mirrored` adds those of mirror images.
        faces: the pairs of a benchmark. Those whose images turn out to be broken are left out, with a remark.
        size: side of the views, in pixels.
        augment: gives the mean and standard deviation of the normalisation.
        batch_size: images in a batch.
        device: where the features are computed.
        aligned: align the faces by their points; else their central squares are shown.
        comparison: how the features are compared.
        fitted_on: ``(M, D)``, the network's features of other images, on which centring and whitening are fitted.

    Raises:
        SourceError: if faces are to be aligned whose points are not known, if nothing is left to fit centring or
            whitening on, or too few images can be used.
    """
    if aligned and faces.points is None:
        raise SourceError("alignment", "no points are known of these faces", "Give points, or do not align.")
    if (comparison.centre or comparison.whiten) and fitted_on is None:
        require_own_images(faces.index, faces.fold)
    shown = FaceImages(
        names=faces.names,
        read=faces.read,
        size=size,
        augment=augment,
        points=faces.points if aligned else None,
        batch_size=batch_size,
        device=device,
    )
    features = extract_features(network, shown, normalise=False).vectors.cpu().numpy()
    return Verification(faces.without(shown.faults), comparison).result(features, fitted_on)


class Mirrored(nn.Module):
    """The sum of the features of an image and its mirror image.

    Args:
        network: images to features.
        unit: scale both to unit length before they are added.
    """

    def __init__(self, network: nn.Module, *, unit: bool = True) -> None:
        super().__init__()
        self.network = network
        self.unit = unit

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(B, 3, H, W)`` to features ``(B, D)``, float32."""
        both = [self.network(view).flatten(1).float() for view in (images, images.flip(3))]
        return torch.stack([F.normalize(features, dim=1) for features in both] if self.unit else both).sum(dim=0)
