"""A fine-tuned network in a file says what it said before, and its backbone is found in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from frl.beton.targets import Kind, TargetSpec
from frl.config.finetune import FinetuneConfig, Head, WarpConfig
from frl.errors import CheckpointError
from frl.evaluate import untrained
from frl.evaluate.finetune import load, save
from frl.evaluate.finetune.network import predictor
from frl.models.layers import up_to
from frl.pretrained import load_backbone
from frl.runtime import checkpoint
from frl.tasks.numbers import Numbers
from frl.tasks.registry import Affect, Expression, Face3d, Landmarks, SupervisedTask

ARCH = "resnet18-w8-nopool"
SPECS = {
    "landmarks": TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(68, 2)),
    "odd": TargetSpec(name="odd", kind=Kind.POINTS, shape=(3, 2), mirror=(1, 0, 2)),
    "affect": TargetSpec(name="affect", kind=Kind.VECTOR, shape=(2,), names=("valence", "arousal")),
    "expression": TargetSpec(name="expression", kind=Kind.CLASS, names=("sad", "glad")),
    "space": TargetSpec(name="space", kind=Kind.POINTS, shape=(2, 3)),
    "age": TargetSpec(name="age", kind=Kind.VECTOR),
}
TASKS = [
    Landmarks.of(SPECS),
    Landmarks.of(SPECS, "odd", normaliser="box"),
    Affect.of(SPECS),
    Expression.of(SPECS),
    Numbers(field="age", entries=("age",), offset=(30.0,), scale=(12.0,)),
    Face3d.of(SPECS, "space", unknown=(2, 5)),
]
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def saved_as(path: Path, task: SupervisedTask, **options: Any) -> torch.Tensor:
    """What was said before."""
    config = FinetuneConfig(size=32, augment=WarpConfig(mean=(0.5, 0.4, 0.3)), **options)
    network = predictor(untrained(ARCH), task, config).eval()
    save(path, network, arch=ARCH, task=task, specs=SPECS, config=config)
    with torch.no_grad():
        return network(IMAGES)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name} of {task.fields[0]}")
def test_it_says_the_same_of_the_same(tmp_path: Path, task: SupervisedTask) -> None:
    before = saved_as(tmp_path / "head.pt", task)
    saved = load(tmp_path / "head.pt")
    with torch.no_grad():
        assert torch.equal(saved.network(IMAGES), before)
    assert saved.task == task and (saved.arch, saved.stage) == (ARCH, None) and saved.size == 32
    assert saved.augment.mean == (0.5, 0.4, 0.3)
    assert saved.specs == {name: SPECS[name] for name in task.fields}


def test_maps_too(tmp_path: Path) -> None:
    before = saved_as(tmp_path / "head.pt", TASKS[0], head="maps")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "head.pt").network(IMAGES), before)


def test_the_backbone_is_found_in_it(tmp_path: Path) -> None:
    saved_as(tmp_path / "head.pt", TASKS[0])
    backbone, arch = load_backbone(tmp_path / "head.pt")
    assert arch == ARCH
    theirs = load(tmp_path / "head.pt").network.backbone
    with torch.no_grad():
        torch.testing.assert_close(backbone(IMAGES), theirs(IMAGES))


@pytest.mark.parametrize("head", ["linear", "maps"])
def test_a_network_up_to_a_stage_has_no_more_than_that(tmp_path: Path, head: Head) -> None:
    whole = untrained(ARCH)
    config = FinetuneConfig(size=32, head=head)
    network = predictor(up_to(whole, 2), TASKS[0], config).eval()
    save(tmp_path / "head.pt", network, arch=ARCH, task=TASKS[0], specs=SPECS, config=config)
    saved = load(tmp_path / "head.pt")
    with torch.no_grad():
        assert torch.equal(saved.network(IMAGES), network(IMAGES))
    assert (saved.arch, saved.stage) == (ARCH, 2)
    assert not any("layer3" in name for name in saved.network.state_dict())
    assert any("layer3" in name for name in whole.state_dict()), "the network that was given stays"
    with pytest.raises(CheckpointError, match=r"head\.pt: was fine-tuned up to stage 2 and has no layers beyond it"):
        load_backbone(tmp_path / "head.pt")


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="is not a fine-tuned network"):
        load(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path / "none.pt")
    saved_as(tmp_path / "head.pt", TASKS[0])
    whole = checkpoint.read_tensors(tmp_path / "head.pt")
    for change, message in (
        ({"version": 99}, "newer than"),
        ({"task": {"kind": "juggling", "options": {}}}, "does not know"),
        ({"task": {"kind": "landmarks", "options": {"colour": 1}}}, "in another way"),
        ({"arch": "resnet18-w16-nopool"}, "does not fit resnet18-w16-nopool"),
    ):
        torch.save({**whole, **change}, tmp_path / "changed.pt")
        with pytest.raises(CheckpointError, match=message):
            load(tmp_path / "changed.pt")
    whole["model"]["head.layer.bias"][0] = torch.nan
    torch.save(whole, tmp_path / "changed.pt")
    with pytest.raises(CheckpointError, match="NaN"):
        load(tmp_path / "changed.pt")


def test_a_file_that_does_not_tell_what_training_knew_is_read(tmp_path: Path) -> None:
    saved_as(tmp_path / "head.pt", TASKS[0])
    whole = checkpoint.read_tensors(tmp_path / "head.pt")
    del whole["task"]["options"]["unknown"]
    torch.save(whole, tmp_path / "older.pt")
    assert load(tmp_path / "older.pt").task == TASKS[0]


def test_a_task_of_ones_own_is_not_saved_under_a_name_that_nobody_knows(tmp_path: Path) -> None:
    class Mine(Landmarks):
        pass

    with pytest.raises(CheckpointError, match="which frl.tasks.TASKS does not know"):
        saved_as(tmp_path / "head.pt", Mine.of(SPECS))
    assert not (tmp_path / "head.pt").exists()


def test_a_file_that_lacks_a_part_names_it(tmp_path: Path) -> None:
    saved_as(tmp_path / "head.pt", TASKS[0])
    whole = checkpoint.read_tensors(tmp_path / "head.pt")
    del whole["specs"]
    torch.save(whole, tmp_path / "less.pt")
    with pytest.raises(CheckpointError, match=r"less\.pt: lacks specs"):
        load(tmp_path / "less.pt")
