"""Processes seen from outside, through /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie, which only waits for init to take notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_gone(pids: Iterable[int], within_s: float = 300.0) -> None:
    """Wait for processes to end by themselves."""
    deadline = time.monotonic() + within_s
    while left := [pid for pid in pids if runs(pid)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """The processes below a running one; they may come and go meanwhile."""
    children: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():  # a child is listed with the thread that started it
            with suppress(OSError):
                children += map(int, (thread / "children").read_text().split())
    return children + [below for child in children for below in descendants(child)]


def kill(process: subprocess.Popen, *, group: bool) -> None:
    """SIGKILL a session's leader, alone or with its whole group; whatever is below it must end too."""
    below = descendants(process.pid)
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    assert_gone(below)


def left_in_shared_memory(before: set[str], within_s: float = 60.0) -> set[str]:
    """What came into /dev/shm since and stays there though no other process has it open.

    Other programs' segments come and go meanwhile. Their semaphores are left out: no process shows that it has one,
    and the writer uses none.
    """
    found = set(os.listdir("/dev/shm")) - before
    deadline = time.monotonic() + within_s
    while left := {name for name in _unheld(found) if not name.startswith("sem.")}:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.1)
    return set()


def _unheld(names: set[str]) -> set[str]:
    """Those of some files in /dev/shm that are there and that no process but this one has open or mapped."""
    held: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            held |= {os.readlink(descriptor) for descriptor in (process / "fd").iterdir()}
            held |= {line.split(maxsplit=5)[-1].strip() for line in (process / "maps").open()}
    return {name for name in names & set(os.listdir("/dev/shm")) if f"/dev/shm/{name}" not in held}
