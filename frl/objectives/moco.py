"""MoCo v2: queries find their keys among those of many earlier batches (He et al., 2020; Chen et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from frl.config import RunConfig
from frl.config.contrastive import MoCoConfig
from frl.errors import ConfigError
from frl.models.calls import Call
from frl.objectives.contrast import FIGURES, contrast_of_several, info_nce, similarities, unit
from frl.objectives.diagnosis import LOOK_AT_THE_DATA, Diagnosis, Metric, Vitals
from frl.objectives.heads import mlp
from frl.objectives.objective import Setting, StepOutput, Targets, Views
from frl.objectives.positives import known, require_positives
from frl.objectives.queue import KeyQueue
from frl.objectives.two_views import Taught
from frl.runtime.distributed import World


class Sought(NamedTuple):
    """What the samples of a micro-batch are to find.

    Attributes:
        keys: unit ``(b, D)``, their own.
        labels: ``(b,)`` int64, whom they show; None unless positives are of identities.
    """

    keys: Tensor
    labels: Tensor | None


class MoCo(Taught):
    """Query encoder, key encoder that follows it, and a queue of keys (algorithm 1).

    Where a query and its key are normalised by the same images' statistics, BatchNorm gives away which key it is. So
    the batch of all ranks, however many they are, is divided into G = ``bn_groups`` groups, in two ways: queries are
    encoded with their G neighbours in the batch, keys with every G-th image of it. This is what the authors' shuffling
    among eight GPUs comes to, but without chance, on any number of ranks, with the same result.

    With positives of identities a query is also to find the queued keys of its person: the mean over them and its own.

    A step makes two collectives beside DDP's: images change ranks for their keys, and all ranks get all keys; with
    positives of identities a third, for the labels.
    """

    def __init__(self, config: MoCoConfig, backbone: nn.Module, width: int, setting: Setting) -> None:
        norm, widths = config.head_batch_norm, (width, config.hidden_dim, config.feature_dim)
        last = nn.BatchNorm1d(config.feature_dim) if norm else None
        super().__init__(backbone, mlp(widths, norm=norm, last_norm=last), setting)
        self.config = config
        self.queue = KeyQueue(config.queue_length, config.feature_dim)
        require_positives(config.positives, setting)
        self.fresh: tuple[Tensor, Tensor | None] | None = None
        _check_groups(config.bn_groups, setting)

    def forward(self, views: Views, labels: Tensor | None = None, targets: Sought | None = None) -> StepOutput:
        """The loss of a batch; see ``Objective``. ``targets``: the samples' own keys, if already made."""
        query_view, key_view = self.crops(views)
        queries = self.queries(query_view)
        if targets is None:
            targets = self.sought(key_view, labels)
        with torch.autocast(queries.device.type, enabled=False):
            own = (queries * targets.keys).sum(1, keepdim=True)
        cosines = torch.cat([own, similarities(queries, self.queue.keys)], dim=1)
        loss, figures = self._contrast(cosines, targets.labels)
        age = self.queue.filled / self.setting.batch_size
        return StepOutput(loss, queries.detach(), {**figures, "queue_age": age})

    def _contrast(self, cosines: Tensor, labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Of cosines ``(b, 1 + K)`` to the samples' own keys and to the queue."""
        if labels is None:
            first = torch.zeros(len(cosines), dtype=torch.int64, device=cosines.device)
            return info_nce(cosines, first, self.config.temperature)
        queued = (labels[:, None] == self.queue.labels) & (labels >= 0)[:, None]
        alike = torch.cat([torch.ones_like(queued[:, :1]), queued], dim=1)
        return contrast_of_several(cosines, alike, self.config.temperature)

    def targets(self, micro_batches: Iterable[tuple[Views, Tensor | None]]) -> Targets:
        """The keys of the whole batch, which have no gradient: the queue takes them in once."""
        key_views, labels = [], []
        for views, of_views in micro_batches:
            key_views.append(self.crops(views)[1])
            labels.append(of_views)
        joined = torch.cat([known(part) for part in labels]) if self.config.positives == "identity" else None
        whole, parts = self.sought(torch.cat(key_views), joined), len(key_views)
        of_parts = [None] * parts if whole.labels is None else whole.labels.chunk(parts)
        return Targets(parts=[Sought(*part) for part in zip(whole.keys.chunk(parts), of_parts, strict=True)])

    def sought(self, view: Tensor, labels: Tensor | None) -> Sought:
        """What this rank's share of a batch is to find; what all ranks' shares are is kept for the queue."""
        by_identity = self.config.positives == "identity"
        mine = known(labels) if by_identity else None
        everybody = self.keys(view)
        self.fresh = everybody, None if mine is None else self.gather(mine)
        return Sought(everybody[self.rank * len(view) :][: len(view)], mine)

    def calls(self, backbone: str, images: int, sizes: Sequence[int]) -> list[Call]:
        """Groups of the first crops, and groups of the second ones of the whole step; see ``Objective``."""
        query, key = self.resolutions[:2]
        if backbone == "backbone":
            groups = self._query_groups(images)
            return [Call(query, images // groups)] * groups
        whole = images * self.setting.accumulate
        groups = math.gcd(self.config.bn_groups, whole)
        if groups == 1:
            return [Call(key, whole)]
        return [Call(key, self.setting.ranks * whole // groups)] * (groups // self.setting.ranks)

    def _query_groups(self, images: int) -> int:
        groups = max(1, self.config.bn_groups // (self.setting.ranks * self.setting.accumulate))
        return math.gcd(groups, images)  # fewer only where memory is tried out with fewer images

    def queries(self, view: Tensor) -> Tensor:
        """Unit ``(b, D)`` of a micro-batch ``(b, 3, size, size)``; BatchNorm sees a group of neighbours at a time."""
        encode = self.encoder("backbone", 0)
        groups = self._query_groups(len(view))
        return unit(torch.cat([self.projector(encode(part)) for part in view.chunk(groups)]))

    @torch.no_grad()
    def keys(self, view: Tensor) -> Tensor:
        """Unit ``(B, D)`` of all ranks' images, of which ``view`` ``(b, 3, size, size)`` is this rank's share."""
        encode = self.encoder("teacher", 1)
        groups = math.gcd(self.config.bn_groups, len(view))  # likewise
        parts = [view] if groups == 1 else self._every_gth(view, groups)
        keys = unit(torch.cat([self.teacher_projector(encode(part)) for part in parts]))
        # (G * n, D) by groups, whose images lie G apart in the batch; or, undivided, in the batch's order
        return self.gather(keys).unflatten(0, (groups, -1)).transpose(0, 1).flatten(0, 1)

    def _every_gth(self, view: Tensor, groups: int) -> list[Tensor]:
        """This rank's share of the G groups of every G-th image of the joined batch; a collective call."""
        ranks = self.setting.ranks
        by_group = view.unflatten(0, (-1, groups)).transpose(0, 1)  # (G, b / G, 3, size, size)
        if ranks > 1:
            layout = (0, 1, 3, 4, 2)  # of channels-last images, so that nothing is copied twice
            outgoing = by_group.permute(layout).contiguous()
            incoming = torch.empty_like(outgoing)
            dist.all_to_all_single(incoming, outgoing)
            # (ranks, G / ranks, b / G, ...), from each rank its images of my groups
            mine = incoming.unflatten(0, (ranks, -1)).transpose(0, 1).flatten(1, 2)
            by_group = mine.permute(0, 1, 4, 2, 3)
        return [group.contiguous(memory_format=torch.channels_last) for group in by_group]

    def after_step(self, step: int, finite: Tensor) -> None:
        """Let the key encoder follow, and queue the step's keys; the oldest leave."""
        super().after_step(step, finite)
        assert self.fresh is not None
        keys, labels = self.fresh
        self.queue.push(keys, finite, labels)
        self.fresh = None

    def momentum_after(self, step: int) -> float:
        """Always the same."""
        return self.config.momentum

    def progress(self, world: World) -> dict[str, Tensor]:
        """The queue, which all ranks have alike."""
        return self.queue.progress()

    def load_progress(self, step: int, saved: Mapping[str, Tensor], world: World) -> None:
        """Go on with a queue, or with the newest keys that a shorter one holds."""
        self.queue.load_progress(saved)

    @property
    def watched_from(self) -> int:
        """The step before which a queue of random vectors fills: they are easily told from keys."""
        return self.config.queue_length // max(self.setting.batch_size, 1)

    @classmethod
    def metrics(cls, config: MoCoConfig) -> tuple[Metric, ...]:
        """Figures of the loss, the similarities and the queue."""
        guessing = (math.log(1 + config.queue_length), "guessing, ln(K + 1)")
        return (
            Metric(name="loss", title="Loss", note="InfoNCE", line=guessing),
            *FIGURES,
            Metric(name="queue_age", title="Queue", label="age of the oldest key", note="steps", lower=0, whole=True),
        )

    def diagnose(self, vitals: Vitals, run: RunConfig) -> Diagnosis | None:
        """A loss that stays at that of guessing."""
        guessing = math.log(1 + self.config.queue_length)
        if vitals.loss <= run.health.max_loss * guessing:
            return None
        sign = f"the loss {vitals.loss:.3f} stays at ln(K + 1) = {guessing:.3f}, the value of guessing"
        return Diagnosis(sign, (*self.remedies(run), LOOK_AT_THE_DATA))

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""
        momentum, length, batch = self.config.momentum, self.config.queue_length, run.optim.batch_size
        return (
            f"raise --objective.momentum from {momentum:g} to {(1 + momentum) / 2:g}: the keys of a queue must come "
            "from nearly the same encoder",
            f"shorten --objective.queue-length from {length}: its oldest keys are {length // batch} steps old",
            f"raise --objective.bn-groups from {self.config.bn_groups}: statistics in common give the key away",
        )


def _check_groups(groups: int, setting: Setting) -> None:
    """Refuse groups that cannot be shared out.

    Raises:
        ConfigError: naming the option.
    """
    if groups == 1:
        return
    ranks, parts, batch = setting.ranks, setting.accumulate, setting.batch_size
    if groups % (ranks * parts):
        cause = f"{groups} groups cannot be shared equally by {ranks} processes times {parts} micro-batches"
        raise ConfigError("--objective.bn-groups", cause, f"Use a multiple of {ranks * parts}.")
    if batch % (groups * ranks):
        cause = f"each of {ranks} processes must hold as many of a batch of {batch} images for each of {groups} groups"
        raise ConfigError("--optim.batch-size", cause, f"Use a multiple of {groups * ranks}.")
