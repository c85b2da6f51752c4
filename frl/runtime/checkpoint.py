"""Checkpoints: whole or absent, checked before they are trusted, free of code.

A checkpoint is a plain ``torch.save`` file. Its zip container holds a CRC-32 of every record, which ``torch.load``
does not check; ``load`` does.
"""

from __future__ import annotations

import math
import os
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from frl import hub
from frl.config import upgraded
from frl.content import first_bytes, is_pickle, is_safetensors, recognise
from frl.errors import CheckpointError
from frl.files import atomic_write
from frl.printable import abridged
from frl.weights import file_of

FORMAT = "frl-checkpoint"
VERSION = 2
WEIGHTS_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
NAME = re.compile(r"step-\d{9}\.pt")
SHOWN = 3  # tensors that an error names
DAMAGED = "Use an earlier checkpoint."


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dictionaries) to ``path`` atomically.

    Raises:
        CheckpointError: if it cannot be written; an earlier file of that name is untouched.
    """
    path = Path(path)
    try:
        with atomic_write(path) as stream:
            torch.save({"format": FORMAT, "version": VERSION, **state}, stream)
    except (OSError, RuntimeError) as error:  # torch's container turns a full disk into a RuntimeError
        raise CheckpointError(path, f"cannot be written ({error})", "Free space or choose another folder.") from error


def resolve(path: str | os.PathLike[str]) -> Path:
    """The file of weights that ``path`` means: itself, of a run's folder the newest checkpoint, or what ``hub:`` or
    ``released:`` names.

    Raises:
        CheckpointError: if there is nothing, a folder without checkpoints of a run, or no such released weights.
        HubError: see ``frl.hub.fetch``.
    """
    if hub.is_address(path):
        return hub.fetch(os.fspath(path))
    path = file_of(path)
    if not path.is_dir():
        return path
    found = saved(path / "checkpoints") or saved(path)
    if found:
        return found[-1]
    cause, remedy = "holds no checkpoints", "Give the --out folder of a run of frl pretrain, or a file of weights."
    if (path / "data.pkl").is_file() and (path / "data").is_dir():
        cause, remedy = "is an unpacked checkpoint", "Give the file itself as it was downloaded, not unpacked."
    elif (path / "saved_model.pb").is_file():
        cause, remedy = "is a model of TensorFlow", "Give the PyTorch checkpoint of this network."
    elif inside := sorted(p.name for p in path.iterdir() if p.suffix in WEIGHTS_SUFFIXES):
        remedy = f"Name the file: it holds {', '.join(inside[:3])}{' and others' if len(inside) > 3 else ''}."
    raise CheckpointError(path, cause, remedy)


def read_tensors(path: str | os.PathLike[str]) -> Any:
    """The content of any ``torch.save`` or safetensors file, whatever its name, without running code from it.

    Args:
        path: the file, or the folder of a run: its newest checkpoint.

    Raises:
        CheckpointError: if the file is missing, damaged, something else, or holds anything but tensors and plain
            values.
    """
    path = resolve(path)
    if content := recognise(path):
        raise CheckpointError(path, f"is no checkpoint: it is {content.what}", f"{content.remedy}.")
    if not path.exists():
        raise CheckpointError(path, "no such file", "Check the path.")
    head = first_bytes(path)
    if not head:
        raise CheckpointError(path, "cannot be read", "Check its permissions.")
    if is_safetensors(head):
        return _read_safetensors(path)
    if zipfile.is_zipfile(path):
        _check_records(path)
    elif head.startswith(b"PK\x03\x04"):
        cause = "is cut off: it begins as a checkpoint, and its end is missing"
        raise CheckpointError(path, cause, "Copy or download it again, or use an earlier one.")
    elif not is_pickle(head):
        cause = f"is no checkpoint: it begins with the bytes {head[:8].hex(' ')}, which no format known here does"
        raise CheckpointError(path, cause, "Give what torch.save or safetensors wrote.")
    try:
        with open(path, "rb") as file:  # of a path, torch believes the suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            path,
            f"holds Python objects{_named_objects(error)}, which could run code when loaded",
            "Refused. If you trust its author, load it yourself and save its state dict alone.",
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, OSError) as error:
        raise CheckpointError(path, f"is not a readable checkpoint ({error})", "Use another one.") from error


def _named_objects(error: UnpicklingError) -> str:
    """The class or function that torch refuses, in brackets, where its message tells."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    return f" ({found[1]})" if found else ""


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(path, "reading it needs safetensors", "Run pip install safetensors.") from error
    try:
        with safe_open(path, framework="pt") as file:
            card = file.metadata() or {}
        return with_card(load_file(path), card)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(path, f"is not a readable checkpoint ({error})", "Use another one.") from error


def require_finite(state: Any, subject: object) -> None:
    """Refuse tensors and numbers that are infinite or no numbers, at any depth of mappings and sequences.

    Raises:
        CheckpointError: naming the tensors and the share of their values.
    """
    bad = [f"{name} ({_share(share)} of its values)" for name, share in _nonfinite(state)]
    if bad:
        cause = f"holds values that are NaN or infinite: {abridged(bad, SHOWN)}"
        raise CheckpointError(subject, cause, "The run diverged or the conversion failed: use an earlier checkpoint.")


