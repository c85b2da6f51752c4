"""What every command of ours does around its work: whoever starts one, and wherever its output goes.

The report's failure is not the work's: a pipe that nobody reads any more, a terminal without the letters of a name or
a full disk behind ``>`` cost what was to be said, and nothing else.
"""

from __future__ import annotations

import errno
import io
import os
import select
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from frl.errors import FrlError, explained
from frl.printable import printable

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the signal's number, as shells have it."""


def run(name: str, command: Callable[[], int | None]) -> int:
    """Run a command; errors become a message on stderr.

    Args:
        name: what to call the command, such as "frl write".
        command: the work; its result is the exit status, None for 0.

    Returns:
        the exit status: that of the command, 1 after an error, 130 after Ctrl-C.
    """
    with forgiving_output():
        try:
            return command() or 0
        except KeyboardInterrupt:
            print(f"{name}: interrupted", file=sys.stderr)
            return INTERRUPTED
        except Exception as error:
            complain(name, explained(error, name))
            return 1


def suggest(*commands: Sequence[object]) -> None:
    """Say on stderr which commands usually come next, each by its words; after what was said on stdout."""
    print(end="", flush=True)  # in a file that takes both, this would else come first
    said = "; or: ".join(" ".join(shlex.quote(str(word)) for word in command) for command in commands)
    print(f"Next: {printable(said)}", file=sys.stderr)


def complain(name: str, error: FrlError) -> None:
    """Say on stderr what ended a command, and what was noted about it."""
    message = str(error)
    print(message if message.startswith(f"{name}:") else f"{name}: {message}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(printable(note), file=sys.stderr)


@contextmanager
def forgiving_output() -> Iterator[None]:
    """Within, nothing that is printed can fail. What the terminal cannot show is escaped.

    Streams that somebody has put in the place of the process's own stay as they are.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _forgiving(sys.stdout, sys.__stdout__), _forgiving(sys.stderr, sys.__stderr__)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or None where there is no such output
                stream.flush()
        sys.stdout, sys.stderr = before


def _forgiving(stream: TextIO, own: TextIO | None) -> Any:
    if stream is not own or not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(stream.fileno())),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream is sys.__stderr__,
        write_through=stream.write_through,
    )


class _Outlet(io.RawIOBase):
    """A descriptor that takes everything; once it fails, what is written to it is lost."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._failed = False

    def write(self, data: Any) -> int:
        """Write some of the bytes; returns how many are done with."""
        while not self._failed:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self._failed = True
                if error.errno != errno.EPIPE and self._descriptor == 1:
                    print(f"the output could not be written ({error.strerror}); the work goes on", file=sys.stderr)
        return len(data)

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)
