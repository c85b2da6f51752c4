"""What is watched while a run trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class KnnConfig:
    """Online k-NN accuracy on a labelled .beton, leave-one-out."""

    data: Path | None = None
    """Labelled .beton to probe; none: no probe."""
    every_epochs: int = 5
    """Epochs between two probes."""
    size: int = 224
    """Side of the images shown to the backbone."""
    neighbours: int = 20
    """Neighbours that vote."""
    limit: int = 20000
    """Images used at most."""


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """The collapse alarm; it watches once the objective says that all of it learns."""

    action: Literal["warn", "stop"] = "warn"
    """What the alarm does: print a warning, or save a checkpoint and end the run with an error."""
    patience_steps: int = 2000
    """Steps for which the signs must last."""
    max_loss: float = 0.97
    """Sick above this share of the loss of guessing, where the objective has one (SwAV: ln of its prototypes)."""
    min_used: float = 0.02
    """Sick when a smaller share of what the objective chooses from, such as prototypes, is in use."""
    min_feature_std: float = 0.05
    """Sick when the features' standard deviation (1: isotropic, 0: a point) is smaller."""
    max_skipped_steps: int = 10
    """Steps in a row with an infinite or undefined loss or gradient that are skipped; at so many the run ends."""
    min_rank: float = 1.5
    """Sick when the features' effective rank (RankMe; 1: all on one line) is smaller."""
