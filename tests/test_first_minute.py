"""The checks for a new GPU run through on a CPU, as far as they make sense there, and stop at a surprise."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from frl.config import EngineName

ROOT = Path(__file__).parents[1]


@pytest.fixture
def first_minute(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "bench"))
    import first_minute

    return first_minute


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "scripts" / "gpu_first_minute.sh"), *arguments]
    environment |= {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment, check=False)


def test_it_runs_through_and_says_what_it_left_out():
    done = run("--device", "cpu", "--skip", "tests", "twice_alike")
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(":")[0].rsplit(maxsplit=1)[::-1] for line in done.stdout.splitlines())
    left_out = {"copies", "batch_search", "one_context", "tests", "twice_alike", "kernels"}
    assert {name for name, verdict in said.items() if verdict == "skipped"} == left_out
    assert {name for name, verdict in said.items() if verdict == "as it should be"} == {
        "score", "data_wait", "one_of_two_fails",
    }  # fmt: skip


def test_the_kernels_are_held_against_the_graph():
    pytest.importorskip("triton", reason="no Triton here")
    others = ("twice_alike", "score", "data_wait", "one_of_two_fails", "tests")
    done = run("--device", "cpu", "--skip", *others, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"as it should be  kernels: off by .* levels on average", done.stdout)


def test_kernels_that_make_other_views_are_a_surprise(first_minute, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(first_minute.Bench, "levels", lambda self, way: [torch.full((2, 3), len(way) / 10)])
    with pytest.raises(first_minute.SurpriseError, match="0.2 levels on average"):
        first_minute.Checks("cpu", tmp_path).kernels()


def test_what_fails_within_a_check_is_a_surprise(first_minute, monkeypatch, capsys):
    def fail(checks):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(first_minute.Checks, "twice_alike", fail)
    monkeypatch.setattr(sys, "argv", ["first_minute", "--device", "cpu"])
    fail.__name__ = "twice_alike"
    assert first_minute.main() == 1
    said = capsys.readouterr()
    assert said.out == "SURPRISE  twice_alike: RuntimeError, as above\n"
    assert "no kernel image is available" in said.err


def test_it_stops_at_the_first_surprise(first_minute, monkeypatch, capsys):
    def differ(checks):
        raise first_minute.SurpriseError("3 tensors differ")

    monkeypatch.setattr(first_minute.Checks, "twice_alike", differ)
    monkeypatch.setattr(sys, "argv", ["first_minute", "--device", "cpu"])
    differ.__name__ = "twice_alike"
    assert first_minute.main() == 1
    assert capsys.readouterr().out == "SURPRISE  twice_alike: 3 tensors differ\n"


def test_it_goes_on_after_a_surprise_if_asked_to(first_minute, monkeypatch, capsys):
    def differ(checks):
        raise first_minute.SurpriseError("3 tensors differ")

    names = ("twice_alike", "score", "copies", "data_wait", "one_of_two_fails", "batch_search", "one_context")
    for name in (*names, "tests", "kernels"):
        check = type(differ)(differ.__code__, differ.__globals__, name, None, differ.__closure__)
        monkeypatch.setattr(first_minute.Checks, name, check)
    monkeypatch.setattr(sys, "argv", ["first_minute", "--device", "cpu", "--keep-going", "--skip", "tests"])
    assert first_minute.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert said.count("skipped   tests: as asked") == 1
    assert sum(line.startswith("SURPRISE") for line in said) == 8


def event(kind: str, name: str, begin: float, length: float, stream: int, nbytes: int = 0) -> dict:
    arguments = {"stream": stream} | ({"bytes": nbytes} if nbytes else {})
    return {"cat": kind, "name": name, "ts": begin, "dur": length, "args": arguments}


def test_the_overlap_is_that_of_large_copies_with_kernels_of_other_streams(first_minute):
    large, to_device = 1 << 21, "Memcpy HtoD (Pinned -> Device)"
    trace = [
        {"name": "process_name", "ph": "M"},
        event("gpu_memcpy", to_device, 0, 100, 20, large),
        event("kernel", "one", 50, 30, 7),
        event("kernel", "its neighbour, partly at once", 70, 20, 8),
        event("kernel", "of the same stream", 0, 100, 20),
        event("gpu_memcpy", to_device, 200, 60, 20, large),
        event("gpu_memcpy", to_device, 50, 30, 20, 4096),
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pinned)", 50, 30, 20, large),
    ]
    assert first_minute.overlapped_share(trace) == pytest.approx(40 / 160)


def test_a_trace_without_copies_is_a_surprise(first_minute):
    with pytest.raises(first_minute.SurpriseError, match="no large copy"):
        first_minute.overlapped_share([event("kernel", "one", 0, 1, 7)])


@pytest.mark.parametrize(
    ("said", "counted"), [("GPU-1, 520 MiB\nGPU-1, 40 MiB\n", 2), ("", 0), ("No running processes found\n", 0)]
)
def test_processes_are_those_that_the_driver_names(first_minute, monkeypatch, tmp_path, said, counted):
    (tmp_path / "said").write_text(said)
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n/bin/cat {tmp_path}/said\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert first_minute.processes_on_gpus() == counted


def test_contexts_that_no_driver_shows_are_left_out(first_minute, monkeypatch, tmp_path):
    """In a container nvidia-smi names no process, or is not there: the count of 0 would be a surprise."""
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = first_minute.Checks("cpu", tmp_path)
    monkeypatch.setattr(checks, "on_gpu", True)
    with pytest.raises(first_minute.SkippedError, match="names no process"):
        checks.one_context()


def test_every_engine_is_tried(first_minute):
    assert set(first_minute.ENGINES) == set(get_args(EngineName))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    done = run()
    assert done.returncode == 1 and "no GPU here" in done.stdout
