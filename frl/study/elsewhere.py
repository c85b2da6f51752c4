"""Run the steps of a study on a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frl.runtime.clusters import Engine
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


@dataclass
class Elsewhere:
    """Runs steps as jobs of a cluster.

    Attributes:
        engine: the cluster.
        jobs: how many at once.
        running: jobs that have not ended, with their steps.
    """

    engine: Engine
    jobs: int
    running: list[tuple[Step, Any]] = field(default_factory=list)

    def __call__(self, steps: Sequence[Step], out: Path, tell: Callable[[Step, int], None]) -> None:
        """Run them; see ``Launcher``. After an interruption the jobs under way are cancelled."""
        waiting = list(steps)
        try:
            while waiting or self.running:
                while waiting and len(self.running) < self.jobs:
                    step = waiting.pop(0)
                    self.running.append((step, self.engine.submit(StepTask(step, out, Path.cwd()))))
                self.running = [pair for pair in self.running if not self._has_ended(*pair, out, tell)]
                time.sleep(LOOK_S)
        except BaseException:
            for _, job in self.running:
                self.engine.cancel(job)
            raise

    def _has_ended(self, step: Step, job: Any, out: Path, tell: Callable[[Step, int], None]) -> bool:
        outcome = self.engine.outcome(job)
        if outcome is None:
            return False
        if outcome.lost is not None:
            step.folder(out).mkdir(parents=True, exist_ok=True)
            with (step.folder(out) / LOG).open("a") as log:
                log.write(f"{outcome.lost}\n")
        status = LOST if outcome.lost is not None else outcome.answer
        # Here an interrupted job is one that the cluster has ended: it goes on with the next command.
        tell(step, LOST if status in INTERRUPTED else status)
        return True
