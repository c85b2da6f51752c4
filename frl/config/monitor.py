"""What is watched while a run trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frl.config.check import require_above, require_least, require_there, require_within
from frl.config.coerce import coerce


@dataclass(frozen=True, kw_only=True)
class KnnConfig:
    """Online k-NN accuracy on a labelled .beton, leave-one-out."""

    data: Path | None = None
    """Labelled .beton to probe, or a folder of people; none: no probe."""
    every_epochs: int = 5
    """Epochs between two probes."""
    size: int = 224
    """Side of the images shown to the backbone."""
    neighbours: int = 20
    """Neighbours that vote."""
    limit: int = 20000
    """Images used at most."""

    def __post_init__(self) -> None:
        coerce(self)

    def check(self) -> None:
        """Refuse what cannot work; `frl.evaluate.require_pairs` tells whether the file's labels can.

        Raises:
            ConfigError: on the first contradiction found.
        """
        if self.data is not None:
            require_there(self.data, "knn.data")
        require_least("knn.every_epochs", self.every_epochs, 1, "Use 1 for a probe after every epoch.")
        require_least("knn.size", self.size, 1, "Use about the size of the larger crops.")
        require_least("knn.neighbours", self.neighbours, 1, "The usual number is 20.")
        require_least("knn.limit", self.limit, 1, "The default is 20000.")


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
    min_rank_kept: float = 0.25
    """Sick when the effective rank has fallen below this share of the highest that the run has had."""

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_least("health.patience_steps", self.patience_steps, 1, "The default is 2000.")
        require_above("health.max_loss", self.max_loss, 0, "The default is 0.97.")
        require_within("health.min_used", self.min_used, 0, 1, "The default is 0.02.")
        require_within("health.min_feature_std", self.min_feature_std, 0, 1, "The default is 0.05.")
        require_least("health.max_skipped_steps", self.max_skipped_steps, 1, "The default is 10.")
        require_least("health.min_rank", self.min_rank, 0, "The default is 1.5.")
        require_within("health.min_rank_kept", self.min_rank_kept, 0, 1, "The default is 0.25.")
