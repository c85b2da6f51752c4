"""Shards on other machines make the file of one: on this one, on a real Slurm of one node, on a local Ray."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pictures import encode
from PIL import Image
from processes import descendants, runs
from slurm_cluster import SlurmCluster, missing_programs, slurm_cluster

from frl.beton.manifest import Manifest
from frl.beton.verifier import verify
from frl.errors import ConfigError, SourceError, WriteError
from frl.runtime.clusters import Outcome
from writers.config import WriteConfig
from writers.curate import CurateConfig
from writers.machines import write as machines
from writers.to_beton import write

COUNT = 60


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "photographs"
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        noise = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        (folder / f"n{index % 4}").mkdir(parents=True, exist_ok=True)
        (folder / f"n{index % 4}" / f"{index:02}.jpg").write_bytes(encode(noise))
    (folder / "n0" / "copy.jpg").write_bytes((folder / "n0" / "00.jpg").read_bytes())
    (folder / "n0" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "n0" / "note.txt").write_text("nothing")
    return folder


@pytest.fixture(scope="module")
def alone(photographs: Path) -> tuple[str, str]:
    """The content hash of one machine's file, and what its summary says, but for sizes and times."""
    out = photographs.parent / "alone.beton"
    summary = write(WriteConfig(sources=(str(photographs),), out=out, workers=1))
    return content(out), facts(summary, out)


def content(path: Path) -> str:
    manifest = Manifest.load(path)
    assert manifest is not None and manifest.content_sha256
    return manifest.content_sha256


def facts(summary: object, out: Path) -> str:
    """Without the line that has the size of the file, and those that have times."""
    lines = str(summary).replace(str(out), "OUT").splitlines()
    return "\n".join([lines[0].rpartition(", ")[0], *(line for line in lines[1:] if "images/s" not in line)])


def config(photographs: Path, out: Path, **options: object) -> WriteConfig:
    values = {"sources": (str(photographs),), "out": out, "workers": 1, "on": "local", "shards": 3} | options
    return WriteConfig(**values)  # type: ignore[arg-type]


def test_shards_of_this_machine_make_the_file_of_one(photographs, alone, tmp_path) -> None:
    out = tmp_path / "all.beton"
    summary = write(config(photographs, out))
    assert (content(out), facts(summary, out)) == alone
    assert verify(out, deep=True).fault_count == 0
    assert {path.name.removeprefix("all.beton") for path in tmp_path.iterdir()} == {
        *("", ".json", ".samples.tsv", ".rejects.tsv", ".md", ".png")
    }


def test_a_lost_worker_is_replaced_and_goes_on(photographs, alone, tmp_path, monkeypatch, capsys) -> None:
    """The process of a shard is killed, with what is below it, as by a machine that fails."""
    out, plain, killed = tmp_path / "all.beton", machines.Local.submit, []

    def submit(self, task):
        process, path = job = plain(self, task)
        if not killed:
            killed.append(task.shard.number)
            while not descendants(process.pid):
                time.sleep(0.01)
            process.kill()
        return job

    monkeypatch.setattr(machines.Local, "submit", submit)
    write(config(photographs, out))
    assert killed and content(out) == alone[0]
    told = capsys.readouterr().err
    assert re.search(r"ended with status -9; its log: .*shard-.*\.log; another worker goes on", told)


