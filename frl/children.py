"""Child processes of ours: they import what we import, and leave Ctrl-C to us."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

SAFE_PATH = "PYTHONSAFEPATH"
"""With this in its environment, Python looks for modules neither in the folder it is started in nor in a script's."""


@contextmanager
def sheltered() -> Iterator[None]:
    """Processes that are started within, and their own, are spared what is meant for us.

    - SIGINT and SIGTERM, which a terminal or a job system sends to all of them at once, stay blocked in them from their
      first moment on: they have nothing to say about it, and we end them.
    - Folders named like our packages, where the user happens to be, lend them no modules.
    """
    resource_tracker.ensure_running()  # or it would be started within, and unblock the signals
    safe = os.environ.get(SAFE_PATH)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if safe is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = safe
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
