"""Barlow Twins: the cross-correlation of two views' features shall be the identity (Zbontar et al., 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frl.config import BarlowTwinsConfig, RunConfig
from frl.objectives.decorrelation import Decorrelation, split_diagonal
from frl.objectives.diagnosis import LOOK_AT_THE_DATA, Diagnosis, Metric, Vitals
from frl.objectives.objective import Setting

EPS = 1e-5  # added to the variance, as BatchNorm does
REDUNDANT = 0.5  # mean size of the correlations off the diagonal at which features count as copies of each other
UNRELATED = 0.1  # mean correlation of a feature with itself in another view, below which views have nothing in common


def standardised(features: Tensor) -> Tensor:
    """``(..., N, D)`` with mean 0 and variance 1 over the N images."""
    var, mean = torch.var_mean(features, -2, correction=0, keepdim=True)
    return (features - mean) * torch.rsqrt(var + EPS)


class BarlowTwins(Decorrelation):
    """Backbone and expander; the state dict's names are ``backbone.*`` and ``expander.*``."""

    def __init__(self, config: BarlowTwinsConfig, backbone: nn.Module, width: int, setting: Setting) -> None:
        super().__init__(config, backbone, width, setting)
        self.config = config

    def compare(self, features: Tensor, mine: slice) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation 1, the mean over the pairs of crops; see ``Decorrelation``."""
        images, width = features.shape[1:]
        standard = standardised(features)
        loss = features.new_zeros(())
        for a, v in self.pairs:
            correlation = standard[a][:, mine].T @ standard[v] / images
            diagonal, others = split_diagonal(correlation, mine.start)
            loss = loss + (diagonal - 1).square().sum() + self.config.redundancy_weight * others
        with torch.no_grad():  # of the last pair
            off_diagonal = correlation.abs().sum() - diagonal.abs().sum()
            scalars = {"correlation": diagonal.sum() / width, "redundancy": off_diagonal / (width * (width - 1))}
        return loss / len(self.pairs), scalars

    @classmethod
    def metrics(cls, config: BarlowTwinsConfig) -> tuple[Metric, ...]:
        """Figures of the loss and of the two parts of the cross-correlation."""
        note, title = "1 and 0 are wanted", "Cross-correlation"
        nothing = (float(config.feature_dim), "nothing in common")
        return (
            Metric(name="loss", title="Loss", note="cross-correlation against the identity", line=nothing, lower=0),
            Metric(name="correlation", title=title, label="of a feature in two views", note=note, lower=0),
            Metric(name="redundancy", title=title, label="size, of different features", note=note, lower=0),
        )

    def diagnose(self, vitals: Vitals, run: RunConfig) -> Diagnosis | None:
        """Features that are copies of each other, or that two views do not share."""
        redundancy, correlation = vitals.scalars["redundancy"], vitals.scalars["correlation"]
        if redundancy > REDUNDANT:
            sign = f"different features are copies of each other (mean correlation {redundancy:.2f} in size)"
            return Diagnosis(sign, self.remedies(run))
        if correlation < UNRELATED:
            sign = f"features of two views of an image are unrelated (mean correlation {correlation:.2f} of 1)"
            weight = self.config.redundancy_weight
            lower = f"lower --objective.redundancy-weight from {weight:g} to {weight / 4:.2g}: the views count for more"
            return Diagnosis(sign, (lower, "weaken --augment: views must have something in common", LOOK_AT_THE_DATA))
        return None

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""
        weight = self.config.redundancy_weight
        raised = f"from {weight:g} to {2 * weight:g}" if weight else "from 0 to 0.0051"
        return (
            f"raise --objective.redundancy-weight {raised}: it drives different features apart",
            f"enlarge --optim.batch-size beyond {run.optim.batch_size}: correlations of few images are large by chance",
        )
