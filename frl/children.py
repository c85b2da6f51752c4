"""Child processes of ours: they import what we import, know what we know, and leave Ctrl-C to us."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from typing import Any

from frl.errors import MachineError

SAFE_PATH = "PYTHONSAFEPATH"
"""With this in its environment, Python looks for modules neither in the folder it is started in nor in a script's."""

LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path, at most."""
NAME_OF_SOCKET = len("/pymp-01234567/listener-01234567")
"""Bytes that multiprocessing adds to the folder for temporary files."""


PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when the thread that started it ends."""


def end_with_parent(number: signal.Signals) -> None:
    """Have this process sent a signal when its parent ends, however that ends; it exits if that has happened already.

    Args:
        number: SIGTERM lets it keep what is done.
    """
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit(1)


@contextmanager
def sheltered() -> Iterator[None]:
    """Processes that are started within, and their own, are spared what is meant for us.

    - SIGINT and SIGTERM, which a terminal or a job system sends to all of them at once, stay blocked in them from their
      first moment on: they have nothing to say about it, and we end them.
    - Folders named like our packages, where the user happens to be, lend them no modules.
    - The user's script is not run in them, which multiprocessing does with one that does not guard against it
      (``if __name__ == "__main__"``): nothing of it is wanted there.
    """
    resource_tracker.ensure_running()  # or it would be started within, and unblock the signals
    safe = os.environ.get(SAFE_PATH)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    os.environ[SAFE_PATH] = "1"
    try:
        with _script_unseen():
            yield
    finally:
        if safe is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = safe
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _script_unseen() -> Iterator[None]:
    """Within, multiprocessing finds nothing of the main module that it could run again."""
    script = vars(sys.modules["__main__"])
    found: dict[str, Any] = {name: script[name] for name in ("__spec__", "__file__") if name in script}
    script.update(dict.fromkeys(found))
    try:
        yield
    finally:
        script.update(found)


class WorkerServer:
    """From which workers are forked: a fork server of multiprocessing that is ours alone.

    multiprocessing itself has one for the whole program. What it forks inherits the signals that it blocks and the
    modules that it was first asked to import: if ours came from it, the workers that the calling program makes for
    itself could not be terminated any more.
    """

    def __init__(self) -> None:
        self._server = forkserver.ForkServer()

    def prepare(self, module: str) -> None:
        """Let it import ``module``, in the background; this costs nothing where it has begun.

        Raises:
            MachineError: if the folder for temporary files has too long a name for a socket.
        """
        folder, most = tempfile.gettempdir(), LONGEST_SOCKET - NAME_OF_SOCKET
        if len(os.fsencode(folder)) > most:
            cause = f"its name is too long for the sockets of worker processes (at most {most} bytes)"
            raise MachineError(folder, cause, "Name another folder for temporary files: TMPDIR=/tmp")
        self._server.set_forkserver_preload([module])
        with sheltered():
            self._server.ensure_running()

    def start(self, target: Callable[..., Any], *arguments: Any) -> ForkServerProcess:
        """A process, sheltered and in our present environment, that runs ``target(*arguments)``."""
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=_run, args=(dict(os.environ), target, arguments), daemon=True)
        everybodys = forkserver.connect_to_new_process  # which is where a process's start() looks for its server
        with sheltered():  # in case the server has ended, and is started anew
            forkserver.connect_to_new_process = self._server.connect_to_new_process
            try:
                process.start()
            finally:
                forkserver.connect_to_new_process = everybodys
        return process


@cache
def worker_server() -> WorkerServer:
    """The one of this process."""
    return WorkerServer()


def _run(environment: Mapping[str, str], target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The life of a worker: the server may be older than what the environment says by now."""
    for name in os.environ.keys() - environment.keys() - {SAFE_PATH}:
        del os.environ[name]
    os.environ.update(environment)
    target(*arguments)
