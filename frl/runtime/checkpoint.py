"""Checkpoints: whole or absent, checked before they are trusted, free of code.

A checkpoint is a plain ``torch.save`` file. Its zip container holds a CRC-32 of every record, which ``torch.load``
does not check; ``load`` does.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from frl.config import upgraded
from frl.errors import CheckpointError
from frl.files import atomic_write

FORMAT = "frl-checkpoint"
VERSION = 2


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dictionaries) to ``path`` atomically.

    Raises:
        CheckpointError: if it cannot be written; an earlier file of that name is untouched.
    """
    try:
        with atomic_write(path) as stream:
            torch.save({"format": FORMAT, "version": VERSION, **state}, stream)
    except (OSError, RuntimeError) as error:  # torch's container turns a full disk into a RuntimeError
        raise CheckpointError(path, f"cannot be written ({error})", "Free space or choose another folder.") from error


def read_tensors(path: Path) -> Any:
    """The content of any ``torch.save`` or safetensors file, without running code from it.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds anything but tensors and plain values.
    """
    if not path.is_file():
        raise CheckpointError(path, "no such file", "Check the path.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if zipfile.is_zipfile(path):
        _check_records(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            path,
            "holds Python objects, which could run code when loaded",
            "Refused. If you trust its author, load it yourself and save its state dict alone.",
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(path, f"is not a readable checkpoint ({error})", "Use another one.") from error


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(path, "reading it needs safetensors", "Run pip install safetensors.") from error
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(path, f"is not a readable checkpoint ({error})", "Use another one.") from error


def _check_records(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as container:
            broken = container.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(path, f"is damaged ({error})", "Use an earlier checkpoint.") from error
    if broken is not None:
        raise CheckpointError(path, f"checksum mismatch in {broken}", "Use an earlier checkpoint.")


def load(path: Path) -> dict[str, Any]:
    """A checkpoint of frl's trainer, on the CPU.

    Raises:
        CheckpointError: if it is missing, damaged, unsafe, or not one of ours.
    """
    state = read_tensors(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(path, "is not a checkpoint of frl's trainer", "Pass one from a run's checkpoints folder.")
    if state["version"] > VERSION:
        raise CheckpointError(path, f"has version {state['version']}, newer than {VERSION}", "Update frl.")
    return _of_version_2(state) if state["version"] == 1 else state


def _of_version_2(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint of version 1, which had room for SwAV's queue alone, as one of today."""
    progress = {"queue": state.pop("queue")}
    return {**state, "version": 2, "progress": progress, "config": upgraded(state["config"])}


def path_of(folder: Path, step: int) -> Path:
    """The name of the checkpoint of ``step``."""
    return folder / f"step-{step:09d}.pt"


def saved(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The newest sound checkpoint of a run; damaged ones are passed over with a warning.

    Raises:
        CheckpointError: if there are checkpoints and none is sound.
    """
    candidates = saved(folder)
    for path in reversed(candidates):
        try:
            return load(path)
        except CheckpointError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
    if candidates:
        raise CheckpointError(folder, f"none of the {len(candidates)} checkpoints is sound", "Start again elsewhere.")
    return None


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest ``keep`` checkpoints."""
    for path in saved(folder)[: -max(keep, 1)]:
        path.unlink()
