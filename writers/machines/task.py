"""A shard as a job: what runs on the other machine, and how it says how far it is."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from frl.beton.partial import partial_path
from frl.beton.shard import Shard
from frl.children import end_with_parent
from frl.errors import FrlError, explained
from frl.files import wait_until_free
from writers.config import WriteConfig

REPORT_S = 0.5
"""Seconds between two reports of a shard."""

PATIENCE_S = 30.0
"""For a process that a killed command has left writing the same shard: it learns of that, and ends by itself."""

COMMAND = "writers.to_beton"
"""The module of the command that writes a file."""


class Progress(NamedTuple):
    """How many images of a shard are done, and how many it has."""

    done: int
    total: int


@dataclass(frozen=True)
class ShardTask:
    """Write one shard. Called again after a kill, it goes on where it was; called when it is done, it does nothing.

    Attributes:
        config: the command; its ``out`` is not touched.
        shard: which.
        folder: of the shards, which all machines see.
        here: the folder in which the command was given, for relative paths.
    """

    config: WriteConfig
    shard: Shard
    folder: Path
    here: Path

    def __call__(self) -> FrlError | None:
        """Write it, unless it is there; returns what went wrong."""
        write = importlib.import_module(COMMAND).write  # by its name: the command imports us
        os.chdir(self.here)
        last = 0.0

        def report(done: int, total: int) -> None:
            nonlocal last
            if done == total or time.monotonic() - last > REPORT_S:
                last = time.monotonic()
                _replace(self._progress, json.dumps([done, total]).encode())

        try:
            wait_until_free(partial_path(self.path), PATIENCE_S)  # if it is not, writing says so
            if not self.path.is_file():  # a file appears under its name when it is complete
                config = replace(self.config, on=None, shards=None, on_options=(), scratch=None)
                config = replace(config, out=self.path, shard=str(self.shard), overwrite=True)
                write(config, progress=report, tell=self._tell)
        except Exception as error:
            return explained(error, f"writing shard {self.shard}")
        return None

    def _tell(self, lines: Sequence[str]) -> None:
        """Leave what is to be said of the data where the command finds it: of all of them, as each shard lists all."""
        _replace(self._told, json.dumps(lines).encode())

    def told(self) -> list[str] | None:
        """What is to be said of the data; None before that is known."""
        try:
            return list(json.loads(self._told.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def checkpoint(self) -> Any:
        """What submitit queues again when the job is preempted or out of time: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    @property
    def path(self) -> Path:
        """The file of the shard."""
        return self.folder / f"shard-{self.shard.number:05}.beton"

    @property
    def _progress(self) -> Path:
        return self.path.with_suffix(".progress")

    @property
    def _told(self) -> Path:
        return self.path.with_suffix(".told")

    def progress(self) -> Progress | None:
        """How far it is; None before it has said so."""
        try:
            return Progress(*json.loads(self._progress.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    os.replace(partial, path)


def main(path: Path) -> None:
    """Run the task that is pickled in a file, and leave its outcome beside it; ends with its parent."""
    end_with_parent(signal.SIGTERM)
    outcome = pickle.loads(path.read_bytes())()
    _replace(path.with_suffix(".outcome"), pickle.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
