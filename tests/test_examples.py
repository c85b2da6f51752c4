"""The programs in ``examples/`` are short, and do what they say, from any folder, with the packages alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from frl.export import export
from frl.monitoring.logbook import read_metrics
from frl.runtime import checkpoint
from frl.synthetic import write_folder
from writers.config import WriteConfig
from writers.to_beton import write

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "faces_to_probe.ipynb"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    write_folder(folder / "faces", 6, 24, 40, seed=0, workers=1)
    write(WriteConfig(sources=(str(folder / "faces"),), out=folder / "faces.beton", workers=1))
    return folder / "faces.beton"


def run(name: str, *arguments: str | Path, folder: Path) -> str:
    """Run an example in a folder of its own, as a user does; what it prints."""
    command = [sys.executable, "-P", str(ROOT / "examples" / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_it_fits_forty_lines(path):
    assert len(path.read_text().splitlines()) <= 40


def test_every_example_is_run_here():
    tested = set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text()))
    assert tested == {path.name for path in EXAMPLES}


def test_iterate_crops(faces, tmp_path):
    said = run("iterate_crops.py", faces, "--batch-size", "24", folder=tmp_path)
    assert "144 images, 6 batches an epoch" in said
    assert said.count("views (48, 3, 96, 96), (96, 3, 48, 48)") == 6
    assert "every pixel the same" in said


@pytest.fixture(scope="module")
def trained(faces) -> tuple[Path, str]:
    """The folder of a run of the own objective, and what it printed."""
    out = faces.parent / "run"
    return out, run("own_objective.py", faces, out, folder=faces.parent)


def test_own_objective(trained):
    out, said = trained
    assert "objective  uniformity" in said
    logged = [line for line in read_metrics(out / "metrics.jsonl") if "alignment" in line]
    epochs = json.loads((out / "config.json").read_text())["optim"]["epochs"]
    assert [line["step"] for line in logged] == list(range(1, epochs + 1))  # an epoch of 144 images has one of 128
    assert "head.weight" in checkpoint.load_newest(out / "checkpoints")["model"]


def test_fine_tune(trained, faces, tmp_path):
    """The loss falls, from weights as frl pretrain leaves and frl export writes them."""
    export(trained[0], tmp_path / "weights.pth")
    assert "conv1.weight" in torch.load(tmp_path / "weights.pth")
    said = run("fine_tune.py", tmp_path / "weights.pth", faces, "--size", "32", folder=tmp_path)
    epochs = re.findall(r"epoch (\d): loss ([\d.]+), unseen images named rightly: \d+%", said)
    assert [int(epoch) for epoch, _ in epochs] == list(range(8))
    assert float(epochs[-1][1]) < float(epochs[0][1])


def test_the_notebook_runs_from_faces_to_a_probe(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("nb")  # a short name: sockets lie in it
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        NotebookClient(
            notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
        ).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "320" in said and "untrained (resnet18" in said and "raw pixels" in said
    assert sum("image/png" in output.get("data", {}) for c in notebook.cells for output in c.get("outputs", ())) == 2


def test_the_notebook_is_kept_without_its_outputs():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
