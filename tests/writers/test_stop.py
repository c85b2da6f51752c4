"""Ctrl-C and SIGTERM: the first is a request that keeps what is there, the second ends the command at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pictures import encode, picture
from processes import assert_gone, descendants
from source_layouts import pack, plant

from frl.beton import verify
from writers.stop import Stopped, stop_requests

COMMAND = """
import sys
from frl.beton import writer
from frl.cli import main
writer.COMMIT_SECONDS = 0.2  # what is done is on the disk, where we look for it, soon
sys.exit(main(["write", *sys.argv[1:]]))
"""
HANGING = """
import sys, time
from writers import to_beton
to_beton.choose = lambda *_: time.sleep(600)
sys.exit(to_beton.main())
"""
IMAGES = 400


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that take a while each: PNGs much larger than their samples."""
    root = tmp_path_factory.mktemp("faces")
    data = encode(picture(700, 700), "PNG", compress_level=1)
    plant(root, {"Ann/0.png": data})
    for number in range(1, IMAGES):
        os.link(root / "Ann" / "0.png", root / "Ann" / f"{number}.png")
    return root


def start(source: Path, out: Path, kind: str = "vggface2", program: str = COMMAND) -> subprocess.Popen[str]:
    """The command as the leader of a group, which a terminal would signal as a whole."""
    options = ["--out", str(out), "--workers", "1", "--dedupe", "none"]
    return subprocess.Popen(
        [sys.executable, "-c", program, f"{kind}:{source}", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for_samples(process: subprocess.Popen[str], out: Path) -> None:
    partial = out.with_name(f".{out.name}.samples.tsv.partial")
    while not (partial.exists() and partial.stat().st_size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_keeps_what_is_done_and_the_same_command_goes_on(
    faces: Path, tmp_path: Path, number: int, status: int
) -> None:
    out = tmp_path / "faces.beton"
    with start(faces, out) as process:
        wait_for_samples(process, out)
        below = descendants(process.pid)
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=300)
    assert process.returncode == status, said
    assert "Traceback" not in said and "The same command goes on after" in said and "the file is not there" in said
    assert not out.exists() and out.with_name(f".{out.name}.partial").exists()
    assert_gone(below)
    with start(faces, out) as process:
        printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "going on after the" in said and f"read {IMAGES} = written {IMAGES}" in printed
    assert verify(out, deep=True).ok


def test_a_second_one_ends_it_at_once(tmp_path: Path) -> None:
    """Even where nobody looks at the request: the listing does not come back."""
    (tmp_path / "faces.csv").write_text("path\n")
    with start(tmp_path / "faces.csv", tmp_path / "faces.beton", kind="list", program=HANGING) as process:
        while not (below := descendants(process.pid)):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() + process.stderr.readline() == "\nstopping; once more to end at once\n"
        assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130 and said == ""
    assert_gone(below)


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6, 1.2])
def test_whenever_it_comes_no_process_prints_a_traceback(faces: Path, tmp_path: Path, delay: float) -> None:
    """Modules are imported, workers are forked, images prepared: the group is signalled in the midst of it."""
    out = tmp_path / "faces.beton"
    with start(faces, out) as process:
        while not descendants(process.pid):  # before, it is the interpreter that has the word
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in said, said


def test_a_stream_has_nothing_to_keep_and_says_so(faces: Path, tmp_path: Path) -> None:
    archive = pack(tmp_path / "faces.tar.gz", {f"Ann/{i}.png": (faces / "Ann/0.png").read_bytes() for i in range(60)})
    out = tmp_path / "out" / "faces.beton"
    out.parent.mkdir()
    with start(archive, out) as process:
        while not list(out.parent.glob(".*.partial")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130 and "begins anew" in said
    assert list(out.parent.iterdir()) == []


def test_a_repeated_sigterm_is_the_same_request() -> None:
    with stop_requests() as stop:
        stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped) as stopped:
            stop.check()
    assert stopped.value.status == 143
