"""Whole runs of ``frl pretrain`` that divide one batch in different ways, and must learn the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from beton_samples import draw_sample
from tests_support import start_ranks

from frl.beton import BetonWriter
from frl.cli import main
from frl.monitoring.logbook import read_metrics
from frl.runtime import checkpoint
from frl.runtime.staging import stage

STEPS = 4
OPTIONS = [
    *("--augment.crops.0.size", "24", "--augment.crops.0.count", "2", "--augment.blur-p", "0"),
    *("--optim.batch-size", "16", "--optim.reference-batch", "16", "--optim.epochs", "2", "--optim.lr", "0.1"),
    # Its steps follow the weights' norms, so that what a sum rounds away does not grow from step to step.
    *("--optim.optimiser", "larc", "--optim.no-nesterov", "--optim.start-lr", "0.5", "--optim.weight-decay", "1e-6"),
    *(
        "--objective.hidden-dim=32",
        "--objective.prototypes=12",
        *("--objective.queue-length", "32", "--objective.queue-from-epoch=0"),
    ),
    *("--max-steps", str(STEPS), "--log-every-steps", "1", "--device", "cpu", "--precision", "fp32", "--workers", "1"),
]


@pytest.fixture(scope="module")
def beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 small pictures of smooth noise: three steps an epoch."""
    path = tmp_path_factory.mktemp("data") / "faces.beton"
    with BetonWriter(path, capacity=48, page_size=1 << 21) as writer:
        for seed in range(48):
            writer.append(*draw_sample(seed, 36, 36).arguments)
    return path


def pretrain(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    raise SystemExit(main(["pretrain", "cpu", *arguments]))


def trained(beton: Path, out: Path, *options: str, ranks: int = 1) -> tuple[np.ndarray, torch.Tensor]:
    """The loss of every step and the last weights, in one row."""
    log = out.with_suffix(".log")
    processes = start_ranks(pretrain, ranks, ["--data", str(beton), "--out", str(out), *OPTIONS, *options], log=log)
    for process in processes:
        process.join(280)
        process.kill()
    said = log.read_text()
    assert [process.exitcode for process in processes] == [0] * ranks, said
    assert "warning" not in said.lower(), said
    losses = [line["loss"] for line in read_metrics(out / "metrics.jsonl") if "loss" in line]
    state = checkpoint.load_newest(out / "checkpoints")["model"]
    weights = [value.flatten() for name, value in state.items() if "running" not in name and "batches" not in name]
    return np.array(losses), torch.cat(weights)


def assert_alike(one: tuple[np.ndarray, torch.Tensor], other: tuple[np.ndarray, torch.Tensor]) -> None:
    assert len(one[0]) == len(other[0]) == STEPS
    np.testing.assert_allclose(one[0], other[0], rtol=1e-3)
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=2e-3)


@pytest.fixture(scope="module")
def whole(beton: Path) -> tuple[np.ndarray, torch.Tensor]:
    """One process with the batch in one piece."""
    return trained(beton, beton.parent / "whole")


@pytest.fixture(scope="module")
def halves(beton: Path) -> tuple[np.ndarray, torch.Tensor]:
    """One process with two micro-batches, each with statistics of its own."""
    return trained(beton, beton.parent / "halves", "--optim.accumulate", "2")


def test_two_ranks_with_joint_statistics_learn_as_one_process(beton, tmp_path, whole, halves):
    assert_alike(whole, trained(beton, tmp_path / "run", "--model.batch-norm", "sync", ranks=2))
    assert abs(whole[0] - halves[0]).max() > 0.1, "whose statistics they are matters"


def test_two_ranks_with_local_statistics_learn_as_two_micro_batches(beton, tmp_path, halves):
    assert_alike(halves, trained(beton, tmp_path / "run", "--model.batch-norm", "local", ranks=2))


def test_four_ranks_in_two_groups_learn_as_two_micro_batches(beton, tmp_path, halves):
    groups = ("--model.batch-norm", "sync", "--model.batch-norm-group", "2")
    assert_alike(halves, trained(beton, tmp_path / "run", *groups, ranks=4))


def test_the_staged_copy_is_what_is_read(beton, tmp_path, whole):
    source, disk = tmp_path / "faces.beton", tmp_path / "disk"
    shutil.copy2(beton, source)
    stage(source, disk, time_limit=60)
    looks = source.stat()
    source.write_bytes(bytes(looks.st_size))
    os.utime(source, ns=(looks.st_atime_ns, looks.st_mtime_ns))  # so the copy still counts as the source
    found = trained(source, tmp_path / "run", "--stage", str(disk))
    assert np.array_equal(found[0], whole[0]) and torch.equal(found[1], whole[1])
    assert [path.name for path in disk.rglob("[!.]*") if path.is_file()] == ["faces.beton"]
