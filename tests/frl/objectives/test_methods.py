"""Laws of DINO, Barlow Twins, VICReg, classification and positives of identities: ranks, order, parts, resuming."""

from __future__ import annotations

import copy
import io
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests_support import run_ranks, start_ranks
from tiny_methods import (
    ALONE,
    BATCH,
    OBJECTIVES,
    batch_of,
    double_by_default,
    gradients,
    objective_of,
    run_of,
    step_of,
)
from tiny_run import CONFIG as RUN
from tiny_run import RandomViews

from frl.config import BarlowTwinsConfig, DINOConfig, RunConfig, SupervisedConfig, VICRegConfig, validate
from frl.errors import ConfigError
from frl.monitoring.traffic import Traffic
from frl.objectives import Setting
from frl.runtime import checkpoint
from frl.runtime.distributed import World, world
from frl.training.build import build, new_objective
from frl.training.memory import step_memory
from frl.training.parallel import distribute
from frl.training.shares import divided, joined
from frl.training.step import forward_backward
from frl.training.train import train

EXACT = {"rtol": 1e-10, "atol": 1e-10}
IN_FLOAT32 = {"rtol": 1e-3, "atol": 1e-5}
FINITE = torch.tensor(True)
NAMES = sorted(OBJECTIVES)


def tolerance(name: str) -> dict[str, float]:
    return IN_FLOAT32 if name.startswith("swav") else EXACT


def world_of(rank: int, size: int) -> World:
    return World(rank=rank, size=size, local_rank=rank, local_size=size, device=torch.device("cpu"))


def two_steps(rank: int, world: int, name: str) -> torch.Tensor:
    """Losses and gradients of two batches on this rank's share, and what is watched; BatchNorm in eval mode."""
    config, place = run_of(name), world_of(rank, world)
    objective = objective_of(config, ranks=world).eval()
    model = distribute(objective, config, place)
    found = []
    for index in range(2):
        objective.zero_grad()
        views, labels = batch_of(config, index, rank=rank, world=world)
        output = forward_backward(model, objective, views, labels, micro_batches=1, autocast=nullcontext)
        objective.before_step(index)
        objective.after_step(index, FINITE)
        # Figures of each rank's own images are averaged over those that have a label: not compared where they differ.
        watched = {} if name in ("softmax", "cosface", "arcface") else {**output.scalars, **output.histograms}
        figures = torch.cat([output.loss.view(1), *(value.view(-1) for value in watched.values())])
        found += [place.mean(figures.clone()), whole_gradients(objective, place)]
    return torch.cat(found)


def whole_gradients(objective: Any, place: World) -> torch.Tensor:
    """Of everything that learns, with all rows of what is shared out."""
    parts = []
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad and parameter.grad is not None:
            rows = objective.shared_out.get(name)
            parts.append(parameter.grad if rows is None else torch.cat(place.gather(parameter.grad))[:rows])
    return torch.cat([part.flatten() for part in parts])


def all_two_steps(rank: int, world: int) -> dict[str, list[float]]:
    return {name: two_steps(rank, world, name).tolist() for name in NAMES}


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_equal_one_process_with_the_joined_batch(world: int) -> None:
    """Seven classes are shared out as 4 + 4 with one row to spare, or as 2 + 2 + 2 + 1."""
    alone = all_two_steps(0, 1)
    for found in run_ranks(all_two_steps, world):
        for name in NAMES:
            ours, theirs = (torch.tensor(each[name], dtype=torch.float64) for each in (found, alone))
            torch.testing.assert_close(ours, theirs, **tolerance(name), msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_samples_does_not_matter(name: str) -> None:
    order, config, found = torch.randperm(BATCH, generator=torch.Generator().manual_seed(5)), run_of(name), []
    for samples in (None, order):
        objective = objective_of(config)
        output = objective(*batch_of(config, 0, order=samples))
        output.loss.backward()
        found.append(torch.cat([output.loss.detach().view(1), gradients(objective)]))
    torch.testing.assert_close(*found, **tolerance(name))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"softmax, sampled"}))
