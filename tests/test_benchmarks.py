"""Every benchmark that needs no GPU runs from end to end on little, and prints its tables.

What the figures are is not looked at: these are no measurements.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from frl.synthetic import write_folder

ROOT = Path(__file__).parents[1]


def run(name, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / "bench" / f"{name}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """A .beton of synthetic faces."""
    folder = tmp_path_factory.mktemp("bench")
    write_folder(folder / "faces", identities=8, images_per_identity=20, size=64)
    command = [sys.executable, "-m", "frl.cli", "write", str(folder / "faces"), "--out", str(folder / "faces.beton")]
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    return folder / "faces.beton"


def rows(output, head):
    """The rows of the first table whose head begins so."""
    lines = iter(output.splitlines())
    next(line for line in lines if line.startswith(f"| {head}"))
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_order():
    output = run("order", "--samples", 20000, "--file-mb", 8, "--memory-mb", 16, "--limit-s", 5, "--windows", 16)
    by_name = {row[0]: [float(figure) for figure in row[1:]] for row in rows(output, "order | same identity")}
    assert by_name["file order"][0] > 10 * by_name["random"][0]  # people lie together in a class-ordered file
    assert len(rows(output, "order | memory")) == 1


def test_scaling():
    output = run("scaling", "--arch", "resnet18-w16", "--processes", 1, 2)
    alone, two = ([float(cell) for cell in row] for row in rows(output, "processes"))
    assert alone[1:] == [0] * 6 and two[1] > 0 and two[3] > 0
    assert [row[0] for row in rows(output, "GPUs")] == ["1", "8", "64", "512"]


def test_threads(faces):
    output = run("threads", faces, "--seconds", 0.05, "--rounds", 1, "--threads", 1, 2, "--native-ms", 0.2)
    assert [row[0] for row in rows(output, "threads, measured")][:2] == ["1", "2"]
    assert [row[0] for row in rows(output, "threads | images/s")] == ["1", "2"]


def test_detection(tmp_path):
    pytest.importorskip("dlib")
    Image.new("RGB", (200, 160), "grey").save(tmp_path / "wall.jpg")
    (tmp_path / "wall.faces.json").write_text("[[[20, 20], [120, 120]]]")
    assert "0 of 1 annotated faces found (0.0%) on 1 photographs" in run("detection", tmp_path)


def test_kernels():
    found = rows(run("kernels", "quickstart"), "part")
    assert found[-1][0] == "**all**" and {"forward", "backward", "optimiser"} <= {row[0] for row in found}


def test_opening():
    (line,) = map(json.loads, run("opening", 1000).splitlines())
    assert line["samples"] == 1000 and line["open"]["seconds"] > 0


def test_train(faces):
    found = {row[0]: float(row[1].replace(",", "")) for row in rows(
        run("train", "--data", faces, "--device", "cpu", "--batch-size", 4, "--quick"), "part"
    )}  # fmt: skip
    assert {"loader", "step", "loader and step"} <= found.keys() and min(found.values()) > 0


def test_objectives(faces):
    shared = ("objectives", faces, faces, "--presets", "simclr-cpu")
    (by_time,) = rows(run(*shared, "--seconds", 0.5), "objective")
    assert by_time[:2] == ["simclr", "`simclr-cpu`"] and "±" in by_time[2]
    (by_steps,) = rows(run(*shared, "--steps", 2, "--seeds", 2), "objective")
    assert by_steps[5] == "2" and "±" in by_steps[3]


def test_writer():
    output = run("writer", "--images", 40, "--sides", 256, 400, "--rounds", 1, "--workers", 1, "--memory", 20)
    found = {row[0]: row[1:] for row in rows(output, "writer")}
    assert {"frl", "PIL loop", "tar", "cp -r"} <= found.keys()
    assert found["frl"][:2] == ["1.00", "1.00"]
    assert all(float(cpu_ms) > 0 for _, _, cpu_ms, *_ in found.values())
    assert float(found["frl"][4]) > 0 == float(found["tar"][4])  # only what is Python has imports
    assert "shrunk from 400 pixels, 40 images" in output and "memory, 20 images" in output


def test_every_script_is_run_by_a_test():
    tested = {name.removeprefix("test_") for name in globals()}
    elsewhere = {"gpu", "first_minute", "parity", "in_place", "registers"}  # tests of their own
    from_runs = {"health", "start"}  # a drawing of two long runs; the time of `frl pretrain`, which many tests run
    scripts = {path.stem for path in (ROOT / "scripts" / "bench").glob("*.py") if "def main" in path.read_text()}
    assert scripts <= tested | elsewhere | from_runs
