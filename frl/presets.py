"""Recipes by name. Each is a whole configuration; every field can be overridden on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from frl.config import AugmentConfig, CropSpec, ModelConfig, OptimConfig, RunConfig, SwAVConfig
from frl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A recipe and a line about it."""

    summary: str
    config: RunConfig


# With few prototypes in a space of few dimensions the loss of guessing is out of reach by geometry: a feature cannot
# be equally far from all of them. Small batches otherwise settle there.
SMALL_MODEL = ModelConfig(arch="resnet18", hidden_dim=512, feature_dim=32, prototypes=256)

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
        summary="resnet18 on small crops, for machines without a GPU: about 100 images/s on two cores",
        config=RunConfig(
            augment=AugmentConfig(
                crops=(CropSpec(size=48, count=2, scale=(0.4, 1.0)), CropSpec(size=32, count=2, scale=(0.2, 0.5))),
                blur_sigma=(0.1, 1.0),
            ),
            model=SMALL_MODEL,
            swav=SwAVConfig(epsilon=0.03),
            optim=OptimConfig(batch_size=64, epochs=14, lr=1.5, start_lr=0.5, final_lr=0.0015, warmup_epochs=0.5),
            checkpoint_every_steps=200,
        ),
    ),
    "quickstart": Preset(
        summary="a few minutes on two cores, for scripts/quickstart.sh",
        config=RunConfig(
            augment=AugmentConfig(
                crops=(CropSpec(size=40, count=2, scale=(0.5, 1.0)), CropSpec(size=24, count=2, scale=(0.3, 0.7))),
                hue=0.1,
                blur_sigma=(0.1, 0.7),
            ),
            model=ModelConfig(arch="resnet18", hidden_dim=512, feature_dim=32, prototypes=128),
            swav=SwAVConfig(epsilon=0.03),
            optim=OptimConfig(batch_size=64, epochs=9, lr=1.5, start_lr=1.5, final_lr=0.0015, warmup_epochs=0),
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
