"""Run the steps of a study on a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from frl.runtime.clusters import Engine, Jobs, Outcome
from frl.study.perform import INTERRUPTED, LOG, run_step
from frl.study.steps import Step

LOOK_S = 1.0
"""Seconds between two looks at the jobs."""
LOST = -1
"""In the place of the exit status of a step whose job is gone."""


@dataclass(frozen=True)
class StepTask:
    """A step as a job: a task without arguments.

    Attributes:
        step: to run.
        out: folder of the study, which every machine sees under this name.
        place: the folder that the study was started in, for the paths in its file.
    """

    step: Step
    out: Path
    place: Path

    def __call__(self) -> int:
        """Run it; its exit status."""
        os.chdir(self.place)
        return run_step(self.step, self.out)


@dataclass(frozen=True)
class Elsewhere:
    """Runs steps as jobs of a cluster.

    Attributes:
        engine: the cluster.
        jobs: how many at once.
    """

    engine: Engine
    jobs: int

    def __call__(self, steps: Sequence[Step], out: Path, tell: Callable[[Step, int], None]) -> None:
        """Run them; see ``Launcher``. After an interruption the jobs under way are cancelled."""
        tasks = [StepTask(step, out, Path.cwd()) for step in steps]

        def ended(task: StepTask, outcome: Outcome) -> None:
            tell(task.step, _status(task, outcome))

        Jobs(self.engine, tasks, self.jobs).run(ended, lambda: time.sleep(LOOK_S))


def _status(task: StepTask, outcome: Outcome) -> int:
    """The exit status; why a job was lost is noted in the step's log."""
    if outcome.lost is not None:
        folder = task.step.folder(task.out)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG).open("a") as log:
            log.write(f"{outcome.lost}\n")
        return LOST
    # Here an interrupted job is one that the cluster has ended: it goes on with the next command.
    return LOST if outcome.answer in INTERRUPTED else outcome.answer
