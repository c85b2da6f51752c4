"""One step of training: a batch in, moved weights and what is worth logging out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from frl.config import RunConfig
from frl.models.batchnorm import statistics_held
from frl.objectives import Objective, StepOutput, Views
from frl.runtime.distributed import World
from frl.runtime.precision import Autocast, autocast_for
from frl.training.nonfinite import BufferGuard, tell_all_ranks
from frl.training.optimisers import Optimiser, build_optimiser, set_rates
from frl.training.parallel import distribute
from frl.training.schedule import learning_rate, weight_decay


class Step:
    """Takes one step after the other; nothing in it waits for the device.

    Args:
        config: of the run.
        objective: what is trained, on ``world.device``.
        steps_per_epoch: of the learning rate's schedule.
        world: this process among the ranks.

    Attributes:
        taken: how many steps were taken.
        rate: learning rate of the last one.
    """

    def __init__(self, config: RunConfig, objective: Objective, steps_per_epoch: int, world: World) -> None:
        self.optim = config.optim
        self.objective = objective
        self.steps_per_epoch = steps_per_epoch
        self.optimiser: Optimiser = build_optimiser(config.optim, objective)
        self.model = distribute(objective, config, world)
        self.autocast = autocast_for(config.precision, world.device)
        self.guard = BufferGuard(objective)
        self.taken = 0
        self.rate = 0.0

    @property
    def finite(self) -> Tensor:
        """Bool scalar on the device: whether the last step's gradients were finite, and so moved anything."""
        return self.optimiser.finite

    def __call__(self, views: Views, labels: Tensor | None = None) -> StepOutput:
        """Train on this rank's share of a batch; a collective call.

        Args:
            views: one ``(count * B, 3, size, size)`` tensor per resolution, crop-major.
            labels: ``(B,)`` int64, -1 where unknown; None: there are none.

        Returns:
            What the objective says of the batch.
        """
        self.rate = learning_rate(self.taken, self.steps_per_epoch, self.optim)
        set_rates(
            self.optimiser,
            rate=self.rate,
            peak=self.optim.lr * self.optim.lr_scale,
            weight_decay=weight_decay(self.taken, self.steps_per_epoch, self.optim),
        )
        self.optimiser.zero_grad(set_to_none=True)
        self.guard.remember()
        output = forward_backward(
            self.model, self.objective, views, labels, micro_batches=self.optim.accumulate, autocast=self.autocast
        )
        self.objective.before_step(self.taken)
        self.optimiser.step()
        self.guard.settle(self.finite)
        self.objective.after_step(self.taken, self.finite)
        self.taken += 1
        return output


def forward_backward(
    model: nn.Module,
    objective: Objective,
    views: Views,
    labels: Tensor | None = None,
    *,
    micro_batches: int,
    autocast: Autocast,
) -> StepOutput:
    """Add the gradients of the mean loss over a batch to the parameters.

    With several micro-batches the memory is that of one. The objective is asked for targets that depend on the whole
    batch (SwAV's assignments); if it has some, a first pass without gradients makes them. The loss of a sample depends
    on the others through nothing else but BatchNorm, whose statistics are those of the micro-batch (the second pass
    repeats the first exactly: nothing here is random). The price is that first pass, about a third more arithmetic.

    Args:
        model: ``objective``, or DDP around it.
        objective: the objective.
        views: one ``(count * B, 3, size, size)`` tensor per resolution, crop-major.
        labels: ``(B,)`` int64, or None.
        micro_batches: into how many parts the B samples are divided; must divide B.
        autocast: makes the context of the forward passes.

    Returns:
        What the objective says of the whole batch.
    """
    if micro_batches == 1:
        with autocast():
            output = model(views, labels)
        tell_all_ranks(output.loss).backward()
        return output._replace(loss=output.loss.detach())
    parts = [
        (share(views, objective.crop_counts, micro_batches, index), _chunk(labels, micro_batches, index))
        for index in range(micro_batches)
    ]
    with torch.no_grad(), autocast(), statistics_held(objective):
        targets = objective.targets(parts)
    outputs = []
    for index, part in enumerate(parts):
        with nullcontext() if index == len(parts) - 1 else unreduced(model):
            with autocast():
                output = model(*part, None if targets is None else targets.parts[index])
            tell_all_ranks(output.loss / micro_batches).backward()
        outputs.append(output._replace(loss=output.loss.detach() / micro_batches))
    joined = join(outputs)
    return joined if targets is None else joined._replace(scalars=targets.scalars, histograms=targets.histograms)


def join(outputs: Sequence[StepOutput]) -> StepOutput:
    """What micro-batches say, as of one batch: losses are added up, figures averaged."""

    def mean(of: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.stack([figures[name] for figures in of]).mean(0) for name in of[0]}

    losses, features, scalars, histograms = zip(*outputs, strict=True)
    return StepOutput(torch.stack(losses).sum(), torch.cat(features), mean(scalars), mean(histograms))


def share(views: Views, crop_counts: Sequence[int], parts: int, index: int) -> list[Tensor]:
    """The views of the ``index``-th of ``parts`` equal shares of the samples, laid out like the whole."""
    return [
        torch.cat([crop.chunk(parts)[index] for crop in view.chunk(count)])
        for view, count in zip(views, crop_counts, strict=True)
    ]


def _chunk(labels: Tensor | None, parts: int, index: int) -> Tensor | None:
    return None if labels is None else labels.chunk(parts)[index]


def unreduced(model: nn.Module) -> AbstractContextManager:
    """Within it a backward pass adds to the gradients of this rank alone."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
