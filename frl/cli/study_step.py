"""``python -m frl.cli.study_step LOCK COMMAND ...``: a step of a study, which ends with it, however that ends."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from frl.children import end_with_parent
from frl.cli import main as frl
from frl.files import atomic_write, try_lock
from frl.study.perform import IN_USE
from frl.study.steps import DONE


def main(lock: Path, arguments: list[str]) -> int:
    """Run a command of frl while the file ``lock`` is held, unless that has been done meanwhile; its exit status."""
    end_with_parent(signal.SIGTERM)
    folder = lock.parent
    with lock.open("wb") as file:
        if not try_lock(file.fileno()):
            print(f"{folder}: {IN_USE}", file=sys.stderr)
            return 1
        # Another study with the same --out may have been at it; that it is done is said while the lock is held.
        if (folder / DONE).exists():
            return 0
        began = time.monotonic()
        status = frl(arguments)
        if status == 0:
            with atomic_write(folder / DONE) as stream:
                stream.write(json.dumps({"seconds": round(time.monotonic() - began, 1)}).encode())
        return status


if __name__ == "__main__":
    lock, *sys.argv[1:] = sys.argv[1:]  # the run notes the command
    sys.exit(main(Path(lock), sys.argv[1:]))
