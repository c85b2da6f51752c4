"""``python -m frl.cli.study_step LOCK COMMAND ...``: a step of a study, which ends with it, however that ends."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from frl.children import end_with_parent
from frl.cli import main as frl
from frl.files import try_lock
from frl.study.perform import IN_USE
from frl.study.steps import DONE, is_finished, mark_finished


def main(lock: Path, arguments: list[str]) -> int:
    """Run a command of frl while the file ``lock`` is held, unless that has been done meanwhile; its exit status."""
    end_with_parent(signal.SIGTERM)
    folder = lock.parent
    with lock.open("wb") as file:
        if not try_lock(file.fileno()):
            print(f"{folder}: {IN_USE}", file=sys.stderr)
            return 1
        # Another study with the same --out may have been at it; that it is done is said while the lock is held.
        product = Path(arguments[-1])  # every step ends with its --out
        if is_finished(folder / DONE, product):
            return 0
        if (folder / DONE).exists():
            print(f"{product} is not what it was when it was finished: it is made again", flush=True)
            (folder / DONE).unlink()
            if product.is_file():
                product.unlink()
        began = time.monotonic()
        status = frl(arguments)
        if status == 0:
            mark_finished(folder / DONE, product, time.monotonic() - began)
        return status


if __name__ == "__main__":
    lock, *sys.argv[1:] = sys.argv[1:]  # the run notes the command
    sys.exit(main(Path(lock), sys.argv[1:]))
