"""torchrun, but it ends as a user expects: ``python -m frl.runtime.launch`` takes torchrun's options.

The first Ctrl-C or SIGTERM goes on to the ranks, which save and stop; this process then ends with 128 + the signal's
number, without a traceback. A second Ctrl-C ends all of it at once. If a rank fails, its status is this process's.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser
from torch.distributed.run import main as torchrun

from frl.runtime.termination import Meaning, Termination, handling

# Without it, torchrun takes SIGHUP from a run that was started with nohup. SIGQUIT is nobody's request to save.
SIGNALS = ["--signals-to-handle", "SIGQUIT"]
PATIENCE = "--shutdown-timeout"


def main(arguments: list[str]) -> int:
    """Run torchrun with ``arguments``, and return the status to end with."""
    termination = Termination()

    def handle(number: int, frame: FrameType | None) -> None:
        meaning = termination.receive(number)
        if meaning is Meaning.REQUEST:
            # What torchrun's own handler raises: it sends the signal to the ranks and waits for --shutdown-timeout.
            raise SignalException(f"got {signal.Signals(number).name}", sigval=signal.Signals(number))
        if meaning is Meaning.INSISTENCE:
            _kill_ranks()
            os._exit(128 + number)

    try:
        with handling(handle):
            torchrun([*SIGNALS, *known(arguments)])
    except SignalException as request:
        return 128 + request.sigval
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        status = failure.exitcode
        how = f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
        print(f"launch: rank {rank} (process {failure.pid}) {how}", file=sys.stderr)
        return status if status >= 0 else 128 - status
    return 0


def known(arguments: list[str]) -> list[str]:
    """``arguments`` without ``--shutdown-timeout SECONDS`` where torchrun has no such option, as that of torch 2.11."""
    if PATIENCE not in arguments or PATIENCE in get_args_parser().format_help():
        return arguments
    print(f"launch: this torchrun has no {PATIENCE}, and gives ranks 30 s to save and stop", file=sys.stderr)
    place = arguments.index(PATIENCE)
    return arguments[:place] + arguments[place + 2 :]


def _kill_ranks() -> None:
    """Ranks are children of this process and lead sessions of their own, with whatever they have started."""
    for task in Path("/proc/self/task").iterdir():  # a child is listed with the thread that started it
        for child in (task / "children").read_text().split():
            with suppress(ProcessLookupError, PermissionError):
                if os.getpgid(int(child)) == int(child):
                    os.killpg(int(child), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
