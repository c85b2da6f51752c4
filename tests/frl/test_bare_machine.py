"""No network, no GPU, no ffcv, no DALI: what is missing is named, everything else works (fault T15)."""

from __future__ import annotations

import importlib.metadata
import socket
import sys
from pathlib import Path

import pytest
import torch

from frl.cli import main
from frl.errors import LoaderError

MISSING = ("ffcv", "nvidia-dali-cuda130")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where neither is installed, and where every connection is refused."""
    for module in ("ffcv", "ffcv._libffcv", "nvidia.dali", "wandb"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "pipelines.engines.dali_engine", raising=False)  # another test may have had it
    version, connect = importlib.metadata.version, socket.socket.connect

    def without(package: str) -> str:
        if package in MISSING:
            raise importlib.metadata.PackageNotFoundError(package)
        return version(package)

    def refuse(*_: object) -> None:
        raise OSError("no network here")

    def connect_locally(self: socket.socket, address: object) -> None:
        connect(self, address) if self.family == socket.AF_UNIX else refuse()

    monkeypatch.setattr(importlib.metadata, "version", without)
    monkeypatch.setattr(socket.socket, "connect", connect_locally)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # in processes to come; torch has looked already
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def test_doctor_names_what_is_missing_and_the_command(bare: None, capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for package, command in zip(MISSING, ("bash scripts/setup.sh", "pip install nvidia-dali"), strict=True):
        (line,) = [line for line in lines if line.split()[:1] == [package]]
        assert "missing" in line and command in line


def test_the_whole_way_works_without_them(bare: None, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    faces, beton, run = tmp_path / "faces", tmp_path / "faces.beton", tmp_path / "run"
    tiny = ["--augment.crops.0.size", "24", "--objective.prototypes", "12"]
    tiny += ["--optim.batch-size", "8", "--optim.epochs", "1"]
    tiny += ["--knn.data", str(beton), "--knn.size", "24", "--knn.every-epochs", "1"]
    for command in (
        ["synthesize", str(faces), "--identities", "4", "--images", "4", "--size", "40"],
        ["write", str(faces), "--out", str(beton), "--workers", "1"],
        ["verify", str(beton), "--deep"],
        ["preview", str(beton), "--preset", "cpu", "--count", "2", "--out", str(tmp_path / "crops.png")],
        ["pretrain", "cpu", "--data", str(beton), "--out", str(run), *tiny],
        ["export", str(run), "--out", str(tmp_path / "backbone.pth")],
        ["evaluate", "knn", "--weights", str(tmp_path / "backbone.pth"), "--data", str(beton), "--size", "24"],
        ["report", str(run)],
    ):  # fmt: skip
        assert main(command) == 0, capsys.readouterr().err
    page = (run / "report" / "report.html").read_text()
    assert "<h2>Nearest neighbours</h2>" in page and "not installed" not in page


def test_what_needs_them_says_so(bare: None, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """And before a folder, a lock or a step is made."""
    from pipelines.engines.ffcv_engine import load_imdecode

    with pytest.raises(LoaderError, match=r"ffcv: it is not installed.*scripts/setup.sh.*--engine threads"):
        load_imdecode()
    faces, beton, run = tmp_path / "faces", tmp_path / "faces.beton", tmp_path / "run"
    assert main(["synthesize", str(faces), "--identities", "2", "--images", "4", "--size", "40"]) == 0
    assert main(["write", str(faces), "--out", str(beton), "--workers", "1"]) == 0
    command = ["pretrain", "cpu", "--data", str(beton), "--out", str(run), "--optim.batch-size", "8"]
    capsys.readouterr()
    for options, cause in (
        (["--engine", "ffcv"], "ffcv: it is not installed"),
        (["--engine", "dali"], "nvidia.dali: it is not installed"),
        (["--wandb", "faces"], "wandb is not installed"),
        (["--device", "cuda"], "has no GPU of its own"),
    ):
        assert main([*command, *options]) == 1
        assert cause in capsys.readouterr().err and not run.exists()
