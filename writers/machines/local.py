"""Shards as processes of this machine."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

from frl.machine import cores
from frl.runtime.clusters import Outcome
from writers.machines.task import ShardTask


class Local:
    """Processes of this machine; they end with this one.

    Args:
        workers: of each; 0: as many as there are cores, so that they come one after the other.
    """

    def __init__(self, workers: int) -> None:
        self.at_once: int | None = max(1, cores() // workers) if workers else 1

    def submit(self, task: ShardTask) -> tuple[subprocess.Popen[bytes], Path]:
        """See ``Engine``."""
        path = task.path.with_suffix(".task")
        path.write_bytes(pickle.dumps(task))
        path.with_suffix(".outcome").unlink(missing_ok=True)
        with open(path.with_suffix(".log"), "ab") as log:
            command = [sys.executable, "-m", "writers.machines.task", str(path)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return process, path.with_suffix(".outcome")

    def outcome(self, job: tuple[subprocess.Popen[bytes], Path]) -> Outcome | None:
        """See ``Engine``."""
        process, path = job
        if (status := process.poll()) is None:
            return None
        if status == 0 and path.is_file():
            return Outcome(answer=pickle.loads(path.read_bytes()))
        return Outcome(lost=f"its process ended with status {status}; its log: {path.with_suffix('.log')}")

    def cancel(self, job: tuple[subprocess.Popen[bytes], Path]) -> None:
        """See ``Engine``."""
        process, _ = job
        process.kill()
        process.wait()