def test_micro_batches_make_the_gradients_of_the_whole_batch(name: str) -> None:
    """In eval mode, so that BatchNorm does not differ. Sampled classes are those of the micro-batch and a sample."""
    found = []
    for parts in (1, 4):
        config = run_of(name, accumulate=parts)
        objective = objective_of(config).eval()
        output = forward_backward(objective, objective, *batch_of(config, 0), micro_batches=parts, autocast=nullcontext)
        objective.after_step(0, FINITE)
        centre = objective.center if name == "dino" else output.loss
        found.append(torch.cat([output.loss.view(1), centre.view(-1), gradients(objective)]))
    torch.testing.assert_close(*found, **tolerance(name))


@pytest.mark.parametrize("name", ["dino", "dino, balanced", "barlow", "vicreg"])
def test_two_resolutions_of_one_crop_are_two_views_of_other_colours(name: str) -> None:
    """The teacher sees both; BatchNorm, which sees a resolution at a time, in eval mode."""
    config = run_of(name)
    one, *rest = config.augment.crops
    apart = replace(config.augment, crops=(replace(one, count=1), replace(one, count=1), *rest))
    views, labels = batch_of(config, 0)
    together = objective_of(config).eval()(views, labels).loss
    separate = objective_of(replace(config, augment=apart)).eval()
    torch.testing.assert_close(separate([*views[0].chunk(2), *views[1:]], labels).loss, together, **EXACT)


