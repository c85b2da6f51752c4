"""``frl pretrain --deterministic``: the same bits again, and nothing read that nobody has written."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from golden_runs import digests

from frl.beton import BetonWriter
from frl.cli import main
from frl.config import DataConfig, OptimConfig, RunConfig, validate, without_measuring
from frl.errors import ConfigError
from frl.monitoring.logbook import read_metrics
from frl.runtime import checkpoint

TINY = [
    *("--augment.crops.0.size", "24", "--augment.crops.0.count", "2"),
    *("--optim.batch-size", "8", "--optim.reference-batch", "8", "--optim.epochs", "2", "--log-every-steps", "1"),
    *("--objective.prototypes", "12", "--objective.queue-length", "16", "--objective.queue-from-epoch", "0"),
    *("--device", "cpu", "--knn.size", "24", "--knn.every-epochs", "1"),
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("deterministic") / "faces.beton"
    random = np.random.default_rng(0)
    with BetonWriter(path, capacity=24) as writer:
        for i in range(24):
            image = cv2.resize(random.integers(0, 256, (5, 5, 3), np.uint8), (40, 40), interpolation=cv2.INTER_CUBIC)
            writer.append(cv2.imencode(".jpg", image)[1].tobytes(), 40, 40, i % 6, f"{i}.jpg")
    return path


def pretrain(faces: Path, out: Path, *options: str) -> dict[str, str]:
    """Digests of what a run of the command ends with."""
    command = ["pretrain", "cpu", "--data", str(faces), "--knn.data", str(faces), "--out", str(out)]
    assert main([*command, *TINY, *options, "--deterministic"]) == 0
    return digests(checkpoint.load(checkpoint.path_of(out / "checkpoints", 6)))


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_two_runs_end_with_the_same_bits_and_read_no_memory_that_is_not_theirs(faces, tmp_path, precision):
    """From the file to the probe: memory that is not yet written is NaN here, and would not stay hidden."""
    one, other = (pretrain(faces, tmp_path / name, "--precision", precision) for name in ("one", "other"))
    assert one == other
    for line in read_metrics(tmp_path / "one" / "metrics.jsonl"):
        assert np.isfinite(line.get("loss", 0)) and not line.get("skipped_steps"), line
    state = checkpoint.load(checkpoint.path_of(tmp_path / "one" / "checkpoints", 6))
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_choices_are_on_record_and_none_is_measured(faces, tmp_path, capsys):
    pretrain(faces, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["deterministic"] and config["precision"] == "fp32" and config["compile"] == "off"
    assert config["data"]["augment_on"] == "cpu"
    printed = capsys.readouterr().out
    assert "fp32, deterministic" in printed and " ms" not in printed


def test_what_was_asked_for_stays():
    asked = RunConfig(deterministic=True, compile="on", data=DataConfig(augment_on="gpu"))
    assert without_measuring(asked) == asked
    assert without_measuring(RunConfig(data=DataConfig(engine="dali"))).data.augment_on == "gpu"


def test_a_batch_that_depends_on_free_memory_is_refused():
    with pytest.raises(ConfigError, match=r"--optim.batch-size.*--deterministic"):
        validate(RunConfig(deterministic=True, optim=OptimConfig(batch_size=0)))
