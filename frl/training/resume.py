"""What outlives a process: weights, momentum, queue and position, in checkpoints that belong to one run."""

from __future__ import annotations

import json
from typing import Any

import torch

from frl.batch import Loader
from frl.config import RunConfig, as_dict, from_dict
from frl.errors import CheckpointError
from frl.files import atomic_write
from frl.runtime import checkpoint
from frl.runtime.distributed import World
from frl.training.step import Step


class Progress:
    """Saves and restores what ``step`` has done, in the checkpoints of ``config.out``."""

    def __init__(self, config: RunConfig, loader: Loader, step: Step, world: World) -> None:
        self.config = config
        self.step = step
        self.world = world
        self.folder = config.out / "checkpoints"
        self.data = {
            "fingerprint": getattr(loader, "dataset_fingerprint", ""),
            "samples": getattr(loader, "samples", 0),
            "order": getattr(loader, "law", ""),
        }

    def resume(self) -> int:
        """Load the newest checkpoint, if there is one and the configuration wants it; the step to go on from.

        Raises:
            CheckpointError: if the folder holds another run.
        """
        state = checkpoint.load_newest(self.folder) if self.config.resume else None
        if not self.config.resume and checkpoint.saved(self.folder):
            raise CheckpointError(self.folder, "holds the checkpoints of an earlier run", "Choose another --out.")
        if state is None:
            if self.world.is_main:
                self._write_config()
            return 0
        self._check_same_run(state)
        objective = self.step.objective
        objective.net.load_state_dict(state["model"], strict=True)
        objective.load_progress(state["step"], state["queue"], self.world.rank, self.world.size)
        self.step.optimiser.load_state_dict(state["optimiser"])
        self.step.taken = state["step"]
        return self.step.taken

    def save(self) -> None:
        """Write the checkpoint of the last step; a collective call."""
        queue = self.step.objective.gather_queue(self.world.size)
        if self.world.is_main:
            state = {
                "step": self.step.taken,
                "model": self.step.objective.net.state_dict(),
                "optimiser": self.step.optimiser.state_dict(),
                "queue": queue,
                "config": as_dict(self.config),
                "data": self.data,
                "torch": str(torch.__version__),
            }
            checkpoint.save(checkpoint.path_of(self.folder, self.step.taken), state)
            checkpoint.prune(self.folder, self.config.keep_checkpoints)
        self.world.barrier()

    def _write_config(self) -> None:
        with atomic_write(self.config.out / "config.json") as stream:
            stream.write(json.dumps(as_dict(self.config), indent=2).encode())

    def _check_same_run(self, state: dict[str, Any]) -> None:
        ours = {**_flat(self._defining(as_dict(self.config))), **_flat({"data": self.data})}
        saved = as_dict(from_dict(RunConfig, state["config"]))  # what an older version did not know was the default
        theirs = {**_flat(self._defining(saved)), **_flat({"data": state["data"]})}
        differences = [
            f"{key}: {theirs.get(key)} -> {ours.get(key)}"
            for key in sorted(ours.keys() | theirs.keys())
            if ours.get(key) != theirs.get(key) and not self._may_change(key)
        ]
        if differences:
            raise CheckpointError(
                self.folder,
                "belongs to a run that differs in " + "; ".join(differences),
                "Restore these options, name those that may differ (--allow-changes), or choose another --out.",
            )

    def _may_change(self, key: str) -> bool:
        return any(key == name or key.startswith(f"{name}.") for name in self.config.allow_changes)

    @staticmethod
    def _defining(config: dict[str, Any]) -> dict[str, Any]:
        """The part of a configuration that fixes every weight of the run, whatever the machine."""
        return {key: config[key] for key in ("seed", "augment", "model", "swav", "optim")}


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