@pytest.mark.parametrize("name", ["dino", "dino, balanced"])
def test_the_teachers_statistics_move_with_micro_batches_too(name: str) -> None:
    """It is what is exported, and so normalises by its running statistics."""
    config = run_of(name, accumulate=2)
    objective = objective_of(config)
    step_of(config, objective)(*batch_of(config, 0))
    assert objective.backbone[1].running_mean.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_step_that_is_not_finite_leaves_no_trace(name: str) -> None:
    config = run_of(name)
    objective = objective_of(config)
    step = step_of(config, objective)
    step(*batch_of(config, 0))
    before, momentum = copy.deepcopy(objective.state_dict()), copy.deepcopy(step.optimiser.state_dict()["state"])
    views, labels = batch_of(config, 1)
    views[0][0, 0, 0, 0] = torch.inf
    step(views, labels)
    assert not step.finite
    rounding = 1e-7 if name.startswith("swav") else 0  # its prototypes are made unit vectors after every step
    for key, value in objective.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=rounding, msg=key)
    torch.testing.assert_close(step.optimiser.state_dict()["state"], momentum, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_goes_on_is_bitwise_the_one_that_was_not_interrupted(name: str) -> None:
    config = run_of(name)
    whole = step_of(config, objective_of(config))
    for index in range(3):
        whole(*batch_of(config, index))
    state = copy.deepcopy([whole.objective.state_dict(), whole.optimiser.state_dict()])
    progress = whole.objective.progress(ALONE)
    other = step_of(config, objective_of(config))
    other.objective.load_state_dict(state[0])
    other.objective.load_progress(3, progress, ALONE)
    other.optimiser.load_state_dict(state[1])
    other.taken = 3
    for index in range(3, 6):
        ours, theirs = (step(*batch_of(config, index)) for step in (whole, other))
        assert torch.equal(ours.loss, theirs.loss)
    for key, value in whole.objective.state_dict().items():
        assert torch.equal(value, other.objective.state_dict()[key]), key


SHARED = ("arcface, shared", "softmax, sampled")


def trained(rank: int, world: int, name: str, state: bytes | None, steps: tuple[int, int]) -> bytes:
    """Weights and momentum, whole, after some steps from ``state``; in eval mode, so that BatchNorm does not differ."""
    with double_by_default():
        config, place = run_of(name), world_of(rank, world)
        objective = objective_of(config, ranks=world).eval()
        step = step_of(config, objective, place)
        if state is not None:
            model, moments = divided(objective, step.optimiser, place, *torch.load(io.BytesIO(state)))
            objective.load_state_dict(model)
            step.optimiser.load_state_dict(moments)
            objective.load_progress(steps[0], {}, place)
            step.taken = steps[0]
        for index in range(*steps):
            step(*batch_of(config, index, rank=rank, world=world))
        stream = io.BytesIO()
        torch.save(joined(objective, step.optimiser, place), stream)
        return stream.getvalue()


@pytest.mark.parametrize("name", SHARED)
def test_classes_are_shared_out_anew_among_another_number_of_ranks(name: str) -> None:
    expected = torch.load(io.BytesIO(trained(0, 1, name, None, (0, 6))))
    state = None
    for ranks, steps in ((2, (0, 2)), (1, (2, 4)), (4, (4, 6))):
        results = [trained(0, 1, name, state, steps)] if ranks == 1 else run_ranks(trained, ranks, name, state, steps)
        state = results[0]
    assert state is not None
    found = torch.load(io.BytesIO(state))
    for key, value in expected[0].items():
        torch.testing.assert_close(found[0][key], value, **EXACT, msg=key)
    torch.testing.assert_close(found[1]["state"], expected[1]["state"], **EXACT)


def run_with_shares(config: RunConfig) -> None:
    torch.set_num_threads(1)
    with world("cpu") as place:
        train(build(config, RandomViews(config, steps=3, rank=place.rank, world_size=place.size), place))


def test_checkpoints_hold_all_classes_and_their_momentum(tmp_path: Path) -> None:
    """Two ranks with and without a break; and two ranks, then one."""
    shared = replace(OBJECTIVES["arcface, shared"], embedding_dim=4)
    config = replace(RUN, objective=shared, optim=replace(RUN.optim, trust=0.0, lr=0.05, epochs=2))
    for out, legs in (("whole", [(2, 4)]), ("parts", [(2, 2), (2, 4)]), ("fewer", [(2, 2), (1, 3)])):
        for ranks, until in legs:
            leg = replace(config, out=tmp_path / out, max_steps=until)
            processes = start_ranks(run_with_shares, ranks, leg, log=tmp_path / "log")
            for process in processes:
                process.join(280)
            assert all(process.exitcode == 0 for process in processes), (tmp_path / "log").read_text()
    whole, parts, fewer = (
        checkpoint.load_newest(tmp_path / out / "checkpoints") for out in ("whole", "parts", "fewer")
    )
    assert whole is not None and parts is not None and fewer is not None
    assert whole["model"]["classes.weight"].shape == fewer["model"]["classes.weight"].shape == (8, 4)
    for name, value in whole["model"].items():
        assert torch.equal(value, parts["model"][name]), name
    torch.testing.assert_close(parts["optimiser"]["state"], whole["optimiser"]["state"], rtol=0, atol=0)


def poisoned_share(rank: int, world: int) -> tuple[bool, bool]:
    """Whether a step counted in which one rank's classes alone had a gradient that is not finite; whether it moved."""
    config, place = run_of("arcface, shared"), world_of(rank, world)
    objective = objective_of(config, ranks=world)
    step = step_of(config, objective, place)
    if rank == 1:
        objective.classes.weight.register_hook(lambda grad: grad.masked_fill(torch.ones_like(grad) > 0, torch.inf))
    before = copy.deepcopy(list(objective.parameters()))
    step(*batch_of(config, 0, rank=rank, world=world))
    moved = any(not torch.equal(p, q) for p, q in zip(before, objective.parameters(), strict=True))
    return bool(step.finite), moved


def test_ranks_agree_on_a_step_that_only_one_share_of_classes_spoils() -> None:
    assert run_ranks(poisoned_share, 2) == [(False, False)] * 2


@pytest.mark.parametrize("name", NAMES)
def test_the_memory_of_a_step_is_estimated(name: str) -> None:
    config = replace(run_of(name), model=replace(run_of(name).model, arch="resnet18"))
    memory = step_memory(config, 4, bf16=False, identities=7)
    networks = 2 if name.startswith(("dino", "moco")) else 1
    assert memory.state > 4 * 11e6 * (networks + 2) and memory.activations > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_step_never_waits_for_the_device(name: str) -> None:
    config = run_of(name)
    step = step_of(config, objective_of(config))
    step(*batch_of(config, 0))
    batch = batch_of(config, 1)
    with Traffic() as traffic:
        step(*batch)
    assert not traffic.waits


def collectives(rank: int, world: int) -> dict[str, dict[str, int]]:
    found = {}
    for name in NAMES:
        config = run_of(name)
        step = step_of(config, objective_of(config, ranks=world), world_of(rank, world))
        for index in range(2):  # DDP looks at the first in its own way
            batch = batch_of(config, index, rank=rank, world=world)
            with Traffic() as traffic:
                step(*batch)
        found[name] = dict(traffic.collectives)
    return found


# All-reduces: of the gradients; and of DINO's mean output, of each of the three rounds that balance DINO's or SwAV's
# assignments, of the gradient of gathered features, of the agreement on shared classes. Gatherings: of features, and of
# labels and of parts of the softmax. MoCo's images change ranks only where BatchNorm sees groups of them, not here.
COLLECTIVES = {
    "arcface": {"allreduce": 1},
    "arcface, shared": {"allgather_base": 3, "allreduce": 3},
    "barlow": {"allgather_base": 1, "allreduce": 2},
    "cosface": {"allreduce": 1},
    "dino": {"allreduce": 2},
    "dino, balanced": {"allreduce": 4},
    "moco-v2 of identities": {"allgather_base": 2, "allreduce": 1},
    "moco-v3 of identities": {"allgather_base": 2, "allreduce": 1},
    "simclr of identities": {"allgather_base": 2, "allreduce": 2},
    "softmax": {"allreduce": 1},
    "softmax, sampled": {"allgather_base": 3, "allreduce": 3},
    "swav of identities": {"allgather_base": 2, "allreduce": 4},
    "vicreg": {"allgather_base": 1, "allreduce": 2},
}


def test_the_collectives_of_a_step_are_counted() -> None:
    assert run_ranks(collectives, 2) == [COLLECTIVES] * 2


BAD = {"nan": float("nan"), "inf": float("inf"), "-2": -2}


@pytest.mark.parametrize("kind", [BarlowTwinsConfig, DINOConfig, SupervisedConfig, VICRegConfig])
@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_a_number_that_cannot_work_is_refused_by_name(kind: Any, value: float) -> None:
    run = run_of("dino")
    for field in fields(kind):
        if isinstance(field.default, bool) or not isinstance(field.default, (int, float)):
            continue
        with pytest.raises(ConfigError) as refusal:
            validate(replace(run, objective=replace(kind(), **{field.name: value})))
        assert refusal.value.subject == f"--objective.{field.name.replace('_', '-')}"


@pytest.mark.parametrize("name", ["dino", "barlow", "vicreg", "arcface"])
def test_micro_batches_of_one_image_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--optim.batch-size.*two images at once.*Use 32 or more"):
        validate(run_of(name, accumulate=BATCH))


@pytest.mark.parametrize("name", ["dino", "barlow", "vicreg"])
def test_a_single_crop_is_refused(name: str) -> None:
    run = run_of(name)
    crops = (replace(run.augment.crops[0], count=1),)
    with pytest.raises(ConfigError, match="--augment.crops.*at least two crops"):
        validate(replace(run, augment=replace(run.augment, crops=crops)))


@pytest.mark.parametrize("name", ["arcface", "swav of identities"])
@pytest.mark.parametrize("identities", [0, 1])
def test_an_objective_of_identities_is_refused_on_data_without_them(name: str, identities: int) -> None:
    config = run_of(name)
    with pytest.raises(ConfigError, match="identit.*write the .beton from a source"):
        new_objective(config, Setting.of(config, 10, 1, identities))


def test_a_centre_that_moves_is_refused_where_there_is_none() -> None:
    with pytest.raises(
        ConfigError, match="--objective.center-momentum.*has no running mean.*--objective.centering mean"
    ):
        validate(run_of("dino, balanced", center_momentum=0.5))


def test_sampling_without_shares_and_a_margin_of_softmax_are_refused() -> None:
    run = run_of("arcface")
    for objective, option in (
        (SupervisedConfig(sample_classes=0.5, share_classes="off"), "--objective.sample-classes"),
        (SupervisedConfig(loss="softmax", margin=0.2), "--objective.margin"),
    ):
        with pytest.raises(ConfigError) as refusal:
            validate(replace(run, objective=objective))
        assert refusal.value.subject == option
