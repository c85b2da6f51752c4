"""The network."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from typing import Literal, Self, get_args

from frl.config.check import require, require_least
from frl.errors import ConfigError

ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2", "wide_resnet101_2"]
RESNETS: tuple[str, ...] = get_args(ResNetName)
FULL_WIDTH = 64  # channels of a published ResNet's stem
TIMM = "timm/"


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The backbone: a torchvision ResNet, as published or narrower, or a network of timm."""

    arch: ResNetName | str = "resnet50"
    """Backbone: a ResNet by its torchvision name, or timm/NAME for any network of timm that gives pooled features
    (needs pip install timm)."""
    width: int = FULL_WIDTH
    """Channels of a ResNet's stem and first stage; the others have 2, 4 and 8 times as many. 16 suits a CPU."""
    stem: Literal["pool", "no-pool"] = "pool"
    """no-pool: a ResNet without the max-pooling of its stem, so that every stage sees twice the resolution: better for
    crops of about 32 pixels."""
    zero_init_residual: bool = False
    """Let every residual branch of a ResNet begin at zero, by the scale of its last BatchNorm: so are SimCLR, MoCo v3,
    SimSiam, Barlow Twins and VICReg published."""
    batch_norm: Literal["auto", "local", "sync"] = "auto"
    """Images that share BatchNorm's statistics: those of one GPU (local), or of several (sync, as in the paper);
    auto: local from 64 images at once on a GPU up."""
    batch_norm_group: int = 0
    """GPUs that share statistics under sync; 0: all."""

    @property
    def is_timm(self) -> bool:
        """Whether the backbone is one of timm."""
        return self.arch.startswith(TIMM)

    @property
    def network(self) -> str:
        """The whole name of the network, ``resnet18-w16-nopool`` say: what ``--arch`` and messages call it."""
        width = "" if self.width == FULL_WIDTH else f"-w{self.width}"
        return f"{self.arch}{width}{'' if self.stem == 'pool' else '-nopool'}"

    @classmethod
    def of(cls, network: str) -> Self:
        """The configuration of a network by its whole name.

        Raises:
            ConfigError: if there is no such network, or a package that it needs is not installed.
        """
        if network.startswith(TIMM):
            config = cls(arch=network)
        elif found := re.fullmatch(rf"({'|'.join(RESNETS)})(?:-w([1-9]\d*))?(-nopool)?", network):
            width = int(found[2]) if found[2] else FULL_WIDTH
            config = cls(arch=found[1], width=width, stem="no-pool" if found[3] else "pool")
        else:
            known = f"Use one of {', '.join(RESNETS)}, perhaps with -w16 or -nopool, or {TIMM}NAME."
            raise ConfigError("--arch", f"{network} is unknown", known)
        config._check_arch("arch")
        return config

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: on the first contradiction found.
        """
        self._check_arch("model.arch")
        require_least("model.width", self.width, 1, f"The published networks have {FULL_WIDTH}.")
        cause = f"only ResNets have it, and {self.arch} is none"
        require(not self.is_timm or self.width == FULL_WIDTH, "model.width", cause, "Choose a narrower one of timm.")
        require(not self.is_timm or self.stem == "pool", "model.stem", cause, "Leave it out.")
        require(not (self.is_timm and self.zero_init_residual), "model.zero_init_residual", cause, "Leave it out.")
        require_least("model.batch_norm_group", self.batch_norm_group, 0, "Use 0 for all GPUs.")

    def _check_arch(self, option: str) -> None:
        known = f"Use one of {', '.join(RESNETS)}, or {TIMM}NAME."
        require(self.is_timm or self.arch in RESNETS, option, f"{self.arch} is unknown", known)
        installed = not self.is_timm or importlib.util.find_spec("timm") is not None
        require(installed, option, f"{self.arch} needs timm, which is not installed", "Run pip install timm.")
