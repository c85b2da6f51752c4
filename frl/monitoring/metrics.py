"""What the steps of a run measure: summed on the device, read by the host only when it is logged."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
from torch import Tensor

from frl.batch import Batch
from frl.config import RunConfig
from frl.errors import TrainingError
from frl.monitoring.bottleneck import Shares, Stopwatch
from frl.monitoring.health import CollapseAlarm, effective_rank, feature_std
from frl.monitoring.logbook import Logbook
from frl.monitoring.utilisation import utilisation_per_image
from frl.objectives import Diagnosis, Objective, StepOutput, Vitals
from frl.runtime.distributed import World


class Meter:
    """Sums what the steps report on the device; the host waits for it only in ``flush``."""

    def __init__(
        self, config: RunConfig, objective: Objective, world: World, logbook: Logbook, steps_per_epoch: int
    ) -> None:
        self.config = config
        self.world = world
        self.logbook = logbook
        self.steps_per_epoch = steps_per_epoch
        self.objective = objective
        self.alarm = CollapseAlarm(config, objective)
        self.sums = Sums(world.device)
        self.interval = Stopwatch()
        self.epoch = Stopwatch()
        self.intervals = 0
        self.steps_in_epoch = 0  # that the verdict on the epoch is about
        self.started = False
        self.mfu_per_image = utilisation_per_image(config, world.device) if world.is_main else None

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

    def add(self, output: StepOutput, finite: Tensor) -> None:
        """Count one step, which changed nothing unless it was ``finite`` (bool scalar); no synchronisation."""
        self.sums.add(output, finite)
        self.logbook.advance()
        self.steps_in_epoch += 1
        if not self.started:  # the loader, the compiler: no epoch's time
            self.started = True
            self._restart_epoch()

    def flush(self, step: int, rate: float, before_stop: Callable[[], None]) -> None:
        """Log the interval that ends with ``step``. A collective call.

        Raises:
            TrainingError: after too many steps in a row that were not finite, or on a collapse if the alarm is to stop
                the run (saved before).
        """
        with self.interval.on("device"), self.epoch.on("device"):
            steps, skipped, vitals = self.sums.read(self.world)
            vitals = self._summarised(vitals)
        if skipped.count:
            self._report(step, skipped)
        if skipped.count < steps:
            alarm = self.alarm.observe(step, vitals)
            with self.epoch.on("logging"):
                self._log(step, rate, steps, vitals)
            if alarm is not None:
                self._raise(step, alarm, before_stop)
        if step % self.steps_per_epoch == 0:
            epoch = step // self.steps_per_epoch - 1
            if self.steps_in_epoch:
                self.logbook.say(f"epoch {epoch}: {Shares.of(self.epoch).verdict()}")
            self._restart_epoch()
        self.interval.restart()

    def _restart_epoch(self) -> None:
        self.epoch.restart()
        self.steps_in_epoch = 0

    def _summarised(self, vitals: Vitals) -> Vitals:
        figures = self.objective.summarise(vitals.histograms) if vitals.histograms else {}
        return replace(vitals, scalars={**vitals.scalars, **figures})

    def _log(self, step: int, rate: float, steps: int, vitals: Vitals) -> None:
        seconds = self.interval.seconds - self.interval.logging
        speed = self.config.optim.batch_size * steps / seconds
        each = speed / self.world.size
        values = {
            "loss": vitals.loss,
            "lr": rate,
            "feature_std": vitals.feature_std,
            "effective_rank": vitals.effective_rank,
            **vitals.scalars,
            "images_per_s": speed,
            **({"images_per_s_per_process": each} if self.world.size > 1 else {}),
            **({} if self.mfu_per_image is None else {"mfu": each * self.mfu_per_image}),
            "data_wait": self.interval.data / seconds,
            "memory_gib": memory_gib(self.world.device),
        }
        signs = {} if self.alarm.signs is None else {"signs": str(self.alarm.signs)}
        self.logbook.scalars(step, values, epoch=(step - 1) // self.steps_per_epoch, **signs)
        for name, mean in vitals.histograms.items():
            self.logbook.histogram(step, name, mean * len(mean))
        self.intervals += 1
        left = self.logbook.total_steps - step
        if self.intervals == 2 and left:  # the first holds the start of the loader and the compiler
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
        self.logbook.say(f"warning: up to step {step}: {cause}; they were skipped")

    def _raise(self, step: int, alarm: Diagnosis, before_stop: Callable[[], None]) -> None:
        """Say what the alarm found, and end the run if it is to."""
        self.logbook.note(step, alarm=str(alarm))
        if self.config.health.action == "stop":
            before_stop()
            raise TrainingError(f"step {step}: collapse", str(alarm), "Or let it run with --health.action warn.")
        self.logbook.say(f"warning: step {step}: collapse: {alarm}")


@dataclass(frozen=True)
class Skipped:
    """Steps of an interval that changed nothing because they were not finite; ``in_a_row``: the longest run of them."""

    count: int
    in_a_row: int


class Sums:
    """What the steps since the last reading add up to: one float64 vector, so that one reduction carries everything."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps = 0
        self.parts: dict[str, Tensor] = {}
        # Steps in a row that were not finite: up to now, and at most; the same on all ranks.
        self.row, self.longest_row = torch.zeros(2, dtype=torch.int64, device=device).unbind()

    def add(self, output: StepOutput, finite: Tensor) -> None:
        """Add the output of one step, nothing if it was not ``finite`` (bool scalar); no synchronisation."""
        figures = {
            "loss": output.loss.detach(),
            "feature_std": feature_std(output.features),
            **{f"scalar {name}": value for name, value in output.scalars.items()},
            **{f"histogram {name}": value for name, value in output.histograms.items()},
        }
        if not self.parts:
            self._lay_out(figures, output.features.shape)
        for name, value in figures.items():
            self.parts[name] += value.where(finite, 0)
        features = output.features.double().where(finite, 0)
        self.parts["moment"].addmm_(features.T, features, alpha=1 / len(features))
        self.parts["counted"] += finite
        self.row.add_(1).mul_(~finite)
        torch.maximum(self.row, self.longest_row, out=self.longest_row)
        self.steps += 1

    def _lay_out(self, figures: dict[str, Tensor], features: torch.Size) -> None:
        self.images, self.width = features
        one = torch.Size([])
        shapes = {name: value.shape for name, value in figures.items()}
        shapes |= {"moment": torch.Size([self.width] * 2), "counted": one}
        sizes = [shape.numel() for shape in shapes.values()]
        self.vector = torch.zeros(sum(sizes), dtype=torch.float64, device=self.device)
        views = self.vector.split(sizes)
        self.parts = {name: view.view(shape) for (name, shape), view in zip(shapes.items(), views, strict=True)}

    def read(self, world: World) -> tuple[int, Skipped, Vitals]:
        """Mean over the finite steps and the ranks, then start anew. A collective call that waits for the device.

        Returns:
            Steps, those among them that were skipped, and vitals (without meaning if all were).
        """
        steps, parts = self.steps, self.parts
        world.mean(self.vector)
        counted = int(parts["counted"].item())
        skipped = Skipped(count=steps - counted, in_a_row=int(self.longest_row.item()))
        self.vector.div_(max(counted, 1))
        moment = parts["moment"]
        vitals = Vitals(
            loss=parts["loss"].item(),
            feature_std=parts["feature_std"].item(),
            effective_rank=effective_rank(moment).item() if moment.isfinite().all() else math.nan,
            width=self.width,
            images=self.images,
            scalars={name: value.item() for name, value in self._named("scalar ")},
            histograms={name: value.float().cpu() for name, value in self._named("histogram ")},
        )
        self.vector.zero_()
        self.longest_row.zero_()
        self.steps = 0
        return steps, skipped, vitals

    def _named(self, kind: str) -> Iterator[tuple[str, Tensor]]:
        return ((name.removeprefix(kind), part) for name, part in self.parts.items() if name.startswith(kind))


def memory_gib(device: torch.device) -> float:
    """Most memory held so far, in GiB: of a GPU, with what CUDA graphs keep; on the CPU this process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
