"""What the steps of a run measure: summed on the device, read by the host only when it is logged."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch

from frl.batch import Batch
from frl.bottleneck import Shares, Stopwatch
from frl.config import RunConfig
from frl.distributed import World
from frl.errors import TrainingError
from frl.health import IN_USE, CollapseAlarm, Vitals, effective_rank, relative_entropy
from frl.logbook import Logbook
from frl.swav import SwAV


class Meter:
    """Sums what the steps report on the device; the host waits for it only in ``flush``."""

    def __init__(
        self, config: RunConfig, objective: SwAV, world: World, logbook: Logbook, steps_per_epoch: int
    ) -> None:
        self.config = config
        self.world = world
        self.logbook = logbook
        self.steps_per_epoch = steps_per_epoch
        self.alarm = CollapseAlarm(config, objective.freeze_steps)
        self.sums = Sums(config.model.prototypes, config.model.feature_dim, world.device)
        self.interval = Stopwatch()
        self.epoch = Stopwatch()
        self.intervals = 0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass the batches on and measure how long each was waited for."""
        while True:
            with self.interval.on("data"), self.epoch.on("data"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Count the block as time spent on checkpoints and probes, which the speed leaves out."""
        with self.interval.on("logging"), self.epoch.on("logging"):
            yield

    def add(self, outputs: dict[str, torch.Tensor]) -> None:
        """Count one step; no synchronisation."""
        self.sums.add(outputs)
        self.logbook.advance()

    def flush(self, step: int, rate: float, stop_requested: bool, before_stop: Callable[[int], None]) -> bool:
        """Log the interval that ends with ``step``; whether any rank was asked to stop. A collective call.

        Raises:
            TrainingError: on a non-finite loss, or a collapse if the alarm is to stop the run (saved before).
        """
        with self.interval.on("device"), self.epoch.on("device"):
            steps, vitals, usage, stopping = self.sums.read(self.world, stop_requested)
        if not math.isfinite(vitals.loss):
            raise TrainingError(
                f"step {step}",
                f"the loss is {vitals.loss}",
                "The newest checkpoint is from before it. Lower --optim.lr or use --precision fp32, then run again.",
            )
        with self.epoch.on("logging"):
            self._log(step, rate, steps, vitals, usage)
        self._judge(step, vitals, before_stop)
        if step % self.steps_per_epoch == 0:
            epoch = step // self.steps_per_epoch - 1
            self.logbook.say(f"epoch {epoch}: {Shares.of(self.epoch).verdict()}")
            self.epoch.restart()
        self.interval.restart()
        return stopping

    def _log(self, step: int, rate: float, steps: int, vitals: Vitals, usage: torch.Tensor) -> None:
        seconds = self.interval.seconds - self.interval.logging
        values = {
            "loss": vitals.loss,
            "lr": rate,
            "spread": vitals.spread,
            "rank": vitals.rank,
            "prototypes_used": vitals.prototypes_used,
            "prototype_entropy": vitals.prototype_entropy,
            "assignment_entropy": vitals.assignment_entropy,
            "images_per_s": self.config.optim.batch_size * steps / seconds,
            "data_wait": self.interval.data / seconds,
            "memory_gib": memory_gib(self.world.device),
        }
        self.logbook.scalars(step, values, epoch=(step - 1) // self.steps_per_epoch)
        self.logbook.histogram(step, "prototype_mass", usage * len(usage))
        self.intervals += 1
        if self.intervals == 2:  # the first holds the start of the loader and the compiler
            left = self.logbook.total_steps - step
            expected = timedelta(seconds=round(left * seconds / steps))
            self.logbook.say(f"expected time: {expected} for the {left:,} steps left, by the last {steps} steps")

    def _judge(self, step: int, vitals: Vitals, before_stop: Callable[[int], None]) -> None:
        alarm = self.alarm.observe(step, vitals)
        if alarm is None:
            return
        if self.config.health.action == "stop":
            before_stop(step)
            raise TrainingError(f"step {step}: collapse", alarm, "Or let it run with --health.action warn.")
        self.logbook.say(f"warning: step {step}: collapse: {alarm}")


class Sums:
    """What the steps since the last reading add up to: one float64 vector, so that one reduction carries everything."""

    def __init__(self, prototypes: int, width: int, device: torch.device) -> None:
        self.vector = torch.zeros(4 + prototypes + width * width, dtype=torch.float64, device=device)
        scalars, self.usage, moment = self.vector.split([4, prototypes, width * width])
        self.loss, self.spread, self.assignment_entropy, self.stop = scalars.unbind()
        self.moment = moment.view(width, width)
        self.steps = 0

    def add(self, outputs: dict[str, torch.Tensor]) -> None:
        """Add the outputs of one step of ``SwAV``; no synchronisation."""
        self.loss += outputs["loss"].detach()
        self.spread += outputs["spread"]
        self.assignment_entropy += outputs["assignment_entropy"]
        self.usage += outputs["usage"]
        features = outputs["features"].double()
        self.moment.addmm_(features.T, features, alpha=1 / len(features))
        self.steps += 1

    def read(self, world: World, stop_requested: bool) -> tuple[int, Vitals, torch.Tensor, bool]:
        """Mean over the steps and the ranks, then start anew. A collective call that waits for the device.

        Returns:
            Steps, vitals, use ``(K,)`` of the prototypes, and whether any rank was asked to stop.
        """
        steps = self.steps
        self.stop.fill_(float(stop_requested) * steps)
        self.vector.copy_(world.mean(self.vector) / steps)
        usage = self.usage.float().cpu()
        vitals = Vitals(
            loss=self.loss.item(),
            spread=self.spread.item(),
            rank=effective_rank(self.moment).item() if self.moment.isfinite().all() else math.nan,
            prototypes_used=(usage * len(usage) > IN_USE).float().mean().item(),
            prototype_entropy=relative_entropy(usage).item(),
            assignment_entropy=self.assignment_entropy.item(),
        )
        stopping = self.stop.item() > 0
        self.vector.zero_()
        self.steps = 0
        return steps, vitals, usage, stopping


def memory_gib(device: torch.device) -> float:
    """Most memory held so far, in GiB: tensors on a GPU; on the CPU this process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
