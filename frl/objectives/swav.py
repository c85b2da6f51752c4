"""SwAV: swapped prediction of cluster assignments between the crops of an image (Caron et al., 2020)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frl.config import RunConfig, SwAVConfig
from frl.objectives.diagnosis import LOOK_AT_THE_DATA, Diagnosis, Metric, Vitals, relative_entropy
from frl.objectives.heads import projector
from frl.objectives.objective import Objective, Setting, StepOutput, Targets, Views
from frl.objectives.positives import known, mean_of_identity, require_positives
from frl.objectives.sinkhorn import sinkhorn
from frl.runtime.distributed import World

IN_USE = 0.1  # of the fair share 1/K: a prototype with less counts as unused
FULL_QUEUE = 3840  # features: what SwAV's authors keep for small batches


def swapped_prediction_loss(assignments: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between each assignment and the predictions from all *other* crops (eq. 2, multi-crop eq. 6).

    With rows of the assignments summing to one, the cross-entropy is ``logsumexp(s/T) - <q, s>/T``: the
    log-softmax over the prototypes is never materialised.

    Args:
        assignments: ``(A, B, K)`` of the first A crops; constants.
        scores: ``(V, B, K)`` of all V crops, the first A in the same order.
        temperature: of the softmax.

    Returns:
        Scalar: mean over samples and over the A * (V - 1) pairs.
    """
    crops, assigned = len(scores), len(assignments)
    with torch.autocast(scores.device.type, enabled=False):  # bf16 would round the agreement by 0.4 %
        logits = scores / temperature
        agreement = torch.einsum("abk,vbk->avb", assignments, logits)
        cross_entropy = (logits.logsumexp(-1).unsqueeze(0) - agreement).mean(-1)
        other = 1 - torch.eye(assigned, crops, device=scores.device)
        return (cross_entropy * other).sum() / (assigned * (crops - 1))


