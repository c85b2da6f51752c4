"""A rank for the launcher's tests: ``python launched_rank.py FOLDER SAVE_SECONDS [STATUS]``.

Asked to stop, it takes so long to save. With a status, rank 1 ends with that at once, or by the signal of that number
where it is negative. What it does is noted in FOLDER.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from frl.runtime.termination import termination_requests


def main(folder: Path, save_seconds: float, status: int | None = None) -> int:
    """Wait to be asked; return 128 + the signal's number."""
    rank = os.environ["RANK"]
    if status is not None and rank == "1":
        if status < 0:
            os.kill(os.getpid(), -status)
        return status
    with termination_requests() as termination:
        (folder / f"pid.{rank}").write_text(str(os.getpid()))
        while termination.signal is None:
            time.sleep(0.01)
        (folder / f"asked.{rank}").write_text(termination.signal.name)
        deadline = time.monotonic() + save_seconds
        while time.monotonic() < deadline:
            time.sleep(0.01)
        (folder / f"saved.{rank}").touch()
    return 128 + termination.signal


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), *map(int, sys.argv[3:])))
