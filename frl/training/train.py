"""The training loop: batches in, checkpoints and logs out. Resumes exactly, in mid-epoch, on any number of ranks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from torch import nn

from frl.batch import Batch, Loader
from frl.config import RunConfig
from frl.evaluate.gallery import Probed
from frl.monitoring.logbook import Logbook
from frl.monitoring.metrics import Meter
from frl.runtime import environment
from frl.runtime.termination import termination_requests
from frl.training.build import Run
from frl.training.resume import Progress

Probe = Callable[[nn.Module], Probed]


def train(run: Run, *, probe: Probe | None = None) -> None:
    """Train until the configuration says enough.

    Args:
        run: from ``build``.
        probe: called with the backbone every ``config.knn.every_epochs`` epochs on the main rank.

    Raises:
        TrainingError: after too many steps in a row that are not finite, or on a collapse if the alarm is to stop the
            run.
        CheckpointError: if a checkpoint cannot be written, or belongs to another run.
    """
    config, loader, step, world = run.config, run.loader, run.step, run.world
    steps_per_epoch = len(loader)
    last_step = steps_per_epoch * config.optim.epochs
    if config.max_steps >= 0:
        last_step = min(last_step, config.max_steps)
    progress = Progress(config, loader, step, world)
    first_step = progress.resume()

    with (
        Logbook(config, total_steps=last_step, first_step=first_step, enabled=world.is_main) as logbook,
        termination_requests() as termination,
    ):
        if world.is_main:
            environment.record(config.out / "environment.jsonl", first_step, world)
        meter = Meter(config, run.objective, world, logbook, steps_per_epoch)
        while step.taken < last_step:
            epoch, start = divmod(step.taken, steps_per_epoch)
            for batch in meter.timed(islice(loader.epoch(epoch, start), last_step - step.taken)):
                if step.taken == first_step:
                    _announce(first_step, batch, loader, config, logbook)
                meter.add(step(batch.views, batch.labels), step.finite)

                epoch_ends, run_ends = step.taken % steps_per_epoch == 0, step.taken == last_step
                saving = epoch_ends or run_ends or step.taken % config.checkpoint_every_steps == 0
                if saving or step.taken % config.log_every_steps == 0:
                    stopping = meter.flush(step.taken, step.rate, termination.requested, before_stop=progress.save)
                    if saving or stopping:
                        with meter.logging():
                            progress.save()
                    if stopping:
                        logbook.say(f"stopped on request after step {step.taken}; the same command goes on from there")
                        return
                if epoch_ends and probe is not None and (run_ends or (epoch + 1) % config.knn.every_epochs == 0):
                    with meter.logging():
                        if world.is_main:
                            logbook.probed(step.taken, probe(run.objective.backbone), epoch=epoch)
                        world.barrier()


def _announce(first_step: int, batch: Batch, loader: Loader, config: RunConfig, logbook: Logbook) -> None:
    """Say where the run begins, and show its first crops; by then the loader knows where it makes them."""
    logbook.say(f"training from step {first_step}")
    logbook.crops(first_step, batch.views, config.augment)
    placement = getattr(loader, "placement", None)
    if placement is not None and placement.metrics:
        logbook.scalars(first_step, placement.metrics)
