"""Recipes by name. Each is a whole configuration; every field can be overridden on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from frl.config import AugmentConfig, CropSpec, DataConfig, ModelConfig, OptimConfig, RunConfig, SwAVConfig
from frl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A recipe and a line about it."""

    summary: str
    config: RunConfig


PRESETS = {
    "vggface2": Preset(
        summary="the paper's: ResNet-50, 400 epochs, batch 1024, learning rates scaled from batch 4096",
        config=RunConfig(),
    ),
    "small-batch": Preset(
        summary="SwAV's recipe for batch 256: a queue of 3840 features from epoch 15",
        config=RunConfig(
            swav=SwAVConfig(queue_length=3840, queue_from_epoch=15, epsilon=0.03),
            optim=OptimConfig(batch_size=256, epochs=400, lr=0.6, start_lr=0.6, final_lr=0.0006, warmup_epochs=0),
        ),
    ),
    "cpu": Preset(
        summary="a small network on small crops, for machines without a GPU",
        config=RunConfig(
            augment=AugmentConfig(
                crops=(CropSpec(size=80, count=2, scale=(0.3, 1.0)), CropSpec(size=48, count=4, scale=(0.1, 0.3)))
            ),
            model=ModelConfig(arch="resnet18", hidden_dim=512, feature_dim=64, prototypes=256),
            optim=OptimConfig(batch_size=64, epochs=20, lr=0.6, start_lr=0.1, final_lr=0.0006, warmup_epochs=1),
            data=DataConfig(prefetch=2),
            checkpoint_every_steps=200,
        ),
    ),
}


def preset(name: str) -> Preset:
    """The recipe of that name.

    Raises:
        ConfigError: if there is none; the message lists them.
    """
    if name not in PRESETS:
        known = "; ".join(f"{key}: {recipe.summary}" for key, recipe in PRESETS.items())
        raise ConfigError(name, "no such preset", f"Known are {known}.")
    return PRESETS[name]
