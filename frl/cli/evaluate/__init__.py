"""``frl evaluate TASK --weights WEIGHTS ...``: measure a backbone beside its baselines. One module a task."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import tyro

from frl import console
from frl.cli.evaluate.knn import Knn
from frl.cli.evaluate.networks import Networks
from frl.cli.evaluate.supervised import ActionUnits, Affect, AnyTarget, Expression, Face3d, Landmarks, Pose
from frl.cli.evaluate.verification import Verification
from frl.errors import ConfigError
from frl.files import atomic_write

EVALUATIONS: dict[str, Callable[..., Networks]] = {
    "verification": Verification,
    "knn": Knn,
    "landmarks": Landmarks,
    "face3d": Face3d,
    "pose": Pose,
    "expression": Expression,
    "affect": Affect,
    "action-units": ActionUnits,
    "task": AnyTarget,
}
"""What can be measured, by its name on the command line."""


def main(arguments: list[str]) -> None:
    """Parse the task and its options, measure, and print a table.

    Raises:
        FrlError: whatever is wrong with the task, the weights, the data or the options.
    """
    name = arguments[0] if arguments else "--help"
    if not name.startswith("-") and name not in EVALUATIONS:
        meant = get_close_matches(name, EVALUATIONS, 1)
        remedy = f"{f'Is {meant[0]} meant? ' if meant else ''}Known are {', '.join(EVALUATIONS)}."
        raise ConfigError("the task", f"there is none called {name!r}", remedy)
    task = tyro.extras.subcommand_cli_from_dict(
        EVALUATIONS,
        args=arguments,
        prog="frl evaluate",
        description="Measure weights: who is who, and what heads learn from labels; always beside baselines.",
    )
    run(task)
    if task.weights is not None and task.weights.is_dir():
        console.suggest(("frl", "report", task.weights))


def run(task: Networks) -> Mapping[str, Any]:
    """Measure every network of ``task``, print a row for each, and return the results by name.

    Raises:
        FrlError: whatever is wrong with the weights, the data or the options.
    """
    task.check()
    results = task.measure()
    if task.out is not None and os.environ.get("RANK", "0") == "0":  # under torchrun one process writes
        with atomic_write(task.out) as stream:
            stream.write(json.dumps(results, indent=2, default=dataclasses.asdict).encode())
    return results
