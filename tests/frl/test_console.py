"""What is printed never decides what becomes of the work; errors are told once, and say whose fault they are."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import encode, picture

from frl import console
from frl.beton import BetonWriter
from frl.cli import main
from frl.errors import ConfigError, InternalError, MachineError, explained


def sqlite_full() -> sqlite3.OperationalError:
    """What SQLite raises where its folder for temporary files is full."""
    with sqlite3.connect(":memory:") as database:
        database.execute("PRAGMA max_page_count = 2")
        database.execute("CREATE TABLE t (x)")
        try:
            database.execute("INSERT INTO t VALUES (zeroblob(100000))")
        except sqlite3.OperationalError as error:
            return error
    raise AssertionError("there was room")


FRL = [sys.executable, "-c", "import sys; from frl.cli import main; sys.exit(main())"]


@pytest.fixture
def beton(tmp_path: Path) -> Path:
    path = tmp_path / "faces.beton"
    with BetonWriter(path, capacity=1, labels=["王"]) as file:
        file.append(encode(picture(32, 32)), 32, 32, 0, "王/1.jpg")
    return path


def into_a_closed_pipe(command: list[str], *, stderr_too: bool = False) -> subprocess.CompletedProcess[bytes]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        errors = writer if stderr_too else subprocess.PIPE
        return subprocess.run(command, stdout=writer, stderr=errors, timeout=300, check=False)
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    "command", [["--help"], ["--version"], ["doctor"], ["info", "BETON"], ["verify", "BETON"], ["write", "--help"]]
)
def test_a_pipe_that_nobody_reads_is_no_failure(command: list[str], beton: Path) -> None:
    ended = into_a_closed_pipe([*FRL, *(str(beton) if word == "BETON" else word for word in command)])
    complaints = [line for line in ended.stderr.decode().splitlines() if not line.startswith("Next: ")]
    assert ended.returncode == 0 and not complaints, complaints


def test_what_comes_next_is_said_last_in_a_file_that_takes_both(beton: Path, tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as log:
        subprocess.run([*FRL, "info", str(beton)], stdout=log, stderr=log, timeout=300, check=True)
    *before, last = (tmp_path / "log").read_text().splitlines()
    assert last == f"Next: frl verify {beton} --deep" and any("1" in line for line in before)


def test_the_file_is_written_whole_though_nobody_listens(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(encode(picture(32, 32)))
    out = tmp_path / "faces.beton"
    command = [f"folder:{tmp_path}", "--out", str(out), "--workers", "1"]
    root = Path(__file__).parents[2]
    for number, program in enumerate([[*FRL, "write"], [sys.executable, str(root / "writers" / "to_beton.py")]]):
        ended = into_a_closed_pipe([*program, *command, "--overwrite"], stderr_too=bool(number))
        assert ended.returncode == 0 and out.exists()
        out.unlink()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_names_that_the_terminal_cannot_show_are_escaped(beton: Path, tmp_path: Path, encoding: str) -> None:
    other = tmp_path / "王.beton"
    os.link(beton, other)
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    ended = subprocess.run([*FRL, "info", str(other)], capture_output=True, env=environment, timeout=300, check=False)
    assert ended.returncode == 0 and b"\\u738b.beton" in ended.stdout, ended.stderr.decode()


def test_bytes_of_a_name_that_are_no_text_are_escaped(beton: Path, tmp_path: Path) -> None:
    other = os.fsencode(tmp_path) + b"/\xff.beton"
    os.link(beton, other)
    ended = subprocess.run([*FRL, "info", other], capture_output=True, timeout=300, check=False)
    assert ended.returncode == 0 and b"\\xff.beton" in ended.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_the_output_is_told_of(beton: Path) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [*FRL, "info", str(beton)], stdout=full, stderr=subprocess.PIPE, timeout=300, check=False
        )
    assert ended.returncode == 0
    assert b"could not be written (No space left on device)" in ended.stderr and b"Traceback" not in ended.stderr


def test_no_prefix_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "nonsense"]) == 1
    assert capsys.readouterr().err.count("frl bench") == 1

    def fail() -> None:
        raise ConfigError("frl merge", "no shard was given", "Give some.")

    assert console.run("frl merge", fail) == 1
    assert capsys.readouterr().err == "frl merge: no shard was given. Give some.\n"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x"),
            MachineError,
            "No space left.*/data/x.*Free space",
        ),
        (OSError(errno.EMFILE, "Too many open files"), MachineError, "ulimit -n"),
        (OSError(errno.EIO, "Input/output error"), MachineError, "dmesg"),
        (OSError("the mount has gone"), MachineError, "the mount has gone"),
        (sqlite_full(), MachineError, "temporary database.*SQLITE_TMPDIR"),
        (MemoryError(), MachineError, "memory"),
        (KeyError("width"), InternalError, "(?s)KeyError: 'width'.*a fault of frl.*please report.*Traceback"),
        (AttributeError("no such thing"), InternalError, "a fault of frl"),
    ],
)
def test_whose_fault_it_is(
    error: Exception, kind: type[Exception], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert console.run("frl info", fail) == 1
    said = capsys.readouterr().err
    assert "frl verify" not in said
    with pytest.raises(kind, match=words):
        raise explained(error, "frl info")


def test_an_explained_error_crosses_processes_and_keeps_its_words() -> None:
    import pickle

    try:
        raise KeyError("width")
    except KeyError as error:
        found = explained(error, "preparing it")
    copy = pickle.loads(pickle.dumps(found.within("faces/1.jpg")))
    assert isinstance(copy, InternalError) and "faces/1.jpg: preparing it" in str(copy) and "Traceback" in str(copy)
