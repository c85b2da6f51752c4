"""Where the samples come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from frl.config.check import require

EngineName = Literal["ffcv", "dali", "torch"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the samples come from and how they are read."""

    data: tuple[Path, ...] = (Path("faces.beton"),)
    """The .beton file to train on, or several."""
    weights: tuple[float, ...] = ()
    """Share of each file in a batch, in proportion; none: as many as it has. An epoch ends before a sample repeats."""
    order: Literal["auto", "random", "pages"] = "auto"
    """random: uniform over all samples. pages: windows of pages, for files larger than memory. auto: pages for files
    that exceed half of it."""
    page_window: int = 64
    """Pages (8 MiB each, unless the writer was told otherwise) whose samples are mixed in page order."""
    augment_on: Annotated[Literal["auto", "cpu", "gpu"], tyro.conf.arg(name="augment")] = "auto"
    """Where crops are made: cpu, while loading; gpu, on the training device; auto measures both at the start."""
    engine: EngineName = "ffcv"
    """Loader: ffcv's decoder on threads, NVIDIA's DALI, or a plain PyTorch DataLoader. Same samples, same crops."""
    workers: int = 0
    """Decoding threads (ffcv, dali) or processes (torch) per GPU; 0: the cores of this machine shared by its ranks."""
    prefetch: int = 3
    """Batches decoded ahead of the step."""
    stage: Path | None = None
    """Folder on a fast disk of each machine, to which the files are copied first; none: read them where they are."""
    stage_minutes: float = 60
    """How long a process waits for another one's copy."""
    on_broken: Literal["raise", "replace"] = "raise"
    """A JPEG that fails to decode stops the run, or is replaced by the next sample of its batch and counted."""

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: on the first contradiction found.
        """
        require(self.page_window > 0, "page-window", "a window has at least one page", "The default is 64.")
