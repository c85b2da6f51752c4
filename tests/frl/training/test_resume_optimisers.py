"""Runs of every optimiser go on bit for bit, with options of today; what does not fit is refused by name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import CONFIG, RandomViews, run

from frl.config import OptimConfig, RunConfig
from frl.errors import CheckpointError
from frl.runtime import checkpoint
from frl.runtime.distributed import world
from frl.runtime.waiting import HostBarrier
from frl.training.build import build_step
from frl.training.resume import Progress

OPTIM = {
    "lars": replace(CONFIG.optim, optimiser="lars", nesterov=True, weight_decay=1e-3),
    "adamw": replace(CONFIG.optim, optimiser="adamw", lr=1e-3, weight_decay=0.04, final_weight_decay=0.4),
}


def config_of(optim: OptimConfig, out: Path, **changes: Any) -> RunConfig:
    return replace(CONFIG, out=out, optim=optim, **{"max_steps": 4, **changes})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of runs of four steps, made when first asked for."""

    class Runs(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            self[name] = tmp_path_factory.mktemp("runs") / name
            run(config_of(OPTIM.get(name, CONFIG.optim), self[name]))
            return self[name]

    return Runs()


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors(item)]
    return [value] if isinstance(value, torch.Tensor) else []


@pytest.mark.parametrize("name", OPTIM)
def test_a_run_that_goes_on_is_the_uninterrupted_one(name: str, runs: Any, tmp_path: Path) -> None:
    for steps in (3, 4):
        run(config_of(OPTIM[name], tmp_path / "run", max_steps=steps))
    ours, theirs = (checkpoint.load_newest(out / "checkpoints") for out in (tmp_path / "run", runs[name]))
    assert ours is not None and theirs is not None
    kept = [tensors([state["model"], state["optimiser"]["state"]]) for state in (ours, theirs)]
    moments = OPTIM[name].moments
    assert len(tensors(ours["optimiser"]["state"])) >= moments * len(ours["optimiser"]["state"]) > 0
    assert all(torch.equal(one, other) for one, other in zip(*kept, strict=True))
    groups = ours["optimiser"]["param_groups"]
    assert len(groups) == 2 and groups[1]["weight_decay"] == 0.0


def test_options_are_applied_to_every_group_when_a_run_goes_on(runs: Any, tmp_path: Path) -> None:
    shutil.copytree(runs["adamw"], tmp_path / "run")
    optim = replace(OPTIM["adamw"], betas=(0.5, 0.75))
    config = config_of(optim, tmp_path / "run", allow_changes=("optim.betas",))
    with world("cpu") as place:
        step = build_step(config, 5, place)
        assert Progress(config, RandomViews(config), step, place, HostBarrier(place)).resume() == 4
    assert [group["betas"] for group in step.optimiser.param_groups] == [(0.5, 0.75)] * 2
    assert [group["decays"] for group in step.optimiser.param_groups] == [True, False]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"optimiser": "lars"}, r"optim\.optimiser: larc -> lars, and what the optimiser of one keeps does not fit"),
        ({"optimiser": "adamw"}, r"optim\.optimiser: larc -> adamw"),
        ({"exclude_bias_and_norm": "on"}, r"optim\.exclude_bias_and_norm: auto -> on"),
    ],
)
def test_another_optimiser_is_refused_whatever_is_allowed(
    changes: dict[str, Any], cause: str, runs: Any, tmp_path: Path
) -> None:
    shutil.copytree(runs["larc"], tmp_path / "run")
    config = config_of(replace(CONFIG.optim, **changes), tmp_path / "run", max_steps=5, allow_changes=("optim",))
    with pytest.raises(CheckpointError, match=cause):
        run(config)


def test_a_run_from_before_an_option_was_goes_on_with_its_default(runs: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(runs["larc"], folder)
    path = checkpoint.saved(folder / "checkpoints")[-1]
    state = torch.load(path, weights_only=True)
    for section, options in {"optim": ("optimiser", "betas", "nesterov"), "model": ("width", "stem")}.items():
        for option in options:
            del state["config"][section][option]
    for group in state["optimiser"]["param_groups"]:
        for option in ("nesterov", "fixed_lr", "lr_scale", "decays"):
            del group[option]
    torch.save(state, path)
    run(config_of(CONFIG.optim, folder, max_steps=5))
    with pytest.raises(CheckpointError, match=r"optim\.nesterov: False -> True"):
        run(config_of(replace(CONFIG.optim, nesterov=True), folder, max_steps=6))
    assert json.loads((folder / "config.json").read_text())["optim"]["optimiser"] == "larc"


def test_a_checkpoint_of_version_1_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Version 1 had SwAV's options among the model's and beside it, and a queue instead of an objective's progress."""
    folder = tmp_path / "run"
    run(config_of(CONFIG.optim, folder, max_steps=12, checkpoint_every_steps=12))  # past the start of the queue
    path = checkpoint.saved(folder / "checkpoints")[-1]
    state = torch.load(path, weights_only=True)
    queue = state.pop("progress")["queue"]
    assert queue is not None and tensors(queue)
    swav = state["config"].pop("objective")
    assert swav.pop("name") == "swav"
    state["config"]["model"] |= {name: swav.pop(name) for name in ("hidden_dim", "feature_dim", "prototypes")}
    state["config"]["swav"] = swav
    health = state["config"]["health"]
    for ours, then in (("min_feature_std", "min_spread"), ("min_used", "min_prototypes_used")):
        health[then] = health.pop(ours)
    torch.save({**state, "version": 1, "queue": queue}, path)
    run(config_of(CONFIG.optim, folder, max_steps=15))
    run(config_of(CONFIG.optim, tmp_path / "whole", max_steps=15))
    ours, theirs = (checkpoint.load_newest(out / "checkpoints") for out in (folder, tmp_path / "whole"))
    assert ours is not None and theirs is not None
    assert ours["step"] == theirs["step"] == 15 and ours["version"] == 2
    kept = [tensors([state["model"], state["optimiser"]["state"], state["progress"]]) for state in (ours, theirs)]
    assert all(torch.equal(one, other) for one, other in zip(*kept, strict=True))
