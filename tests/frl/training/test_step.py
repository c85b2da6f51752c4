"""What a training step asks of the host and of the network, counted over the whole loop."""

import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests_support import run_ranks
from tiny_objective import CONFIG as SWAV
from tiny_objective import tiny_objective, tiny_views
from tiny_run import CONFIG, RandomViews

from frl.monitoring.traffic import Traffic
from frl.runtime.distributed import World
from frl.training.build import Run, build_step
from frl.training.schedule import learning_rate
from frl.training.step import Step
from frl.training.train import train

QUIET = replace(
    CONFIG, objective=SWAV, optim=replace(CONFIG.optim, epochs=1), log_every_steps=1000, checkpoint_every_steps=1000
)


def traffic_of(steps: int, out: Path, rank: int = 0, world_size: int = 1) -> Traffic:
    """Of a run that logs and saves only at its end."""
    config = replace(QUIET, out=out)
    place = World(rank=rank, size=world_size, local_rank=rank, local_size=world_size, device=torch.device("cpu"))
    loader = RandomViews(config, steps=steps, rank=rank, world_size=world_size)
    step = Step(config, tiny_objective(ranks=world_size), len(loader), place)
    with Traffic() as traffic:
        train(Run(config, loader, step, place))
    return traffic


def test_the_counter_sees_every_way_to_the_host():
    x = torch.tensor([1.0, 2.0])
    with Traffic() as traffic:
        x[0].item(), float(x[1]), bool(x[0] > 0), x.cpu(), x.numpy(), x.tolist(), x.nonzero(), x[x > 1]
    assert traffic.waits.total() == 8
    with Traffic() as traffic:
        (x * 2).sum().sqrt().clamp(0, 1).to(torch.bfloat16)
    assert not traffic.waits


def test_a_step_never_waits_for_the_device(tmp_path):
    few, many = traffic_of(2, tmp_path / "few"), traffic_of(5, tmp_path / "many")
    assert few.waits.total() > 0, "the end of a run logs and saves"
    assert many.waits == few.waits


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_on_a_gpu_never_waits_for_the_device():
    place = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cuda"))
    step = Step(QUIET, tiny_objective().cuda(), steps_per_epoch=5, world=place)
    views = [view.cuda() for view in tiny_views(8)]
    step(views)  # the momentum is made
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(views)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_step_follows_the_schedule_and_counts():
    place = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
    step = Step(QUIET, tiny_objective(), steps_per_epoch=5, world=place)
    rates = []
    for taken in range(1, 4):
        assert step(tiny_views(8, seed=taken)).loss.isfinite() and step.finite
        assert step.taken == step.objective.step == taken
        rates.append(step.rate)
    assert rates == [learning_rate(index, 5, QUIET.optim) for index in range(3)]


def collectives(rank: int, world: int, out: str) -> tuple[Counter, Counter]:
    few, many = (traffic_of(steps, Path(out) / str(steps), rank, world) for steps in (3, 6))
    return many.collectives - few.collectives, many.payload - few.payload


def test_a_step_of_two_ranks_reduces_the_gradients_and_three_sums(tmp_path):
    steps, sums = 3, SWAV.sinkhorn_iterations
    gradients = sum(parameter.numel() * 4 for parameter in tiny_objective().parameters())
    mass = CONFIG.augment.crops[0].count * SWAV.prototypes * 8
    for extra, payload in run_ranks(collectives, 2, str(tmp_path)):
        assert extra == Counter(allreduce=steps * (1 + sums))
        assert payload == Counter(allreduce=steps * (gradients + sums * mass))


def losses(rank: int, world: int) -> list[float]:
    """Of two steps on maps of many pixels, in which any warning is an error."""
    crops = tuple(replace(spec, size=64) for spec in CONFIG.augment.crops)
    config = replace(CONFIG, augment=replace(CONFIG.augment, crops=crops))
    place = World(rank=rank, size=world, local_rank=rank, local_size=world, device=torch.device("cpu"))
    warnings.simplefilter("error")
    step = build_step(config, 5, place)
    batches = RandomViews(config, steps=2, rank=rank, world_size=world).epoch(0)
    return [step(batch.views).loss.item() for batch in batches]


def test_two_ranks_train_without_a_warning():
    assert all(len(found) == 2 for found in run_ranks(losses, 2))
