"""The errors a user meets: each names the subject, the cause and the remedy."""

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


class ConfigError(FrlError):
    """A configuration that contradicts itself, the data or the checkpoint."""


class TrainingError(FrlError):
    """A run that cannot go on: a non-finite loss, a collapsed representation."""
