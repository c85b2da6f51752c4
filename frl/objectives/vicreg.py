"""VICReg: alike features of two views, of a variance that is kept and no covariance (Bardes et al., 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frl.config import RunConfig, VICRegConfig
from frl.objectives.decorrelation import Decorrelation, split_diagonal
from frl.objectives.diagnosis import LOOK_AT_THE_DATA, Diagnosis, Metric, Vitals
from frl.objectives.objective import Setting

EPS = 1e-4  # added to the variance, whose root is else too steep at 0
STILL = 0.5  # mean lack of a feature's standard deviation, of 1, above which features count as standing still
KEPT = 0.1  # below which they vary as they should


class VICReg(Decorrelation):
    """Backbone and expander; the state dict's names are ``backbone.*`` and ``expander.*``."""

    def __init__(self, config: VICRegConfig, backbone: nn.Module, width: int, setting: Setting) -> None:
        super().__init__(config, backbone, width, setting)
        self.config = config

    def compare(self, features: Tensor, mine: slice) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation 6: means over the pairs of crops, and over the crops; see ``Decorrelation``."""
        crops, images, width = features.shape
        pairs = torch.stack([(features[a] - features[v])[:, mine].square().sum() for a, v in self.pairs])
        invariance = pairs.mean() / (images * width)
        deviation = (features[..., mine].var(1) + EPS).sqrt()
        variance = torch.relu(1 - deviation).sum() / (crops * width)
        covariance = features.new_zeros(())
        for view in features - features.mean(1, keepdim=True):
            _, others = split_diagonal(view[:, mine].T @ view / (images - 1), mine.start)
            covariance = covariance + others / width
        covariance = 2 * covariance / crops  # the paper adds those of its two crops
        config = self.config
        loss = (
            config.invariance_weight * invariance
            + config.variance_weight * variance
            + config.covariance_weight * covariance
        )
        scalars = {
            "invariance_term": invariance.detach(),
            "variance_term": variance.detach(),
            "covariance_term": covariance.detach(),
            "deviation": deviation.detach().sum() / (crops * width),
        }
        return loss, scalars

    @classmethod
    def metrics(cls, config: VICRegConfig) -> tuple[Metric, ...]:
        """Figures of the loss, its three terms, and the deviation that one of them keeps up."""
        terms = "Terms of the loss"
        note = "before their weights"
        return (
            Metric(name="loss", title="Loss", note="variance, invariance, covariance", lower=0),
            Metric(name="invariance_term", title=terms, label="invariance", note=note, lower=0),
            Metric(name="variance_term", title=terms, label="variance", note=note, lower=0),
            Metric(name="covariance_term", title=terms, label="covariance", note=note, lower=0),
            Metric(name="deviation", title="Deviation of a feature", label="mean", lower=0, line=(1.0, "wanted")),
        )

    def diagnose(self, vitals: Vitals, run: RunConfig) -> Diagnosis | None:
        """Features that do not vary, or that vary whatever the image."""
        deviation, variance = vitals.scalars["deviation"], vitals.scalars["variance_term"]
        if variance > STILL:
            sign = f"the features hardly vary (standard deviation {deviation:.3f}; the variance term wants 1)"
            return Diagnosis(sign, self.remedies(run))
        if variance < KEPT and vitals.scalars["invariance_term"] > deviation**2:
            sign = "features of two views of an image differ as much as those of two images"
            weight = self.config.invariance_weight
            raised = f"raise --objective.invariance-weight from {weight:g} to {2 * weight:g}: the views count for more"
            return Diagnosis(sign, (raised, "weaken --augment: views must have something in common", LOOK_AT_THE_DATA))
        return None

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""

        def raised(name: str, weight: float, published: float) -> str:
            return f"raise --objective.{name}-weight from {weight:g} to {2 * weight if weight else published:g}"

        config = self.config
        return (
            f"{raised('variance', config.variance_weight, 25)}: it keeps every feature varying",
            f"{raised('covariance', config.covariance_weight, 1)}: it drives different features apart",
        )
