"""The downstream tasks: layouts on disk, targets, metrics. Nothing here knows a loader or a network."""

from frl.tasks.landmarks import Landmarks
from frl.tasks.recognition import Verification
from frl.tasks.task import Score, SupervisedTask, Task, Truth

__all__ = ["TASKS", "Landmarks", "Score", "SupervisedTask", "Task", "Truth", "Verification"]

TASKS: dict[str, type[SupervisedTask]] = {"landmarks": Landmarks}
"""What a head can be trained for, by its name on the command line."""
