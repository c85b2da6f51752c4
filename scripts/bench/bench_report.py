"""What every benchmark says of its figures: where they were measured, a table, a file of JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from frl.files import atomic_write
from frl.runtime.environment import facts

ROOT = Path(__file__).parents[2]


def about(device: torch.device) -> dict[str, Any]:
    """When, with what code and on what machine, JSON-ready; no name or path of the machine."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return {"date": date.today().isoformat(), "commit": commit or "unknown", **facts(device)}


def in_words(where: dict[str, Any]) -> str:
    """What ``about`` gives, in a line."""
    processor = f"{where['cores']} cores of {where['processor']} ({where['vector_bits']}-bit vectors)"
    device = "" if where["device"] == where["processor"] else f"{where['device']}, "
    versions = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    return f"{where['date']}, commit {where['commit']}; {device}{processor}; Python {where['python']}; {versions}."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def save(path: Path, figures: Any) -> None:
    """Write figures as JSON, whole or not at all."""
    with atomic_write(path) as stream:
        stream.write(json.dumps(figures, indent=2).encode() + b"\n")
