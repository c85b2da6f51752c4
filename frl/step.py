"""Forward and backward of one step: in one piece, or in micro-batches whose samples are assigned together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from frl.batchnorm import statistics_held
from frl.guard import tell_all_ranks
from frl.precision import Autocast
from frl.swav import SwAV


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
        assignments = objective.assign(features, objective.net.score(features))
    losses = []
    for index, targets in zip(parts, assignments.chunk(micro_batches, dim=1), strict=True):
        with nullcontext() if index == parts[-1] else unreduced(model):
            with autocast():
                loss = model(part(index), targets)["loss"] / micro_batches
            tell_all_ranks(loss).backward()
        losses.append(loss.detach())
    return objective.report(torch.stack(losses).sum(), features, assignments)


def share(views: Sequence[torch.Tensor], crop_counts: Sequence[int], parts: int, index: int) -> list[torch.Tensor]:
    """The views of the ``index``-th of ``parts`` equal shares of the samples, laid out like the whole."""
    return [
        torch.cat([crop.chunk(parts)[index] for crop in view.chunk(count)])
        for view, count in zip(views, crop_counts, strict=True)
    ]


def unreduced(model: nn.Module) -> AbstractContextManager:
    """Within it a backward pass adds to the gradients of this rank alone."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
