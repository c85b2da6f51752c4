"""Do the steps of a study: each once, whatever was done before is left as it is, and a failure stops no other."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from frl.files import atomic_write, wait_until_free
from frl.study.grid import Cell
from frl.study.steps import STAGES, Step

LOG = "log.txt"
LOCK = "lock"
PATIENCE_S = 60.0
"""For the process that a killed study has left at work on a step: it learns of that, saves, and ends."""
IN_USE = "another process works on it. Let it end, or give this study another --out."
LAST_LINES = 12
FRAME = "│╭╮╰╯─ \r\n"  # of the box that a wrong option is told in
INTERRUPTED = (130, 143)


@dataclass(frozen=True)
class Failure:
    """A step that did not succeed, and why, as its log ends."""

    step: Step
    reason: str


class Launcher(Protocol):
    """Where steps run."""

    def __call__(self, steps: Sequence[Step], out: Path, tell: Callable[[Step, int], None]) -> None:
        """Run steps that do not need each other; ``tell`` is called with the exit status of each as it ends."""
        ...


def perform(cells: Iterable[Cell], out: Path, launch: Launcher) -> list[Failure]:
    """Do what the cells need, stage by stage.

    Returns:
        The steps that failed; what needs their product is not tried.

    Raises:
        KeyboardInterrupt: if a step was interrupted; the same call goes on from there.
    """
    wanted = steps_of(cells)
    missing = _missing(wanted, out)
    failures: list[Failure] = []
    for stage in STAGES:
        steps = [step for step in wanted if step.stage == stage]
        ready = [s for s in steps if s.key in missing and (s.source is None or s.source[1].is_done(out))]
        if not ready:
            continue
        print(f"{stage}: {len(ready)} of {len(steps)} to do", flush=True)
        ended: list[int] = []

        def tell(step: Step, status: int, ended: list[int] = ended, of: int = len(ready)) -> None:
            ended.append(status)
            said = "done" if status == 0 else f"failed (status {status})"
            print(f"  {len(ended)}/{of} {step.folder(out).name} {said}", flush=True)
            if status not in (0, *INTERRUPTED):
                failures.append(Failure(step, last_words(step.folder(out) / LOG)))

        launch(ready, out, tell)
    return failures


def _missing(steps: Sequence[Step], out: Path) -> set[str]:
    """The keys of what has to be done: a product that is gone is made again only for a step that will read it."""
    missing: set[str] = set()
    for step in (step for step in steps if step.stage == STAGES[-1]):
        for needed in reversed(_chain(step)):
            if needed.is_done(out):
                break
            missing.add(needed.key)
    return missing


def steps_of(cells: Iterable[Cell]) -> list[Step]:
    """What the cells need, each once; what another reads comes before it."""
    chains = (_chain(step) for cell in cells for step in cell.evaluations.values())
    return list({step.key: step for chain in chains for step in chain}.values())


def run_step(step: Step, out: Path, started: Callable[[subprocess.Popen[bytes]], None] = lambda process: None) -> int:
    """Run one step in a process of its own, with its log beside its product; its exit status.

    Args:
        step: to run.
        out: folder of the study.
        started: is given the process.
    """
    folder = step.folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = step.arguments(out)
    with atomic_write(folder / "command.json") as stream:
        stream.write(json.dumps(arguments, indent=2).encode())
    lock = folder / LOCK
    with (folder / LOG).open("ab") as log:
        if not wait_until_free(lock, PATIENCE_S):
            log.write(f"{folder}: {IN_USE}\n".encode())
            return 1
        # -P: a folder named like one of our packages, where the user happens to be, lends it no modules.
        command = [sys.executable, "-P", "-m", "frl.cli.study_step", str(lock), *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        started(process)
        return process.wait()


@dataclass(frozen=True)
class Here:
    """Runs steps on this machine.

    Attributes:
        jobs: how many at once.
    """

    jobs: int = 1

    def __call__(self, steps: Sequence[Step], out: Path, tell: Callable[[Step, int], None]) -> None:
        """Run them; see ``Launcher``. After an interruption none is begun, and those under way are asked to end."""
        processes: list[subprocess.Popen[bytes]] = []
        stopping = threading.Event()

        def started(process: subprocess.Popen[bytes]) -> None:
            processes.append(process)
            if stopping.is_set():  # it began while the others were asked to end
                process.terminate()

        with ThreadPoolExecutor(self.jobs) as pool:
            running = {pool.submit(run_step, step, out, started): step for step in steps}
            try:
                for future in as_completed(running):
                    tell(running[future], status := future.result())
                    if status in INTERRUPTED:
                        raise KeyboardInterrupt
            except BaseException:
                stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                for process in processes:
                    process.terminate()  # a run saves a checkpoint, a file keeps what is written
                raise


def last_words(log: Path) -> str:
    """How a log ends."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        words = (line.strip(FRAME) for line in lines)
        return "\n".join(deque(filter(None, words), LAST_LINES))


def _chain(step: Step) -> list[Step]:
    return [*([] if step.source is None else _chain(step.source[1])), step]
