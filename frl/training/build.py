"""From a configuration to a run: the one place where its parts are put together."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from frl.batch import Loader
from frl.config import RunConfig
from frl.config.objective import ObjectiveConfig
from frl.errors import ConfigError
from frl.models.backbone import build_backbone, recompute_blocks, require_size, zero_residual_branches
from frl.models.batchnorm import join_group, shares_statistics, synchronise
from frl.models.compiled import choose_encoders, faster_precision
from frl.models.small_maps import adapt_convolutions
from frl.objectives import Objective, Setting
from frl.runtime.distributed import World
from frl.runtime.precision import computes_bf16
from frl.training.resume import kept_options
from frl.training.step import Step


@dataclass(frozen=True)
class Run:
    """The parts of a run on one rank.

    Attributes:
        config: already validated.
        loader: batches of this rank.
        step: trains the objective on one of them.
        world: this process among the ranks.
    """

    config: RunConfig
    loader: Loader
    step: Step
    world: World

    @property
    def objective(self) -> Objective:
        """What is trained."""
        return self.step.objective


def build(config: RunConfig, loader: Loader, world: World) -> Run:
    """The parts of the run that ``config`` describes, on the batches of ``loader``. A collective call.

    Raises:
        ConfigError: if the batch or the ranks cannot be divided as configured, or the backbone cannot be trained so.
    """
    check_network(config)
    config = with_precision(config, world)
    step = build_step(config, len(loader), world, identities=loader.identities)
    return Run(config, loader, step, world)


def build_step(config: RunConfig, steps_per_epoch: int, world: World, identities: int = 0) -> Step:
    """The step of a run, without a loader. A collective call.

    Raises:
        ConfigError: if the batch or the ranks cannot be divided as configured.
    """
    objective = build_objective(config, steps_per_epoch, world, identities)
    return Step(config, objective, steps_per_epoch, world)


def with_precision(config: RunConfig, world: World) -> RunConfig:
    """``config`` with the number format decided; a run that goes on keeps its own. A collective call.

    A GPU that has bf16 is much faster with it. A CPU that has it may be faster or not: there both are measured, unless
    the run is to be deterministic.
    """
    if config.precision != "auto":
        return config
    kept = kept_options(config, world)
    if kept is not None and kept["precision"] != "auto":
        return replace(config, precision=kept["precision"])
    on_cpu = world.device.type == "cpu"
    if not computes_bf16(world.device) or (on_cpu and config.deterministic):
        return replace(config, precision="fp32")
    return replace(config, precision=faster_precision(config, world) if on_cpu else "bf16")


def build_objective(config: RunConfig, steps_per_epoch: int, world: World, identities: int = 0) -> Objective:
    """The objective on this rank's device; every rank starts from the same weights. A collective call.

    Raises:
        ConfigError: if the batch or the ranks cannot be divided as configured.
    """
    check_shares(config, world)
    objective = new_objective(config, Setting.of(config, steps_per_epoch, world.size, identities))
    objective.to(memory_format=torch.channels_last)
    for backbone in backbones(objective).values():
        if world.device.type == "cpu":
            adapt_convolutions(backbone)
    if shares_statistics(config, world):
        synchronise(objective, join_group(config.model.batch_norm_group))
    objective.to(world.device)
    images, sizes = config.images_at_once(world.size), [spec.size for spec in config.augment.crops]
    for name, backbone in backbones(objective).items():
        others = [encode for encoders in objective.encoders.values() for encode in encoders]
        calls = objective.calls(name, images, sizes)
        objective.encoders[name] = choose_encoders(backbone, config, world, calls, others)
    return objective


def new_objective(config: RunConfig, setting: Setting) -> Objective:
    """The objective with its initial weights, which the seed determines, on the CPU."""
    torch.manual_seed(config.seed)
    backbone, width = build_backbone(config.model.network)
    if config.model.zero_init_residual:
        zero_residual_branches(backbone)
    make: Callable[..., Objective] = implementation(config.objective)
    objective = make(config.objective, backbone, width, setting)
    if config.recompute:
        for network in backbones(objective).values():
            recompute_blocks(network)
    return objective


def implementation(config: ObjectiveConfig) -> type[Objective]:
    """The class that carries out an objective.

    Raises:
        ConfigError: if there is none where the configuration says.
    """
    module, _, name = config.implementation.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        remedy = f"Let {type(config).__qualname__} name module:class."
        raise ConfigError(f"the objective {config.name}", f"{config.implementation}: {error}", remedy) from error


def backbones(objective: Objective) -> dict[str, nn.Module]:
    """The backbones of an objective by the names of their attributes."""
    return {name: getattr(objective, name) for name in objective.backbones}


def check_network(config: RunConfig) -> None:
    """Refuse a backbone that does not exist, or that does not take images of the run's sizes.

    Raises:
        ConfigError: naming the option and the size.
    """
    network = config.model.network
    sizes = {spec.size: "--augment.crops" for augment in config.augment.by_stage for spec in augment.crops}
    if config.knn.data is not None:
        sizes.setdefault(config.knn.size, "--knn.size")
    if config.probe.tasks:
        sizes.setdefault(config.probe.size, "--probe.size")
    for size, option in sizes.items():
        require_size(network, size, option)


def check_shares(config: RunConfig, world: World) -> None:
    """Refuse a batch or ranks that cannot be divided as configured.

    Raises:
        ConfigError: naming the option and a number that works.
    """
    batch, parts = config.optim.batch_size, config.optim.accumulate
    if batch % (world.size * parts):
        cause = f"{batch} images cannot be shared equally by {world.size} processes times {parts} micro-batches"
        raise ConfigError("--optim.batch-size", cause, f"Use a multiple of {world.size * parts}.")
    group = config.model.batch_norm_group
    if group and world.size % group:
        cause = f"{world.size} processes cannot be divided into groups of {group}"
        raise ConfigError("--model.batch-norm-group", cause, "Use a divisor of the number of processes, or 0 for all.")
