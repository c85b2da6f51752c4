"""What a run ran on: recorded at every start, so that a figure can be read years later."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from frl import __version__
from frl.runtime.distributed import World

PACKAGES = ("torch", "torchvision", "numpy", "simplejpeg", "ffcv", "nvidia-dali-cuda130", "numba", "opencv-python")


def describe(world: World) -> dict[str, Any]:
    """Software, processors and command of this process, JSON-ready."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "frl": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": versions(),
        "cuda": torch.version.cuda,
        "device": device_name(world),
        "processes": world.size,
        "cores": len(os.sched_getaffinity(0)),
    }


def device_name(world: World) -> str:
    """The processor that trains, as its maker calls it."""
    if world.device.type == "cuda":
        return torch.cuda.get_device_name(world.device)
    return processor()


def record(path: Path, step: int, world: World) -> None:
    """Append a line about this start, which goes on from ``step``, to the JSON lines of ``path``."""
    with open(path, "a") as stream:
        stream.write(json.dumps({"step": step, **describe(world)}) + "\n")


def processor() -> str:
    """The CPU, as its maker calls it."""
    return _cpu_info("model name") or platform.machine()


def vectors() -> str:
    """The widest vectors of the CPU that compiled kernels may use, and what restricts them."""
    flags = (_cpu_info("flags") or _cpu_info("Features") or "").split()
    known = {"avx512bw": "AVX-512", "avx2": "AVX2", "avx": "AVX", "sse4_2": "SSE4.2", "sve": "SVE", "asimd": "NEON"}
    widest = next((name for flag, name in known.items() if flag in flags), "vectors unknown")
    restricted = os.environ.get("NUMBA_CPU_NAME")
    return f"{widest}, numba compiles for {restricted}" if restricted else widest


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Of those packages that are installed."""
    return {name: version for name in packages if (version := _version(name))}


def _cpu_info(key: str) -> str | None:
    """The first value of ``key`` in /proc/cpuinfo (proc(5)), if it is there."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), None)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