def test_a_shard_that_always_dies_is_given_up(photographs, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(machines.Local, "outcome", lambda self, job: Outcome(lost="its machine burns"))
    with pytest.raises(WriteError, match=r"shard \d/3: its worker was lost 3 times \(its machine burns\)"):
        write(config(photographs, tmp_path / "all.beton"))
    assert not (tmp_path / "all.beton").exists()


def test_what_is_wrong_with_a_shard_is_said_as_on_one_machine(photographs, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no image found"):
        write(config(tmp_path / "empty", tmp_path / "all.beton"))
    with pytest.raises(WriteError, match="--max-rejects: 0"):
        write(config(photographs, tmp_path / "all.beton", max_rejects=0))
    assert not (tmp_path / "all.beton").exists()


def test_the_limit_of_rejects_is_that_of_all_shards(photographs, tmp_path) -> None:
    """Each shard has fewer than are allowed, all together more; with a higher limit the same command goes on."""
    folder, out = tmp_path / "some", tmp_path / "all.beton"
    folder.mkdir()
    for index, path in enumerate(sorted((photographs / "n1").iterdir())[:8]):
        (folder / path.name).write_bytes(path.read_bytes() if index % 2 else b"\xff\xd8\xff")
    with pytest.raises(WriteError, match=r"shard \d/3: .*those done before: 4, --max-rejects: 3 \(why: .*rejects.tsv"):
        write(config(folder, out, max_rejects=3))
    assert not out.exists()
    assert write(config(folder, out, max_rejects=4)).rejected == 4


def test_what_is_told_of_the_data_is_told_once_for_all_shards(photographs, tmp_path) -> None:
    rows = [{"path": str(path), "age": 3} for path in sorted((photographs / "n1").iterdir())[:4]]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "list.csv").write_text("path,age,mood\n" + f"{rows[0]['path']},3,glad\n")
    sources = tuple(f"list:{tmp_path}/list.{kind}" for kind in ("csv", "jsonl")) + (f"folder:{photographs}/n2",)
    told: dict[str, list[str]] = {"local": [], "": []}
    for on, lines in told.items():
        options = {"on": on or None, "shards": 2 if on else None, "targets": ("mood",)}
        write(config(photographs, tmp_path / f"{on}.beton", sources=sources, **options), tell=lines.extend)
    assert told["local"] == told[""] and len(told[""]) == 3
    for line, part in zip(told[""], ("not used: the columns age", "age (4) not read", "central square"), strict=True):
        assert part in line


def test_shards_that_another_command_has_begun_are_refused(photographs, tmp_path) -> None:
    folder = tmp_path / "all.beton.shards"
    folder.mkdir()
    machines._require_same_work(folder, config(photographs, tmp_path / "all.beton"))
    machines._require_same_work(folder, config(photographs, tmp_path / "all.beton", workers=2, max_rejects=5))
    with pytest.raises(ConfigError, match=r"was begun with seed = 0, shards = 3.*delete"):
        write(config(photographs, tmp_path / "all.beton", shards=2, seed=1))
    (tmp_path / "all.beton.shards" / "command.json").unlink()
    (tmp_path / "all.beton.shards" / "shard-00001.beton").touch()
    with pytest.raises(ConfigError, match=r"holds files that are not of this command \(shard-00001.beton\)"):
        write(config(photographs, tmp_path / "all.beton"))


def test_what_the_user_has_put_into_the_folder_of_the_shards_stays(photographs, tmp_path, monkeypatch) -> None:
    """What was there before is refused; what came later stays, with the folder."""
    out, folder = tmp_path / "all.beton", tmp_path / "all.beton.shards"
    folder.write_text("mine")
    with pytest.raises(ConfigError, match=r"all.beton.shards is a file, where a folder is wanted"):
        write(config(photographs, out))
    assert folder.read_text() == "mine"
    folder.unlink()
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds files that are not of this command \(notes.txt\)"):
        write(config(photographs, out))
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    plain = machines.Local.submit

    def submit(self, task):
        (folder / "notes.txt").write_text("mine")
        return plain(self, task)

    monkeypatch.setattr(machines.Local, "submit", submit)
    with pytest.raises(SourceError, match="no image found"):
        (tmp_path / "empty").mkdir()
        write(config(tmp_path / "empty", out))
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    write(config(photographs, out))
    assert out.exists() and [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_note_of_the_command_that_a_kill_has_torn_is_written_anew(photographs, tmp_path) -> None:
    folder = tmp_path / "all.beton.shards"
    folder.mkdir()
    (folder / "command.json").write_text('{"sources": ["pho')
    machines._require_same_work(folder, config(photographs, tmp_path / "all.beton"))
    with pytest.raises(ConfigError, match="was begun with seed = 0"):
        machines._require_same_work(folder, config(photographs, tmp_path / "all.beton", seed=1))


HOLD = """
import sys, time
from pathlib import Path
from frl.beton.partial import PartialFile
shard = Path(sys.argv[1])
held = PartialFile(shard)
print("held", flush=True)
while not shard.with_suffix(".task").exists():
    time.sleep(0.02)
time.sleep(2)
"""


def test_a_shard_waits_for_what_a_killed_command_has_left_writing_it(photographs, alone, tmp_path) -> None:
    out = tmp_path / "all.beton"
    shard = Path(f"{out}.shards") / "shard-00001.beton"
    shard.parent.mkdir()
    machines._require_same_work(shard.parent, config(photographs, out))
    with subprocess.Popen([sys.executable, "-c", HOLD, shard], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        write(config(photographs, out))
    assert content(out) == alone[0]


def test_a_killed_command_leaves_no_process_and_goes_on(photographs, alone, tmp_path) -> None:
    out = tmp_path / "all.beton"
    command = ["write", str(photographs), "--out", str(out), "--on", "local", "--shards", "3", "--workers", "1"]
    process = subprocess.Popen([sys.executable, "-m", "frl.cli", *command], stderr=subprocess.DEVNULL)
    while not list(Path(f"{out}.shards").glob("*.task")):
        time.sleep(0.02)
        assert process.poll() is None
    below = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 200
    while any(map(runs, below)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    write(config(photographs, out))
    assert content(out) == alone[0]


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"shards": None}, "goes with --on"),
        ({"shards": 0}, "shards"),
        ({"shard": "1/2"}, "is what --on divides"),
        ({"dry_run": True}, "Leave --on out"),
        ({"samples": 3}, "Use --limit, or write without --on"),
        ({"curate": CurateConfig(dedupe="near")}, "Use exact, .* or write without --on"),
        ({"on_options": ("partition=cpu",)}, "is for Slurm"),
        ({"on": "slurm", "on_options": ("cpu",)}, "NAME=VALUE"),
        ({"on": "slurm", "on_options": ("time=1", "time=2")}, r"time is given twice \(1, 2\)"),
        ({"on": "slurm", "on_options": ("nosuch=1",)}, "--on slurm: cannot be used"),
    ],
)
def test_options_that_contradict_each_other_are_refused(photographs, tmp_path, options, cause) -> None:
    if options.get("on") == "slurm" and "nosuch" in str(options):
        pytest.importorskip("submitit")
    with pytest.raises(ConfigError, match=cause):
        write(config(photographs, tmp_path / "all.beton", **options))
    assert not (tmp_path / "all.beton").exists()


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    pytest.importorskip("submitit")
    if missing_programs():
        pytest.skip(f"Slurm is not installed ({', '.join(missing_programs())})")
    with slurm_cluster() as running:
        yield running


