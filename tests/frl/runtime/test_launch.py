"""torchrun as we start it: Ctrl-C and SIGTERM let the ranks save, however long that takes, and leave no traceback."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import launched_rank
import pytest
from processes import assert_gone

from frl.runtime import launch as launcher

Launch = Callable[..., subprocess.Popen]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start two ranks that take so many seconds to save, in a process group as a terminal would; ends what is left."""
    begun: list[subprocess.Popen] = []

    def start(seconds: float, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen:
        command = [*before, sys.executable, "-m", "frl.runtime.launch", "--standalone", "--shutdown-timeout", "100"]
        command += ["--nproc-per-node", "2", launched_rank.__file__, str(tmp_path), str(seconds), *arguments]
        begun.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True))
        return begun[-1]

    yield start
    for pid in [process.pid for process in begun] + ranks(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for process in begun:
        process.communicate()


def ranks(folder: Path) -> list[int]:
    return [int(path.read_text() or 0) for path in sorted(folder.glob("pid.*"))]


def wait_for_both(folder: Path, name: str) -> list[str]:
    """What the ranks noted under a name."""
    deadline = time.monotonic() + 200
    while len(found := [text for path in sorted(folder.glob(f"{name}.*")) if (text := path.read_text())]) < 2:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGHUP])
def test_the_ranks_save_and_the_status_tells_of_the_signal(launch: Launch, tmp_path: Path, number: Signals) -> None:
    process = launch(1.0)
    wait_for_both(tmp_path, "pid")
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + number, errors
    assert len(list(tmp_path.glob("saved.*"))) == 2 and "Traceback" not in errors
    assert wait_for_both(tmp_path, "asked") == [number.name] * 2


def test_a_signal_to_every_process_of_the_run_is_one_request(launch: Launch, tmp_path: Path) -> None:
    """So does Slurm; and torchrun then sends its ranks another."""
    process = launch(1.0)
    for pid in [*map(int, wait_for_both(tmp_path, "pid")), process.pid]:
        os.kill(pid, SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 143 and len(list(tmp_path.glob("saved.*"))) == 2, errors


def test_a_second_ctrl_c_ends_everything_at_once(launch: Launch, tmp_path: Path) -> None:
    process = launch(1000.0)
    pids = list(map(int, wait_for_both(tmp_path, "pid")))
    os.killpg(process.pid, SIGINT)
    wait_for_both(tmp_path, "asked")
    time.sleep(1.2)  # what comes within a second is the same request
    os.killpg(process.pid, SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in errors
    assert_gone(pids)
    assert not list(tmp_path.glob("saved.*"))


def test_under_nohup_a_closed_terminal_is_nothing(launch: Launch, tmp_path: Path) -> None:
    """torchrun by itself would handle SIGHUP again."""
    process = launch(0.1, before=("nohup",))
    wait_for_both(tmp_path, "pid")
    os.killpg(process.pid, SIGHUP)
    os.killpg(process.pid, SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 143 and wait_for_both(tmp_path, "asked") == ["SIGTERM"] * 2


@pytest.mark.parametrize(
    ("status", "ends_with", "words"), [(3, 3, "ended with status 3"), (-signal.SIGKILL, 137, "was ended by SIGKILL")]
)
def test_the_status_is_that_of_the_rank_that_failed(launch: Launch, tmp_path: Path, status, ends_with, words) -> None:
    process = launch(0.1, str(status))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == ends_with
    assert "launch: rank 1 (process" in errors and words in errors and "Traceback" not in errors


@pytest.mark.parametrize("has_it", [True, False])
def test_a_torchrun_without_the_patience_is_not_asked_for_it(monkeypatch, capsys, has_it) -> None:
    """torch 2.11's is one, and would end with a usage message."""
    parser = argparse.ArgumentParser()
    parser.add_argument(*["--shutdown-timeout"] * has_it or ["--other"])
    monkeypatch.setattr(launcher, "get_args_parser", lambda: parser)
    given = ["--standalone", "--shutdown-timeout", "600", "--nproc-per-node", "2"]
    assert launcher.known(given) == (given if has_it else ["--standalone", "--nproc-per-node", "2"])
    assert ("30 s to save" in capsys.readouterr().err) == (not has_it)
