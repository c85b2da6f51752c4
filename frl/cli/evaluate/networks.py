"""What ``frl evaluate`` measures: a network, and its baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import nn

from frl import hub
from frl.cli.shown import ShownConfig
from frl.config import AugmentConfig
from frl.config.check import require, require_least, require_new_file, require_seed
from frl.config.coerce import coerce
from frl.evaluate import RawPixels, untrained
from frl.models.backbone import require_size
from frl.network import SIZE, Network
from frl.runtime import checkpoint


@dataclass(frozen=True, kw_only=True)
class Networks(ShownConfig):
    """What is measured, and how it sees the images."""

    weights: Path | None = None
    """A run's folder, a checkpoint or an export of frl, a torchvision state dict, a released checkpoint, or
    hub:ORG/NAME; none: baselines alone."""
    arch: str | None = None
    """Network: resnet18, resnet18-w16-nopool (width 16, no pooling in the stem), timm/NAME; none: told by the file or
    by the shapes of its weights (without weights: resnet50)."""
    baselines: bool = True
    """Measure the same network untrained, and raw pixels, too."""
    seed: int = 0
    """Draws the untrained network."""
    batch_size: int = 64
    """Images in a batch."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """auto: the GPU if there is one."""
    out: Path | None = None
    """Also write the figures to this file, as JSON."""
    overwrite: bool = False
    """Replace that file if it exists."""

    def __post_init__(self) -> None:
        coerce(self)

    def check(self) -> None:
        """Refuse what cannot work, before anything is loaded.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require(self.weights is not None or self.baselines, "weights", "nothing to measure", "Give weights, or leave "
                "the baselines in.")  # fmt: skip
        super().check()
        require_seed("seed", self.seed)
        require_least("batch_size", self.batch_size, 1, "The default is 64.")
        if self.out is not None:
            require_new_file(self.out, "out", overwrite=self.overwrite)

    def measure(self) -> Mapping[str, Any]:
        """The result of each network by its name, of dataclasses or of what JSON knows; prints a row for each."""
        raise NotImplementedError

    @cached_property
    def loaded(self) -> Network | None:
        """The weights, with the preprocessing that is given or that they state; None: baselines alone.

        Raises:
            CheckpointError: if the weights cannot be used.
        """
        if self.weights is None:
            return None
        return self.load(self.weights)

    @property
    def side(self) -> int:
        """Of the images that every network is shown, in pixels; raises like ``loaded``."""
        return self.size or (SIZE if self.loaded is None else self.loaded.size)

    @property
    def normalisation(self) -> AugmentConfig:
        """Its mean and standard deviation are those of the images shown; raises like ``loaded``."""
        usual = AugmentConfig() if self.loaded is None else self.loaded
        return AugmentConfig(mean=self.mean or usual.mean, std=self.std or usual.std)

    def networks(self) -> dict[str, nn.Module]:
        """What is measured, by the names that tables show: images ``(B, 3, side, side)`` to features.

        Raises:
            CheckpointError: if the weights cannot be used.
            ConfigError: if the network does not take images of this size, or has no such stage.
        """
        arch = self.arch or "resnet50"
        networks: dict[str, nn.Module] = {}
        if self.weights is not None and self.loaded is not None:
            arch = self.loaded.arch
            networks[f"{_label(self.weights)} ({arch}{self.of_network})"] = self.seen(self.loaded.backbone)
        require_size(arch, self.side, "--size")
        if self.baselines:
            networks[f"untrained ({arch}{self.of_network})"] = self.seen(untrained(arch, self.seed))
            networks["raw pixels"] = RawPixels()
        return networks


def row_width(names: Iterable[str]) -> int:
    """Of the column of a table that shows the networks' names."""
    return max(32, *map(len, names))


def _label(weights: Path) -> str:
    """What the table calls the weights: the file, of a run's folder the run and the checkpoint."""
    if hub.is_address(weights):
        return str(weights)
    file = checkpoint.resolve(weights)
    return file.name if file == weights else f"{weights.resolve().name}/{file.name}"
