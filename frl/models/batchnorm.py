"""BatchNorm over the images of several ranks: one collective each way, traceable by ``torch.compile``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from frl.config import RunConfig
from frl.errors import ConfigError
from frl.runtime.distributed import World

ENOUGH_IMAGES = 64  # a GPU's own images give statistics as good as the paper's from here on


@dataclass(frozen=True)
class Group:
    """The ranks that share their statistics.

    Attributes:
        name: of the process group, which a compiled graph can hold as a constant.
        ranks: how many they are.
    """

    name: str
    ranks: int

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` averaged over the ranks; one all-reduce."""
        reduced = torch.ops._c10d_functional.all_reduce(values, "sum", self.name)
        return torch.ops._c10d_functional.wait_tensor(reduced) / self.ranks


class SyncBatchNorm(_BatchNorm):
    """``nn.BatchNorm1d`` and ``2d`` as if the batches of all ranks of a group were one (Ioffe and Szegedy, 2015).

    Every rank must hold as many images as every other; the trainer's do. Names and shapes of the state are those of
    torch's own layers. While it trains, a forward pass makes one all-reduce of ``2 * num_features`` float64 numbers,
    a backward pass one of as many float32.

    Args:
        num_features: channels.
        eps: added to the variance.
        momentum: weight of a new batch in the running statistics.
        group: the ranks.
        affine: whether the normalised values are scaled and shifted by what is learnt.
    """

    def __init__(self, num_features: int, eps: float, momentum: float, group: Group, *, affine: bool = True) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum, affine=affine)
        self.group = group

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected (N, C, ...), got {tuple(input.shape)}")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(N, C, ...)`` of this rank, any floating dtype, to the same shape and dtype."""
        if not self.training:
            return super().forward(input)
        output, mean, var = _Normalise.apply(input, self.weight, self.bias, self.eps, self.group)
        count = input.numel() // input.shape[1] * self.group.ranks
        self._remember(mean, var * (count / (count - 1)))
        return output

    @torch.no_grad()
    def _remember(self, mean: torch.Tensor, var: torch.Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class SyncBatchNormAct(SyncBatchNorm):
    """The same for timm's BatchNorm with what follows it: ``drop`` and ``act``, both taken from the layer replaced."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(N, C, ...)`` of this rank to the same shape."""
        return self.act(self.drop(super().forward(input)))


class _Normalise(torch.autograd.Function):
    """The arithmetic of ``SyncBatchNorm``: the normalised input, and the group's mean and biased variance."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
        group: Group,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        var, mean = torch.var_mean(x.float(), _all_but_channels(x), correction=0)
        mean, var = mean.double(), var.double()
        # In float64 the square of the mean may be added and taken away again without loss.
        mean, square = group.mean(torch.stack([mean, var + mean.square()])).unbind()
        mean, var = mean.float(), (square - mean.square()).float()
        output = F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(var + eps))
        ctx.group = group
        ctx.mark_non_differentiable(mean, var)
        return output, mean, var

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        dims, shape = _all_but_channels(x), (1, -1, *[1] * (x.dim() - 2))
        grad = grad.float()
        normalised = (x - mean.view(shape)) * scale.view(shape)
        sums = torch.stack([grad.sum(dims), (grad * normalised).sum(dims)])
        count = x.numel() // x.shape[1]
        mean_grad, mean_product = (ctx.group.mean(sums) / count).view(2, *shape).unbind()
        factor = scale if weight is None else weight * scale
        grad_x = factor.view(shape) * (grad - mean_grad - normalised * mean_product)
        of_weight, of_bias = (None, None) if weight is None else (sums[1], sums[0])
        return grad_x.to(x.dtype), of_weight, of_bias, None, None


def _all_but_channels(x: torch.Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def shares_statistics(config: RunConfig, world: World) -> bool:
    """Whether BatchNorm is to be synchronised: as told, or where a rank's own images are too few."""
    if config.model.batch_norm == "auto":
        return world.size > 1 and config.images_at_once(world.size) < ENOUGH_IMAGES
    return world.size > 1 and config.model.batch_norm == "sync"


def join_group(ranks: int) -> Group:
    """The group of this rank when consecutive ``ranks`` share statistics; 0: all. A collective call."""
    if ranks in (0, dist.get_world_size()):
        return Group(dist.distributed_c10d._get_default_group().group_name, dist.get_world_size())
    mine, _ = dist.new_subgroups(ranks)
    return Group(mine.group_name, ranks)


def synchronise(module: nn.Module, group: Group) -> None:
    """Replace every BatchNorm below ``module`` by one over ``group``, with the same parameters and state.

    Those of a teacher still learn nothing.

    Raises:
        ConfigError: if there is one of an unknown kind.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm):
            setattr(module, name, _synchronised(child, group))
        else:
            synchronise(child, group)


def _synchronised(layer: _BatchNorm, group: Group) -> SyncBatchNorm:
    assert layer.momentum is not None
    of_torch = type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d)
    if not of_torch and not (hasattr(layer, "drop") and hasattr(layer, "act")):
        cause = f"a layer of the network, {type(layer).__name__}, cannot share its statistics"
        raise ConfigError("--model.batch-norm", cause, "Use local.")
    kind = SyncBatchNorm if of_torch else SyncBatchNormAct
    synced = kind(layer.num_features, layer.eps, layer.momentum, group, affine=layer.affine)
    if not of_torch:
        synced.drop, synced.act = layer.drop, layer.act
    synced.load_state_dict(layer.state_dict())
    for new, old in zip(synced.parameters(), layer.parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
    return synced.train(layer.training)


@contextmanager
def statistics_held(module: nn.Module) -> Iterator[None]:
    """Normalise by the batch as in training, but leave the running statistics as they are.

    The operations stay the same, so that a forward pass within keeps for its backward pass what one outside keeps.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum, layer.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for layer, (momentum, counter) in zip(layers, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, counter
