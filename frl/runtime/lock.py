"""One run at a time in a folder. The lock dies with its process, so a killed run leaves nothing to clean up."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frl.errors import ConfigError
from frl.files import try_lock
from frl.printable import abridged

NAME = ".lock"


@contextmanager
def run_lock(folder: str | os.PathLike[str], *, enabled: bool = True) -> Iterator[None]:
    """Hold ``folder`` for this process; the file in it says who does.

    Args:
        folder: of the run; made if it is not there.
        enabled: whether this process is the one that locks: the main rank.

    Raises:
        ConfigError: if another process holds it, or the folder cannot be written or holds what is of no run.
    """
    if not enabled:
        yield
        return
    folder = Path(folder)
    require_own_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(
            "--out", f"{folder} cannot be written ({error.strerror})", "Choose another folder."
        ) from error
    try:
        _lock(file, folder)
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(_ourselves()).encode(), 0)
        yield
    finally:
        os.close(file)


def require_own_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder with files in it unless a run of ours has been there; hidden files do not count.

    Raises:
        ConfigError: naming some of them.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return
    try:
        shown = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigError("--out", f"{folder} cannot be read ({error.strerror})", "Choose another folder.") from error
    if shown and not _is_ours(folder):
        remedy = "Choose a folder that is new or empty, so that nothing of yours is mixed with the run's files."
        raise ConfigError("--out", f"{folder} is not of a run of frl pretrain, but holds {abridged(shown, 3)}", remedy)


def _is_ours(folder: Path) -> bool:
    """Whether a run of ours has been here: its checkpoints, its configuration, or its lock."""
    if any((folder / "checkpoints").glob("step-*.pt")):
        return True
    configuration, lock = _json(folder / "config.json"), _json(folder / NAME)
    return {"data", "augment", "model", "optim"} <= configuration.keys() or {"process", "host"} <= lock.keys()


def _json(path: Path) -> dict[str, object]:
    """The object in a small file of JSON; an empty one if there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _lock(file: int, folder: Path) -> None:
    if not try_lock(file):
        cause = f"{folder} is in use by another run ({_holder(file)})"
        raise ConfigError("--out", cause, "Wait for it, end it, or choose another folder.")


def _ourselves() -> dict[str, str | int]:
    return {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %Z")}


def _holder(file: int) -> str:
    try:
        holder = json.loads(os.pread(file, 4096, 0))
        return f"process {holder['process']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has only just begun"
