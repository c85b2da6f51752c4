"""``python -m frl.cli.study_step LOCK COMMAND ...``: a step of a study, which ends with it, however that ends."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from frl.children import end_with_parent
from frl.cli import main as frl
from frl.files import try_lock


def main(lock: Path, arguments: list[str]) -> int:
    """Run a command of frl while the file ``lock`` is held; its exit status."""
    end_with_parent(signal.SIGTERM)
    with lock.open("wb") as file:
        if not try_lock(file.fileno()):
            print(f"{lock.parent}: another process works on it", file=sys.stderr)
            return 1
        return frl(arguments)


if __name__ == "__main__":
    lock, *sys.argv[1:] = sys.argv[1:]  # the run notes the command
    sys.exit(main(Path(lock), sys.argv[1:]))
