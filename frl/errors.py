"""The errors a user meets: each names the subject, the cause and the remedy.

Whose fault an exception is that nobody expected is decided here: the machine's (``is_fault_of_machine``), or frl's own.
Data are blamed only where they are read, for what their decoder says of them.
"""

from __future__ import annotations

import errno
import traceback

from frl.printable import printable, printable_lines


class FrlError(Exception):
    """Base of every error that frl raises on purpose. As text it is fit for a terminal, whatever is in names of files.

    Args:
        subject: what is affected: a file, a sample, an option.
        cause: what is wrong with it.
        remedy: what the user can do about it.
    """

    def __init__(self, subject: object, cause: str, remedy: str) -> None:
        super().__init__(f"{printable(subject)}: {printable_lines(cause)}. {printable_lines(remedy)}")
        self.subject = str(subject)
        self.cause = cause
        self.remedy = remedy

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # Worker processes send exceptions by pickling the constructor's arguments.
        return type(self), (self.subject, self.cause, self.remedy)

    def within(self, place: object) -> FrlError:
        """The same error, said of ``place``, in which its subject is."""
        kind, (subject, *rest) = self.__reduce__()
        return kind(f"{place}: {subject}", *rest)


class BetonError(FrlError):
    """A ``.beton`` file that is broken, truncated or not one at all."""


class SourceError(FrlError):
    """A source of images that cannot be listed."""


class WriteError(FrlError):
    """A ``.beton`` that could not be written."""


class StagingError(FrlError):
    """A copy of the data that could not be made on this machine's disk."""


class LoaderError(FrlError):
    """A loader that cannot deliver the next batch."""


class CheckpointError(FrlError):
    """A checkpoint that cannot be saved, loaded or trusted."""


class StoreError(FrlError):
    """A file of an object store that cannot be read or written."""


class StoreChanged(StoreError):
    """A file of an object store that became another while it was read: what was read of it may be of both."""


class HubError(FrlError):
    """A model hub that does not give or take what it was asked for."""


class ConfigError(FrlError):
    """A configuration that contradicts itself, the data or the checkpoint."""


class TrainingError(FrlError):
    """A run that cannot go on: a non-finite loss, a collapsed representation."""


class MachineError(FrlError):
    """What the machine refused: memory, a disk, a file descriptor."""


class InternalError(FrlError):
    """A fault of frl itself.

    Args:
        doing: at what it happened, such as "reading faces/1.jpg".
        cause: what happened.
        trace: where, as Python prints it.
    """

    def __init__(self, doing: str, cause: str, trace: str = "") -> None:
        where = f"with what follows.\n{trace}" if trace else "with this line"
        super().__init__(doing, cause, f"This is a fault of frl, not of your data: please report it {where}")
        self.doing = doing
        self.trace = trace

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.doing, self.cause, self.trace)


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the system that only writing meets, by their numbers."""

REMEDIES = {
    **dict.fromkeys(NO_ROOM, "Free space there, or use another disk"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Allow more open files (ulimit -n 65536), or use fewer --workers"),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), "Use fewer --workers, or a machine with more memory"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Check the permissions"),
    errno.ENOENT: "Check that it is still there",
}
"""What to do about an error of the system, by its number."""


ABOUT_A_PATH = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors of the system that are about what somebody named, and not about the machine."""


def is_fault_of_machine(error: BaseException) -> bool:
    """Whether memory, a disk or the system failed, whatever was being read.

    Decoders and parsers raise ``OSError`` too; but only the system's bear an error number.
    """
    if isinstance(error, OSError):
        return error.errno is not None and error.errno not in ABOUT_A_PATH
    return isinstance(error, MemoryError)


def blame_machine(error: Exception, doing: str) -> None:
    """Before a file is blamed for an exception: see to it that it was not the machine.

    Raises:
        MachineError: if it was.
    """
    if is_fault_of_machine(error):
        raise explained(error, doing) from error


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; of one that says nothing, as a bare ``assert``, its type."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def explained(error: Exception, doing: str) -> FrlError:
    """An exception that nobody expected, as one that says whose fault it is; an ``FrlError`` is that already.

    Args:
        error: while it is handled, so that its traceback is there.
        doing: at what it happened, such as "reading faces/1.jpg".
    """
    if isinstance(error, FrlError):
        return error
    if isinstance(error, OSError):
        cause = f"the system refused ({type(error).__name__}: {error})"
        remedy = REMEDIES.get(error.errno or 0, "Check the disk or the network behind it (dmesg)")
        return MachineError(doing, cause, f"{remedy}, then go on.")
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"MemoryError", "OutOfMemoryError"}:  # Python's, or torch's of a GPU
        return MachineError(doing, f"the memory did not suffice ({error})", f"{REMEDIES[errno.ENOMEM]}.")
    if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")):
        remedy = "Free space in the folder for temporary files, or name another: SQLITE_TMPDIR=/scratch."
        return MachineError(doing, f"the temporary database could not be written ({error})", remedy)
    if "DistError" in kinds:  # torch's
        return MachineError(doing, f"the ranks lost each other ({error})", "Look for the rank that ended first.")
    trace = "".join(traceback.format_exception(error))
    return InternalError(doing, f"{type(error).__name__}: {error}", trace)
