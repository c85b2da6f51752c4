"""The scripts for Slurm, on a real Slurm: the daemons of Debian's ``slurm-wlm`` and ``munge`` make a cluster of one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pictures import encode
from PIL import Image
from slurm_cluster import SlurmCluster, missing_programs, slurm_cluster

from frl.beton import BetonWriter
from frl.beton.manifest import Manifest
from frl.runtime import checkpoint

SCRIPTS = Path(__file__).parents[1] / "scripts"
# In place of .venv/bin/python: it ends with $ENDS, or works until it is asked to stop, and once more to the end.
PYTHON = """#!/usr/bin/env bash
echo "$@" >> "$NOTES/asked"
[ -z "${ENDS:-}" ] || exit "$ENDS"
[ "${SLURM_RESTART_COUNT:-0}" = 0 ] || exit 0
trap 'echo saved >> "$NOTES/saved"; exit 143' TERM
echo works > "$NOTES/works"
while :; do sleep 0.1; done
"""
pytestmark = [
    pytest.mark.skipif(bool(missing_programs()), reason=f"Slurm is not installed ({', '.join(missing_programs())})"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with slurm_cluster() as running:
        yield running


@pytest.fixture
def environment(tmp_path: Path, cluster: SlurmCluster) -> Iterator[dict[str, str]]:
    """Of a job whose ``.venv/bin/python`` is the stand-in."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").write_text(PYTHON)
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    yield {"FRL_ROOT": str(tmp_path), "NOTES": str(tmp_path)}
    cluster.cancel_all()


