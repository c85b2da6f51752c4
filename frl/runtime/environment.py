"""What a run ran on: recorded at every start, so that a figure can be read years later."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from frl import __version__, machine
from frl.runtime.distributed import World


def describe(world: World) -> dict[str, Any]:
    """Software, processors and command of this process, JSON-ready."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "frl": __version__,
        **facts(world.device),
        "processes": world.size,
    }


def facts(device: torch.device) -> dict[str, Any]:
    """What figures that are measured on ``device`` depend on, JSON-ready; no name or path of the machine."""
    found = {
        "device": device_name(device),
        "processor": machine.processor(),
        "cores": machine.cores(),
        "vector_bits": machine.vector_bits(),
        "ram_gib": round(machine.memory_bytes() / 2**30, 1),
        "python": machine.python(),
        "system": machine.system(),
        "packages": machine.versions(),
        "cuda": torch.version.cuda,
    }
    if device.type == "cuda":
        found["device_ram_gib"] = round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1)
    return found


def device_name(device: torch.device) -> str:
    """The processor that trains, as its maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else machine.processor()


def record(path: Path, step: int, world: World) -> None:
    """Append a line about this start, which goes on from ``step``, to the JSON lines of ``path``."""
    with open(path, "a") as stream:
        stream.write(json.dumps({"step": step, **describe(world)}) + "\n")
