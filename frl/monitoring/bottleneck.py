"""Where the time of an epoch went, and what would make the next one shorter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

NOTICEABLE = 0.1  # share of the time above which data or logging is the bottleneck


class Stopwatch:
    """Wall time since the start, and how much of it the host spent on what.

    Attributes:
        data: seconds spent waiting for a batch.
        device: seconds spent waiting for the device to finish what it was given.
        logging: seconds spent on logs, checkpoints and probes.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self.data = self.device = self.logging = 0.0
        self._since = time.perf_counter()

    @contextmanager
    def on(self, part: Literal["data", "device", "logging"]) -> Iterator[None]:
        """Count the time of the block as spent on ``part``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - began)

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self._since


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Shares of the wall time; the rest is computing.

    Attributes:
        data: nothing to compute, because the next batch was not ready.
        logging: logs, checkpoints and probes.
    """

    data: float
    logging: float

    @classmethod
    def of(cls, watch: Stopwatch) -> Shares:
        """The shares of what ``watch`` measured.

        A GPU computes on while the host waits for a batch. What it still had to do when the host waited for it in turn
        is the part of the wait for data that cost nothing.
        """
        seconds = watch.seconds
        return cls(data=max(watch.data - watch.device, 0.0) / seconds, logging=watch.logging / seconds)

    @property
    def compute(self) -> float:
        """The rest."""
        return max(1 - self.data - self.logging, 0.0)

    def verdict(self) -> str:
        """The shares, what the run is bound by, and what helps."""
        shares = f"{self.compute:.0%} computing, {self.data:.0%} waiting for data, {self.logging:.0%} logging"
        if max(self.data, self.logging) < NOTICEABLE:
            return f"{shares}: bound by computing, the data keeps up"
        if self.data >= self.logging:
            return (
                f"{shares}: bound by data. Give the loader more --workers if cores are free, write smaller images "
                "(frl write --size), or put the file on a faster disk or in memory"
            )
        return (
            f"{shares}: bound by logging. Raise --log-every-steps, --checkpoint-every-steps, --knn.every-epochs or "
            "--probe.every-epochs, or lower --knn.limit or --probe.limit"
        )
