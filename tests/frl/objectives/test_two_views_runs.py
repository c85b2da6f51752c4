"""What the objectives of two views ask of the network, and what they refuse before a run begins."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests_support import run_ranks
from tiny_two_views import BATCH, OBJECTIVES, objective_of, run_of, views_of

from frl.config import CropSpec, OptimConfig, RunConfig, validate
from frl.errors import ConfigError
from frl.monitoring.traffic import Traffic
from frl.objectives import Setting
from frl.objectives.moco import MoCo
from frl.presets import PRESETS
from frl.runtime.distributed import World
from frl.training.step import Step

COLLECTIVES = {
    ("simclr", 1): Counter(allgather_base=1, allreduce=1),
    ("moco-v2", 1): Counter(alltoall_base=1, allgather_base=1),
    ("moco-v3", 1): Counter(allgather_base=1),
    ("byol", 1): Counter(),
    ("simsiam", 1): Counter(),
    ("simclr", 2): Counter(allgather_base=1, allreduce=1),
    ("moco-v2", 2): Counter(alltoall_base=1, allgather_base=1),
    ("moco-v3", 2): Counter(allgather_base=1),
}


def collectives(rank: int, world: int, name: str, accumulate: int) -> Counter:
    """Of one step beside DDP's all-reduce of the gradients, after those that settle DDP's buckets."""
    config = run_of(name)
    config = replace(config, optim=replace(config.optim, accumulate=accumulate))
    place = World(rank=rank, size=world, local_rank=rank, local_size=world, device=torch.device("cpu"))
    step = Step(config, objective_of(config, ranks=world), 10, place)
    for index in range(3):
        step(views_of(index, rank=rank, world=world))
    with Traffic() as traffic:
        step(views_of(3, rank=rank, world=world))
    return traffic.collectives - Counter(allreduce=1)


def all_collectives(rank: int, world: int) -> dict[tuple[str, int], Counter]:
    return {case: collectives(rank, world, *case) for case in COLLECTIVES}


def test_a_step_makes_the_collectives_that_the_mathematics_needs():
    for found in run_ranks(all_collectives, 2):
        assert found == COLLECTIVES


def refused(config: RunConfig, *words: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(config)
    assert all(word in str(error.value) for word in words), error.value


def with_crops(name: str, *crops: tuple[int, int]) -> RunConfig:
    config = run_of(name)
    specs = tuple(CropSpec(size=size, count=count, scale=(0.3, 1.0)) for size, count in crops)
    return replace(config, augment=replace(config.augment, crops=specs))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_crops_that_are_not_two_views_are_refused(name):
    refused(with_crops(name, (32, 1)), "--augment.crops", "one crop", "count of 2")
    refused(with_crops(name, (32, 1), (16, 1)), "--augment.crops", "32 and 16 px")
    validate(with_crops(name, (32, 1), (32, 1)))
    if name in ("simclr", "moco-v2"):
        refused(with_crops(name, (32, 2), (16, 4)), "--augment.crops", "two views of an image, not 6")
    else:
        validate(with_crops(name, (32, 2), (16, 4)))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_of_one_is_refused(name):
    config = run_of(name)
    refused(replace(config, optim=replace(config.optim, accumulate=BATCH)), "--optim.batch-size", "two images")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue_length": 3 * BATCH - 1}, ("--objective.queue-length", "multiple", f"Use {3 * BATCH}.")),
        ({"queue_length": 1}, ("--objective.queue-length", "multiple", f"Use {BATCH}.")),
        ({"bn_groups": 3}, ("--objective.bn-groups", "3 equal groups")),
        ({"bn_groups": BATCH}, ("--objective.bn-groups", "two or more")),
        ({"momentum": 1.1}, ("--objective.momentum", "0.999")),
        ({"temperature": 0.0}, ("--objective.temperature", "0.2")),
    ],
)
def test_options_of_moco_that_cannot_be_are_refused(options, words):
    refused(run_of("moco-v2", **options), *words)


@pytest.mark.parametrize("batch_norm", ["auto", "sync"])
def test_statistics_that_give_keys_away_are_refused(batch_norm):
    config = run_of("moco-v2")
    refused(replace(config, model=replace(config.model, batch_norm=batch_norm)), "--model.batch-norm", "local")


@pytest.mark.parametrize(
    ("ranks", "accumulate", "words"),
    [(3, 1, "Use a multiple of 3"), (1, 8, "Use a multiple of 8"), (2, 4, "Use a multiple of 8")],
)
def test_groups_that_the_ranks_cannot_share_are_refused(ranks, accumulate, words):
    setting = Setting(crop_counts=(2,), batch_size=48, ranks=ranks, accumulate=accumulate)
    with pytest.raises(ConfigError, match=words):
        MoCo(OBJECTIVES["moco-v2"], torch.nn.Flatten(), 4, setting)


def test_a_batch_that_the_groups_cannot_share_among_ranks_is_refused():
    setting = Setting(crop_counts=(2,), batch_size=12, ranks=2)
    with pytest.raises(ConfigError, match="Use a multiple of 8"):
        MoCo(OBJECTIVES["moco-v2"], torch.nn.Flatten(), 4, setting)


@pytest.mark.parametrize(("batch", "length"), [(24, 48), (100, 100), (48, 48), (7, 42)])
def test_a_queue_is_fitted_to_another_batch(batch, length):
    assert OBJECTIVES["moco-v2"].fitted(batch) == replace(OBJECTIVES["moco-v2"], queue_length=length)


@pytest.mark.parametrize("preset", [f"{name}{suffix}" for name in OBJECTIVES for suffix in ("", "-cpu")])
def test_presets_hold_on_as_many_processes_as_are_usual(preset):
    config: Any = PRESETS[preset].config
    assert isinstance(config.optim, OptimConfig)
    for ranks in (1, 2, 4, 8) if PRESETS[preset].wants_gpu else (1, 2):
        objective_of(config, ranks=ranks)
