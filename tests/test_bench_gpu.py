"""The GPU suite's script runs from end to end on a CPU; its figures mean nothing there, and it says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "scripts" / "bench_gpu.sh"), *arguments]
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "2"}
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment, check=False)


def test_it_runs_through_and_leaves_a_json_and_a_table(tmp_path):
    done = run("--device", "cpu", "--out", str(tmp_path), "--skip", "tests")
    assert done.returncode == 0, done.stderr
    result, table = json.loads((tmp_path / "cpu.json").read_text()), (tmp_path / "cpu.md").read_text()
    assert all(row["images_s"] > 0 for row in result["augmenter"])
    assert result["normaliser"]["images_s"] > 0 and result["peaks"]["copy_gb_s"] > 0
    assert result["loaders"]["torch"]["images_s"] > 0
    for engine in ("ffcv", "dali"):
        row = result["loaders"][engine]
        assert row.startswith("skipped: ") if isinstance(row, str) else row["images_s"] > 0
    assert "the figures mean nothing" in table and "| torch |" in table
    assert str(ROOT) not in json.dumps(result) + table


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    done = run()
    assert done.returncode == 1 and "no GPU here" in done.stdout
