"""SimSiam: one view predicts the other, whose branch gets no gradient (Chen and He, 2021)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from frl.config import RunConfig
from frl.config.contrastive import SimSiamConfig
from frl.objectives.agreement import AGREEMENT, agreement
from frl.objectives.contrast import unit
from frl.objectives.diagnosis import Metric
from frl.objectives.heads import mlp
from frl.objectives.objective import Setting, StepOutput, Views
from frl.objectives.two_views import TwoViews


class SimSiam(TwoViews):
    """Backbone, projector of three layers, and a predictor with a narrow hidden layer (algorithm 1, section 3).

    No collective but DDP's.
    """

    def __init__(self, config: SimSiamConfig, backbone: nn.Module, width: int, setting: Setting) -> None:
        super().__init__(backbone, setting)
        self.config = config
        hidden, out = config.hidden_dim, config.feature_dim
        self.projector = mlp((width, hidden, hidden, out), last_norm=nn.BatchNorm1d(out, affine=False))
        self.predictor = mlp((out, config.predictor_dim, out))

    def forward(self, views: Views, labels: Tensor | None = None, targets: None = None) -> StepOutput:
        """The loss of a batch, eq. 4; see ``Objective``. Crops after the second are only predicted from."""
        projected = [self.projector(pooled) for pooled in self.encode_each(views)]
        cosine = agreement([self.predictor(each) for each in projected], projected[:2])
        return StepOutput(-cosine, unit(projected[0].detach()), {"positive_similarity": cosine.detach()})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The predictor's rate stays at its peak (section 4.1): it must keep up with what it predicts."""
        own = set(self.predictor.parameters())
        others = [parameter for parameter in self.parameters() if parameter.requires_grad and parameter not in own]
        return [{"params": others}, {"params": list(self.predictor.parameters()), "fixed_lr": True}]

    @classmethod
    def metrics(cls, config: SimSiamConfig) -> tuple[Metric, ...]:
        """Figures of the loss and the agreement."""
        loss = Metric(name="loss", title="Loss", note="negative cosine", lower=-1, line=(0.0, "unrelated"))
        return (loss, AGREEMENT)

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""
        hidden, out = self.config.predictor_dim, self.config.feature_dim
        return (
            f"widen --objective.predictor-dim from {hidden} (a quarter of --objective.feature-dim {out} is published): "
            "without a predictor that keeps up, the views agree on nothing but a constant",
            "share BatchNorm's statistics among more images (--model.batch-norm sync, or a larger --optim.batch-size): "
            "they keep images apart",
            "show less of an image in a view (the first number of --augment.crops.0.scale): views that are too alike "
            "are predicted without learning",
        )
