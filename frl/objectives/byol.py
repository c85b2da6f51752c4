"""BYOL: a student predicts what its slowly following teacher makes of the other view (Grill et al., 2020)."""

from __future__ import annotations

from torch import Tensor, nn

from frl.config import RunConfig
from frl.config.contrastive import BYOLConfig
from frl.objectives.agreement import AGREEMENT, agreement
from frl.objectives.contrast import unit
from frl.objectives.diagnosis import Metric
from frl.objectives.heads import mlp
from frl.objectives.momentum import momentum_at
from frl.objectives.objective import Setting, StepOutput, Views
from frl.objectives.two_views import Taught


class BYOL(Taught):
    """Student with projector and predictor, teacher with projector (section 3). No collective but DDP's."""

    def __init__(self, config: BYOLConfig, backbone: nn.Module, width: int, setting: Setting) -> None:
        hidden, out = config.hidden_dim, config.feature_dim
        last = nn.BatchNorm1d(out, affine=False) if config.head_batch_norm else None
        super().__init__(backbone, mlp((width, hidden, out), last_norm=last, last_bias=False), setting)
        self.config = config
        self.predictor = mlp((out, hidden, out), last_bias=False)

    def forward(self, views: Views, labels: Tensor | None = None, targets: None = None) -> StepOutput:
        """The loss of a batch, eq. 2 in both directions; see ``Objective``. Further crops are only predicted from."""
        projected = [self.projector(pooled) for pooled in self.encode_each(views)]
        cosine = agreement([self.predictor(each) for each in projected], self.taught(views))
        return StepOutput(4 - 4 * cosine, unit(projected[0].detach()), {"positive_similarity": cosine.detach()})

    def momentum_after(self, step: int) -> float:
        """From ``config.momentum`` along a half cosine to 1."""
        return momentum_at(step, self.setting.total_steps, self.config.momentum)

    @classmethod
    def metrics(cls, config: BYOLConfig) -> tuple[Metric, ...]:
        """Figures of the loss and the agreement."""
        loss = Metric(name="loss", title="Loss", note="squared distance, both directions", line=(4.0, "unrelated"))
        return (loss, AGREEMENT)

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""
        momentum, warmup = self.config.momentum, run.optim.warmup_epochs
        return (
            f"raise --objective.momentum from {momentum:g} to {(1 + momentum) / 2:g}: a teacher that follows too fast "
            "collapses with its student",
            "share BatchNorm's statistics among more images (--model.batch-norm sync, or a larger --optim.batch-size): "
            "they keep images apart",
            f"lengthen --optim.warmup-epochs beyond {warmup:g}: the predictor must keep up with the projector",
        )
