"""A trace of some steps, for Perfetto or chrome://tracing: what processor and GPU did, operation by operation."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

WARM_UP = 5
"""Steps of this process before the first that is traced: they start the loader, the compiler and the profiler."""


class Trace:
    """Counts steps, records some of them, and writes one file; does nothing without steps to record.

    Args:
        path: the file, ``.json.gz``.
        steps: to record; 0: none.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path = path
        self.steps = steps
        self.taken = 0
        self._profile: profile | None = None

    def step(self) -> str | None:
        """Count one step; after the last that is recorded, where the file is."""
        self.taken += 1
        if self.steps and self.taken == WARM_UP:
            activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
            self._profile = profile(activities=activities, record_shapes=True)
            self._profile.start()
        return self.close() if self._profile is not None and self.taken == WARM_UP + self.steps else None

    def close(self) -> str | None:
        """End the recording and write what it holds; in words where that is, None if there was nothing to do."""
        if self._profile is not None:
            self._profile.stop()
            self._profile.export_chrome_trace(str(self.path))
            self._profile = None
            steps = self.taken - WARM_UP
            return f"trace of {steps} step{'s' if steps != 1 else ''}: {self.path} (open it in https://ui.perfetto.dev)"
        if self.steps and self.taken < WARM_UP:
            return f"no trace: it begins after {WARM_UP} steps, and this process has taken {self.taken}"
        return None
