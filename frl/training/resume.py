"""What outlives a process: weights, momentum, what the objective keeps, and position, in checkpoints of one run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from frl.batch import Loader
from frl.config import RunConfig, as_dict, from_dict
from frl.config.changes import flat, may_change
from frl.errors import CheckpointError, FrlError
from frl.files import atomic_write
from frl.monitoring.logbook import recount
from frl.printable import abridged
from frl.runtime import checkpoint
from frl.runtime.distributed import World, agreed
from frl.runtime.waiting import HostBarrier
from frl.training.shares import divided, joined
from frl.training.step import Step

KEPT = ("optim.optimiser", "optim.exclude_bias_and_norm")  # options that shape what the optimiser keeps
PARTS = ("step", "model", "optimiser", "progress", "config", "data")
"""What a checkpoint needs to be gone on from."""
DEFINING = ("seed", "augment", "model", "objective", "optim", "precision")


class Progress:
    """Saves and restores what ``step`` has done, in the checkpoints of ``config.out``.

    Rank 0 alone reads and writes files. The others need not see its folder.
    """

    def __init__(self, config: RunConfig, loader: Loader, step: Step, world: World, barrier: HostBarrier) -> None:
        self.config = config
        self.step = step
        self.world = world
        self.barrier = barrier
        self.folder = config.out / "checkpoints"
        self.steps_per_epoch = len(loader)
        self.data = {
            "fingerprint": loader.dataset_fingerprint,
            "samples": loader.samples,
            "order": loader.sampling,
        }

    def resume(self) -> int:
        """Load the newest checkpoint, if there is one and the configuration wants it; the step to go on from.

        A collective call: rank 0 chooses and reads the checkpoint, and every rank gets what it read.

        Raises:
            CheckpointError: on every rank, if the folder holds another run.
        """
        with self.barrier.at_work():
            found = self._find() if self.world.is_main else None
        self.barrier.meet()
        found = agreed(found)
        if isinstance(found, FrlError):
            raise found
        if found is not None:
            self._load(*found)
        with self.barrier.at_work():
            if self.world.is_main:
                self._take_over(None if found is None else found[0])
        self.barrier.meet()
        return self.step.taken

    def _load(self, state: dict[str, Any], taken: int) -> None:
        """Go on from ``state`` as from step ``taken``."""
        objective, optimiser = self.step.objective, self.step.optimiser
        model, moments = divided(objective, optimiser, self.world, state["model"], state["optimiser"])
        objective.load_state_dict(model, strict=True)
        objective.load_progress(taken, state["progress"], self.world)
        ours = [{name: value for name, value in group.items() if name != "params"} for group in optimiser.param_groups]
        optimiser.load_state_dict(moments)
        for group, options in zip(optimiser.param_groups, ours, strict=True):
            group.update(options)  # equal to the saved ones, or allowed to differ
        self.step.taken = taken

    def _take_over(self, state: dict[str, Any] | None) -> None:
        """Make the folder this run's, now that nothing can be refused any more."""
        with atomic_write(self.config.out / "config.json") as stream:
            stream.write(json.dumps(as_dict(self.config), indent=2).encode())
        if state is not None:
            recount(self.config.out / "metrics.jsonl", before=self._epoch_of(state), now=self.steps_per_epoch)

    def _find(self) -> tuple[dict[str, Any], int] | FrlError | None:
        """On rank 0: the checkpoint to go on from and the step that it counts as here; or why there is none."""
        try:
            state = checkpoint.load_newest(self.folder, PARTS) if self.config.resume else None
            if not self.config.resume and checkpoint.saved(self.folder):
                raise CheckpointError(self.folder, "holds the checkpoints of an earlier run", "Choose another --out.")
            taken = 0
            if state is not None:
                self._check_same_run(state)
                self._require_fit(state["model"])
                taken = self._step_of(state)
            return None if state is None else (state, taken)
        except FrlError as error:
            return error

    def save(self) -> None:
        """Write the checkpoint of the last step; a collective call."""
        progress = self.step.objective.progress(self.world)
        model, moments = joined(self.step.objective, self.step.optimiser, self.world)
        with self.barrier.at_work():
            if self.world.is_main:
                self._save(model, moments, progress)
        self.barrier.meet()

    def _save(self, model: dict[str, Any], moments: dict[str, Any], progress: dict[str, torch.Tensor]) -> None:
        state = {
            "step": self.step.taken,
            "steps_per_epoch": self.steps_per_epoch,
            "model": model,
            "optimiser": moments,
            "progress": progress,
            "config": as_dict(self.config),
            "data": self.data,
            "torch": str(torch.__version__),
        }
        checkpoint.save(checkpoint.path_of(self.folder, self.step.taken), state)
        checkpoint.prune(self.folder, self.config.keep_checkpoints, self.step.taken)

    def _check_same_run(self, state: dict[str, Any]) -> None:
        ours = flat({**_defining(as_dict(self.config)), "data": self.data})
        saved = as_dict(from_dict(RunConfig, state["config"]))  # what an older version did not know was the default
        theirs = flat({**_defining(saved), "data": state["data"]})
        if theirs.get("precision") == "auto":  # of version 0.1, which did not note what it had chosen
            theirs["precision"] = ours["precision"]
        differing = [key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)]
        self._refuse(
            [key for key in differing if key in self._fixed()],
            ours,
            theirs,
            "and the weights of one do not fit the other",
            "Restore these options, or choose another --out.",
        )
        self._refuse(
            [key for key in differing if key in KEPT],
            ours,
            theirs,
            "and what the optimiser of one keeps does not fit the other's",
            "Restore these options, or choose another --out.",
        )
        self._refuse(
            [key for key in differing if not may_change(key, self.config.allow_changes)],
            ours,
            theirs,
            "",
            "Restore these options, name those that may differ (--allow-changes), or choose another --out.",
        )

    def _refuse(self, keys: list[str], ours: dict[str, Any], theirs: dict[str, Any], why: str, remedy: str) -> None:
        if keys:
            differences = "; ".join(f"{key}: {theirs.get(key)} -> {ours.get(key)}" for key in keys)
            cause = f"belongs to a run that differs in {differences}"
            raise CheckpointError(self.folder, f"{cause}, {why}" if why else cause, remedy)

    def _fixed(self) -> set[str]:
        """Options that shape the weights."""
        objective = self.config.objective
        return {"model.arch", "model.width", "objective.name", *(f"objective.{name}" for name in objective.shapes)}

    def _require_fit(self, model: dict[str, torch.Tensor]) -> None:
        """Refuse weights of other names or shapes than this run's, of which no option tells.

        Raises:
            CheckpointError: naming them.
        """
        theirs, ours = _shapes(model), _shapes(self.step.objective.state_dict())
        for name, rows in self.step.objective.shared_out.items():
            ours[name] = (rows, *ours[name][1:])
        names = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
        if names:
            changes = [f"{name}: {theirs.get(name)} -> {ours.get(name)}" for name in names]
            cause = f"holds weights that this run's do not fit ({abridged(changes, checkpoint.SHOWN)})"
            remedy = "Restore what shapes them (classes: the number of people in the data), or choose another --out."
            raise CheckpointError(self.folder, cause, remedy)

    def _step_of(self, state: dict[str, Any]) -> int:
        """What a checkpoint's step counts here: as many epochs, which another batch size or data may divide anew.

        Raises:
            CheckpointError: in the middle of an epoch, which cannot be divided anew.
        """
        before = self._epoch_of(state)
        if before == self.steps_per_epoch:
            return state["step"]
        epoch, within = divmod(state["step"], before)
        if within:
            cause = f"was left in the middle of epoch {epoch}, whose {before} steps would become {self.steps_per_epoch}"
            remedy = f"Let the epoch end first, with the options as they were and --max-steps {(epoch + 1) * before}."
            raise CheckpointError(self.folder, cause, remedy)
        taken = epoch * self.steps_per_epoch
        warnings.warn(
            f"an epoch has {self.steps_per_epoch} steps now instead of {before}: after {epoch} epochs, step "
            f"{state['step']} counts as {taken}",
            stacklevel=2,
        )
        return taken

    def _epoch_of(self, state: dict[str, Any]) -> int:
        """The steps of an epoch by which a checkpoint counts."""
        samples, batch = state["data"]["samples"], state["config"]["optim"]["batch_size"]
        return state.get("steps_per_epoch") or samples // batch or self.steps_per_epoch


def kept_options(config: RunConfig, world: World) -> dict[str, Any] | None:
    """The options of the run that ``config`` goes on with, as JSON; None: there is none. A collective call.

    Raises:
        CheckpointError: on every rank, if none of its checkpoints is sound.
    """
    found = agreed(_kept_options(config) if world.is_main else None)
    if isinstance(found, FrlError):
        raise found
    return found


def _kept_options(config: RunConfig) -> dict[str, Any] | FrlError | None:
    folder = config.out / "checkpoints"
    if not (config.resume and checkpoint.saved(folder)):
        return None
    try:
        return json.loads((config.out / "config.json").read_bytes())
    except (OSError, ValueError):  # the checkpoints were moved without it; they hold it, too, but take long to read
        pass
    try:
        state = checkpoint.load_newest(folder, ("config",))
    except FrlError as error:
        return error
    return None if state is None else state["config"]


def _defining(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that fixes every weight of the run, whatever the machine."""
    return {key: config[key] for key in DEFINING}


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items() if isinstance(value, torch.Tensor)}
