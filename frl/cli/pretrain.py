"""``frl pretrain [PRESET] [--objective NAME] --data faces.beton --out runs/x [OPTIONS]``, ``frl pretrain --list``.

``--config FILE`` takes the options of a file, which others on the command line override; ``--print-config`` prints them
all instead of training; ``--processes N`` starts so many.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from frl import console, recipes
from frl.cli import launching, objectives, run_files
from frl.config import RunConfig, too_late, validate
from frl.options import parse
from frl.presets import PRESETS, preset

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
        for line in too_late(config):
            print(line, file=sys.stderr)
        return 0
    processes = launching.count(wanted, config)
    if processes > 1:
        return launching.launch(processes, config, rest)
    validate(config)
    from frl.cli.run import run  # torch and all that trains: not for a help page, nor for options that are refused

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
