"""How a network that is loaded sees the images: the options of every command that shows it some."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frl.models.backbone import require_size
from frl.network import Network, load_network, require_preprocessing
from frl.pretrained import require_arch


@dataclass(frozen=True, kw_only=True)
class ShownConfig:
    """The network, and the preprocessing of its images, as far as the weights do not say it."""

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

    def load(self, weights: Path) -> Network:
        """The network of some weights; raises like ``load_network``."""
        return load_network(weights, arch=self.arch, size=self.size, mean=self.mean, std=self.std)
