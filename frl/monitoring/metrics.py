"""What the steps of a run measure: summed on the device, read by the host only when it is logged."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch

from frl.batch import Batch
from frl.config import RunConfig
from frl.errors import TrainingError
from frl.monitoring.bottleneck import Shares, Stopwatch
from frl.monitoring.health import IN_USE, CollapseAlarm, Vitals, effective_rank, relative_entropy
from frl.monitoring.logbook import Logbook
from frl.objectives.swav import SwAV
from frl.runtime.distributed import World


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

    def add(self, outputs: dict[str, torch.Tensor], finite: torch.Tensor) -> None:
        """Count one step, which changed nothing unless it was ``finite`` (bool scalar); no synchronisation."""
        self.sums.add(outputs, finite)
        self.logbook.advance()

    def flush(self, step: int, rate: float, stop_requested: bool, before_stop: Callable[[], None]) -> bool:
        """Log the interval that ends with ``step``; whether any rank was asked to stop. A collective call.

        Raises:
            TrainingError: after too many steps in a row that were not finite, or on a collapse if the alarm is to stop
                the run (saved before).
        """
        with self.interval.on("device"), self.epoch.on("device"):
            steps, skipped, vitals, usage, stopping = self.sums.read(self.world, stop_requested)
        if skipped.count:
            self._report(step, skipped)
        if skipped.count < steps:
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

    def _report(self, step: int, skipped: Skipped) -> None:
        cause = f"the loss or a gradient was not finite in {skipped.count} steps, {skipped.in_a_row} of them in a row"
        if skipped.in_a_row >= self.config.health.max_skipped_steps:
            raise TrainingError(
                f"up to step {step}",
                cause,
                "Nothing of them is in the weights. Lower --optim.lr or use --precision fp32. To replay them, resume "
                f"a copy of the folder with the same command and --max-steps {step}: every step sees the same crops.",
            )
        self.logbook.say(f"warning: up to step {step}: {cause}; they were passed over")

    def _judge(self, step: int, vitals: Vitals, before_stop: Callable[[], None]) -> None:
        alarm = self.alarm.observe(step, vitals)
        if alarm is None:
            return
        if self.config.health.action == "stop":
            before_stop()
            raise TrainingError(f"step {step}: collapse", alarm, "Or let it run with --health.action warn.")
        self.logbook.say(f"warning: step {step}: collapse: {alarm}")


@dataclass(frozen=True)
class Skipped:
    """Steps of an interval that changed nothing because they were not finite; ``in_a_row``: the longest run of them."""

    count: int
    in_a_row: int


class Sums:
    """What the steps since the last reading add up to: one float64 vector, so that one reduction carries everything."""

    def __init__(self, prototypes: int, width: int, device: torch.device) -> None:
        self.vector = torch.zeros(5 + prototypes + width * width, dtype=torch.float64, device=device)
        scalars, self.usage, moment = self.vector.split([5, prototypes, width * width])
        self.loss, self.spread, self.assignment_entropy, self.counted, self.stop = scalars.unbind()
        self.moment = moment.view(width, width)
        self.steps = 0
        # Steps in a row that were not finite: up to now, and at most; the same on all ranks.
        self.row, self.longest_row = torch.zeros(2, dtype=torch.int64, device=device).unbind()

    def add(self, outputs: dict[str, torch.Tensor], finite: torch.Tensor) -> None:
        """Add the outputs of one step of ``SwAV``, nothing if it was not ``finite``; no synchronisation."""
        self.loss += outputs["loss"].detach().where(finite, 0)
        self.spread += outputs["spread"].where(finite, 0)
        self.assignment_entropy += outputs["assignment_entropy"].where(finite, 0)
        self.usage += outputs["usage"].where(finite, 0)
        features = outputs["features"].double().where(finite, 0)
        self.moment.addmm_(features.T, features, alpha=1 / len(features))
        self.counted += finite
        self.row.add_(1).mul_(~finite)
        torch.maximum(self.row, self.longest_row, out=self.longest_row)
        self.steps += 1

    def read(self, world: World, stop_requested: bool) -> tuple[int, Skipped, Vitals, torch.Tensor, bool]:
        """Mean over the finite steps and the ranks, then start anew. A collective call that waits for the device.

        Returns:
            Steps, those among them that were skipped, vitals (without meaning if all were), use ``(K,)`` of the
            prototypes, and whether any rank was asked to stop.
        """
        steps = self.steps
        self.stop.fill_(float(stop_requested))
        world.mean(self.vector)
        counted = int(self.counted.item())
        skipped = Skipped(count=steps - counted, in_a_row=int(self.longest_row.item()))
        self.vector.div_(max(counted, 1))
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
        self.longest_row.zero_()
        self.steps = 0
        return steps, skipped, vitals, usage, stopping


def memory_gib(device: torch.device) -> float:
    """Most memory held so far, in GiB: tensors on a GPU; on the CPU this process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
