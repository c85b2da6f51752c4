"""A trained network as others use it: with what its images must look like."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from frl.config import AugmentConfig
from frl.config.check import require_least
from frl.config.views import require_normalisation
from frl.errors import ConfigError
from frl.evaluate.images import DECODERS, central_square, load_image
from frl.images.photo import UnusableImage, upright_rgb
from frl.pixels import normalised
from frl.pretrained import load_described

SIZE = 224
"""Of the images where the weights do not say on which they were trained."""

Picture: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | Tensor"


def require_preprocessing(
    size: int | None, mean: tuple[float, float, float] | None, std: tuple[float, float, float] | None
) -> None:
    """Refuse what no image can be made of, before weights are loaded; None: what the weights say.

    Raises:
        ConfigError: naming the option.
    """
    if size is not None:
        require_least("size", size, 1, "Use about the size of the larger training crops.")
    usual = AugmentConfig()
    require_normalisation(mean or usual.mean, std or usual.std)


class Network(nn.Module):
    """A backbone without its classifier, and the preprocessing that it was trained with.

    Args:
        backbone: images ``(B, 3, H, W)`` to features ``(B, D)``.
        arch: its whole name.
        size: side of the images, in pixels.
        mean: subtracted from RGB in [0, 1].
        std: divides RGB after the mean is subtracted.
    """

    def __init__(
        self,
        backbone: nn.Module,
        arch: str,
        *,
        size: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.arch = arch
        self.size = size
        self.mean = mean
        self.std = std

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.parameters()).device

    def forward(self, images: Tensor) -> Tensor:
        """Preprocessed images ``(B, 3, H, W)`` to features ``(B, D)``."""
        return self.backbone(images).flatten(1)

    def preprocess(self, images: Picture | Sequence[Picture]) -> Tensor:
        """What the network takes of some images: upright, RGB, the central square, ``size`` pixels, normalised.

        Args:
            images: one or several: paths of files, images of PIL (turned as their Exif says, like files), ``(H, W, 3)``
                uint8 arrays or ``(3, H, W)`` uint8 tensors in RGB; or a batch of the last two with one dimension more.

        Returns:
            ``(B, 3, size, size)`` float32, on the device of the weights; B is 1 for a single image.

        Raises:
            SourceError: naming a file that is missing, damaged or no image.
            ConfigError: if something is none of these, or an image of PIL is damaged or of 32 bits.
        """
        several = _several(images)
        if not several:
            raise ConfigError("images", "there is none", "Give at least one.")
        with ThreadPoolExecutor(min(DECODERS, len(several))) as threads:
            squares = np.stack(list(threads.map(self._square, several)))
        augment = AugmentConfig(mean=self.mean, std=self.std)
        return normalised(torch.from_numpy(squares).to(self.device), augment)

    def _square(self, image: Picture) -> NDArray[np.uint8]:
        if isinstance(image, (str, os.PathLike)):
            return load_image(Path(image), self.size)
        if isinstance(image, Image.Image):
            return central_square(_upright(image), self.size)
        pixels = np.asarray(image.cpu().movedim(0, -1)) if isinstance(image, Tensor) else image
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            what = f"{pixels.dtype} of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else repr(image)
            remedy = "Give paths, PIL images, (H, W, 3) uint8 arrays or (3, H, W) uint8 tensors."
            raise ConfigError("an image", f"{what} is none", remedy)
        return central_square(Image.fromarray(np.ascontiguousarray(pixels)), self.size)

    def extra_repr(self) -> str:
        """What ``print`` says of it, besides its layers."""
        return f"{self.arch}, size={self.size}, mean={self.mean}, std={self.std}"


def load_network(
    weights: str | os.PathLike[str],
    *,
    arch: str | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    device: str | torch.device = "cpu",
) -> Network:
    """A network in evaluation mode, with its preprocessing.

    Args:
        weights: a run's folder, a checkpoint, an export, a torchvision state dict, a released checkpoint, or
            ``hub:ORG/NAME``.
        arch: the network's whole name; None: as the weights say.
        size: side of its images; None: that of the largest crops of the training where the weights say it, else 224.
        mean: None: as in the training, where the weights say it, else ImageNet's; ``std`` likewise.
        device: where the network is to be.

    Raises:
        CheckpointError: if the weights cannot be read or do not fit.
        ConfigError: if there is no such architecture.
    """
    backbone, arch, card = load_described(weights, arch)
    usual = AugmentConfig()
    network = Network(
        backbone,
        arch,
        size=size or int(card.get("size", SIZE)),
        mean=_triple("mean", mean) or _said(card.get("mean")) or usual.mean,
        std=_triple("std", std) or _said(card.get("std")) or usual.std,
    )
    return network.to(device).eval()


def _several(images: Picture | Sequence[Picture]) -> list[Picture]:
    if isinstance(images, (np.ndarray, Tensor)):
        return list(images) if images.ndim == 4 else [images]
    return [images] if isinstance(images, (str, os.PathLike, Image.Image)) else list(images)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return upright_rgb(image)
    except UnusableImage as error:
        raise ConfigError(
            "an image", f"cannot be taken ({error})", "Give 8 bits a channel, of a whole file."
        ) from error


def _triple(option: str, values: Sequence[float] | None) -> tuple[float, float, float] | None:
    if values is None:
        return None
    if len(values) != 3:
        raise ConfigError(option, f"{values!r} are not three numbers", "Give one for each of R, G and B.")
    return (float(values[0]), float(values[1]), float(values[2]))


def _said(text: str | None) -> tuple[float, float, float] | None:
    """Three numbers as a card has them: ``[0.485, 0.456, 0.406]``."""
    return None if text is None else _triple("card", [float(part) for part in text.strip("[]() ").split(",")])
