"""One run at a time in a folder. The lock dies with its process, so a killed run leaves nothing to clean up."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frl.errors import ConfigError

NAME = ".lock"


@contextmanager
def run_lock(folder: Path, *, enabled: bool = True) -> Iterator[None]:
    """Hold ``folder`` for this process; the file in it says who does.

    Args:
        folder: of the run; made if it is not there.
        enabled: whether this process is the one that locks: the main rank.

    Raises:
        ConfigError: if another process holds it, or the folder cannot be written.
    """
    if not enabled:
        yield
        return
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


def _lock(file: int, folder: Path) -> None:
    try:
        # A record lock: unlike flock, it works on network folders and does not live on in forked workers.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise ConfigError(
            "--out",
            f"{folder} is in use by another run ({_holder(file)})",
            "Wait for it, end it, or choose another folder.",
        ) from None


def _ourselves() -> dict[str, str | int]:
    return {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %Z")}


def _holder(file: int) -> str:
    try:
        holder = json.loads(os.pread(file, 4096, 0))
        return f"process {holder['process']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has only just begun"
