"""The GPU suite's script runs from end to end on a CPU; its figures mean nothing there, and it says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scripts.bench import gpu, gpu_table

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "scripts" / "bench_gpu.sh"), *arguments]
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "2"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)


def test_it_runs_through_and_leaves_a_json_and_a_table(tmp_path):
    done = run("--device", "cpu", "--out", str(tmp_path), "--skip", "tests")
    assert done.returncode == 0, done.stderr
    result, table = json.loads((tmp_path / "cpu.json").read_text()), (tmp_path / "cpu.md").read_text()
    assert all(row["images_s"] > 0 for row in result["augmenter"])
    assert result["normaliser"]["images_s"] > 0 and result["peaks"]["copy_gb_s"] > 0
    assert result["loaders"]["torch"]["images_s"] > 0
    assert result["kernels"] == "skipped: no GPU, and no TRITON_INTERPRET=1"
    for engine in ("ffcv", "dali"):
        row = result["loaders"][engine]
        assert row.startswith("skipped: ") if isinstance(row, str) else row["images_s"] > 0
    assert "the figures mean nothing" in table and "| torch |" in table
    assert str(ROOT) not in json.dumps(result) + table


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    done = run()
    assert done.returncode == 1 and "no GPU here" in done.stdout


def test_what_it_starts_is_there():
    assert gpu.TRAINER.exists()


def test_the_kernels_are_on_the_page_beside_the_graph(monkeypatch):
    bench = gpu.Bench(gpu.BenchConfig(device="cpu"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(bench, "augment", lambda batch, way: {"images_s": 90.0, "images_s_with_copy_of_plan": 80.0,
                        "first_call_s": 2.0, "memory_mb": 3.0, "batch": batch})  # fmt: skip
    result = {"kernels": bench.kernels(), "augmenter": [{"images_s": 60.0}]}
    assert "| 8 | 90 | 1.50 | 80 | 3 MB | 2.0 s |" in gpu_table.of_kernels(result["kernels"], result)


def test_kernels_that_fail_leave_the_rest(monkeypatch):
    def fail(batch, way):
        raise RuntimeError("PTX is too new\nfor this driver")

    bench = gpu.Bench(gpu.BenchConfig(device="cpu"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(bench, "augment", fail)
    assert bench.kernels() == "skipped: RuntimeError, PTX is too new"


def test_what_the_trainer_measured_is_on_the_page():
    rows = [("reference step", 100, 1.0, None), ("step", 250, 2.5, 1.5), ("loader", 90, 0.9, None),
            ("loader and step", 80, 0.8, 1.5)]  # fmt: skip
    names = ("name", "images_per_s", "of_reference", "memory_gib")
    trainer = {"model": "resnet50", "crops": "2x224 + 6x96", "batch_size": 128, "precision": "bf16"}
    trainer["rows"] = [dict(zip(names, row, strict=True)) for row in rows]
    where = {"device": "G", "processor": "P", "cores": 2, "vector_bits": 512, "date": "2026-01-02", "commit": "abc"}
    page = gpu_table.page({"about": {**where, "python": "3.11", "packages": {"torch": "2"}}, "trainer": trainer})
    assert "# G" in page and "2 cores of P (512-bit vectors)" in page and "mean nothing" not in page
    assert "| step | 250 | 2.50 | 1.5 |" in page and "32% of the step alone; bound by the loader." in page