class SwAV(Objective):
    """Backbone, projector and prototypes (section 4 and appendix A), and a queue of earlier features.

    The state dict's names are ``backbone.*`` (torchvision's own), ``projector.*`` and ``prototypes.weight``.

    Attributes:
        freeze_steps: steps during which the prototypes do not learn.
        queue_from_step: first step whose features are queued; once full, the queue takes part in the assignment.
        queue: ``(A, L, D)``, this rank's share of it, the newest features first.
        queued: int64 scalar, how many features of each crop are in it; those of skipped steps are not.
    """

    queue: Tensor
    queued: Tensor

    def __init__(self, config: SwAVConfig, backbone: nn.Module, width: int, setting: Setting) -> None:
        super().__init__(backbone, setting)
        require_positives(config.positives, setting)
        self.config = config
        self.projector = projector(width, config.hidden_dim, config.feature_dim)
        self.prototypes = nn.Linear(config.feature_dim, config.prototypes, bias=False)
        self.normalise_prototypes()
        freeze = config.freeze_prototypes_steps
        self.freeze_steps = setting.steps_per_epoch if freeze < 0 else freeze
        self.queue_from_step = config.queue_from_epoch * setting.steps_per_epoch
        share = config.queue_length // setting.ranks
        self.register_buffer("queue", torch.zeros(self.assigned, share, config.feature_dim), persistent=False)
        self.register_buffer("queued", torch.zeros((), dtype=torch.int64), persistent=False)
        self.batch = 0
        self.step = 0

    @property
    def assigned(self) -> int:
        """Crops per image on which assignments are made: those of the first resolution."""
        return self.crop_counts[0]

    @property
    def watched_from(self) -> int:
        """The step at which the prototypes begin to learn."""
        return self.freeze_steps

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Scale every prototype to length 1, in place."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def forward(self, views: Views, labels: Tensor | None = None, targets: Tensor | None = None) -> StepOutput:
        """The loss of a batch; see ``Objective``. ``targets``: assignments ``(A, B, K)``, if already made."""
        features = self.embed(views)
        scores = self.score(features)
        figures: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        if targets is None:
            targets, entropy = self.assign(features[: self.assigned].detach(), scores[: self.assigned].detach())
            figures = self._figures(targets, entropy)
            targets = self._of_positives(targets, labels)
        loss = swapped_prediction_loss(targets, scores, self.config.temperature)
        return StepOutput(loss, features[0].detach(), *figures)

    @torch.no_grad()
    def targets(self, micro_batches: Iterable[tuple[Views, Tensor | None]]) -> Targets:
        """Assignments balanced over the whole batch; ``parts`` are ``(A, B, K)`` each."""
        features, labels = [], []
        for views, of_views in micro_batches:
            features.append(self.embed(views)[: self.assigned])
            labels.append(of_views)
        whole = torch.cat(features, dim=1)
        assignments, entropy = self.assign(whole, self.score(whole))
        scalars, histograms = self._figures(assignments, entropy)
        if self.config.positives == "identity":
            assignments = self._of_positives(assignments, torch.cat([known(part) for part in labels]))
        return Targets(parts=assignments.chunk(len(features), dim=1), scalars=scalars, histograms=histograms)

    def embed(self, views: Views) -> Tensor:
        """Unit features ``(V, B, D)`` of all V crops of B samples, float32; the head's BatchNorm sees them all."""
        projected = self.projector(self.encode(views)).float()
        return F.normalize(projected, dim=1).unflatten(0, (sum(self.crop_counts), -1))

    def score(self, features: Tensor) -> Tensor:
        """Cosine similarities ``(..., K)`` of unit vectors ``(..., D)`` to the prototypes, float32.

        Kept out of autocast: bf16 would round the similarities by 0.4 %, which epsilon 0.05 multiplies by 20. Nor is
        it TF32 on a GPU: see ``frl.runtime.numerics.exact_products``.
        """
        with torch.autocast(features.device.type, enabled=False):
            return self.prototypes(features.float())

    @torch.no_grad()
    def assign(self, features: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Assign the batch, balanced together with the queue once that is full; then queue its features, if due.

        The host knows only after how many steps the queue can be full; whether it is, and no step of these was skipped,
        the device knows. Until then the queue's rows take part without any weight.

        Args:
            features: ``(A, B, D)``.
            scores: ``(A, B, K)`` of the features.

        Returns:
            Assignments ``(A, B, K)`` and the mean of their entropy, a scalar.
        """
        batch = scores.shape[1]
        length = self.queue.shape[1]
        if length and (self.step - self.queue_from_step) * batch >= length:
            of_queue = self.score(self.queue).where(self.queued >= length, -torch.inf)
            scores = torch.cat([scores, of_queue], dim=1)
        config = self.config
        over_ranks = self.setting.ranks > 1
        log_assignments = sinkhorn(scores, config.epsilon, config.sinkhorn_iterations, over_ranks=over_ranks)[:, :batch]
        assignments = log_assignments.exp()
        if length and self.step >= self.queue_from_step:
            self.queue.copy_(torch.cat([features, self.queue], dim=1)[:, :length])
            self.queued.add_(batch).clamp_max_(length)
            self.batch = batch
        with torch.autocast(features.device.type, enabled=False):
            return assignments, -torch.linalg.vecdot(assignments, log_assignments).mean()

    def _of_positives(self, assignments: Tensor, labels: Tensor | None) -> Tensor:
        """What the crops of each sample are to predict: its assignments, or the mean of those of its identity.

        The cross-entropy is linear in the assignment. So this is the mean loss over all pairs of a sample's crop and
        another crop of each sample of the same identity.
        """
        if self.config.positives == "image":
            return assignments
        return mean_of_identity(assignments, known(labels), self.setting.ranks)

    def _figures(self, assignments: Tensor, entropy: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        scalars = {"assignment_entropy": entropy / math.log(assignments.shape[-1])}
        return scalars, {"prototype_mass": assignments.mean((0, 1))}

    def before_step(self, step: int) -> None:
        """Keep the prototypes still while they are frozen."""
        if step < self.freeze_steps:
            self.prototypes.weight.grad = None

    def after_step(self, step: int, finite: Tensor) -> None:
        """Back to unit prototypes."""
        self.normalise_prototypes()
        self.step = step + 1

    def progress(self, world: World) -> dict[str, Tensor]:
        """The filled part of the queue over all ranks, ``(A, steps, batch, D)``, newest step first.

        The steps stay whole, so that another number of ranks can share them out anew.
        """
        local = self.queue[:, : int(self.queued)]
        if not local.numel():
            return {"queue": local.new_zeros(0)}
        local = local.unflatten(1, (-1, self.batch)).contiguous()
        return {"queue": torch.cat(world.gather(local), dim=2)}

    def load_progress(self, step: int, saved: Mapping[str, Tensor], world: World) -> None:
        """Go on from ``step`` with this rank's share of a queue, or of the newest steps that a shorter one holds.

        A queue of another batch size, or of other crops or features, is left, with a warning: a new one fills.
        """
        self.step = step
        queue = saved["queue"]
        share = self.setting.batch_size // world.size
        if not (queue.numel() and self.queue.numel()):
            return
        held, ours = (queue.shape[0], *queue.shape[2:]), (self.assigned, self.setting.batch_size, self.queue.shape[2])
        if held != ours:
            if world.is_main:
                _warn_of_queue(held, ours)
            return
        mine = queue[:, : self.queue.shape[1] // share].chunk(world.size, dim=2)[world.rank].flatten(1, 2)
        self.batch = share
        self.queued.fill_(mine.shape[1])
        self.queue[:, : mine.shape[1]] = mine

    @classmethod
    def metrics(cls, config: SwAVConfig) -> tuple[Metric, ...]:
        """Figures of the loss, the assignments and the prototypes."""
        share = "of prototypes, as a share of ln K"
        guessing = (math.log(config.prototypes), "guessing, ln K")
        return (
            Metric(name="loss", title="Loss", note="swapped prediction", line=guessing),
            Metric(name="prototype_entropy", title="Entropies", label="of the use", note=share, lower=0),
            Metric(name="assignment_entropy", title="Entropies", label="of an image", note=share, lower=0),
            Metric(name="prototypes_used", title="Prototypes in use", label="used", lower=0, percent=True),
        )

    def summarise(self, histograms: Mapping[str, Tensor]) -> dict[str, float]:
        """How evenly the prototypes are used."""
        mass = histograms["prototype_mass"]
        used = (mass * len(mass) > IN_USE).float().mean().item()
        return {"prototypes_used": used, "prototype_entropy": relative_entropy(mass).item()}

    def diagnose(self, vitals: Vitals, run: RunConfig) -> Diagnosis | None:
        """Prototypes out of use, or a loss that stays at that of guessing."""
        limits, ceiling, remedy = run.health, math.log(self.config.prototypes), Remedies(run, self.config)
        used = vitals.scalars["prototypes_used"]
        if used < limits.min_used:
            sign = f"only {used:.1%} of the prototypes are in use"
            return Diagnosis(sign, (remedy.balance, remedy.more_features, "lower --objective.prototypes"))
        if vitals.loss > limits.max_loss * ceiling:
            sign = f"the loss {vitals.loss:.3f} stays at ln K = {ceiling:.3f}, the value of guessing"
            return Diagnosis(sign, (remedy.sharpen, remedy.freeze, remedy.more_features, LOOK_AT_THE_DATA))
        return None

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""
        remedy = Remedies(run, self.config)
        return remedy.freeze, remedy.sharpen


def _warn_of_queue(held: tuple[int, ...], ours: tuple[int, ...]) -> None:
    """Of two queues, what each is made of: crops, batch size, width."""
    what = "{} crops of {} images, in {} numbers each"
    warnings.warn(
        f"the checkpoint's queue is of {what.format(*held)}; this run's is of {what.format(*ours)}, and fills anew",
        stacklevel=3,
    )


class Remedies:
    """What helps against a collapse of SwAV, in the words of its options, each with its reason."""

    def __init__(self, run: RunConfig, config: SwAVConfig) -> None:
        self.run = run
        self.config = config

    @property
    def sharpen(self) -> str:
        """A smaller epsilon."""
        epsilon = self.config.epsilon
        smaller = f"lower --objective.epsilon from {epsilon:g} to {0.6 * epsilon:.2g}"
        return f"{smaller}: sharper assignments tell images apart"

    @property
    def balance(self) -> str:
        """More Sinkhorn iterations."""
        iterations = self.config.sinkhorn_iterations
        return (
            f"raise --objective.sinkhorn-iterations from {iterations} to {2 * iterations + 2}, or "
            "--objective.epsilon: the assignments are not yet shared out evenly"
        )

    @property
    def freeze(self) -> str:
        """Prototypes that stand still for longer."""
        return (
            "freeze the prototypes for longer (--objective.freeze-prototypes-steps): "
            "the features must spread out before the prototypes follow them"
        )

    @property
    def more_features(self) -> str:
        """More features in each assignment: a queue, or a larger batch where there is one."""
        batch, prototypes = self.run.optim.batch_size, self.config.prototypes
        if self.config.queue_length == 0 and batch < prototypes:
            length = batch * max(1, round(FULL_QUEUE / batch))
            return (
                f"use a queue (--objective.queue-length {length}): a batch of {batch} cannot be shared out over "
                f"{prototypes} prototypes"
            )
        return f"enlarge --optim.batch-size beyond {batch}: more images share out the prototypes better"
