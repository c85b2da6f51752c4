"""Every downstream task, and the one of a name."""

from typing import Any

from frl.errors import ConfigError
from frl.tasks.action_units import ActionUnits
from frl.tasks.affect import Affect
from frl.tasks.classes import Classes, with_names
from frl.tasks.expression import Expression
from frl.tasks.face3d import Face3d
from frl.tasks.landmarks import Landmarks
from frl.tasks.numbers import Numbers
from frl.tasks.points import Points
from frl.tasks.pose import Pose
from frl.tasks.recognition import Verification
from frl.tasks.task import Score, SupervisedTask, Task, Truth

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

TASKS: dict[str, type[SupervisedTask]] = {
    "landmarks": Landmarks,
    "face3d": Face3d,
    "pose": Pose,
    "expression": Expression,
    "affect": Affect,
    "action-units": ActionUnits,
}
"""What a head can be trained for, by its name on the command line. ``task_of`` knows those of any target, too."""


def task_of(name: str, train: Truth, **options: Any) -> SupervisedTask:
    """A task by its name, on what is known of the faces that it is trained on.

    Args:
        name: one of `TASKS`, or ``classes:TARGET``, ``numbers:TARGET`` or ``points:TARGET`` for any target.
        train: its specs say what there is; classes without names are those that occur, and numbers of any unit are
            scaled by their mean and standard deviation. What training knows of no face is not said.
        options: of the task, such as the ``normaliser`` of landmarks.

    Raises:
        ConfigError: there is no such task, or it cannot be had from these targets.
    """
    kind, _, field = name.partition(":")
    if kind == "classes" and field:
        specs = {called: with_names(spec, train.values[called]) for called, spec in train.specs.items()}
        return Classes.of(specs, field)
    if kind == "numbers" and field:
        return Numbers.of(train.specs, field).fitted(train).learned_from(train)
    if kind == "points" and field:
        return Points.of(train.specs, field, **options).learned_from(train)
    if name not in TASKS:
        remedy = f"Choose one of {', '.join(TASKS)}, or classes:NAME, numbers:NAME or points:NAME of any target."
        raise ConfigError(f"the task {name!r}", "there is no task of this name", remedy)
    task = TASKS[name].of(train.specs, **options)
    return task.learned_from(train) if isinstance(task, (Points, Numbers)) else task
