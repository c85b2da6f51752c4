"""What the steps of a run measure: summed on the device, read by the host only when it is logged."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import torch

from frl.batch import Batch
from frl.config import RunConfig
from frl.distributed import World
from frl.errors import TrainingError
from frl.health import CollapseAlarm, Vitals
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
        prototypes = config.model.prototypes
        self.alarm = CollapseAlarm(prototypes, config.health, objective.freeze_steps)
        # One vector, so that one reduction carries everything: loss, spread, stop request, prototype masses.
        self.sums = torch.zeros(3 + prototypes, device=world.device)
        self._restart()

    def _restart(self) -> None:
        self.sums.zero_()
        self.steps = 0
        self.waited = 0.0
        self.since = time.perf_counter()

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass the batches on and measure how long each was waited for."""
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def add(self, outputs: dict[str, torch.Tensor]) -> None:
        """Count one step; no synchronisation."""
        self.sums[0] += outputs["loss"].detach()
        self.sums[1] += outputs["spread"]
        self.sums[3:] += outputs["usage"]
        self.steps += 1
        self.logbook.advance()

    def flush(self, step: int, rate: float, stop_requested: bool, before_stop: Callable[[int], None]) -> bool:
        """Log the interval that ends with ``step``; whether any rank was asked to stop. A collective call.

        Raises:
            TrainingError: on a non-finite loss, or a collapse if the alarm is to stop the run (saved before).
        """
        self.sums[2] = float(stop_requested) * self.steps
        means = (self.world.mean(self.sums) / self.steps).cpu()
        seconds = time.perf_counter() - self.since
        usage = means[3:]
        vitals = Vitals(
            loss=means[0].item(),
            spread=means[1].item(),
            prototypes_used=(usage * len(usage) > 0.1).float().mean().item(),
        )
        values = {
            "loss": vitals.loss,
            "lr": rate,
            "prototypes_used": vitals.prototypes_used,
            "spread": vitals.spread,
            "images_per_s": self.config.optim.batch_size * self.steps / seconds,
            "data_wait": self.waited / seconds,
        }
        if not math.isfinite(vitals.loss):
            raise TrainingError(
                f"step {step}",
                f"the loss is {vitals.loss}",
                "The newest checkpoint is from before it. Lower --optim.lr or use --precision fp32, then run again.",
            )
        self.logbook.scalars(step, values, epoch=(step - 1) // self.steps_per_epoch)
        self.logbook.usage(step, usage)
        self._judge(step, vitals, before_stop)
        self._restart()
        return means[2].item() > 0

    def _judge(self, step: int, vitals: Vitals, before_stop: Callable[[int], None]) -> None:
        alarm = self.alarm.observe(step, vitals)
        if alarm is None:
            return
        if self.config.health.action == "stop":
            before_stop(step)
            raise TrainingError(f"step {step}: collapse", alarm, "Or let it run with --health.action warn.")
        self.logbook.say(f"warning: step {step}: collapse: {alarm}")
