"""Time from ``frl pretrain`` to the first batch, in fresh processes: ``python scripts/bench/start.py faces.beton``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from frl import console


@dataclass(frozen=True)
class BenchConfig:
    """What to measure."""

    data: tyro.conf.Positional[Path]
    """A .beton file of at least 128 images."""
    rounds: int = 5
    """Fresh processes; the first also warms the caches and is told apart."""


@dataclass(frozen=True)
class Start:
    """Seconds to the first batch: by the clock, and of processor time, which a busy machine changes less."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s, {self.cpu:.1f} CPU-s"


def cpu_seconds(process: int) -> float:
    """User and system time of a process so far (proc(5))."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def to_first_batch(data: Path) -> Start:
    """Start a run in a fresh process and wait for the line that it prints with its first batch."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        options = ["--data", str(data), "--out", out, "--max-steps", "1"]
        command = [sys.executable, "-m", "frl.cli", "pretrain", "cpu", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("training from step"):
                    found = Start(time.perf_counter() - began, cpu_seconds(process.pid))
                    break
            else:
                raise SystemExit(f"bench_start: frl pretrain ended without a batch (status {process.wait()})")
            process.stdout.read()
        return found


def main() -> None:
    """Measure, and print the seconds."""
    config = tyro.cli(BenchConfig)
    first, *warm = [to_first_batch(config.data) for _ in range(config.rounds)]
    median = Start(statistics.median(s.wall for s in warm), statistics.median(s.cpu for s in warm))
    print(f"to the first batch: {first} cold; {median} warm (medians); load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(console.run("bench start", main))
