"""Where the samples come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from frl.config.check import require, require_above, require_least, require_new_folder
from frl.config.coerce import coerce
from frl.store import address

EngineName = Literal["threads", "ffcv", "dali", "torch"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the samples come from and how they are read."""

    data: tuple[Path, ...] = (Path("faces.beton"),)
    """The .beton files to train on; or folders, plain tars and lists as frl write takes them, read where they are.
    Files in object stores (s3://, gs://, https://) need --stage."""
    weights: tuple[float, ...] = ()
    """Share of each file in a batch, in proportion; none: as many as it has. An epoch ends before a sample repeats."""
    order: Literal["auto", "random", "pages"] = "auto"
    """random: uniform over all samples. pages: windows of pages, for files larger than memory. auto: pages for files
    that exceed half of it."""
    page_window: int = 64
    """Pages (8 MiB each, unless the writer was told otherwise) whose samples are mixed in page order."""
    augment_on: Annotated[Literal["auto", "cpu", "gpu"], tyro.conf.arg(name="augment")] = "auto"
    """Where crops are made: cpu, while loading; gpu, on the training device; auto measures both at the start."""
    engine: EngineName = "threads"
    """What decodes: threads, with libjpeg-turbo from a wheel; ffcv, the same threads and pixels with ffcv's library;
    torch, the same threads with PIL; dali, NVIDIA's DALI. Same samples, same crops."""
    workers: int = 0
    """Decoding threads per GPU; 0: the cores of this machine shared by its ranks."""
    prefetch: int = 3
    """Batches decoded ahead of the step."""
    stage: Path | None = None
    """Folder on a fast disk of each machine, to which the files are copied first; none: read them where they are."""
    stage_minutes: float = 60
    """How long a process waits for another one's copy."""
    on_broken: Literal["raise", "replace"] = "raise"
    """A JPEG that fails to decode stops the run, or is replaced by the next sample of its batch and counted."""

    def __post_init__(self) -> None:
        coerce(self)

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require(len(self.data) > 0, "data", "no file given", "Name at least one .beton.")
        cause = f"{len(self.weights)} weights for {len(self.data)} files"
        require(len(self.weights) in (0, len(self.data)), "weights", cause, "Give one a file, in their order, or none.")
        cause, remedy = f"{self.weights} are not all above 0", "Leave a file out of --data instead."
        require(all(0 < weight < math.inf for weight in self.weights), "weights", cause, remedy)
        require_least("page_window", self.page_window, 1, "The default is 64.")
        require_least("workers", self.workers, 0, "Use 0 for the cores of this machine.")
        require_least("prefetch", self.prefetch, 1, "The default is 3.")
        require_above("stage_minutes", self.stage_minutes, 0, "The default is 60.")
        for path in self.data:
            cause, remedy = (
                f"{path} lies in an object store",
                "Say with --stage FOLDER where each machine keeps a copy.",
            )
            require(self.stage is not None or address(path) is None, "data", cause, remedy)
        if self.stage is not None:
            require_new_folder(self.stage, "stage")
