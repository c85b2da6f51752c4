"""Options of fine-tuning a network on a task with labels; free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

import tyro

from frl.config.check import require, require_above, require_least, require_seed, require_within
from frl.config.views import AugmentConfig, ColourConfig, CropSpec

Head = Literal["linear", "maps"]


@dataclass(frozen=True, kw_only=True)
class WarpConfig(ColourConfig):
    """What is done to a labelled face and to its points: a mirror, one affine warp, the colours, a hidden rectangle."""

    rotation: float = 30.0
    """Angle drawn from [-x, x] degrees."""
    scale: float = 0.25
    """Factor drawn from [1 / (1 + x), 1 + x], uniform in its logarithm."""
    shift: float = 0.05
    """Shift along each axis drawn from [-x, x], as a share of the side."""
    flip_p: float = 0.5
    """Probability of a mirror image: left and right points, yaw and roll are exchanged with it."""
    erase_p: float = 0.25
    """Probability of a rectangle without content."""
    erase_area: tuple[float, float] = (0.02, 0.2)
    """Range of that rectangle's share of the image."""
    jitter_p: float = 0.8
    """Probability of the colour jitter."""
    brightness: float = 0.4
    """Factor drawn from [1 - x, 1 + x], not below 0."""
    contrast: float = 0.4
    """Factor drawn from [1 - x, 1 + x], not below 0; pivots on the image's mean grey."""
    saturation: float = 0.4
    """Factor drawn from [1 - x, 1 + x], not below 0."""
    hue: float = 0.0
    """Shift drawn from [-x, x] turns of the colour wheel; at most 0.5."""
    grey_p: float = 0.1
    """Probability of dropping the colour."""
    blur_p: float = 0.0
    """Probability of a Gaussian blur (23 x 23 taps)."""
    mean: Annotated[tuple[float, float, float], tyro.conf.Suppress] = AugmentConfig().mean
    """Subtracted from RGB in [0, 1], as in pre-training."""
    std: Annotated[tuple[float, float, float], tyro.conf.Suppress] = AugmentConfig().std
    """Divides RGB after the mean is subtracted, as in pre-training."""

    def whole(self, size: int) -> AugmentConfig:
        """Flip, colours and normalisation as the augmentation of pre-training knows them, of one view without crop."""
        colours = {part.name: getattr(self, part.name) for part in fields(ColourConfig)}
        spec = CropSpec(size=size, count=1, scale=(1, 1), ratio=(1, 1))
        return AugmentConfig(crops=(spec,), flip_p=self.flip_p, mean=self.mean, std=self.std, **colours)

    def check(self, option: str = "augment") -> None:
        """Refuse what cannot work; ``option`` is what the command line calls this section.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_within(f"{option}.rotation", self.rotation, 0, 180, "Use 0 for none, or e.g. 30 degrees.")
        require_least(f"{option}.scale", self.scale, 0, "Use 0 for none, or e.g. 0.25.")
        require_within(f"{option}.shift", self.shift, 0, 1, "It is a share of the side: use e.g. 0.05.")
        require_within(f"{option}.erase_p", self.erase_p, 0, 1, "It is a probability.")
        low, high = self.erase_area
        cause = f"({low}, {high}) is not a range in (0, 1]"
        require(0 < low <= high <= 1, f"{option}.erase_area", cause, "Use e.g. 0.02 0.2.")
        self.whole(64).check(option)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tuning of a backbone and a head on a task; every initialisation takes as many steps."""

    head: Head = "linear"
    """linear: one layer on the pooled features; maps: points as means of 64 x 64 maps of transposed convolutions."""
    size: Annotated[int, tyro.conf.Suppress] = 224
    """Side of the images shown to the network; about that of the larger training crops."""
    steps: int = 3000
    """Steps of the optimiser, however many images have labels."""
    batch_size: int = 64
    """Images in a step over all ranks."""
    lr: float = 3e-3
    """Peak learning rate of AdamW for the last layers of the backbone."""
    head_lr: float = 3e-3
    """Peak learning rate of the head."""
    layer_decay: float = 1.0
    """By which the rate falls from each layer of the backbone to the one below it; 1: all have the same."""
    weight_decay: float = 0.05
    """Decoupled weight decay of all but biases and normalisation layers."""
    warmup: float = 0.05
    """Share of the steps in which the rate rises linearly from 0; then it falls along a half cosine to 0."""
    ema: float = 0.999
    """Momentum of the averaged weights, which are the ones judged; less in the first steps. 0: no averaging."""
    batch_norm: Literal["train", "frozen"] = "train"
    """train: BatchNorm of the backbone normalises by the batch; frozen: by the statistics of the initialisation."""
    checks: int = 10
    """How often the averaged weights are judged on the held-out part of the training data; the best ones are kept."""
    validation: float = 0.1
    """Share of the training data that is held out to choose among them, by subject where subjects are known. Where that
    is fewer than 20 faces none is, and the last weights are kept."""
    flip_test: Annotated[bool, tyro.conf.Suppress] = False
    """Judge the mean of the predictions of an image and of its mirror image."""
    augment: WarpConfig = field(default_factory=WarpConfig)
    """What is done to a training image and its points."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 on a GPU that computes it, else fp32."""
    keep_decoded: Literal["auto", "on", "off"] = "auto"
    """Whether images are decoded once and kept as bytes on the device; auto: where they take up a quarter of it."""
    seed: Annotated[int, tyro.conf.Suppress] = 0
    """Seed of the order, of the augmentation and of the head."""

    @property
    def warmup_steps(self) -> int:
        """Steps of the linear part of the schedule."""
        return round(self.warmup * self.steps)

    @property
    def check_steps(self) -> tuple[int, ...]:
        """After which steps the weights are judged: equally far apart, the last one included."""
        return tuple(sorted({max(1, round(self.steps * (k + 1) / self.checks)) for k in range(self.checks)}))

    def check(self, option: str = "finetune") -> None:
        """Refuse what cannot work; ``option`` is what the command line calls this section.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_least(f"{option}.size", self.size, 1, "Use about the size of the larger training crops.")
        require_least(f"{option}.steps", self.steps, 1, "The default is 3000.")
        require_least(f"{option}.batch_size", self.batch_size, 2, "BatchNorm needs at least two images.")
        require_above(f"{option}.lr", self.lr, 0, "The default is 0.003.")
        require_above(f"{option}.head_lr", self.head_lr, 0, "The default is 0.003.")
        cause = f"{self.layer_decay} is not a number above 0, up to 1"
        require(0 < self.layer_decay <= 1, f"{option}.layer_decay", cause, "Use 1 for one rate, or e.g. 0.8.")
        require_least(f"{option}.weight_decay", self.weight_decay, 0, "Use 0 for none.")
        require_within(f"{option}.warmup", self.warmup, 0, 1, "It is a share of the steps.")
        cause = f"{self.ema} is not a number from 0, below 1"
        require(0 <= self.ema < 1, f"{option}.ema", cause, "Use 0 for none, or e.g. 0.999.")
        require_within(f"{option}.checks", self.checks, 1, self.steps, "Use at least 1, and no more than steps.")
        cause = f"{self.validation} is not a share from 0, below 1"
        good = math.isfinite(self.validation) and 0 <= self.validation < 1
        require(good, f"{option}.validation", cause, "Use 0 to keep the last weights, or e.g. 0.1.")
        require_seed(f"{option}.seed", self.seed)
        self.augment.check(f"{option}.augment")
