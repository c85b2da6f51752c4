"""What ``frl pretrain cpu`` takes to its first batch and to its first step, in fresh processes.

python scripts/bench/start.py faces.beton
python scripts/bench/start.py faces.beton --beside ../frl-before --rounds 7      # another version's checkout
"""

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
from bench_report import table

from frl import console

ROOT = Path(__file__).parents[2]
TICK = 0.005  # seconds between two looks for the first step


@dataclass(frozen=True)
class BenchConfig:
    """What to measure."""

    data: tyro.conf.Positional[Path]
    """A .beton file of at least 128 images."""
    beside: tuple[Path, ...] = ()
    """Checkouts of other versions, which take turns with this one."""
    rounds: int = 5
    """Fresh processes of each version, after one that warms the caches and does not count."""


@dataclass(frozen=True)
class Start:
    """What a start took: processor seconds to the first batch and to the first step, and seconds to the batch."""

    batch: float
    step: float
    wall: float


def cpu_seconds(process: int) -> float:
    """User and system time of a process so far (proc(5))."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def start(version: Path, data: Path) -> Start:
    """Start a run of a version in a fresh process, whose Python keeps what it compiles, and watch what it leaves."""
    environment = os.environ | {"PYTHONPATH": str(version)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        began = time.perf_counter()
        options = ["--data", str(data), "--out", str(out), "--max-steps", "1"]
        command = [sys.executable, "-m", "frl.cli", "pretrain", "cpu", *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, cwd=version, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
            if not any(line.startswith("training from step") for line in process.stdout):
                raise SystemExit(f"bench start: frl pretrain ended without a batch (status {process.wait()})")
            batch, wall = cpu_seconds(process.pid), time.perf_counter() - began
            while not is_logged(out / "metrics.jsonl"):
                if process.poll() is not None:
                    raise SystemExit(f"bench start: frl pretrain ended without a step (status {process.wait()})")
                time.sleep(TICK)
            step = cpu_seconds(process.pid)
            process.stdout.read()
    return Start(batch, step, wall)


def is_logged(metrics: Path) -> bool:
    """Whether a step is in the log."""
    return metrics.exists() and '"loss"' in metrics.read_text()


def row(name: str, starts: list[Start], ours: list[Start]) -> tuple[str, ...]:
    """A version's line: the least and the median, and both as shares of this version's."""
    cells = [name]
    for part in ("batch", "step", "wall"):
        theirs, of_this = ([getattr(one, part) for one in many] for many in (starts, ours))
        cells.append(f"{min(theirs):.2f}, {statistics.median(theirs):.2f}")
        if part != "wall":
            shares = (least(theirs) / least(of_this) for least in (min, statistics.median))
            cells.append(", ".join(f"{share:.2f}" for share in shares))
    return tuple(cells)


def main() -> None:
    """Measure in turns, and print a table."""
    config = tyro.cli(BenchConfig)
    versions = (ROOT, *(path.resolve() for path in config.beside))
    starts: dict[Path, list[Start]] = {version: [] for version in versions}
    for turn in range(config.rounds + 1):
        for version in versions if turn % 2 else versions[::-1]:
            found = start(version, config.data.resolve())
            if turn:
                starts[version].append(found)
    head = ("version", "CPU-s to the first batch: least, median", "of this", "to the first step", "of this", "s, batch")
    print(table(head, [row(version.name, starts[version], starts[ROOT]) for version in versions]))
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(console.run("bench start", main))
