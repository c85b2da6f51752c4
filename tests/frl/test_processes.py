"""``frl pretrain --processes N``: one command, several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from frl.cli import launching, main
from frl.errors import ConfigError
from frl.monitoring.logbook import read_metrics
from frl.presets import preset
from frl.synthetic import write_folder

ROOT = Path(__file__).parents[2]
CPU = replace(preset("cpu").config, device="cpu")


def test_a_number_that_cannot_be_is_refused(monkeypatch):
    for given in ("0", "-1", "two"):
        with pytest.raises(ConfigError, match="no number of processes"):
            launching.count([given], CPU)
    with pytest.raises(ConfigError, match="2 processes for 0 GPUs|2 processes for 1 GPUs"):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        launching.count(["2"], replace(CPU, device="cuda"))
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="a launcher has started 4"):
        launching.count(["2"], CPU)


def test_one_process_for_each_gpu_unless_a_launcher_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert launching.count([], preset("cpu").config) == 3
    assert launching.count([], CPU) == 1
    assert launching.count(["2"], preset("cpu").config) == 2
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launching.count([], preset("cpu").config) == launching.count(["4"], preset("cpu").config) == 1


def test_a_batch_that_they_cannot_share_is_refused_before_they_start(capsys):
    given = ["--data", "absent.beton", "--device", "cpu", "--optim.batch-size", "9", "--processes", "2"]
    assert main(["pretrain", "cpu", *given]) == 1
    assert "cannot be shared equally by 2 processes" in capsys.readouterr().err


def test_two_processes_train_one_run(tmp_path):
    write_folder(tmp_path / "faces", 4, 4, 32, seed=0, workers=1)
    command = [
        *(sys.executable, "-m", "frl.cli", "pretrain", "cpu", "--data", tmp_path / "faces", "--out", tmp_path / "run"),
        *("--model.width", "8", "--optim.batch-size", "8", "--max-steps", "2", "--log-every-steps", "1"),
        *("--device", "cpu", "--precision", "fp32", "--processes", "2"),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 x " in done.stdout
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line] == [1, 2]
    assert done.stderr.count("read where it is") == 1
