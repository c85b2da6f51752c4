"""The same step on several ranks."""

from __future__ import annotations

import warnings

from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from frl.config import RunConfig
from frl.objectives import Objective
from frl.runtime.distributed import World


def distribute(module: Objective, config: RunConfig, world: World) -> nn.Module:
    """``module``, whose gradients are averaged over the ranks while the backward pass goes on."""
    if world.size > 1 and module.shared_out:  # rows of which every rank has its own: there is nothing to average
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, list(module.shared_out))
    # Every step uses every parameter in the same way, which DDP may rely on; but then it cannot accumulate.
    model = averaged(module, world, static_graph=config.optim.accumulate == 1)
    if isinstance(model, DistributedDataParallel) and config.gradient_compression == "bf16":
        model.register_comm_hook(None, bf16_compress_hook)
    return model


def averaged(module: nn.Module, world: World, *, static_graph: bool = True) -> nn.Module:
    """``module``, whose gradients are averaged over the ranks while the backward pass goes on.

    Args:
        module: on this rank's device; what rank 0 has is given to all.
        world: this process among the ranks; a single one gets the module itself.
        static_graph: whether every step uses every parameter in the same way.
    """
    if world.size == 1:
        return module
    # Buffers are BatchNorm's running statistics, which training does not read: rank 0's are the ones saved. The queue
    # is every rank's own, and must still be empty here: DDP begins by giving rank 0's buffers to all.
    # A 1 x 1 kernel lies alike in both layouts, and DDP warns of strides that nobody reads. Of others it has no cause:
    # autograd gives every gradient the layout of its weight.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    model = DistributedDataParallel(module, gradient_as_bucket_view=True, static_graph=static_graph)
    # Not an argument: before torch 2.13 that of this name also keeps DDP from giving them out at the beginning.
    model.broadcast_buffers = False
    return model
