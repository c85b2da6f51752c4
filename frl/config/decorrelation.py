"""Options of the objectives that decorrelate features: Barlow Twins and VICReg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from frl.config.check import require_above, require_least
from frl.config.contrastive import require_two_images
from frl.config.objective import ObjectiveConfig, require_two_crops

if TYPE_CHECKING:
    from frl.config.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class BarlowTwinsConfig(ObjectiveConfig, name="barlow", implementation="frl.objectives.barlow:BarlowTwins"):
    """Cross-correlation of two views' features close to the identity (Zbontar et al., 2021)."""

    shapes: ClassVar[tuple[str, ...]] = ("hidden_dim", "feature_dim")

    hidden_dim: int = 8192
    """Width of the expander's two hidden layers."""
    feature_dim: int = 8192
    """Width of the features that are to be decorrelated."""
    redundancy_weight: float = 0.0051
    """Weight of the correlations off the diagonal (lambda of the paper)."""

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_crops(run, "Barlow Twins")
        require_two_images(run, "Barlow Twins")
        require_least("objective.hidden_dim", self.hidden_dim, 1, "The paper uses 8192.")
        require_least("objective.feature_dim", self.feature_dim, 2, "The paper uses 8192.")
        require_above("objective.redundancy_weight", self.redundancy_weight, 0, "The paper's code uses 0.0051.")

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        return {"features": str(self.feature_dim), "redundancy": f"weight {self.redundancy_weight:g}"}


@dataclass(frozen=True, kw_only=True)
class VICRegConfig(ObjectiveConfig, name="vicreg", implementation="frl.objectives.vicreg:VICReg"):
    """Alike features of two views, of a variance that is kept and a covariance that is not (Bardes et al., 2022)."""

    shapes: ClassVar[tuple[str, ...]] = ("hidden_dim", "feature_dim")

    hidden_dim: int = 8192
    """Width of the expander's two hidden layers."""
    feature_dim: int = 8192
    """Width of the features."""
    invariance_weight: float = 25.0
    """Weight of the squared difference between the features of two views."""
    variance_weight: float = 25.0
    """Weight of what each feature's standard deviation lacks of 1."""
    covariance_weight: float = 1.0
    """Weight of the squared covariances between features."""

    def check(self, run: RunConfig) -> None:
        """Refuse what cannot work in ``run``.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require_two_crops(run, "VICReg")
        require_two_images(run, "VICReg")
        require_least("objective.hidden_dim", self.hidden_dim, 1, "The paper uses 8192.")
        require_least("objective.feature_dim", self.feature_dim, 2, "The paper uses 8192.")
        require_above("objective.invariance_weight", self.invariance_weight, 0, "The paper uses 25.")
        require_above("objective.variance_weight", self.variance_weight, 0, "The paper uses 25.")
        require_least("objective.covariance_weight", self.covariance_weight, 0, "The paper uses 1.")

    def facts(self) -> dict[str, str]:
        """What a reader of a preset wants to know of it, in words."""
        weights = (self.invariance_weight, self.variance_weight, self.covariance_weight)
        words = "{:g} (invariance), {:g} (variance), {:g} (covariance)".format(*weights)
        return {"features": str(self.feature_dim), "weights": words}
