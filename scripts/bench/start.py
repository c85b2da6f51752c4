"""Time from ``frl pretrain`` to the first batch, in fresh processes: ``python scripts/bench/start.py faces.beton``."""

from __future__ import annotations

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
    """A .beton file of at least 64 images."""
    rounds: int = 5
    """Fresh processes; the first also warms the caches and is told apart."""


def seconds_to_first_batch(data: Path) -> float:
    """Start a run in a fresh process and wait for the line that it prints with its first batch."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        command = [sys.executable, "-m", "frl.cli", "pretrain", "cpu", "--data", data, "--out", out, "--max-steps", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("training from step"):
                    elapsed = time.perf_counter() - began
                    break
            else:
                raise SystemExit(f"bench_start: frl pretrain ended without a batch (status {process.wait()})")
            process.stdout.read()
        return elapsed


def main() -> None:
    """Measure, and print the seconds."""
    config = tyro.cli(BenchConfig)
    first, *warm = [seconds_to_first_batch(config.data) for _ in range(config.rounds)]
    print(f"to the first batch: {first:.1f} s cold, {statistics.median(warm):.1f} s warm (median of {len(warm)})")


if __name__ == "__main__":
    sys.exit(console.run("bench start", main))
