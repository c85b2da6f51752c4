"""The crops of an image, and what is done to them."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from frl.config.check import require, require_above, require_least, require_within


@dataclass(frozen=True, kw_only=True)
class ColourConfig:
    """What is done to the pixels of a resized crop, in this order; the paper's strengths."""

    jitter_p: float = 0.8
    """Probability of the colour jitter."""
    brightness: float = 0.8
    """Factor drawn from [1 - x, 1 + x], not below 0."""
    contrast: float = 0.8
    """Factor drawn from [1 - x, 1 + x], not below 0; pivots on the crop's mean grey."""
    saturation: float = 0.8
    """Factor drawn from [1 - x, 1 + x], not below 0."""
    hue: float = 0.2
    """Shift drawn from [-x, x] turns of the colour wheel; at most 0.5."""
    grey_p: float = 0.2
    """Probability of dropping the colour."""
    blur_p: float = 0.5
    """Probability of a Gaussian blur (23 x 23 taps)."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Range of the blur's standard deviation, in pixels."""
    solarise_p: float = 0.0
    """Probability of solarisation: bright levels are inverted."""
    solarise_threshold: int = 128
    """The first level that solarisation inverts, of 0 to 255."""

    def check_colour(self, option: str) -> None:
        """Refuse what cannot work; ``option`` is what the command line calls this section.

        Raises:
            ConfigError: on the first contradiction found.
        """
        for name in ("jitter_p", "grey_p", "blur_p", "solarise_p"):
            require_within(f"{option}.{name}", getattr(self, name), 0, 1, "It is a probability.")
        for name in ("brightness", "contrast", "saturation"):
            require_least(f"{option}.{name}", getattr(self, name), 0, "Use 0 to leave it as it is.")
        require_within(f"{option}.hue", self.hue, 0, 0.5, "Half a turn of the colour wheel is the most.")
        low, high = self.blur_sigma
        cause = f"({low}, {high}) is not a range above 0"
        require(0 < low <= high < math.inf, f"{option}.blur_sigma", cause, "Use e.g. 0.1 2.")
        threshold = self.solarise_threshold
        require_within(f"{option}.solarise_threshold", threshold, 0, 255, "It is a level of 8 bits.")

    def differences(self, other: ColourConfig) -> dict[str, Any]:
        """The colour options that ``other`` has otherwise, by name."""
        ours = {field.name: getattr(self, field.name) for field in dataclasses.fields(ColourConfig)}
        return {name: value for name, value in ours.items() if value != getattr(other, name)}


