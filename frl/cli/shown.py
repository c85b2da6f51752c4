"""How a network that is loaded sees the images: the options of every command that shows it some."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from frl.config.check import require_least
from frl.evaluate.unpooled import Unpooled
from frl.models.backbone import require_size
from frl.models.layers import up_to
from frl.network import Network, load_network, require_preprocessing
from frl.pretrained import require_arch


@dataclass(frozen=True, kw_only=True)
class ShownConfig:
    """The network, the preprocessing of its images, as far as the weights do not say it, and how far they go in it."""

    arch: str | None = None
    """Network: resnet18, resnet18-w16-nopool (width 16, no pooling in the stem), timm/NAME; none: told by the file or
    by the shapes of its weights."""
    size: int | None = None
    """Side of the images shown to the network; none: that of the larger crops of its training where the weights say it,
    else 224."""
    mean: tuple[float, float, float] | None = None
    """Subtracted from RGB in [0, 1]; none: as in the training where the weights say it, else ImageNet's."""
    std: tuple[float, float, float] | None = None
    """Divides RGB after the mean is subtracted; none: likewise."""
    stage: int | None = None
    """Take the features of this stage, the first being next to the image, and leave out what follows: of a ResNet 1 to
    4, of a network of timm as its feature_info counts; none: the features of the whole network."""

    def check(self) -> None:
        """Refuse what no network could see, before anything is loaded.

        Raises:
            ConfigError: on the first contradiction found.
        """
        if self.arch is not None:
            require_arch(self.arch)
        require_preprocessing(self.size, self.mean, self.std)
        if self.size is not None and self.arch is not None:
            require_size(self.arch, self.size, "--size")
        if self.stage is not None:
            require_least("stage", self.stage, 1, "The first stage is next to the image.")

    def load(self, weights: Path) -> Network:
        """The network of some weights; raises like ``load_network``."""
        return load_network(weights, arch=self.arch, size=self.size, mean=self.mean, std=self.std)

    def seen(self, backbone: nn.Module) -> nn.Module:
        """What gives the features: images ``(B, 3, H, W)`` to ``(B, D)``.

        Raises:
            ConfigError: if the network has no such stage.
        """
        return up_to(backbone, self.stage)

    @property
    def of_network(self) -> str:
        """Which features they are, to be said behind the network's name; empty of the whole network's."""
        return "" if self.stage is None else f", stage {self.stage}"


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig(ShownConfig):
    """Of which features of the network there is one kind alone."""

    features: Literal["pooled", "unpooled"] = "pooled"
    """pooled: the mean over the image; unpooled: the feature map, in at most 4 x 4 cells, which keeps what is where."""

    def seen(self, backbone: nn.Module) -> nn.Module:
        """See ``ShownConfig``."""
        staged = super().seen(backbone)
        return Unpooled(staged) if self.features == "unpooled" else staged

    @property
    def of_network(self) -> str:
        """See ``ShownConfig``."""
        return super().of_network + (", unpooled" if self.features == "unpooled" else "")
