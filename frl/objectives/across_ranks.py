"""Values of all ranks in a loss, with their gradients.

``DistributedDataParallel`` averages the gradients of the ranks. With these functions the average is the gradient of the
loss of the joined batch, as one process would compute it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# From 2.14 on torch warns of the name that earlier versions know alone.
all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


def gather(values: Tensor) -> Tensor:
    """``(B, ...)`` of every rank one after the other, ``(ranks * B, ...)``. A collective call each way.

    For a loss of this rank's samples that depends on those of the others: the mean of the ranks' losses is the loss of
    the joined batch.
    """
    return _Gather.apply(values)


def mean(values: Tensor) -> Tensor:
    """The mean of ``values`` over the ranks. A collective call each way.

    For a loss that every rank computes alike, of statistics of the joined batch.
    """
    return _Mean.apply(values)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.contiguous()
        ctx.size = len(values)
        everybody = values.new_empty(dist.get_world_size() * len(values), *values.shape[1:])
        all_gather(everybody, values)
        return everybody

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        first = dist.get_rank() * ctx.size
        return grad[first : first + ctx.size]


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _averaged(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _averaged(grad)


def _averaged(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / dist.get_world_size()