@dataclass(frozen=True, kw_only=True)
class CropSpec:
    """One resolution of the multi-crop (torchvision's ``RandomResizedCrop``)."""

    size: int
    """Side of the crop after resizing, in pixels."""
    count: int
    """Crops of this size per image."""
    scale: tuple[float, float]
    """Range of the crop's share of the image area."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of the crop's aspect ratio (width / height), log-uniform."""
    colour: Annotated[ColourConfig | None, tyro.conf.AvoidSubcommands] = None
    """What is done to the pixels of these crops, instead of what the augmentation says for all."""

    def check(self, option: str) -> None:
        """Refuse what cannot work; ``option`` is what the command line calls this resolution.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require(self.size > 0 and self.count > 0, option, "size and count must be positive", "Correct or drop it.")
        require(0 < self.scale[0] <= self.scale[1] <= 1, f"{option}.scale", "not a range in (0, 1]", "Use e.g. 0.14 1.")
        low, high = self.ratio
        require(0 < low <= high < math.inf, f"{option}.ratio", "not a range above 0", "Use e.g. 0.75 1.33.")
        if self.colour is not None:
            self.colour.check_colour(f"{option}.colour")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Other crop sizes for the first epochs: small crops learn the coarse early, at a fraction of the time."""

    until_epoch: int
    """The first epoch of the next stage, or of the full sizes."""
    sizes: tuple[int, ...]
    """Side of the crops of each resolution meanwhile, in pixels."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(ColourConfig):
    """The multi-crop augmentation; defaults are the paper's (SwAV's with its published strengths).

    Its own colour options hold for all crops but those with a ``colour`` of their own. For two views of one size that
    differ, as BYOL's, give two resolutions of that size and a count of 1.
    """

    crops: tuple[CropSpec, ...] = (
        CropSpec(size=224, count=2, scale=(0.14, 1.0)),
        CropSpec(size=96, count=6, scale=(0.05, 0.14)),
    )
    """Resolutions; the assignments are computed on the crops of the first."""
    stages: tuple[Stage, ...] = ()
    """Crop sizes of the first epochs, in the order of their ends; none: the full sizes from the start."""
    flip_p: float = 0.5
    """Probability of a horizontal flip."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from RGB in [0, 1]."""
    std: tuple[float, float, float] = (0.228, 0.224, 0.225)
    """Divides RGB after the mean is subtracted."""

    @property
    def total_crops(self) -> int:
        """Crops per image over all resolutions."""
        return sum(spec.count for spec in self.crops)

    def colour_of(self, spec: CropSpec) -> ColourConfig:
        """What is done to the pixels of the crops of one resolution."""
        return spec.colour or self

    def with_colour(self, **changes: float) -> AugmentConfig:
        """The same with some colour options changed, for every crop."""
        specs = tuple(
            dataclasses.replace(spec, colour=spec.colour and dataclasses.replace(spec.colour, **changes))  # type: ignore[arg-type]
            for spec in self.crops
        )
        return dataclasses.replace(self, crops=specs, **changes)  # type: ignore[arg-type]

    @property
    def uncoloured(self) -> AugmentConfig:
        """Crops and flips alone: no pixel is changed after the resizing."""
        return self.with_colour(jitter_p=0, grey_p=0, blur_p=0, solarise_p=0)

    @property
    def by_stage(self) -> tuple[AugmentConfig, ...]:
        """The augmentation of each stage of the resizing schedule, the full sizes last."""
        return tuple(map(self.of_epoch, [*(stage.until_epoch - 1 for stage in self.stages), sys.maxsize]))

    def of_epoch(self, epoch: int) -> AugmentConfig:
        """The augmentation of one epoch, a pure function of ``epoch``: a resumed run finds its stage."""
        for stage in self.stages:
            if epoch < stage.until_epoch:
                sized = zip(self.crops, stage.sizes, strict=True)
                crops = tuple(dataclasses.replace(spec, size=size) for spec, size in sized)
                return dataclasses.replace(self, crops=crops, stages=())
        return dataclasses.replace(self, stages=())

    def check(self, option: str = "augment") -> None:
        """Refuse what cannot work; ``option`` is what the command line calls this section.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require(len(self.crops) > 0, f"{option}.crops", "no crop size given", "Give at least one.")
        for i, spec in enumerate(self.crops):
            spec.check(f"{option}.crops.{i}")
        ends = [stage.until_epoch for stage in self.stages]
        rising = ends == sorted(set(ends)) and min(ends, default=1) > 0
        require(rising, f"{option}.stages", f"their ends {ends} are not rising epochs above 0", "Put them in order.")
        for i, stage in enumerate(self.stages):
            fits = len(stage.sizes) == len(self.crops) and min(stage.sizes, default=0) > 0
            cause = f"{len(stage.sizes)} sizes for {len(self.crops)} resolutions"
            require(fits, f"{option}.stages.{i}.sizes", cause, "Give one above 0 for each.")
        require_within(f"{option}.flip_p", self.flip_p, 0, 1, "It is a probability.")
        require_normalisation(self.mean, self.std, f"{option}.")
        self.check_colour(option)
        if all(spec.colour for spec in self.crops):
            for name in self.differences(ColourConfig()):
                remedy = f"Set it for each of them: --{option}.crops.0.colour.{name.replace('_', '-')}."
                require(False, f"{option}.{name}", "no crop takes it: all have a colour of their own", remedy)


def require_normalisation(mean: tuple[float, float, float], std: tuple[float, float, float], section: str = "") -> None:
    """Refuse what no image can be normalised by; ``section`` is what comes before the options' names, with its dot.

    Raises:
        ConfigError: naming the option.
    """
    for name, shift, scale in zip("RGB", mean, std, strict=True):
        require(math.isfinite(shift), f"{section}mean", f"{shift} for {name} is not a number", "Use e.g. 0.5.")
        require_above(f"{section}std", scale, 0, f"It divides {name}: use e.g. 0.25.")