def _nonfinite(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The name and the share of values that are not finite, of every part that has any."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point() or value.is_complex():
            # Narrow formats, such as float8, have no test of their own.
            finite = (value if value.element_size() > 1 else value.float()).isfinite()
            if not finite.all():
                yield name or "the tensor", 1 - finite.double().mean().item()
    elif isinstance(value, float) and not math.isfinite(value):
        yield name or "the number", 1.0
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _nonfinite(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from _nonfinite(part, f"{name}.{index}" if name else str(index))


def _share(share: float) -> str:
    return "all" if share == 1 else f"{share:.3g}" if share < 0.001 else f"{share:.1%}"


def with_card(state: Mapping[str, torch.Tensor], card: Mapping[str, str]) -> OrderedDict[str, torch.Tensor]:
    """Named tensors that carry a description: where torch keeps what it knows of a state dict beside its tensors.

    Saved and loaded, they still have it; ``Module.load_state_dict`` takes them for any other.
    """
    described = OrderedDict(state)
    described.__dict__["_metadata"] = {"": {"card": dict(card)}}
    return described


def card_of(state: Any) -> dict[str, str]:
    """The description that named tensors carry, empty if they have none."""
    described = getattr(state, "_metadata", None)
    for key in ("", "card"):
        described = described.get(key) if isinstance(described, Mapping) else None
    texts = described.items() if isinstance(described, Mapping) else ()
    return {key: text for key, text in texts if isinstance(key, str) and isinstance(text, str)}


def _check_records(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as container:
            broken = container.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(path, f"is damaged ({error})", DAMAGED) from error
    if broken is not None:
        raise CheckpointError(path, f"checksum mismatch in {broken}", DAMAGED)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint of frl's trainer, on the CPU; every weight, momentum and statistic in it is finite.

    Raises:
        CheckpointError: if it is missing, damaged, unsafe, not one of ours, or of a run that diverged.
    """
    path = resolve(path)
    state = read_tensors(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(path, "is not a checkpoint of frl's trainer", "Pass one from a run's checkpoints folder.")
    if type(state.get("version")) is not int:
        raise CheckpointError(path, f"has the version {state.get('version')!r}, which is no number", DAMAGED)
    if state["version"] > VERSION:
        raise CheckpointError(path, f"has version {state['version']}, newer than {VERSION}", "Update frl.")
    require_finite({key: value for key, value in state.items() if key not in ("config", "data")}, path)
    return _of_version_2(state) if state["version"] == 1 else state


def _of_version_2(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint of version 1, which had room for SwAV's queue alone, as one of today."""
    if "queue" in state:
        state["progress"] = {"queue": state.pop("queue")}
    if "config" in state:
        state["config"] = upgraded(state["config"])
    return {**state, "version": 2}


def path_of(folder: str | os.PathLike[str], step: int) -> Path:
    """The name of the checkpoint of ``step``."""
    return Path(folder) / f"step-{step:09d}.pt"


def saved(folder: str | os.PathLike[str]) -> list[Path]:
    """The checkpoints of a run, oldest first; a copy under another name (``step-000000004-best.pt``) is its user's."""
    return sorted(path for path in Path(folder).glob("step-*.pt") if NAME.fullmatch(path.name) and path.is_file())


def load_newest(folder: str | os.PathLike[str], parts: Collection[str] = ()) -> dict[str, Any] | None:
    """The newest sound checkpoint of a run; damaged or diverged ones are skipped with a warning.

    Args:
        folder: of the checkpoints.
        parts: what each of them must have, such as ``model``.

    Raises:
        CheckpointError: if there are checkpoints and none is sound.
    """
    candidates = saved(folder)
    causes = []
    for path in reversed(candidates):
        try:
            return _with_parts(load(path), parts, path)
        except CheckpointError as error:
            warnings.warn(f"skipped: {error}", stacklevel=2)
            causes.append(f"{path.name} {error.cause}")
    if candidates:
        cause = f"none of the {len(candidates)} checkpoints is sound: {'; '.join(causes)}"
        raise CheckpointError(folder, cause, "Start again elsewhere.")
    return None


def _with_parts(state: dict[str, Any], parts: Collection[str], path: Path) -> dict[str, Any]:
    if missing := [part for part in parts if part not in state]:
        raise CheckpointError(path, f"lacks {', '.join(missing)}", DAMAGED)
    return state


def prune(folder: str | os.PathLike[str], keep: int, newest: int) -> None:
    """Delete all but the ``keep`` last checkpoints up to that of step ``newest``, which has just been written.

    Those of later steps go, too: the run went on from an earlier one because they are damaged, or from the last of them
    with epochs of another length, by which it counts as an earlier step. The last one goes last: a run that is killed
    in between goes on from where this one did.
    """
    found = saved(folder)
    kept = [path for path in found if path <= path_of(folder, newest)][-max(keep, 1) :]
    for path in found:
        if path not in kept:
            path.unlink()
