"""What outlives an interruption of fine-tuning: position, weights, the best of them so far, and the checks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from frl.batch import LabelledLoader
from frl.config import as_dict
from frl.config.finetune import FinetuneConfig
from frl.errors import CheckpointError, FrlError
from frl.runtime import checkpoint
from frl.runtime.distributed import World, agreed
from frl.tasks.task import Score, SupervisedTask

State = dict[str, Tensor]
PARTS = ("step", "network", "average", "optimiser", "best", "best_step", "data")
"""What a checkpoint needs to be gone on from."""
OF_THE_MACHINE = ("keep_decoded",)
"""Options that change no number."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """How far fine-tuning had come.

    Attributes:
        step: after which.
        loss: mean over the steps since the check before.
        score: the task's headline on the held-out part of the training data; None if there is none.
    """

    step: int
    loss: float
    score: Score | None


class Progress:
    """The best weights and the checks of a run, kept in the checkpoints of a folder.

    Rank 0 alone reads and writes files.

    Attributes:
        state: what a checkpoint held, to go on from; None at the beginning.
        history: the checks so far.
        best: the weights of the best check.
        best_step: after which step that was.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any], world: World) -> None:
        self.folder, self.identity, self.world = folder, identity, world
        self.state: dict[str, Any] | None = None
        self.history: list[Check] = []
        self.best: State = {}
        self.best_step = 0

    @staticmethod
    def identity_of(
        config: FinetuneConfig, task: SupervisedTask, train: LabelledLoader, network: nn.Module
    ) -> dict[str, Any]:
        """All that decides what a run computes."""
        options = {name: value for name, value in as_dict(config).items() if name not in OF_THE_MACHINE}
        digest = hashlib.sha256()
        for name, value in network.state_dict().items():
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return {"config": options, "task": repr(task), "data": train.fingerprint, "weights": digest.hexdigest()}

    @classmethod
    def resume(cls, folder: Path | None, identity: Mapping[str, Any], world: World) -> Self:
        """The progress of the run of that identity in ``folder``. A collective call.

        Raises:
            CheckpointError: on every rank, if the folder holds another run.
        """
        progress = cls(folder, identity, world)
        found = agreed(progress._find() if world.is_main else None)
        if isinstance(found, FrlError):
            raise found
        if found is not None:
            progress.state, progress.best = found, found["best"]
            progress.best_step, progress.history = found["best_step"], _checks(found["data"]["history"])
        return progress

    def _find(self) -> dict[str, Any] | FrlError | None:
        if self.folder is None:
            return None
        try:
            state = checkpoint.load_newest(self.folder, PARTS)
            if state is not None:
                self._require_same(state["data"]["identity"])
            return state
        except FrlError as error:
            return error

    def _require_same(self, saved: Mapping[str, Any]) -> None:
        ours, theirs = _flat(self.identity), _flat(saved)
        names = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
        if names:
            differences = "; ".join(f"{name}: {theirs.get(name)} -> {ours.get(name)}" for name in names)
            cause = f"belongs to a run that differs in {differences}"
            raise CheckpointError(self.folder, cause, "Restore these, or choose another folder.")

    def note(self, check: Check, weights: State, *, higher_is_better: bool) -> None:
        """Take note of a check and of the weights that it judged; without a score, or while none is defined, the last
        ones are the best."""
        best = next((past.score for past in self.history if past.step == self.best_step), None)
        if best is None or check.score is None or _better(check.score.value, best.value, higher_is_better):
            self.best, self.best_step = weights, check.step
        self.history.append(check)

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint, and delete all others."""
        if self.folder is None or not self.world.is_main:
            return
        history = json.dumps([as_dict(check) for check in self.history])
        data = {"identity": dict(self.identity), "history": history}
        whole = {**state, "best": self.best, "best_step": self.best_step, "data": data}
        checkpoint.save(checkpoint.path_of(self.folder, state["step"]), whole)
        checkpoint.prune(self.folder, 1, state["step"])


def _better(value: float, best: float, higher: bool) -> bool:
    """Whether a later score is better; one that is not defined is so only than another."""
    if math.isnan(value) or math.isnan(best):
        return math.isnan(best)
    return value > best if higher else value < best


def _checks(history: str) -> list[Check]:
    checks = [Check(**saved) for saved in json.loads(history)]
    return [replace(check, score=check.score and Score(**check.score)) for check in checks]  # type: ignore[arg-type]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
