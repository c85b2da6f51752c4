"""The presets for CPUs by the command, from a .beton: trained, gone on with, exported; refused without identities."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frl.beton import BetonWriter
from frl.cli import main
from frl.monitoring.logbook import read_metrics
from frl.runtime import checkpoint

SIZE = 36


def write(path: Path, labels: list[int]) -> Path:
    random = np.random.default_rng(0)
    with BetonWriter(path, capacity=len(labels)) as writer:
        for index, label in enumerate(labels):
            stream = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(stream, format="JPEG")
            writer.append(stream.getvalue(), SIZE, SIZE, label, f"{index}.jpg")
    return path


@pytest.fixture(scope="module")
def betons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three steps of eight; the labels leave numbers out, as those of a part of a data set may."""
    folder = tmp_path_factory.mktemp("betons")
    return {
        "labelled": write(folder / "labelled.beton", [3, 3, 70, 70, 9, 9, 9, -1] * 3),
        "unlabelled": write(folder / "unlabelled.beton", [-1] * 24),
    }


def pretrain(preset: str, data: Path, out: Path, *options: str) -> int:
    short = "--optim.batch-size 8 --optim.reference-batch 8 --optim.epochs 2 --optim.warmup-epochs 0 --engine torch"
    short += " --device cpu --precision fp32 --log-every-steps 1 --workers 1"
    return main(["pretrain", preset, *short.split(), "--data", str(data), "--out", str(out), *options])


PRESETS = {
    "dino-cpu": ("teacher_entropy", "output_entropy"),
    "barlow-cpu": ("correlation", "redundancy"),
    "vicreg-cpu": ("invariance_term", "variance_term", "covariance_term", "deviation"),
    "supervised-cpu": ("accuracy", "plain_loss"),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_preset_trains_and_goes_on_in_mid_epoch(preset: str, betons: dict[str, Path], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    for steps in (1, 2):
        assert pretrain(preset, betons["labelled"], tmp_path / "run", "--max-steps", str(steps)) == 0
    logged = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in logged] == [1, 2]
    assert all(name in line for line in logged for name in PRESETS[preset])
    state = checkpoint.load_newest(tmp_path / "run" / "checkpoints")
    assert state is not None
    if preset == "supervised-cpu":
        assert state["model"]["classes.weight"].shape == (3, 128), "the identities of the file"
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "weights.pth")]) == 0
    exported, model = torch.load(tmp_path / "weights.pth"), state["model"]
    assert torch.equal(exported["conv1.weight"], model["backbone.conv1.weight"])
    if preset == "dino-cpu":
        assert not torch.equal(exported["conv1.weight"], model["student.conv1.weight"]), "the teacher's"


@pytest.mark.parametrize(
    ("preset", "options", "named"),
    [
        ("supervised-cpu", (), "the objective supervised"),
        *[
            (preset, ("--objective.positives", "identity"), "--objective.positives")
            for preset in ("quickstart", "simclr-cpu", "moco-v2-cpu", "moco-v3-cpu")
        ],
    ],
)
def test_a_file_without_identities_is_refused_before_anything_is_made(
    preset: str,
    options: tuple[str, ...],
    named: str,
    betons: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert pretrain(preset, betons["unlabelled"], tmp_path / "run", *options) == 1
    error = capsys.readouterr().err
    assert named in error and "no identity labels" in error and "write the .beton from a source" in error
    assert not (tmp_path / "run").exists()
