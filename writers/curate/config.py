"""The options of curation, as the command line shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from frl.config.check import require_least, require_within


@dataclass(frozen=True, kw_only=True)
class CurateConfig:
    """What is left out, over all sources; each face with its reason in the list of rejects."""

    dedupe: Literal["none", "exact", "near"] = "exact"
    """Drop repeated faces: exact: samples of the same bytes; near: also re-encoded and resized copies, by a perceptual
    hash. The first in the file's order stays."""
    min_side: int = 0
    """Drop samples of fewer pixels a side."""
    min_sharpness: float = 0.0
    """Drop blurred samples: variance of the Laplacian over that of the grey values, at 112 x 112 pixels; try 0.02."""
    max_clipped: float = 1.0
    """Drop samples with a larger share of pixels that are black or white, within 4 of 255; try 0.5."""


def validate(config: CurateConfig) -> None:
    """Refuse options that cannot work.

    Raises:
        ConfigError: naming the first.
    """
    if config.dedupe == "near":
        from writers.curate.fingerprint import perceptual_hash

        perceptual_hash()  # an absent library is met here rather than in every worker
    require_least("min_side", config.min_side, 0, "Use 0 to keep all.")
    require_least("min_sharpness", config.min_sharpness, 0, "Use 0 to keep all.")
    require_within("max_clipped", config.max_clipped, 0, 1, "Use 1 to keep all.")
