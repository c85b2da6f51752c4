"""``frl pretrain [PRESET] [--objective NAME] --data faces.beton --out runs/x [OPTIONS]``, ``frl pretrain --list``.

``--config FILE`` takes the options of a file, which others on the command line override; ``--print-config`` prints them
all instead of training; ``--processes N`` starts so many.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from frl import console, recipes
from frl.cli import launching, objectives, run_files
from frl.cli.data import open_images, what_writing_would_win
from frl.cli.preflight import check_files
from frl.cli.probes import open_probes
from frl.config import OptimConfig, RunConfig, validate, without_measuring
from frl.errors import TrainingError
from frl.models.batchnorm import shares_statistics
from frl.options import parse
from frl.presets import PRESETS, preset
from frl.runtime.distributed import World, world
from frl.runtime.environment import device_name
from frl.runtime.lock import run_lock
from frl.runtime.numerics import numerics
from frl.runtime.precision import uses_bf16
from frl.runtime.staging import from_stores, staged
from frl.training.build import build, check_network, with_precision
from frl.training.memory import step_memory, with_largest_batch
from frl.training.train import train
from pipelines.loader import identities_of, make_loader
from pipelines.stages import StagedLoader

COMMON = (
    *("--data", "--out", "--optim.epochs", "--optim.batch-size", "--optim.accumulate", "--optim.lr", "--model.arch"),
    *("--knn.data", "--probe.tasks", "--probe.data", "--engine", "--workers", "--augment", "--seed", "--max-steps"),
    *("--device", "--wandb"),
)
"""The options that the short help shows."""

HELP = f"""Pre-train on a .beton, or on a folder or tars as they are. The first argument is a preset (vggface2 if \
none; --list tells of each): {", ".join(PRESETS)}. {objectives.HELP} \
--config FILE takes the options of a file: YAML, or the config.json of a run; --print-config prints them all instead \
of training. --processes N starts so many (none: one for each GPU)."""


def main(arguments: list[str]) -> int:
    """Parse a preset and its overrides, then train; ``--list`` prints the presets and objectives instead.

    Returns:
        The exit status.
    """
    if arguments == ["--list"]:
        print(f"{recipes.listing()}\n\nObjectives. {objectives.HELP}\n\n{objectives.listing()}")
        return 0
    wanted, rest = run_files.taken_out(arguments, launching.OPTION)
    config, name = parsed([argument for argument in rest if argument != run_files.PRINT])
    if run_files.PRINT in rest:
        validate(config)
        print(run_files.as_yaml(config), end="")
        return 0
    processes = launching.count(wanted, config)
    if processes > 1:
        return launching.launch(processes, config, rest)
    stopped_by = run(config, name)
    if stopped_by is None and os.environ.get("RANK", "0") == "0":
        console.suggest(("frl", "report", config.out), ("frl", "export", config.out, "--out", "backbone.pth"))
    return 0 if stopped_by is None else 128 + stopped_by  # as a shell expects of a command that a signal ended


def parsed(arguments: list[str]) -> tuple[RunConfig, str]:
    """The run that the command line describes, and what it is called: its preset, or the file of its options."""
    files, rest = run_files.taken_out(arguments, run_files.OPTION)
    named = bool(rest) and not rest[0].startswith("-")
    name = rest[0] if named else "vggface2"
    default, options = objectives.with_objective(preset(name).config, [] if files else rest[named:])
    if files:
        objectives.define(rest)  # a file may name an objective that the command line says where to find
        default, options = objectives.with_objective(run_files.with_file(default, Path(files[0])), rest[named:])
        name = name if named else files[0]
    config = parse(RunConfig, options, default=default, prog=f"frl pretrain {name}", description=HELP, common=COMMON)
    return config, name


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
            config = with_largest_batch(config, place, identities_of(data, open_images))
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
            compile=not config.deterministic,
            open=open_images,
        )
        loader = StagedLoader(config.augment, open_loader)
        built = build(config, loader, place)
        probes = open_probes(config, place, built.objective.backbone)
        # The first thing that is made: by now it is known that the run can begin.
        with run_lock(config.out, enabled=place.is_main):
            if place.is_main:
                print(_summary(config, loader, place, name))
                for line in what_writing_would_win(loader.full.betons.betons):
                    print(line, file=sys.stderr)
            try:
                return train(built, probes=probes)
            except torch.OutOfMemoryError as error:
                cause = f"the GPU's memory does not hold {config.images_at_once(place.size)} images at once ({error})"
                remedy = "Use --optim.accumulate 2 (the same batch in two parts) or --recompute"
                raise TrainingError("a step", cause, remedy) from error


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
        "memory": str(step_memory(config, images, uses_bf16(config.precision), loader.identities)),
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
