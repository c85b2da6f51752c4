"""DINO: a student predicts the distribution that its own moving average gives of other crops (Caron et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frl.config import DINOConfig, RunConfig
from frl.models.calls import Call
from frl.objectives import across_ranks
from frl.objectives.diagnosis import LOOK_AT_THE_DATA, Diagnosis, Metric, Vitals, relative_entropy
from frl.objectives.momentum import follow, momentum_at, teacher_of
from frl.objectives.objective import Objective, Setting, StepOutput, Targets, Views
from frl.objectives.sinkhorn import sinkhorn
from frl.objectives.swav import swapped_prediction_loss
from frl.runtime.distributed import World
from frl.runtime.precision import widened

ROUNDS = 3  # of normalisation by Sinkhorn-Knopp (Oquab et al., 2023, section 4)
FEW = 2.0  # outputs in use, as the exponential of their entropy, below which the teacher says of all images the same


class Head(nn.Module):
    """Three layers with GELU, a unit bottleneck, and an output layer of unit rows (appendix A)."""

    def __init__(self, width: int, config: DINOConfig) -> None:
        super().__init__()
        hidden, norm = config.hidden_dim, config.head_batch_norm
        self.layers = nn.Sequential(
            nn.Linear(width, hidden, bias=not norm),
            nn.BatchNorm1d(hidden) if norm else nn.Identity(),
            nn.GELU(),
            nn.Linear(hidden, hidden, bias=not norm),
            nn.BatchNorm1d(hidden) if norm else nn.Identity(),
            nn.GELU(),
            nn.Linear(hidden, config.bottleneck_dim),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.last = nn.Linear(config.bottleneck_dim, config.outputs, bias=False)

    def bottleneck(self, pooled: Tensor) -> Tensor:
        """Unit features ``(N, bottleneck)``, float32 at least."""
        return F.normalize(widened(self.layers(pooled)), dim=1)

    def score(self, features: Tensor) -> Tensor:
        """Cosines ``(N, K)`` of unit features to the rows of the last layer; kept out of autocast, as in SwAV."""
        with torch.autocast(features.device.type, enabled=False):
            return F.linear(features, F.normalize(self.last.weight, dim=1))


class DINO(Objective):
    """Student and teacher, each a backbone and a head; the teacher's outputs less their running mean, or balanced.

    The state dict's names are ``backbone.*`` and ``teacher_head.*`` of the teacher, whose backbone is what is exported,
    ``student.*`` and ``head.*`` of the student, and ``center``.

    The teacher sees the crops of the first resolution, and of those after it that are as large: views of one size that
    differ in their colours.

    The teacher's pass is part of a micro-batch's; only the mean of its outputs is of the whole batch, and moves the
    centre after the step. So there is no pass of its own, and one collective a step.

    Balanced by Sinkhorn-Knopp, as DINOv2's (Oquab et al., 2023, section 4), the distributions of all crops that the
    teacher sees are each other's: of all ranks, by a collective for each round; and of all micro-batches, for which the
    teacher makes a pass of its own. The centre then stays 0.

    Attributes:
        center: ``(K,)``, running mean of the teacher's outputs over the images of all ranks.
        outputs: ``(K,)``, what the mean outputs of the step's micro-batches add up to.
    """

    backbones = ("backbone", "student")
    center: Tensor
    outputs: Tensor

    def __init__(self, config: DINOConfig, backbone: nn.Module, width: int, setting: Setting) -> None:
        super().__init__(teacher_of(backbone), setting)
        self.config = config
        self.student = backbone
        self.head = Head(width, config)
        self.teacher_head = teacher_of(self.head)
        self.register_buffer("center", torch.zeros(config.outputs))
        self.register_buffer("outputs", torch.zeros(config.outputs), persistent=False)
        self.freeze_steps = round(config.freeze_last_layer_epochs * setting.steps_per_epoch)
        self.step = 0

    @property
    def watched_from(self) -> int:
        """The step at which the last layer begins to learn."""
        return self.freeze_steps

    def teacher_temperature(self, step: int) -> float:
        """A pure function of the step: along a line through the warm-up, then the same."""
        start, end = self.config.warmup_teacher_temperature, self.config.teacher_temperature
        steps = self.config.warmup_teacher_temperature_epochs * self.setting.steps_per_epoch
        return start + (end - start) * min(step / steps, 1.0) if steps else end

    def teacher_momentum(self, step: int) -> float:
        """A pure function of the step: a half cosine from the configured one to 1."""
        return momentum_at(step, self.setting.total_steps, self.config.teacher_momentum)

    def forward(self, views: Views, labels: Tensor | None = None, targets: Tensor | None = None) -> StepOutput:
        """The loss of a batch; see ``Objective``. ``targets``: distributions ``(A, B, K)``, if already made."""
        features, taught = self.teach(views)
        probabilities = self.distributions(taught) if targets is None else targets
        if self.config.centering == "mean":
            self.outputs.add_(taught.flatten(0, 1).mean(0))
        scores = self.head.score(self.head.bottleneck(self.encode(views, "student")))
        scores = scores.unflatten(0, (sum(self.crop_counts), -1))
        loss = swapped_prediction_loss(probabilities, scores, self.config.temperature)
        return StepOutput(loss, features, *self._figures(probabilities))

    def targets(self, micro_batches: Iterable[tuple[Views, Tensor | None]]) -> Targets | None:
        """Distributions balanced over the whole batch, ``(A, B, K)`` of each micro-batch; None if each has its own."""
        if self.config.centering == "mean":
            return None
        taught = [self.teach(views)[1] for views, _ in micro_batches]
        probabilities = self.distributions(torch.cat(taught, dim=1))
        scalars, histograms = self._figures(probabilities)
        return Targets(parts=probabilities.chunk(len(taught), dim=1), scalars=scalars, histograms=histograms)

    def calls(self, backbone: str, images: int, sizes: Sequence[int]) -> list[Call]:
        """The teacher sees the crops of the first size alone."""
        calls = super().calls(backbone, images, sizes)
        if backbone == "student":
            return calls
        return list(takewhile(lambda call: sizes[call.resolution] == sizes[0], calls))

    @torch.no_grad()
    def teach(self, views: Views) -> tuple[Tensor, Tensor]:
        """The teacher's unit features ``(B, D)`` of the first crop, and its outputs ``(A, B, K)`` of all A crops."""
        large = list(takewhile(lambda view: view.shape[-1] == views[0].shape[-1], views))
        bottleneck = self.teacher_head.bottleneck(self.encode(large))
        crops = sum(self.crop_counts[: len(large)])
        scores = self.teacher_head.score(bottleneck)
        return bottleneck.unflatten(0, (crops, -1))[0], scores.unflatten(0, (crops, -1))

    @torch.no_grad()
    def distributions(self, scores: Tensor) -> Tensor:
        """``(A, B, K)`` of the teacher's outputs: centred by the mean of earlier steps, or balanced; and sharpened."""
        temperature = self.teacher_temperature(self.step)
        with torch.autocast(scores.device.type, enabled=False):
            if self.config.centering == "mean":
                return ((scores - self.center) / temperature).softmax(-1)
            together = sinkhorn(scores.flatten(0, 1), temperature, ROUNDS, over_ranks=self.setting.ranks > 1)
            return together.exp().view_as(scores)

    @torch.no_grad()
    def _figures(self, probabilities: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        entropy = torch.special.entr(probabilities).sum(-1).mean() / math.log(self.config.outputs)
        return {"teacher_entropy": entropy}, {"teacher_mass": probabilities.mean((0, 1))}

    def before_step(self, step: int) -> None:
        """Keep the last layer still while it is frozen."""
        if step < self.freeze_steps:
            self.head.last.weight.grad = None

    @torch.no_grad()
    def after_step(self, step: int, finite: Tensor) -> None:
        """Move the teacher and the centre, where the step counted."""
        momentum = self.teacher_momentum(step)
        follow(self.backbone, self.student, momentum, finite)
        follow(self.teacher_head, self.head, momentum, finite)
        self.step = step + 1
        if self.config.centering == "mean":
            self._move_center(finite)

    def _move_center(self, finite: Tensor) -> None:
        mean = self.outputs / self.setting.accumulate
        if self.setting.ranks > 1:
            mean = across_ranks.mean(mean)
        move = (1 - self.config.center_momentum) * (mean - self.center)
        self.center.add_(move.where(finite, 0))
        self.outputs.zero_()

    def load_progress(self, step: int, saved: Mapping[str, Tensor], world: World) -> None:
        """Go on from ``step``; all else is in the state dict."""
        self.step = step

    @classmethod
    def metrics(cls, config: DINOConfig) -> tuple[Metric, ...]:
        """Figures of the loss and of the teacher's distributions."""
        share = "of the teacher, as a share of ln K"
        guessing = (math.log(config.outputs), "guessing, ln K")
        figures = (
            Metric(name="loss", title="Loss", note="student against teacher", line=guessing),
            Metric(name="teacher_entropy", title="Entropies", label="of an image", note=share, lower=0),
            Metric(name="output_entropy", title="Entropies", label="of the use", note=share, lower=0),
        )
        centre = Metric(name="center_norm", title="Centre", label="length", note="of the mean output", lower=0)
        return (*figures, centre) if config.centering == "mean" else figures

    def summarise(self, histograms: Mapping[str, Tensor]) -> dict[str, float]:
        """How evenly the teacher uses its outputs, and how far their mean is from 0."""
        entropy = relative_entropy(histograms["teacher_mass"]).item()
        centre = {"center_norm": self.center.norm().item()} if self.config.centering == "mean" else {}
        return {"output_entropy": entropy, **centre}

    def diagnose(self, vitals: Vitals, run: RunConfig) -> Diagnosis | None:
        """A teacher that says of all images the same: one output, or all of them alike."""
        outputs = self.config.outputs
        in_use = outputs ** vitals.scalars["output_entropy"]
        if in_use < FEW:
            sign = f"the teacher puts all images into {in_use:.1f} of its {outputs} outputs"
            return Diagnosis(sign, (*self._apart, self._slower, self._freeze))
        entropy = vitals.scalars["teacher_entropy"]
        if entropy > run.health.max_loss:
            sign = f"the teacher is undecided over all outputs (entropy {entropy:.1%} of ln K)"
            return Diagnosis(sign, (self._sharpen, self._slower, LOOK_AT_THE_DATA))
        return None

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""
        return *self._apart, self._freeze, self._slower

    @property
    def _apart(self) -> tuple[str, ...]:
        if self.config.centering == "sinkhorn":
            return (self._sharpen,)
        momentum = self.config.center_momentum
        lower = f"from {momentum:g} to {0.9 if momentum > 0.9 else momentum / 2:g}"
        return (
            f"lower --objective.center-momentum {lower}: a centre that follows keeps one output from taking all",
            "use --objective.centering sinkhorn: it shares the outputs out over the images of every batch",
        )

    @property
    def _sharpen(self) -> str:
        temperature = self.config.teacher_temperature
        option = "--objective.teacher-temperature"
        return f"lower {option} from {temperature:g} to {temperature / 2:g}: sharper distributions tell images apart"

    @property
    def _freeze(self) -> str:
        epochs = self.config.freeze_last_layer_epochs
        return (
            f"raise --objective.freeze-last-layer-epochs from {epochs:g} to {epochs + 1:g}: "
            "the features must spread out before the outputs follow them"
        )

    @property
    def _slower(self) -> str:
        momentum = self.config.teacher_momentum
        return (
            f"raise --objective.teacher-momentum from {momentum:g} to {(1 + momentum) / 2:g}: "
            "a slower teacher takes over less of a step that was wrong"
        )
