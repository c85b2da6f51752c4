"""What holds for every objective, whichever it is: it trains, never waits, leaves no trace, resumes, exports."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torchvision
from tests_support import start_ranks
from tiny_objective import WIDTH, tiny_backbone
from tiny_run import CONFIG, RandomViews

from frl.batch import Batch
from frl.config import CropSpec, ModelConfig, ObjectiveConfig, RunConfig, as_dict, from_dict, validate
from frl.errors import ConfigError
from frl.export import export
from frl.models.calls import Call
from frl.monitoring.described import described
from frl.monitoring.logbook import read_metrics
from frl.monitoring.traffic import Traffic
from frl.objectives import Objective
from frl.objectives.objective import Encoder
from frl.runtime import checkpoint
from frl.runtime.distributed import world
from frl.training.build import build, implementation
from frl.training.memory import alone, step_memory
from frl.training.train import train

STEPS, EPOCHS, BATCH = 3, 2, 16
LAST = STEPS * EPOCHS
MIDDLE = 2  # a step within the first epoch
NAMES = sorted(ObjectiveConfig.known)

SMALL = 16  # any width or number beyond twice this is made this small
OPTIONS: dict[str, dict[str, Any]] = {  # what a small batch needs beyond that
    "swav": {"queue_length": 2 * BATCH, "queue_from_epoch": 0, "freeze_prototypes_steps": 0},
    "moco-v2": {"queue_length": 2 * BATCH, "bn_groups": 4},
}
CROPS = (
    (CropSpec(size=32, count=2, scale=(0.3, 1.0)), CropSpec(size=16, count=2, scale=(0.1, 0.3))),
    (CropSpec(size=32, count=2, scale=(0.3, 1.0)),),
    (CropSpec(size=32, count=1, scale=(0.3, 1.0)),),
)


def small(name: str) -> ObjectiveConfig:
    """An objective whose layers are narrow; the rest is as it is by default."""
    config = ObjectiveConfig.known[name]()
    numbers = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    narrow = {key: SMALL for key, value in numbers.items() if type(value) is int and value > 2 * SMALL}
    return replace(config, **narrow | OPTIONS.get(name, {}))


@functools.cache
def config_of(name: str) -> RunConfig:
    """A run on as many crops as the objective takes; with shared statistics, where it lets them be."""
    refusals = []
    for crops in CROPS:
        for batch_norm in ("sync", "local"):
            config = replace(
                CONFIG,
                augment=replace(CONFIG.augment, crops=crops),
                model=ModelConfig(arch="resnet18", batch_norm=batch_norm),
                objective=small(name),
                optim=replace(CONFIG.optim, batch_size=BATCH, epochs=EPOCHS, lr=0.02, start_lr=0.02, trust=0.0),
                checkpoint_every_steps=MIDDLE,
                keep_checkpoints=LAST,
                log_every_steps=STEPS,
            )
            try:
                validate(config)
                return config
            except ConfigError as refused:
                refusals.append(refused)
    raise AssertionError(refusals)


class People(RandomViews):
    """Views of ``BATCH`` people; infinite in the poisoned steps."""

    identities = BATCH
    poisoned: Collection[int] = ()

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(super().epoch(epoch, start), epoch * len(self) + start):
            if step in self.poisoned and self.rank == 0:
                batch.views[0][0, 0, 0, 0] = math.inf
            yield batch


def perform(config: RunConfig, poisoned: Collection[int] = (), steps: int = STEPS) -> Traffic:
    """Train a backbone of a few thousand weights, as this process or as a rank of torchrun's group."""
    torch.set_num_threads(1)
    narrow = patch("frl.training.build.build_backbone", lambda arch: (tiny_backbone(), WIDTH))
    with narrow, world("cpu") as place:
        loader = People(config, steps=steps, rank=place.rank, world_size=place.size)
        loader.poisoned = poisoned
        built = build(config, loader, place)
        with Traffic() as traffic:
            train(built)
    return traffic


def state_at(out: Path, step: int) -> dict[str, Any]:
    return checkpoint.load(checkpoint.path_of(out / "checkpoints", step))


