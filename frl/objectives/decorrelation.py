"""What Barlow Twins and VICReg share: an expander, and a loss of statistics of the whole batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frl.config import BarlowTwinsConfig, VICRegConfig
from frl.objectives.heads import mlp
from frl.objectives.objective import Setting, StepOutput, Targets, Views
from frl.objectives.two_views import TwoViews
from frl.runtime.precision import widened

WATCHED = 256  # features whose rank and deviation are watched: no feature is unlike the others, so a part tells of all


class Part(NamedTuple):
    """A micro-batch among the features of the whole batch.

    Attributes:
        place: of the micro-batch.
        features: ``(V, B, D)`` of all micro-batches, constants.
    """

    place: int
    features: Sequence[Tensor]


class Decorrelation(TwoViews):
    """Backbone and expander, whose features are compared feature by feature over all images of a step.

    Every rank has the features of all, and computes the share of the loss that belongs to its share of the features:
    one gathering each way, and no product is computed twice. With micro-batches, a first pass gives the features of
    all; then the loss of the whole batch is taken once for each, as a function of that one's features. The sum of the
    gradients is that of the whole batch (Gao et al., 2021, "Scaling deep contrastive learning batch size").

    The published recipes have two crops. Of more, every pair with a crop of the first resolution is compared. BatchNorm
    sees a crop at a time, as in the authors' code.
    """

    def __init__(
        self, config: BarlowTwinsConfig | VICRegConfig, backbone: nn.Module, width: int, setting: Setting
    ) -> None:
        super().__init__(backbone, setting)
        self.expander = mlp((width, config.hidden_dim, config.hidden_dim, config.feature_dim), last_bias=False)

    @abstractmethod
    def compare(self, features: Tensor, mine: slice) -> tuple[Tensor, dict[str, Tensor]]:
        """The terms of the loss that belong to some features, and scalars to log of them.

        Args:
            features: ``(V, N, D)`` of V crops of the N images of all ranks.
            mine: the features, of the D, whose terms are wanted.

        Returns:
            Sums that, over all features, give the loss and the scalars.
        """

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The crops that are compared."""
        return [(a, v) for a in range(self.crop_counts[0]) for v in range(a + 1, sum(self.crop_counts))]

    def forward(self, views: Views, labels: Tensor | None = None, targets: Part | None = None) -> StepOutput:
        """The loss of a batch; see ``Objective``. ``targets``: the features of the other micro-batches."""
        features = self.embed(views)
        watched = F.normalize(features[0, :, :WATCHED].detach(), dim=1)
        if targets is None:
            loss, scalars = self._over_ranks(features)
            return StepOutput(loss, watched, scalars)
        parts = [features if place == targets.place else part for place, part in enumerate(targets.features)]
        loss, _ = self._over_ranks(torch.cat(parts, dim=1))
        # The trainer takes the mean of the micro-batches' losses: its gradient is to be the sum of theirs.
        return StepOutput(loss.detach() + len(parts) * (loss - loss.detach()), watched)

    @torch.no_grad()
    def targets(self, micro_batches: Iterable[tuple[Views, Tensor | None]]) -> Targets:
        """The features of all micro-batches."""
        features = [self.embed(views) for views, _ in micro_batches]
        _, scalars = self._over_ranks(torch.cat(features, dim=1))
        return Targets(parts=[Part(place, features) for place in range(len(features))], scalars=scalars)

    def embed(self, views: Views) -> Tensor:
        """Features ``(V, B, D)`` of all V crops of B samples, float32 at least."""
        return widened(torch.stack([self.expander(pooled) for pooled in self.encode_each(views)]))

    def _over_ranks(self, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the joined batch, as terms whose mean over the ranks it is; ``features``: this rank's."""
        ranks, width = self.setting.ranks, features.shape[-1]
        with torch.autocast(features.device.type, enabled=False):
            if ranks == 1:
                return self.compare(features, slice(0, width))
            everybody = self.gather(features.transpose(0, 1)).transpose(0, 1)
            mine = slice(width * self.rank // ranks, width * (self.rank + 1) // ranks)
            loss, scalars = self.compare(everybody, mine)
            return ranks * loss, {name: ranks * value for name, value in scalars.items()}


def split_diagonal(matrix: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Of rows ``first`` on of a square matrix, ``(d, D)``: the diagonal ``(d,)``, and the sum of the other squares."""
    diagonal = matrix.diagonal(first)
    return diagonal, matrix.square().sum() - diagonal.square().sum()
