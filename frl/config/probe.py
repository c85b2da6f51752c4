"""What heads learn on a network while it trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frl.config.check import require, require_file, require_least, require_seed
from frl.config.coerce import coerce


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Downstream tasks while the run trains: ridge regression on frozen features, as ``frl evaluate`` does it."""

    tasks: tuple[str, ...] = ()
    """What the heads learn: landmarks, face3d, pose, expression, affect, action-units, or any target of the files:
    classes:NAME, numbers:NAME, points:NAME; none: no such probe."""
    data: Path | None = None
    """A .beton with the targets, which is split by subject (by face where none is known)."""
    train: Path | None = None
    """In the place of data: a .beton to learn from."""
    test: Path | None = None
    """With train: a .beton with the same targets to be judged on."""
    test_share: float = 0.2
    """Of data: the share of its faces to be judged on."""
    seed: int = 0
    """Of data: draws these faces."""
    shared_subjects: bool = False
    """Of train and test: allow subjects who are in both, for a benchmark that is published so."""
    every_epochs: int = 5
    """Epochs between two probes."""
    size: int = 224
    """Side of the images shown to the backbone."""
    features: Literal["both", "pooled", "unpooled"] = "both"
    """pooled: what the backbone gives; unpooled: its last feature map, in at most 4 x 4 cells."""
    stage: int | None = None
    """Take the features of this stage of the backbone, the first being next to the image: of a ResNet 1 to 4; none: of
    the whole backbone."""
    limit: int = 5000
    """Faces of each file used at most."""

    def __post_init__(self) -> None:
        coerce(self)

    def check(self) -> None:
        """Refuse what cannot work; whether the files hold what the tasks need is known when they are opened.

        Raises:
            ConfigError: on the first contradiction found.
        """
        files = {name: path for name in ("data", "train", "test") if (path := getattr(self, name)) is not None}
        require_sides("probe.", self.tasks, files)
        is_share = 0 < self.test_share < 1
        require(is_share, "probe.test_share", f"{self.test_share} is no share between 0 and 1", "Use e.g. 0.2.")
        if self.tasks:
            require_of_its_side("probe.", self.data, self.test_share, self.shared_subjects)
        require_seed("probe.seed", self.seed)
        require_least("probe.every_epochs", self.every_epochs, 1, "Use 1 for a probe after every epoch.")
        require_least("probe.size", self.size, 1, "Use about the size of the larger crops.")
        if self.stage is not None:
            require_least("probe.stage", self.stage, 1, "The first stage is next to the image.")
        require_least("probe.limit", self.limit, 4, "The default is 5000.")


def require_sides(prefix: str, tasks: tuple[str, ...], files: dict[str, Path]) -> None:
    """Refuse tasks without files to learn from and to be judged on, and such files without a task.

    Args:
        prefix: of the options' names, as ``probe.`` or ``tasks-``.
        tasks: that are asked for.
        files: those that are given, of ``data``, ``train`` and ``test``.

    Raises:
        ConfigError: naming the option.
    """
    tasks_option = f"{prefix}tasks" if prefix.endswith(".") else prefix.rstrip("-")
    if not tasks:
        for name in files:
            remedy = f"Say what to learn, as with --{tasks_option} landmarks, or leave the file out."
            require(False, f"{prefix}{name}", "no task is asked for", remedy)
        return
    remedy = f"Give --{prefix}data alone, or both --{prefix}train and --{prefix}test."
    repeated = len(set(tasks)) < len(tasks)
    require(not repeated, tasks_option, "names a task twice", "Name each task once.")
    require(bool(files), tasks_option, "there is nothing to learn from", remedy)
    fit = set(files) in ({"data"}, {"train", "test"})
    require(fit, f"{prefix}{next(iter(files))}", f"what is given is {' and '.join(files)}", remedy)
    for name, path in files.items():
        require_file(path, f"{prefix}{name}")


def require_of_its_side(prefix: str, data: Path | None, test_share: float, shared_subjects: bool) -> None:
    """Refuse what says of one file how it is split where there are two, and of two what they may share where it is one.

    Args:
        prefix: of the options' names, as ``probe.``.
        data: the file that is split; None: there is one to learn from and one to be judged on.
        test_share: of ``data``.
        shared_subjects: of the two files.

    Raises:
        ConfigError: naming the option.
    """
    unsplit = data is not None or test_share == ProbeConfig.test_share
    cause = f"--{prefix}test says which faces are judged on"
    require(unsplit, f"{prefix}test_share", cause, f"Leave it out, or give --{prefix}data alone.")
    cause = f"--{prefix}data is split so that nobody is on both sides"
    remedy = f"Leave it out, or give --{prefix}train and --{prefix}test."
    require(data is None or not shared_subjects, f"{prefix}shared_subjects", cause, remedy)
