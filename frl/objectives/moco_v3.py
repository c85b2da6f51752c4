"""MoCo v3: a student's predictions find the teacher's keys among those of the batch (Chen, Xie and He, 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from frl.config import RunConfig
from frl.config.contrastive import MoCoV3Config
from frl.objectives.contrast import FIGURES, contrast_of_several, info_nce, similarities, unit
from frl.objectives.diagnosis import LOOK_AT_THE_DATA, Diagnosis, Metric, Vitals
from frl.objectives.heads import mlp
from frl.objectives.momentum import momentum_at
from frl.objectives.objective import Setting, StepOutput, Targets, Views
from frl.objectives.positives import known, require_positives, same_identity
from frl.objectives.two_views import Taught


class Keys(NamedTuple):
    """What the samples of a batch or a micro-batch are to find.

    Attributes:
        everybody: unit ``(2, B, D)``, the teacher's of the first two crops of all ranks' images.
        first: the row at which the samples begin.
        labels: ``(B,)`` int64, whom the images show; None unless positives are of identities.
    """

    everybody: Tensor
    first: int
    labels: Tensor | None


class MoCoV3(Taught):
    """Student with projector and predictor, teacher with projector; no queue (algorithm 1, and the released code).

    The teacher takes part without gradient, and with it the collective: one a step beside DDP's, and another
    for the labels with positives of identities: then a query is to find the keys of all images of its person.
    """

    def __init__(self, config: MoCoV3Config, backbone: nn.Module, width: int, setting: Setting) -> None:
        hidden, out = config.hidden_dim, config.feature_dim
        last = nn.BatchNorm1d(out, affine=False)
        layers = (width, *[hidden] * (config.projector_layers - 1), out)
        super().__init__(backbone, mlp(layers, last_norm=last), setting)
        require_positives(config.positives, setting)
        self.config = config
        self.predictor = mlp((out, hidden, out), last_bias=False)

    def forward(self, views: Views, labels: Tensor | None = None, targets: Keys | None = None) -> StepOutput:
        """The loss of a batch; see ``Objective``. Crops after the second are only predicted from."""
        projected = [self.projector(pooled) for pooled in self.encode_each(views)]
        queries = [unit(self.predictor(each)) for each in projected]
        keys = self.keys([(views, labels)]) if targets is None else targets
        pairs = [(query, view) for view in range(2) for query in range(len(queries)) if query != view]
        found = [self._find(queries[query], keys, view) for query, view in pairs]
        losses, figures = zip(*found, strict=True)
        loss = torch.stack(losses).sum() / (len(queries) - 1)
        scalars = {name: torch.stack([each[name] for each in figures]).mean() for name in figures[0]}
        return StepOutput(loss, unit(projected[0].detach()), scalars)

    def _find(self, queries: Tensor, keys: Keys, view: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of unit ``(b, D)`` queries whose keys are those of the ``view``, times 2 T as in the paper."""
        temperature = self.config.temperature
        rows = torch.arange(keys.first, keys.first + len(queries), device=queries.device)
        cosines = similarities(queries, keys.everybody[view])
        if keys.labels is None:
            loss, figures = info_nce(cosines, rows, temperature)
        else:
            alike = same_identity(keys.labels[rows], keys.labels, keys.first)
            loss, figures = contrast_of_several(cosines, alike, temperature)
        return 2 * temperature * loss, figures

    def targets(self, micro_batches: Iterable[tuple[Views, Tensor | None]]) -> Targets:
        """The keys of the whole batch: they are without gradient anyway, so nothing changes but BatchNorm's batches."""
        batches = list(micro_batches)
        images = len(self.crops(batches[0][0])[0])
        keys = self.keys(batches)
        return Targets(parts=[keys._replace(first=keys.first + part * images) for part in range(len(batches))])

    @torch.no_grad()
    def keys(self, micro_batches: Iterable[tuple[Views, Tensor | None]]) -> Keys:
        """The keys of all ranks' images; the teacher sees a micro-batch at a time."""
        taught, labels = [], []
        for views, of_views in micro_batches:
            taught.append(torch.stack(self.taught(views), 1))  # (b, 2, D)
            labels.append(of_views)
        mine = torch.cat(taught)
        everybody, first = self.gather(unit(mine)).transpose(0, 1), self.rank * len(mine)
        if self.config.positives == "image":
            return Keys(everybody, first, None)
        return Keys(everybody, first, self.gather(torch.cat([known(part) for part in labels])))

    def momentum_after(self, step: int) -> float:
        """From ``config.momentum`` to 1; the authors move the teacher at the beginning of the next step."""
        return momentum_at(step + 1, self.setting.total_steps, self.config.momentum)

    @classmethod
    def metrics(cls, config: MoCoV3Config) -> tuple[Metric, ...]:
        """Figures of the loss and the similarities."""
        note = "both directions, times 2 T; guessing: 4 T ln B for a batch of B"
        return (Metric(name="loss", title="Loss", note=note), *FIGURES)

    def diagnose(self, vitals: Vitals, run: RunConfig) -> Diagnosis | None:
        """A loss that stays at that of guessing."""
        guessing = 4 * self.config.temperature * math.log(run.optim.batch_size)
        if vitals.loss <= run.health.max_loss * guessing:
            return None
        sign = f"the loss {vitals.loss:.3f} stays at 4 T ln B = {guessing:.3f}, the value of guessing"
        return Diagnosis(sign, (*self.remedies(run), LOOK_AT_THE_DATA))

    def remedies(self, run: RunConfig) -> tuple[str, ...]:
        """What helps when features are alike or fill few directions."""
        warmup, momentum = run.optim.warmup_epochs, self.config.momentum
        return (
            f"lengthen --optim.warmup-epochs beyond {warmup:g}: the first steps throw the features together",
            f"raise --objective.momentum from {momentum:g} to {(1 + momentum) / 2:g}: the teacher follows a student "
            "that errs",
            f"enlarge --optim.batch-size beyond {run.optim.batch_size}: with few images to tell apart long schedules "
            "have collapsed late",
        )
