"""What a run ran on: recorded at every start, so that a figure can be read years later."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
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
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "cuda": torch.version.cuda,
        "device": device_name(world),
        "processes": world.size,
        "cores": len(os.sched_getaffinity(0)),
    }


def device_name(world: World) -> str:
    """The processor that trains, as its maker calls it."""
    if world.device.type == "cuda":
        return torch.cuda.get_device_name(world.device)
    return _cpu_model()


def record(path: Path, step: int, world: World) -> None:
    """Append a line about this start, which goes on from ``step``, to the JSON lines of ``path``."""
    with open(path, "a") as stream:
        stream.write(json.dumps({"step": step, **describe(world)}) + "\n")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