def jobs(cluster: SlurmCluster, state: str) -> list[str]:
    return cluster.run("squeue", "--noheader", "--states", state, "--format", "%i").split()


@pytest.mark.timeout(400)
def test_jobs_of_slurm_make_the_file_of_one_machine(cluster, photographs, alone, tmp_path) -> None:
    """One job is cancelled behind the command's back, another is queued again by Slurm while it runs."""
    out = tmp_path / "all.beton"
    command = ["write", str(photographs), "--out", str(out), "--on", "slurm", "--shards", "3", "--workers", "1"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "frl.cli", *command, "--on-options", "time=60"],
            env=cluster.environment,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: len(jobs(cluster, "RUNNING")) == 3, process, tmp_path / "log")
        cancelled, again, _ = jobs(cluster, "RUNNING")
        cluster.run("scancel", "--signal=KILL", "--full", cancelled)
        cluster.run("scontrol", "requeue", again)
        assert process.wait(300) == 0, (tmp_path / "log").read_text() + cluster.logs()
    finally:
        process.kill()
        cluster.cancel_all()
    said = (tmp_path / "log").read_text()
    assert content(out) == alone[0] and f"job {cancelled}" in said, said


@pytest.mark.timeout(400)
def test_a_stopped_command_cancels_its_jobs(cluster, photographs, tmp_path) -> None:
    out = tmp_path / "all.beton"
    command = ["write", str(photographs), "--out", str(out), "--on", "slurm", "--shards", "2", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "frl.cli", *command], env=cluster.environment, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: bool(jobs(cluster, "RUNNING")), process, tmp_path / "log")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 143 and "the file is not there" in said and not out.exists()
    wait_for(lambda: not cluster.run("squeue", "--noheader"), None, tmp_path / "log")


def wait_for(condition, process, log: Path, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        said = log.read_text() if log.exists() else ""
        assert time.monotonic() < deadline and (process is None or process.poll() is None), said
        time.sleep(0.1)


@pytest.mark.timeout(300)
def test_tasks_of_ray_make_the_file_of_one_machine(photographs, alone, tmp_path, monkeypatch, capsys) -> None:
    """A local cluster; the worker of the first task dies."""
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    try:
        from frl.runtime.clusters import Ray

        plain, killed = Ray.submit, []

        def submit(self, task):
            if not killed:
                killed.append(task)
                return ray.remote(num_cpus=1, max_retries=0)(_die).remote()
            return plain(self, task)

        monkeypatch.setattr(Ray, "submit", submit)
        out = tmp_path / "all.beton"
        write(config(photographs, out, on="ray", shards=2))
    finally:
        ray.shutdown()
    assert killed and content(out) == alone[0]
    told = capsys.readouterr().err
    assert "Ray says" in told and "its log: in /tmp/ray/session_latest/logs" in told


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
