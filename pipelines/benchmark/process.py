"""A contestant in processes of its own: started, let run by turns, measured from outside, and always ended."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipelines.benchmark.task import Task

IMPORTS_S = 90.0  # for what all contestants import, on a busy machine
WATCH_S = 0.5  # between two looks at its memory, which cost as much as there are processes on the machine
STOP_S = 30.0  # for all threads to stop, on a busy machine
AT_REST = "TZXx"  # stopped or ended; proc(5)
TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """A contestant that could not take part; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One turn of a contestant."""

    images_per_s: float
    cpu_ms_per_image: float


class Process:
    """The process group of one contestant, its workers included. Outside of its turns it is stopped and uses no core.

    Args:
        function: ``module:name`` of a ``Contestant``.
        task: what it is to do.
        limit_s: time for its first batch.

    Attributes:
        first_batch_s: from the imports that all contestants share to the first batch.
        peak_mb: peak of the group's memory, shared pages counted once, sampled during its turns.

    Raises:
        Failed: if the first batch does not come, or it does not stop after it.
    """

    def __init__(self, function: str, task: Task, limit_s: float) -> None:
        self.peak_mb = 0.0
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by end()
        self.child = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipelines.benchmark.child", function, task.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            bufsize=0,  # a buffered line would be out of the selector's sight
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        )
        try:
            self._answer(IMPORTS_S, "not ready")
            self.first_batch_s = self._answer(limit_s, "no first batch")["first_batch_s"]
            self._stop()
        except BaseException:
            self.end()
            raise

    def run(self, seconds: float) -> Round:
        """Let it work for ``seconds``.

        Raises:
            Failed: if it dies, takes far longer, or does not stop.
        """
        os.killpg(self.child.pid, signal.SIGCONT)
        before = self._cpu_seconds()
        assert self.child.stdin is not None
        self.child.stdin.write(f"{seconds}\n".encode())
        turn = self._answer(10 * seconds + 30, "no answer")
        used = self._cpu_seconds() - before
        self._stop()
        return Round(images_per_s=turn["images"] / turn["seconds"], cpu_ms_per_image=1000 * used / turn["images"])

    def _stop(self) -> None:
        """Stop the group, and wait until none of its threads runs: on a busy machine the signal takes a while."""
        os.killpg(self.child.pid, signal.SIGSTOP)
        deadline = time.monotonic() + STOP_S
        while any(state not in AT_REST for state in self._states()):
            if time.monotonic() > deadline:
                raise Failed(f"it did not stop within {STOP_S:.0f} s")
            time.sleep(0.005)

    def end(self) -> None:
        """Kill the group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()
        self.child.wait(timeout=10)
        self.errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def _answer(self, limit_s: float, failure: str) -> dict[str, float]:
        """The next line, within a time limit; memory is watched meanwhile."""
        over = threading.Event()
        watch = threading.Thread(target=self._watch_memory, args=(over,))
        watch.start()
        try:
            assert self.child.stdout is not None
            with selectors.DefaultSelector() as selector:
                selector.register(self.child.stdout, selectors.EVENT_READ)
                if not selector.select(limit_s):
                    raise Failed(f"{failure} within {limit_s:.0f} s")
            line = self.child.stdout.readline()
        finally:
            over.set()
            watch.join()
        if not line:
            self.errors.seek(0)
            words = self.errors.read().strip().splitlines()
            raise Failed(words[-1] if words else f"ended with status {self.child.wait(10)}")
        return json.loads(line)

    def _watch_memory(self, over: threading.Event) -> None:
        while not over.wait(WATCH_S):
            self.peak_mb = max(self.peak_mb, sum(map(_memory_mb, self._members())))

    def _members(self) -> list[Path]:
        """The ``/proc`` folders of the group."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            fields = _stat(stat)
            if fields and int(fields[2]) == self.child.pid:
                found.append(stat.parent)
        return found

    def _states(self) -> list[str]:
        """The states of all threads of the group, a letter each."""
        threads = [_stat(stat) for folder in self._members() for stat in (folder / "task").glob("*/stat")]
        return [fields[0] for fields in threads if fields]

    def _cpu_seconds(self) -> float:
        """Processor time of the group so far, that of ended and awaited members included."""
        stats = [_stat(folder / "stat") for folder in self._members()]
        return sum(sum(map(int, fields[11:15])) for fields in stats if fields) / TICKS


def _stat(path: Path) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third on (proc(5)); none if the process has ended."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _memory_mb(folder: Path) -> float:
    """Resident memory, pages in common shared out (PSS); 0 if the process has ended."""
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    parts = {line.split()[0]: int(line.split()[1]) for line in lines[1:] if len(line.split()) == 3}
    return parts.get("Pss:", 0) / 1024
