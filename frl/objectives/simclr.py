"""SimCLR: every image is told from all others of the batch by the agreement of its two views (Chen et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from frl.config import RunConfig
from frl.config.contrastive import SimCLRConfig
from frl.models.calls import Call
from frl.objectives.contrast import FIGURES, contrast_of_several, info_nce, similarities, unit
from frl.objectives.diagnosis import LOOK_AT_THE_DATA, Diagnosis, Metric, Vitals
from frl.objectives.heads import mlp
from frl.objectives.objective import Objective, Setting, StepOutput, Targets, Views
from frl.objectives.positives import known, require_positives, same_identity
from frl.objectives.two_views import TwoViews


class Pull(NamedTuple):
    """What a micro-batch is told of the loss of the whole batch.

    Attributes:
        gradient: of this rank's loss to the micro-batch's features, ``(2, B, D)``.
        loss: of this rank's samples.
    """

    gradient: Tensor
    loss: Tensor


def nt_xent(
    features: Tensor, everybody: Tensor, first: int, temperature: float, alike: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The normalised temperature-scaled cross-entropy loss (eq. 1) of this rank's samples against those of all.

    Args:
        features: unit ``(2, b, D)``, both views of this rank's samples.
        everybody: unit ``(2, B, D)`` of all ranks.
        first: the row of everybody's samples at which this rank's begin.
        temperature: divides the cosines.
        alike: ``(b, B)`` bool, the samples that show the same person as each; None: itself alone.

    Returns:
        Mean over the 2b features, each of which is to find the other of its image, and all of the same person, among
        2B - 1; and figures.
    """
    images, whole = features.shape[1], everybody.shape[1]
    rows = torch.arange(first, first + images, device=features.device)
    own, positives = torch.cat([rows, rows + whole]), torch.cat([rows + whole, rows])
    cosines = similarities(features.flatten(0, 1), everybody.flatten(0, 1))
    if alike is not None:
        return contrast_of_several(cosines, alike.repeat(2, 2), temperature, own=own)
    return info_nce(cosines, positives, temperature, own=own)


class SimCLR(TwoViews):
    """Backbone and projector (section 2), with the negatives of all ranks.

    With positives of identities it is the supervised contrastive loss, in which unlabelled images stand for themselves.

    A step makes one collective forwards and one backwards beside DDP's, and with positives of identities one more.
    """

    def __init__(self, config: SimCLRConfig, backbone: nn.Module, width: int, setting: Setting) -> None:
        super().__init__(backbone, setting)
        require_positives(config.positives, setting)
        self.config = config
        last = nn.BatchNorm1d(config.feature_dim)
        self.projector = mlp((width, config.hidden_dim, config.feature_dim), last_norm=last)

    def calls(self, backbone: str, images: int, sizes: Sequence[int]) -> list[Call]:
        """All crops of a resolution at once, as ``encode`` does."""
        return Objective.calls(self, backbone, images, sizes)

    def forward(self, views: Views, labels: Tensor | None = None, targets: Pull | None = None) -> StepOutput:
        """The loss of a batch; see ``Objective``."""
        features = self.embed(views)
        if targets is None:
            loss, figures = self.loss_of(features, labels)
            return StepOutput(loss, features[0].detach(), figures)
        # The features' part of the gradient is known; this pulls it through the network. A micro-batch counts as one
        # of several, whose gradients are averaged.
        pulled = self.setting.accumulate * (features * targets.gradient).sum()
        return StepOutput(targets.loss + pulled - pulled.detach(), features[0].detach())

    def targets(self, micro_batches: Iterable[tuple[Views, Tensor | None]]) -> Targets:
        """The gradients to all features of the batch, which a micro-batch alone could not know (Gao et al., 2021).

        Exact: the second pass makes the same features, and the chain rule does the rest.
        """
        parts, labels = [], []
        for views, of_views in micro_batches:
            parts.append(self.embed(views))
            labels.append(of_views)
        whole = torch.cat([known(part) for part in labels]) if self.config.positives == "identity" else None
        with torch.enable_grad():
            features = torch.cat(parts, dim=1).requires_grad_()
            loss, figures = self.loss_of(features, whole)
            (gradient,) = torch.autograd.grad(loss, features)
        pulls = [Pull(part, loss.detach()) for part in gradient.chunk(len(parts), dim=1)]
        return Targets(parts=pulls, scalars=figures)

    def embed(self, views: Views) -> Tensor:
        """Unit features ``(2, B, D)``, at least float32."""
        return unit(self.projector(self.encode(views))).unflatten(0, (2, -1))

    def loss_of(self, features: Tensor, labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Of this rank's features ``(2, b, D)``; ``labels`` ``(b,)`` matter with positives of identities alone."""
        everybody = self.gather(features.transpose(0, 1)).transpose(0, 1)
        first, alike = self.rank * features.shape[1], None
        if self.config.positives == "identity":
            mine = known(labels)
            alike = same_identity(mine, self.gather(mine), first)
        return nt_xent(features, everybody, first, self.config.temperature, alike)

    @classmethod
    def metrics(cls, config: SimCLRConfig) -> tuple[Metric, ...]:
        """Figures of the loss and the similarities."""
        return (Metric(name="loss", title="Loss", note="NT-Xent; guessing: ln(2 B - 1) for a batch of B"), *FIGURES)

    def diagnose(self, vitals: Vitals, run: RunConfig) -> Diagnosis | None:
        """A loss that stays at that of guessing."""
        guessing = math.log(2 * run.optim.batch_size - 1)
        if vitals.loss <= run.health.max_loss * guessing:
            return None
        sign = f"the loss {vitals.loss:.3f} stays at ln(2 B - 1) = {guessing:.3f}, the value of guessing"
        return Diagnosis(sign, (*self.remedies(run), LOOK_AT_THE_DATA))

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""
        warmup, temperature = run.optim.warmup_epochs, self.config.temperature
        return (
            f"lengthen --optim.warmup-epochs beyond {warmup:g}: the first steps throw the features together",
            f"change --objective.temperature from {temperature:g} (0.1 for large batches, 0.5 for small ones): it "
            "decides how hard the nearest images push",
            f"enlarge --optim.batch-size beyond {run.optim.batch_size}: more images to be told apart",
        )