def wait_for(condition: Callable[[], bool], cluster: SlurmCluster, log: Path, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        written = log.read_text(errors="replace") if log.exists() else "nothing"
        assert time.monotonic() < deadline, f"waited in vain; the job wrote: {written}{cluster.logs()}"
        time.sleep(0.1)


class Job:
    """A job of ``scripts/pretrain_slurm.sh`` on one machine with two GPUs."""

    def __init__(self, cluster: SlurmCluster, folder: Path, environment: dict[str, str], *arguments: str | Path):
        self.cluster = cluster
        self.log = folder / "job.log"
        options = ["--gpus-per-node=2", "--cpus-per-task=2", f"--output={self.log}", f"--chdir={folder}"]
        script = SCRIPTS / "pretrain_slurm.sh"
        self.number = cluster.run("sbatch", "--parsable", *options, script, *arguments, environment=environment)

    def wait(self, condition: Callable[[], bool], seconds: float = 300) -> None:
        wait_for(condition, self.cluster, self.log, seconds)

    def wait_for_state(self, state: str) -> None:
        self.wait(lambda: self.facts["JobState"] == state)

    @property
    def facts(self) -> dict[str, str]:
        return self.cluster.job(self.number)

    @property
    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.mark.parametrize("status", [0, 3])
def test_an_end_of_its_own_is_passed_on_and_not_queued_again(cluster, environment, tmp_path, status):
    job = Job(cluster, tmp_path, environment | {"ENDS": str(status)}, "cpu", "--out", "a b")
    job.wait_for_state("FAILED" if status else "COMPLETED")
    assert job.facts["ExitCode"] == f"{status}:0" and job.facts["Restarts"] == "0"
    command = (tmp_path / "asked").read_text()
    port = 20000 + int(job.number)
    assert "--nnodes 1 --nproc-per-node 2" in command and f"--rdzv-endpoint {cluster.host}:{port}" in command
    assert "--shutdown-timeout 600" in command  # torchrun's own are 30 s, which a few slow steps take
    assert command.endswith("--module frl.cli pretrain cpu --out a b\n")


def test_preempted_it_saves_and_goes_on_when_the_machine_is_free(cluster, environment, tmp_path):
    """Slurm signals the processes, and not the script."""
    job = Job(cluster, tmp_path, environment)
    job.wait((tmp_path / "works").exists)
    cluster.run("sbatch", "--partition=urgent", "--gpus-per-node=2", "--output=/dev/null", "--wrap", "sleep 1")
    job.wait_for_state("COMPLETED")
    assert (tmp_path / "saved").read_text() == "saved\n" and "asked to leave" not in job.text
    assert job.facts["Restarts"] == "1"


def test_a_cancelled_job_does_not_come_back(cluster, environment, tmp_path):
    job = Job(cluster, tmp_path, environment)
    job.wait((tmp_path / "works").exists)
    cluster.run("scancel", job.number)
    job.wait_for_state("CANCELLED")
    assert job.facts["Restarts"] == "0" and "queueing again" not in job.text
    assert (tmp_path / "saved").exists()


@pytest.fixture(scope="module")
def beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "faces.beton"
    rng = np.random.default_rng(0)
    with BetonWriter(path, capacity=24, page_size=1 << 21) as writer:
        for index in range(24):
            noise = Image.fromarray(rng.integers(0, 256, (36, 36, 3), dtype=np.uint8))
            writer.append(encode(noise), 36, 36, -1, f"{index}.jpg")
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the scripts take for the folder of frl: its ``.venv`` has this Python."""
    (tmp_path / "root" / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / "root" / ".venv" / "bin" / "python"
    python.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return tmp_path / "root"


def test_at_its_time_limit_a_run_saves_and_goes_on(cluster, beton, checkout, tmp_path):
    """Two ranks and their decoding processes; Slurm's own warning, which it sends up to half a minute late."""
    steps = ["--optim.batch-size", "4", "--optim.epochs", "100000", "--keep-checkpoints", "1000000"]
    steps += ["--checkpoint-every-steps", "1000000"]
    engine = ["--engine", "torch", "--workers", "1", "--device", "cpu", "--log-every-steps", "1"]
    environment = {"FRL_ROOT": str(checkout), "PYTHONPATH": str(SCRIPTS.parent)}
    job = Job(cluster, tmp_path, environment, "quickstart", "--data", beton, "--out", tmp_path / "run", *steps, *engine)
    job.wait((tmp_path / "run" / "metrics.jsonl").exists)
    cluster.run("scontrol", "update", f"JobId={job.number}", "TimeLimit=1")  # minute; the script wants five minutes
    job.wait(lambda: "queueing again" in job.text)
    (stopped,) = re.findall(r"stopped by \w+ after step (\d+)", job.text)
    job.wait(lambda: job.text.count("training from step") == 2)
    cluster.run("scancel", job.number)
    assert re.findall(r"training from step (\d+)", job.text) == ["0", stopped]
    assert checkpoint.load(checkpoint.path_of(tmp_path / "run" / "checkpoints", int(stopped)))["step"] == int(stopped)
    assert "Traceback" not in job.text
    job.wait_for_state("CANCELLED")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """More than a chunk of work for each shard."""
    (tmp_path / "photographs").mkdir()
    rng = np.random.default_rng(0)
    for index in range(60):
        noise = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        (tmp_path / "photographs" / f"{index:02d}.jpg").write_bytes(encode(noise))
    return tmp_path / "photographs"


def test_shards_written_by_an_array_make_the_file_of_one_machine(cluster, checkout, photographs, tmp_path):
    """One of its jobs queues again while it works, as after a preemption; the merge waits for it."""
    (checkout / "scripts").mkdir()
    script, out = shutil.copy(SCRIPTS / "write_slurm.sh", checkout / "scripts"), tmp_path / "all.beton"
    environment = {"PYTHONPATH": str(SCRIPTS.parent), "CPUS": "1"}
    said = cluster.run("bash", script, "3", out, f"folder:{photographs}", environment=environment)
    array, merge = re.fullmatch(r"jobs (\d+) \(shards 1 to 3\) and (\d+) \(merge\); .*", said).groups()
    log = tmp_path / "all.beton.shards" / "shard-1.log"
    wait_for(lambda: cluster.job(f"{array}_1")["JobState"] == "RUNNING", cluster, log)
    cluster.run("scontrol", "requeue", f"{array}_1")
    wait_for(lambda: cluster.job(merge)["JobState"] in ("COMPLETED", "FAILED"), cluster, log)
    assert cluster.job(merge)["JobState"] == "COMPLETED", (log.parent / "merge.log").read_text()
    assert cluster.job(f"{array}_1")["Restarts"] == "1"
    alone = tmp_path / "alone.beton"
    command = [sys.executable, "-m", "frl.cli", "write", f"folder:{photographs}", "--out", str(alone), "--workers", "1"]
    subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, timeout=300)
    assert Manifest.load(out).content_sha256 == Manifest.load(alone).content_sha256
