"""The downstream tasks: layouts on disk, targets, metrics. Nothing here knows a loader or a network."""

from frl.tasks.recognition import Verification
from frl.tasks.task import Score, Task

__all__ = ["Score", "Task", "Verification"]
