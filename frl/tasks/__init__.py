"""The downstream tasks: layouts on disk, targets, metrics. Nothing here knows a loader or a network.

What ``frl.tasks.registry`` defines is loaded when it is asked for: who reads a layout alone needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frl.tasks.registry import (
        TASKS,
        ActionUnits,
        Affect,
        Classes,
        Expression,
        Face3d,
        Landmarks,
        Numbers,
        Points,
        Pose,
        Score,
        SupervisedTask,
        Task,
        Truth,
        Verification,
        task_of,
    )

__all__ = [
    "TASKS",
    "ActionUnits",
    "Affect",
    "Classes",
    "Expression",
    "Face3d",
    "Landmarks",
    "Numbers",
    "Points",
    "Pose",
    "Score",
    "SupervisedTask",
    "Task",
    "Truth",
    "Verification",
    "task_of",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("frl.tasks.registry"), name)
