"""``scripts/pretrain_ffcv.sh`` in a folder that stands for a checkout: what a user's Ctrl-C does to a real run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pictures import encode
from PIL import Image

from frl.beton import BetonWriter
from frl.runtime import checkpoint

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Beside a ``.venv`` with this Python, and nothing to set up."""
    python = tmp_path / "root" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "root" / "scripts").mkdir()
    (tmp_path / "root" / "scripts" / "setup.sh").touch()
    return Path(shutil.copy(ROOT / "scripts" / "pretrain_ffcv.sh", tmp_path / "root" / "scripts"))


@pytest.fixture
def beton(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with BetonWriter(tmp_path / "faces.beton", capacity=24, page_size=1 << 21) as writer:
        for index in range(24):
            noise = Image.fromarray(rng.integers(0, 256, (36, 36, 3), dtype=np.uint8))
            writer.append(encode(noise), 36, 36, -1, f"{index}.jpg")
    return tmp_path / "faces.beton"


def test_ctrl_c_saves_says_how_to_go_on_and_ends_with_130(script: Path, beton: Path, tmp_path: Path) -> None:
    """In a folder of the user's with a folder ``frl`` in it, which is no package of ours."""
    (tmp_path / "here" / "frl").mkdir(parents=True)
    log, run = tmp_path / "log", tmp_path / "run"
    command = ["bash", script, "quickstart", "--data", beton, "--out", run, "--engine", "torch", "--workers", "1"]
    command += ["--device", "cpu", "--optim.batch-size", "4", "--optim.epochs", "100000", "--log-every-steps", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GPUS": "2"}
    with open(log, "w") as output, subprocess.Popen(
        command, cwd=tmp_path / "here", env=environment, stdout=output, stderr=output, start_new_session=True
    ) as process:  # fmt: skip
        try:
            deadline = time.monotonic() + 200
            while not (run / "metrics.jsonl").exists():
                assert time.monotonic() < deadline and process.poll() is None, log.read_text()
                time.sleep(0.1)
            arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            assert arguments[arguments.index(b"--shutdown-timeout") + 1] == b"600"
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(300) == 130, log.read_text()
        finally:
            process.kill()
    said = log.read_text()
    (step,) = re.findall(r"stopped by \w+ after step (\d+); the same command goes on from there", said)
    assert checkpoint.load(checkpoint.path_of(run / "checkpoints", int(step)))["step"] == int(step)
    assert "Traceback" not in said
