"""Tasks that are probed while a run trains: from the options to the log, and what is refused at the start."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from labelled_faces import write_faces
from processes import kill
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from frl.cli import main
from frl.cli.probes import _share
from frl.config import KnnConfig, RunConfig
from frl.errors import ConfigError
from frl.monitoring.described import described_in
from frl.monitoring.logbook import read_metrics
from frl.runtime.distributed import World

TINY = [
    *("--augment.crops.0.size", "24", "--augment.crops.0.count", "2"),
    *("--optim.batch-size", "8", "--optim.reference-batch", "8", "--log-every-steps", "2"),
    *("--objective.prototypes", "12", "--device", "cpu", "--precision", "fp32", "--model.width", "16"),
]
TASKS = ["--probe.tasks", "landmarks", "numbers:affect", "--probe.size", "24"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("probes") / "faces.beton", identities=12)


@pytest.fixture(scope="module")
def run(faces: Path) -> Path:
    out = faces.parent / "run"
    probes = [*TASKS, "--probe.data", str(faces), "--probe.every-epochs", "2"]
    knn = ["--knn.data", str(faces), "--knn.size", "24", "--knn.every-epochs", "1"]
    command = ["pretrain", "cpu", "--data", str(faces), "--out", str(out), "--optim.epochs", "2"]
    assert main([*command, *TINY, *probes, *knn]) == 0
    return out


def test_each_probe_keeps_its_own_schedule(run: Path) -> None:
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["epoch"] for line in lines if "knn_top1" in line] == [0, 1]
    assert [line["epoch"] for line in lines if "landmarks/pooled/nme" in line] == [1]


@pytest.mark.parametrize(("task", "name"), [("landmarks", ["landmarks"]), ("numbers:affect", ["task", "--target"])])
def test_the_last_scores_are_those_of_evaluating_the_run(run: Path, faces: Path, task: str, name: list[str]) -> None:
    found = run.parent / "found.json"
    command = ["evaluate", *name, *([task] if len(name) > 1 else []), "--weights", str(run), "--data", str(faces)]
    assert (
        main([*command, "--size", "24", "--no-baselines", "--device", "cpu", "--out", str(found), "--overwrite"]) == 0
    )
    logged = [line for line in read_metrics(run / "metrics.jsonl") if f"{task}/pooled/{_headline(task)}" in line][-1]
    compared = 0
    for row in json.loads(found.read_text())["rows"]:
        for score, value in row["scores"].items():
            if row["features"] and "/" not in score and value["mean"] is not None:
                assert logged[f"{task}/{row['features']}/{score}"] == pytest.approx(value["mean"], rel=1e-3, abs=1e-4)
                compared += 1
    assert compared >= 6


def test_a_run_that_is_killed_goes_on_to_the_very_same_scores(faces: Path, tmp_path: Path) -> None:
    """SIGKILL twice, each after a probe; then to the step at which an uninterrupted run ends."""
    probes = [*TASKS, "--probe.data", str(faces), "--probe.every-epochs", "1"]
    # No machine is so fast that the run ends before it is killed.
    long = ["--optim.epochs", "100000", "--checkpoint-every-steps", "2", "--workers", "1", "--compile", "off"]
    command = ["pretrain", "cpu", "--data", str(faces), *TINY, *probes, *long]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for _ in range(2):
        known = len(_scores(killed))
        process = subprocess.Popen(
            [sys.executable, "-m", "frl.cli", *command, "--out", str(killed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while len(_scores(killed)) <= known or not list(killed.glob("checkpoints/*.pt")):
                assert process.poll() is None, "it ended by itself"
                time.sleep(0.02)
        finally:
            kill(process, group=True)
    last = max(int(path.stem.rpartition("-")[2]) for path in killed.glob("checkpoints/*.pt")) + 7
    for out in (killed, whole):  # processes, too: the tests before this one may have changed how many threads sum here
        ended = subprocess.run(
            [sys.executable, "-m", "frl.cli", *command, "--out", str(out), "--max-steps", str(last)],
            capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    found, wanted = _scores(killed), _scores(whole)
    assert len(wanted) > 3 and all(len(scores) >= 12 for scores in wanted.values())
    assert found == wanted


def _scores(run: Path) -> dict[int, dict[str, float]]:
    """What the probe of tasks found after each epoch; of an epoch that was trained again the last."""
    lines = read_metrics(run / "metrics.jsonl") if (run / "metrics.jsonl").exists() else []
    probed = [line for line in lines if "landmarks/pooled/nme" in line]
    return {line["epoch"]: {name: value for name, value in line.items() if "/" in name} for line in probed}


def _headline(task: str) -> str:
    return "nme" if task == "landmarks" else "mae"


def test_the_scores_are_described_and_in_tensorboard(run: Path) -> None:
    metrics = {metric.name: metric for metric in described_in(read_metrics(run / "metrics.jsonl"))}
    nme = metrics["landmarks/unpooled/nme"]
    assert (nme.title, nme.label, nme.percent, nme.lower) == ("landmarks: nme", "unpooled", True, 0.0)
    assert nme.higher_is_better is False and metrics["landmarks/pooled/auc10"].higher_is_better is True
    assert nme.line is not None and nme.line[1].startswith("constant") and math.isfinite(nme.line[0])
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    assert "landmarks/unpooled/nme" in board.Tags()["scalars"]


@pytest.mark.parametrize(
    ("options", "named", "cause"),
    [
        ("--probe.tasks pose --probe.data {faces}", "faces.beton", "needs the target 'pose'"),
        ("--probe.tasks smiles --probe.data {faces}", "faces.beton", "no task of this name"),
        ("--probe.tasks landmarks", "--probe.tasks", "nothing to learn from"),
        ("--probe.data {faces}", "--probe.data", "no task is asked for"),
        ("--probe.tasks landmarks landmarks --probe.data {faces}", "--probe.tasks", "names a task twice"),
        ("--probe.tasks landmarks --probe.data no.beton", "--probe.data", "no such file"),
        ("--probe.tasks landmarks --probe.data {faces} --probe.test {faces}", "--probe.data", "data and test"),
        ("--probe.tasks landmarks --probe.data {faces} --probe.stage 0", "probe.stage", "next to the image"),
        (
            "--probe.tasks landmarks --probe.data {faces} --probe.stage 5",
            "--probe.stage",
            "is no stage of this network",
        ),
        ("--probe.tasks landmarks --probe.train {faces}", "--probe.train", "what is given is train"),
        ("--probe.tasks landmarks --probe.train {faces} --probe.test {faces}", "faces.beton", "subjects are in both"),
        (
            "--probe.tasks landmarks --probe.train {faces} --probe.test {faces} --probe.test-share 0.5",
            "--probe.test-share",
            "says which faces are judged on",
        ),
        (
            "--probe.tasks landmarks --probe.data {faces} --probe.shared-subjects",
            "--probe.shared-subjects",
            "nobody is on both sides",
        ),
    ],
)
def test_what_cannot_be_probed_is_refused_before_anything_is_made(
    options: str, named: str, cause: str, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pretrain", "cpu", "--data", str(faces), "--out", str(tmp_path / "new"), *TINY]
    assert main([*command, *options.format(faces=faces).split()]) == 1
    error = capsys.readouterr().err
    assert named in error and cause in error
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("rank", range(3))
def test_every_rank_refuses_a_file_with_fewer_images_than_ranks(tmp_path: Path, rank: int) -> None:
    """Those that have an image, too: they would wait for the others, who have none."""
    beton = write_faces(tmp_path / "faces.beton", identities=2)
    place = World(rank=rank, size=3, local_rank=rank, local_size=3, device=torch.device("cpu"))
    probe = KnnConfig(data=beton, size=24, limit=2)
    with pytest.raises(ConfigError, match="fewer images than there are processes"):
        _share(RunConfig(), place, probe, beton, "--knn.data")
