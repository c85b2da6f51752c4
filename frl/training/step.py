"""One step of training: views in, moved weights and what is worth logging out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from frl.config import RunConfig
from frl.models.batchnorm import statistics_held
from frl.objectives.swav import SwAV
from frl.runtime.distributed import World, distribute
from frl.runtime.precision import Autocast, autocast_for
from frl.training.nonfinite import BufferGuard, tell_all_ranks
from frl.training.optimisers import LarcSGD
from frl.training.schedule import learning_rate


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

    def __init__(self, config: RunConfig, objective: SwAV, steps_per_epoch: int, world: World) -> None:
        self.optim = config.optim
        self.objective = objective
        self.steps_per_epoch = steps_per_epoch
        self.optimiser = LarcSGD(
            objective.parameters(),
            lr=config.optim.start_lr,
            momentum=config.optim.momentum,
            weight_decay=config.optim.weight_decay,
            trust=config.optim.trust,
        )
        self.model = distribute(objective, config, world)
        self.autocast = autocast_for(config.precision, world.device)
        self.guard = BufferGuard(objective)
        self.taken = 0
        self.rate = 0.0

    @property
    def finite(self) -> torch.Tensor:
        """Bool scalar on the device: whether the last step's gradients were finite, and so moved anything."""
        return self.optimiser.finite

    def __call__(self, views: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Train on the views of this rank's share of a batch; a collective call.

        Args:
            views: one ``(count * B, 3, size, size)`` tensor per resolution, crop-major.

        Returns:
            What ``objective`` reports of the batch.
        """
        self.rate = learning_rate(self.taken, self.steps_per_epoch, self.optim)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        self.optimiser.zero_grad(set_to_none=True)
        self.guard.remember()
        outputs = forward_backward(
            self.model, self.objective, views, micro_batches=self.optim.accumulate, autocast=self.autocast
        )
        self.objective.before_step(self.taken)
        self.optimiser.step()
        self.guard.settle(self.finite)
        self.objective.after_step(self.taken)
        self.taken += 1
        return outputs


def forward_backward(
    model: nn.Module,
    objective: SwAV,
    views: Sequence[torch.Tensor],
    *,
    micro_batches: int,
    autocast: Autocast,
) -> dict[str, torch.Tensor]:
    """Add the gradients of the mean loss over ``views`` to the parameters.

    With several micro-batches the memory is that of one. A first pass without gradients computes the features of all,
    so that the Sinkhorn assignment, and the queue, are those of the whole batch; the loss of a sample depends on the
    others through nothing else but BatchNorm, whose statistics are those of the micro-batch (the second pass repeats
    the first exactly: nothing here is random). The price is that first pass, about a third more arithmetic.

    Args:
        model: ``objective``, or DDP around it.
        objective: the objective.
        views: one ``(count * B, 3, size, size)`` tensor per resolution, crop-major.
        micro_batches: into how many parts the B samples are divided; must divide B.
        autocast: makes the context of the forward passes.

    Returns:
        What ``objective`` reports of the whole batch.
    """
    if micro_batches == 1:
        with autocast():
            outputs = model(views)
        tell_all_ranks(outputs["loss"]).backward()
        return outputs
    parts = range(micro_batches)
    part = partial(share, views, objective.crop_counts, micro_batches)
    with torch.no_grad(), autocast(), statistics_held(objective):
        features = torch.cat([objective.embed(part(index))[: objective.assigned] for index in parts], dim=1)
        assignments, entropy = objective.assign(features, objective.net.score(features))
    losses = []
    for index, targets in zip(parts, assignments.chunk(micro_batches, dim=1), strict=True):
        with nullcontext() if index == parts[-1] else unreduced(model):
            with autocast():
                loss = model(part(index), targets)["loss"] / micro_batches
            tell_all_ranks(loss).backward()
        losses.append(loss.detach())
    return objective.report(torch.stack(losses).sum(), features, assignments, entropy)


def share(views: Sequence[torch.Tensor], crop_counts: Sequence[int], parts: int, index: int) -> list[torch.Tensor]:
    """The views of the ``index``-th of ``parts`` equal shares of the samples, laid out like the whole."""
    return [
        torch.cat([crop.chunk(parts)[index] for crop in view.chunk(count)])
        for view, count in zip(views, crop_counts, strict=True)
    ]


def unreduced(model: nn.Module) -> AbstractContextManager:
    """Within it a backward pass adds to the gradients of this rank alone."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
