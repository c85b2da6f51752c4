"""Two runs in one folder: the second is refused by name; a dead holder holds nothing (faults: T13)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from frl.errors import ConfigError
from frl.runtime.lock import NAME, require_own_folder, run_lock

HOLD = "import sys; from pathlib import Path; from frl.runtime.lock import run_lock\nwith run_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"  # fmt: skip  # noqa: E501


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds ``tmp_path`` until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(timeout=300)


def test_the_second_is_refused_and_told_who_holds_it(holder: subprocess.Popen, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"in use by another run.*process {holder.pid} on"), run_lock(tmp_path):
        pytest.fail("both hold it")


def test_the_lock_of_a_killed_process_is_free(holder: subprocess.Popen, tmp_path: Path) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=300)
    with run_lock(tmp_path):
        assert f'"process": {os.getpid()}' in (tmp_path / NAME).read_text()


def test_it_is_free_again_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyError), run_lock(tmp_path):
        raise KeyError
    with run_lock(tmp_path):
        pass


def test_other_ranks_do_not_lock(holder: subprocess.Popen, tmp_path: Path) -> None:
    with run_lock(tmp_path, enabled=False):
        assert holder.poll() is None


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--out.*file/run cannot be written"), run_lock(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "x"},
        {"config.json": '{"architectures": ["ResNet"]}', "model.safetensors": "x"},
        {"checkpoints/epoch=1.ckpt": "x"},
        {"faces/a.jpg": "x"},
        {"config.json": "not json"},
        {".lock": "held by another program", "notes.txt": "x"},
    ],
)
def test_a_folder_of_other_things_is_refused_and_left_alone(files: dict[str, str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    shown = next(name for name in files if not name.startswith(".")).partition("/")[0]
    with pytest.raises(ConfigError, match=f"is not of a run of frl pretrain, but holds {shown}"), run_lock(tmp_path):
        pass
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "files",
    [
        {},
        {".DS_Store": "x"},
        {"checkpoints/step-000000001.pt": "x", "notes.txt": "x"},
        {"config.json": '{"data": {}, "augment": {}, "model": {}, "optim": {}}', "metrics.jsonl": ""},
        {".lock": '{"process": 1, "host": "a", "since": "b"}', "log.txt": "x"},
    ],
)
def test_a_folder_of_a_run_or_of_nothing_is_taken(files: dict[str, str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    require_own_folder(str(tmp_path))
    with run_lock(str(tmp_path)):
        pass
    require_own_folder(tmp_path / "absent")
