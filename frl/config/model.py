"""The network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from frl.config.check import require_least


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The backbone: a torchvision ResNet."""

    arch: Literal["resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2", "wide_resnet101_2"] = "resnet50"
    """Backbone, by its torchvision name."""
    batch_norm: Literal["auto", "local", "sync"] = "auto"
    """Images that share BatchNorm's statistics: those of one GPU (local), or of several (sync, as in the paper);
    auto: local from 64 images at once on a GPU up."""
    batch_norm_group: int = 0
    """GPUs that share statistics under sync; 0: all."""

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_least("model.batch_norm_group", self.batch_norm_group, 0, "Use 0 for all GPUs.")
