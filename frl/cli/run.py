"""A run of ``frl pretrain``: its parts on this process's device, built of a configuration and trained."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from frl import recipes
from frl.cli.data import open_images, what_writing_would_win
from frl.cli.preflight import check_files
from frl.config import OptimConfig, RunConfig, too_late, validate, without_measuring
from frl.errors import TrainingError
from frl.models.batchnorm import shares_statistics
from frl.runtime.distributed import World, world
from frl.runtime.environment import device_name
from frl.runtime.lock import run_lock
from frl.runtime.numerics import numerics
from frl.runtime.precision import uses_bf16
from frl.runtime.staging import from_stores, staged
from frl.training.build import build, check_network, with_precision
from frl.training.memory import step_memory, with_largest_batch
from frl.training.train import train
from pipelines.loader import bytes_on_device, identities_of, make_loader
from pipelines.stages import StagedLoader

if TYPE_CHECKING:
    from frl.evaluate.probe import Schedule


def run(config: RunConfig, name: str) -> signal.Signals | None:
    """Build the parts of a run on this process's device and train; ``name`` is its preset's.

    Returns:
        The signal that stopped the run, if one did.

    Raises:
        FrlError: whatever is wrong, in a line.
    """
    validate(config)
    check_files(replace(config, data=from_stores(config.data)))
    check_network(config)
    if config.deterministic:
        config = without_measuring(config)
    data = staged(config.data)
    with world(config.device) as place, numerics(place.device, deterministic=config.deterministic):
        config = with_precision(config, place)
        if config.optim.batch_size == 0:
            beside = bytes_on_device(data, config.augment, open_images)
            config = with_largest_batch(config, place, identities_of(data, open_images), beside)
            validate(config)
        open_loader = partial(
            make_loader,
            data,
            batch_size=config.optim.batch_size,
            seed=config.seed,
            device=place.device,
            dtype=torch.bfloat16 if uses_bf16(config.precision) else torch.float32,
            rank=place.rank,
            world=place.size,
            compile=config.compile != "off" and not config.deterministic,
            open=open_images,
        )
        loader = StagedLoader(config.augment, open_loader)
        built = build(config, loader, place)
        probes = _probes(config, place, built.objective.backbone)
        # The first thing that is made: by now it is known that the run can begin.
        with run_lock(config.out, enabled=place.is_main):
            if place.is_main:
                print(_summary(config, loader, place, name))
                for line in (*too_late(config), *what_writing_would_win(loader.full.betons.betons)):
                    print(line, file=sys.stderr)
            try:
                return train(built, probes=probes)
            except torch.OutOfMemoryError as error:
                cause = f"the GPU's memory does not hold {config.images_at_once(place.size)} images at once ({error})"
                remedy = "Use --optim.accumulate 2 (the same batch in two parts) or --recompute"
                raise TrainingError("a step", cause, remedy) from error


def _probes(config: RunConfig, place: World, backbone: nn.Module) -> Schedule | None:
    """This rank's part of the run's probes; None: it has none, and needs nothing of what judges."""
    if config.knn.data is None and not config.probe.tasks:
        return None
    from frl.cli.probes import open_probes

    return open_probes(config, place, backbone)


def _summary(config: RunConfig, loader: StagedLoader, place: World, name: str) -> str:
    """The start-up table."""
    optim, steps = config.optim, len(loader)
    images = config.images_at_once(place.size)
    rows = {
        "data": f"{loader.full.betons.path}: {loader.samples:,} images, engine {config.data.engine}",
        "order": f"{loader.sampling}, {steps:,} steps an epoch",
        "model": config.model.network,
        "objective": recipes.objective_in_words(config.objective),
        "crops": recipes.crops_in_words(config.augment),
        "preset": f"{name}: {optim.epochs} epochs, batch {optim.batch_size}, {_rate(optim)}",
        "device": f"{place.size} x {device_name(place.device)}",
        "precision": f"{config.precision}, deterministic" if config.deterministic else config.precision,
        "batch": f"{images} images at once a process, {optim.accumulate} times a step; {_statistics(config, place)}",
        "memory": str(step_memory(config, images, uses_bf16(config.precision), loader.identities, place.device)),
        "placement": str(loader.placement),
        "time": f"{steps * optim.epochs:,} steps; told after the first {2 * config.log_every_steps}",
        "output": str(config.out),
    }
    return "\n".join(f"{key:>9}  {value}" for key, value in rows.items())


def _rate(optim: OptimConfig) -> str:
    peak = f"peak lr {optim.lr * optim.lr_scale:g}"
    return peak if optim.lr_scale == 1 else f"{peak} (given as {optim.lr:g} for {optim.reference_batch})"


def _statistics(config: RunConfig, place: World) -> str:
    if not shares_statistics(config, place):
        return "BatchNorm over each process's own"
    return f"BatchNorm over {config.model.batch_norm_group or place.size} processes"
