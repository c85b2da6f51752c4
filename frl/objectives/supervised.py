"""Learning from identity labels: softmax, CosFace and ArcFace."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from frl.config import RunConfig, SupervisedConfig
from frl.objectives import across_ranks
from frl.objectives.classes import Classes, Judged, Margin, arcface, cosface
from frl.objectives.diagnosis import LOOK_AT_THE_DATA, Diagnosis, Metric, Vitals
from frl.objectives.objective import Objective, Setting, StepOutput, Views
from frl.objectives.positives import require_identities
from frl.runtime.distributed import World
from frl.runtime.precision import widened

MANY = 50_000  # identities from which on the ranks share their weights out
MARGINS = {"cosface": cosface, "arcface": arcface}


class Supervised(Objective):
    """Backbone, embedding and classes; every crop of an image is classified.

    The state dict's names are ``backbone.*``, ``embedding.*``, ``classes.weight`` and, of softmax, ``classes.bias``.

    Where the ranks share the classes out, each has the embeddings and labels of all, scores them against its own
    classes, and tells the others the parts of the softmax's sum: three gatherings forward, one back, and one number a
    step, by which all ranks agree on whether the gradients were finite. An optimiser with a rate for each layer takes a
    share for a layer.

    The loss is the mean over all crops; those of images without an identity count 0. So it is the same on any number of
    ranks and micro-batches.

    Attributes:
        embedding: a linear layer and BatchNorm.
        classes: the weights of the classes, or of this rank's share.
    """

    def __init__(self, config: SupervisedConfig, backbone: nn.Module, width: int, setting: Setting) -> None:
        super().__init__(backbone, setting)
        require_identities(
            setting, "the objective supervised", "Use an objective without labels (frl pretrain --list), or "
        )
        self.config = config
        self.embedding = nn.Sequential(
            nn.Linear(width, config.embedding_dim, bias=False), nn.BatchNorm1d(config.embedding_dim)
        )
        ranks = setting.ranks if self._shares() else 1
        self.classes = Classes(
            setting.identities,
            config.embedding_dim,
            bias=config.loss == "softmax",
            rank=dist.get_rank() if ranks > 1 else 0,
            ranks=ranks,
            sample=config.sample_classes,
            seed=setting.seed,
        )
        if ranks > 1:
            self.shared_out = {f"classes.{name}": setting.identities for name, _ in self.classes.named_parameters()}
        self.step = 0

    def _shares(self) -> bool:
        wanted = self.config.share_classes
        many = self.setting.identities >= MANY or self.config.sample_classes < 1
        return self.setting.ranks > 1 and (wanted == "on" or (wanted == "auto" and many))

    @property
    def margin(self) -> Margin | None:
        """What is learnt of the right class's cosine; None: softmax, which scores by products."""
        if self.config.loss == "softmax":
            return None
        return partial(MARGINS[self.config.loss], margin=self.config.margin_in_use)

    def forward(self, views: Views, labels: Tensor | None = None, targets: None = None) -> StepOutput:
        """The loss of a batch; see ``Objective``."""
        assert labels is not None, "the loader gives no labels"
        embedded = widened(self.embedding(self.encode(views)))
        unit = F.normalize(embedded, dim=1)
        labels = labels.repeat(sum(self.crop_counts))
        with torch.autocast(embedded.device.type, enabled=False):
            judged, known = self._judge(embedded if self.margin is None else unit, labels)
        loss = judged.losses.where(known, 0).mean()
        with torch.no_grad():
            among_known = known.to(loss.dtype) / known.sum().clamp_min(1)
            scalars = {
                "accuracy": (judged.right * among_known).sum(),
                "plain_loss": (judged.plain * among_known).sum(),
            }
        return StepOutput(loss, unit.detach().unflatten(0, (sum(self.crop_counts), -1))[0], scalars)

    def _judge(self, embedded: Tensor, labels: Tensor) -> tuple[Judged, Tensor]:
        """What the classes say of this rank's samples, or of those of all, and which of them have a label."""
        if self.shared_out:
            ranks = self.classes.ranks
            embedded = across_ranks.gather(embedded)
            if embedded.requires_grad:
                # Each rank's classes give a part of the gradient, gather adds the parts up, and DDP takes their mean.
                embedded.register_hook(lambda grad: grad * ranks)
            labels = across_ranks.gather(labels)
        scale = 1.0 if self.margin is None else self.config.scale
        return self.classes.judge(embedded, labels, scale, self.margin, self.step), labels >= 0

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        """Where a share of the classes has a gradient that is not finite, let the gradients of all ranks be so."""
        if self.shared_out:
            gradients = [weight.grad for weight in self.classes.parameters() if weight.grad is not None]
            bad = torch.stack([0 * norm for norm in torch._foreach_norm(gradients)]).sum()
            dist.all_reduce(bad)
            told = next(self.embedding.parameters()).grad
            assert told is not None
            told.add_(bad)

    def after_step(self, step: int, finite: Tensor) -> None:
        """Count the step, which draws the classes."""
        self.step = step + 1

    def load_progress(self, step: int, saved: Mapping[str, Tensor], world: World) -> None:
        """Go on from ``step``; all else is in the state dict."""
        self.step = step

    @classmethod
    def metrics(cls, config: SupervisedConfig) -> tuple[Metric, ...]:
        """Figures of the loss, and of the classification without its margin."""
        metrics = (
            Metric(name="loss", title="Loss", label="with margin", note=config.loss, lower=0),
            Metric(name="accuracy", title="Training accuracy", label="top-1", note="of identities", percent=True),
        )
        plain = Metric(name="plain_loss", title="Loss without margin", label="cross-entropy", lower=0)
        return metrics if config.loss == "softmax" else (*metrics, plain)

    def diagnose(self, vitals: Vitals, run: RunConfig) -> Diagnosis | None:
        """A loss, without margin, that stays at that of guessing."""
        guessing, plain = math.log(self.setting.identities), vitals.scalars["plain_loss"]
        if plain <= run.health.max_loss * guessing:
            return None
        rate, warmup = run.optim.lr, run.optim.warmup_epochs
        sign = (
            f"the loss without margin, {plain:.3f}, stays at ln of {self.setting.identities} identities = "
            f"{guessing:.3f}, the value of guessing"
        )
        slower = f"lower --optim.lr from {rate:g} to {rate / 2:g}, or lengthen --optim.warmup-epochs from {warmup:g}"
        return Diagnosis(sign, (*self.remedies(run), slower, f"check the labels (frl info); {LOOK_AT_THE_DATA}"))

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""
        if self.config.loss == "softmax":
            return ()
        margin, scale = self.config.margin_in_use, self.config.scale
        return (
            f"lower --objective.margin from {margin:g} to {margin / 2:g}: "
            "a margin that is out of reach from the start pushes all classes together",
            f"lower --objective.scale from {scale:g} to {scale / 2:g}: softer scores give every class a gradient",
        )
