"""The training loop: batches in, checkpoints and logs out. Resumes exactly, in mid-epoch, on any number of ranks."""

from __future__ import annotations

import signal
from itertools import islice
from typing import TYPE_CHECKING

from frl.batch import Batch, Loader
from frl.config import RunConfig
from frl.monitoring.logbook import Logbook
from frl.monitoring.metrics import Meter
from frl.monitoring.trace import Trace
from frl.runtime import environment
from frl.runtime.distributed import agreed
from frl.runtime.termination import termination_requests
from frl.runtime.waiting import HostBarrier
from frl.training.build import Run
from frl.training.resume import Progress
from frl.training.stopping import StopAgreement

if TYPE_CHECKING:
    from frl.evaluate.probe import Probe, Schedule


def train(run: Run, *, probes: Schedule | None = None) -> signal.Signals | None:
    """Train until the configuration says enough, or somebody asks it to stop.

    Args:
        run: from ``build``.
        probes: look at the backbone after some of the epochs, and after the last one. What a process that was stopped
            did not come to, the next one makes up for, also if no step is left.

    Returns:
        The signal that asked the run to stop, the same on every rank; None if it came to its end.

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
    barrier = HostBarrier(world)
    progress = Progress(config, loader, step, world, barrier)
    first_step = progress.resume()

    with (
        Logbook(config, total_steps=last_step, first_step=first_step, enabled=world.is_main) as logbook,
        termination_requests() as termination,
    ):
        if world.is_main:
            environment.record(config.out / "environment.jsonl", first_step, world)
        if probes is not None:
            _make_up(probes, run, barrier, logbook, last_step)
        if first_step >= last_step:
            logbook.say(_finished(first_step, steps_per_epoch, config))
            return None
        trace = Trace(config.out / "trace.json.gz", config.profile if world.is_main else 0)
        meter = Meter(config, run.objective, world, logbook, steps_per_epoch)
        stop = StopAgreement(termination, barrier, first_step)
        while step.taken < last_step:
            epoch, start = divmod(step.taken, steps_per_epoch)
            for batch in meter.timed(islice(loader.epoch(epoch, start), last_step - step.taken)):
                if step.taken == first_step:
                    _announce(first_step, batch, loader, config, logbook)
                meter.add(step(batch.views, batch.labels), step.finite)
                if traced := trace.step():
                    logbook.say(traced)

                epoch_ends, run_ends = step.taken % steps_per_epoch == 0, step.taken == last_step
                saving = epoch_ends or run_ends or step.taken % config.checkpoint_every_steps == 0
                stopping = stop.after(step.taken)
                if saving or stopping or step.taken % config.log_every_steps == 0:
                    meter.flush(step.taken, step.rate, before_stop=progress.save)
                if saving or stopping:
                    with meter.logging():
                        progress.save()
                if (stopping or run_ends) and (traced := trace.close()):
                    logbook.say(traced)
                if stopping:
                    logbook.say(
                        f"stopped by {stopping.name} after step {step.taken}; the same command goes on from there"
                    )
                    return stopping
                due = probes.due(epoch + 1, last=run_ends) if epoch_ends and probes is not None else None
                if due is not None:
                    with meter.logging():
                        _probe(due, run, barrier, logbook, epoch)
        logbook.say(_finished(last_step, steps_per_epoch, config))
    return None


def _finished(steps: int, steps_per_epoch: int, config: RunConfig) -> str:
    """That the run is at its end, and how it goes on longer."""
    done = f"finished: {steps:,} steps, {steps / steps_per_epoch:.4g} epochs, in {config.out}"
    if steps < steps_per_epoch * config.optim.epochs:
        return f"{done}. --max-steps ended it; the same command with a larger one, or without, goes on from here"
    longer = f"--optim.epochs {2 * config.optim.epochs} --allow-changes optim.epochs"
    return f"{done}. To train longer, add {longer}: the learning rate then follows the longer schedule from here on"


def _probe(probe: Probe, run: Run, barrier: HostBarrier, logbook: Logbook, epoch: int) -> None:
    """Let all ranks look at their share of the images, by the main rank's statistics, and log what it finds."""
    backbone = run.objective.backbone
    run.world.follow_main(backbone.buffers())
    with barrier.at_work():
        probe.look(backbone)
    barrier.meet()
    probe.gather(run.world)
    with barrier.at_work():
        if run.world.is_main:
            logbook.probed(run.step.taken, probe.judge(), epoch=epoch)
    barrier.meet()


def _make_up(probes: Schedule, run: Run, barrier: HostBarrier, logbook: Logbook, last_step: int) -> None:
    """Make the probe of the epoch that the run goes on after, if the process before was stopped before its end."""
    taken = run.step.taken
    epochs, within = divmod(taken, len(run.loader))
    if within or not epochs:
        return
    due = probes.due(epochs, last=taken >= last_step)
    if due is not None and not agreed(logbook.was_probed(taken)):  # the main rank alone has the log
        _probe(due, run, barrier, logbook, epochs - 1)


def _announce(first_step: int, batch: Batch, loader: Loader, config: RunConfig, logbook: Logbook) -> None:
    """Say where the run begins, and show its first crops; by then the loader knows where it makes them."""
    logbook.say(f"training from step {first_step}")
    logbook.crops(first_step, batch.views, config.augment)
    if loader.placement is not None and loader.placement.metrics:
        logbook.scalars(first_step, loader.placement.metrics)