def tensors_of(tree: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors of nested dictionaries and lists by their path."""
    if isinstance(tree, torch.Tensor):
        yield prefix, tree
    elif isinstance(tree, (dict, list)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from tensors_of(value, f"{prefix}/{key}")


def kept(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Everything that a run goes on from."""
    return dict(tensors_of({key: state[key] for key in ("model", "optimiser", "progress")}))


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def uninterrupted(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp(f"{name}-uninterrupted")
    perform(replace(config_of(name), out=out))
    return out


def test_it_trains_and_logs_figures_that_are_described(name, uninterrupted):
    first, last = (state_at(uninterrupted, step)["model"] for step in (MIDDLE, LAST))
    assert not torch.equal(first["backbone.0.weight"], last["backbone.0.weight"])
    assert all(tensor.isfinite().all() for tensor in kept(state_at(uninterrupted, LAST)).values())
    objective = config_of(name).objective
    figures = {metric.name for metric in described(implementation(objective).metrics(objective))}
    for line in read_metrics(uninterrupted / "metrics.jsonl"):
        assert line.keys() <= figures | {"step", "epoch", "seconds", "signs"}, "every figure has a title"
        assert all(math.isfinite(value) for value in line.values() if isinstance(value, float))


def test_a_step_never_waits_for_the_device(name, tmp_path):
    config = replace(config_of(name), log_every_steps=1000, checkpoint_every_steps=1000)
    config = replace(config, optim=replace(config.optim, epochs=1))
    few, many = (perform(replace(config, out=tmp_path / str(steps)), steps=steps) for steps in (2, 5))
    assert many.waits == few.waits


def test_a_step_that_is_not_finite_leaves_no_trace(name, tmp_path):
    perform(replace(config_of(name), out=tmp_path, max_steps=4), poisoned={2})
    before, after, later = (kept(state_at(tmp_path, step)) for step in (2, 3, 4))
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=1e-7, msg=key)  # unit vectors are made so again
    assert all(tensor.isfinite().all() for tensor in later.values())
    assert not torch.equal(later["/model/backbone.0.weight"], after["/model/backbone.0.weight"])


def test_it_resumes_in_the_middle_of_an_epoch_bit_for_bit(name, uninterrupted, tmp_path):
    for end in (MIDDLE, LAST):
        perform(replace(config_of(name), out=tmp_path, max_steps=end))
    expected, found = kept(state_at(uninterrupted, LAST)), kept(state_at(tmp_path, LAST))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_two_ranks_go_on_where_one_was(name, uninterrupted, tmp_path):
    config, log = replace(config_of(name), out=tmp_path), tmp_path / "log"
    perform(replace(config, max_steps=MIDDLE))
    ranks = start_ranks(perform, 2, config, log=log)
    for rank in ranks:
        rank.join(280)
    assert [rank.exitcode for rank in ranks] == [0, 0], log.read_text()
    start, expected, found = (
        kept(state_at(out, step)) for out, step in ((uninterrupted, MIDDLE), (uninterrupted, LAST), (tmp_path, LAST))
    )
    assert found.keys() == expected.keys()
    moved = sum((expected[key] - start[key]).double().square().sum() for key in weights(start))
    apart = sum((expected[key] - found[key]).double().square().sum() for key in weights(start))
    same_statistics = config.model.batch_norm == "sync" or "bn_groups" in as_dict(config.objective)
    assert apart < (1e-4 if same_statistics else 1) * moved
    for key, value in expected.items():
        if key.startswith("/progress"):
            assert found[key].shape == value.shape, key


def weights(state: dict[str, torch.Tensor]) -> list[str]:
    return [key for key in state if key.startswith("/model") and "running" not in key and "tracked" not in key]


def test_its_memory_is_estimated_with_all_that_it_keeps(name):
    config = config_of(name)
    objective = alone(config)
    held = [*objective.parameters(), *objective.buffers()]
    learning = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    memory = step_memory(config, BATCH, bf16=False)
    assert memory.state == sum(t.nbytes for t in held) + 2 * sum(t.nbytes for t in learning)
    assert memory.activations > 0
    assert memory == step_memory(config, BATCH, bf16=False, device=torch.device("cuda")), "by torch's own means"
    assert step_memory(config, 3, bf16=False).activations < memory.activations, "any number of images can be tried"


def test_the_student_is_exported(name, tmp_path):
    config = config_of(name)
    objective = alone(config)
    torch.nn.init.constant_(objective.backbone.conv1.weight, 0.5)
    checkpoint.save(tmp_path / "run.pt", {"model": objective.state_dict(), "config": as_dict(config)})
    path = export(tmp_path / "run.pt", tmp_path / "backbone.pth")
    resnet = torchvision.models.resnet18(weights=None)
    missing, unexpected = resnet.load_state_dict(torch.load(path), strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"} and not unexpected
    assert torch.equal(resnet.conv1.weight, objective.backbone.conv1.weight)


def test_its_configuration_survives_json(name):
    config = config_of(name)
    assert from_dict(RunConfig, as_dict(config)) == config


def test_every_number_has_its_bounds(name):
    """Whatever is not a number is refused by the name of its option."""
    config = config_of(name)
    for field in dataclasses.fields(config.objective):
        if type(getattr(config.objective, field.name)) in (int, float):
            broken = replace(config, objective=replace(config.objective, **{field.name: math.nan}))
            with pytest.raises(ConfigError, match=field.name.replace("_", "-")):
                validate(broken)


def test_micro_batches_train_or_are_refused_by_name(name, tmp_path):
    config = config_of(name)
    config = replace(config, optim=replace(config.optim, accumulate=2), out=tmp_path, max_steps=2)
    try:
        validate(config)
    except ConfigError as refused:
        assert "--optim.accumulate" in str(refused)
        return
    perform(config)
    assert all(tensor.isfinite().all() for tensor in kept(state_at(tmp_path, 2)).values())


def test_its_remedies_name_options_that_it_has(name):
    """A remedy that names an option of another objective helps nobody."""
    config = config_of(name)
    objective: Objective = alone(config)
    known = {f"--{section}.{key}".replace("_", "-") for section, keys in as_dict(config).items()
             if isinstance(keys, dict) for key in keys}  # fmt: skip
    remedies = objective.remedies(config)
    assert remedies, "a collapse has a remedy"
    for remedy in remedies:
        named = [word.strip("(),:;") for word in remedy.split() if word.strip("(").startswith("--")]
        assert {".".join(option.split(".")[:2]) for option in named} <= known, remedy


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_calls_its_backbones_as_it_says(name, accumulate):
    """For these calls they are compiled: another shape would be compiled when training has begun."""
    config = config_of(name)
    config = replace(config, optim=replace(config.optim, accumulate=accumulate))
    asked: dict[str, list[Call]] = {}

    def noted(backbone: str, resolution: int, encode: Encoder) -> Encoder:
        def note(crops: torch.Tensor) -> torch.Tensor:
            asked.setdefault(backbone, []).append(Call(resolution, len(crops)))
            return encode(crops)

        return note

    narrow = patch("frl.training.build.build_backbone", lambda arch: (tiny_backbone(), WIDTH))
    with narrow, world("cpu") as place:
        loader = People(config, steps=1)
        built = build(config, loader, place)
        for backbone, encoders in built.objective.encoders.items():
            built.objective.encoders[backbone] = [noted(backbone, *each) for each in enumerate(encoders)]
        (batch,) = loader.epoch(0)
        built.step(batch.views, batch.labels)
    sizes = [spec.size for spec in config.augment.crops]
    said = {name: built.objective.calls(name, BATCH // accumulate, sizes) for name in built.objective.backbones}
    if accumulate == 1:
        assert {name: sorted(calls) for name, calls in asked.items()} == {
            name: sorted(calls) for name, calls in said.items()
        }
    else:
        assert {name: set(calls) for name, calls in asked.items()} == {name: set(calls) for name, calls in said.items()}
