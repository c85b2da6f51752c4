"""The training loop: batches in, checkpoints and logs out. Resumes exactly, in mid-epoch, on any number of ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from frl import checkpoint, environment
from frl.batch import Loader
from frl.config import RunConfig, as_dict
from frl.distributed import World, distribute
from frl.errors import CheckpointError
from frl.evaluate.gallery import Probed
from frl.files import atomic_write
from frl.guard import BufferGuard
from frl.logbook import Logbook
from frl.meter import Meter
from frl.optimiser import LarcSGD
from frl.precision import autocast_for
from frl.schedule import learning_rate
from frl.step import forward_backward
from frl.swav import SwAV
from frl.termination import termination_requests

Probe = Callable[[nn.Module], Probed]


def train(config: RunConfig, loader: Loader, objective: SwAV, *, world: World, probe: Probe | None = None) -> None:
    """Train ``objective`` on the batches of ``loader`` until ``config`` says enough.

    Args:
        config: of the run; already validated.
        loader: batches of this rank.
        objective: on ``world.device``.
        world: this process among the ranks.
        probe: called with the backbone every ``config.knn.every_epochs`` epochs on the main rank.

    Raises:
        TrainingError: after too many steps in a row that are not finite, or on a collapse if the alarm is to stop the
            run.
        CheckpointError: if a checkpoint cannot be written, or belongs to another run.
    """
    steps_per_epoch = len(loader)
    last_step = steps_per_epoch * config.optim.epochs
    if config.max_steps >= 0:
        last_step = min(last_step, config.max_steps)
    optimiser = LarcSGD(
        objective.parameters(),
        lr=config.optim.start_lr,
        momentum=config.optim.momentum,
        weight_decay=config.optim.weight_decay,
        trust=config.optim.trust,
    )
    run = Run(config, loader, objective, optimiser, world)
    step = run.resume()
    model = distribute(objective, config, world)
    autocast = autocast_for(config.precision, world.device)
    guard = BufferGuard(objective)

    with (
        Logbook(config, total_steps=last_step, first_step=step, enabled=world.is_main) as logbook,
        termination_requests() as termination,
    ):
        if world.is_main:
            environment.record(config.out / "environment.jsonl", step, world)
        meter = Meter(config, objective, world, logbook, steps_per_epoch)
        while step < last_step:
            epoch, start = divmod(step, steps_per_epoch)
            for batch in meter.timed(loader.epoch(epoch, start)):
                if step == run.first_step:
                    logbook.say(f"training from step {step}")
                    logbook.crops(step, batch.views, config.augment)
                    placement = getattr(loader, "placement", None)
                    if placement is not None and placement.metrics:
                        logbook.scalars(step, placement.metrics)
                rate = learning_rate(step, steps_per_epoch, config.optim)
                for group in optimiser.param_groups:
                    group["lr"] = rate
                optimiser.zero_grad(set_to_none=True)
                guard.remember()
                outputs = forward_backward(
                    model, objective, batch.views, micro_batches=config.optim.accumulate, autocast=autocast
                )
                objective.before_step(step)
                optimiser.step()
                guard.settle(optimiser.finite)
                objective.after_step(step)
                step += 1
                meter.add(outputs, optimiser.finite)

                epoch_ends = step % steps_per_epoch == 0
                saving = epoch_ends or step == last_step or step % config.checkpoint_every_steps == 0
                if saving or step % config.log_every_steps == 0:
                    stopping = meter.flush(step, rate, termination.requested, before_stop=run.save)
                    if saving or stopping:
                        with meter.logging():
                            run.save(step)
                    if stopping:
                        logbook.say(f"stopped on request after step {step}; the same command goes on from there")
                        return
                if epoch_ends and probe is not None and _is_due(step // steps_per_epoch, step == last_step, config):
                    with meter.logging():
                        if world.is_main:
                            logbook.probed(step, probe(objective.net.backbone), epoch=epoch)
                        world.barrier()
                if step >= last_step:
                    break


class Run:
    """The state that outlives the process: weights, momentum, queue and position."""

    def __init__(self, config: RunConfig, loader: Loader, objective: SwAV, optimiser: LarcSGD, world: World) -> None:
        self.config = config
        self.objective = objective
        self.optimiser = optimiser
        self.world = world
        self.folder = config.out / "checkpoints"
        self.first_step = 0
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
        self.objective.net.load_state_dict(state["model"], strict=True)
        self.optimiser.load_state_dict(state["optimiser"])
        self.objective.load_progress(state["step"], state["queue"], self.world.rank, self.world.size)
        self.first_step = state["step"]
        return self.first_step

    def save(self, step: int) -> None:
        """Write the checkpoint of ``step``; a collective call."""
        queue = self.objective.gather_queue(self.world.size)
        if self.world.is_main:
            state = {
                "step": step,
                "model": self.objective.net.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "queue": queue,
                "config": as_dict(self.config),
                "data": self.data,
                "torch": str(torch.__version__),
            }
            checkpoint.save(checkpoint.path_of(self.folder, step), state)
            checkpoint.prune(self.folder, self.config.keep_checkpoints)
        self.world.barrier()

    def _write_config(self) -> None:
        with atomic_write(self.config.out / "config.json") as stream:
            stream.write(json.dumps(as_dict(self.config), indent=2).encode())

    def _check_same_run(self, state: dict[str, Any]) -> None:
        ours = {**_flat(self._defining(as_dict(self.config))), **_flat({"data": self.data})}
        theirs = {**_flat(self._defining(state["config"])), **_flat({"data": state["data"]})}
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


def _is_due(epochs_done: int, is_last: bool, config: RunConfig) -> bool:
    return is_last or epochs_done % config.knn.every_epochs == 0


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
