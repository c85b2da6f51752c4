"""The Slurm script on a machine without Slurm: stand-ins for srun and scontrol write down what they are asked."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "pretrain_slurm.sh"
SRUN = """#!/usr/bin/env bash
echo "$@" > "$LOG/srun.asked"
trap 'echo saved > "$LOG/saved"; exit 1' TERM
if [ -n "${QUICK:-}" ]; then exit "$QUICK"; fi
for _ in $(seq 300); do sleep 0.1; done
"""
SCONTROL = """#!/usr/bin/env bash
if [ "$1" = show ]; then printf 'node1\\nnode2\\n'; else echo "$@" > "$LOG/scontrol.asked"; fi
"""


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_SUBMIT_DIR": "/repo", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "7", "SLURM_NNODES": "2"}
    path = f"{tmp_path}:{os.environ['PATH']}"
    return {**os.environ, **slurm, "SLURM_GPUS_ON_NODE": "8", "PATH": path, "LOG": str(tmp_path)}


@pytest.mark.parametrize("asked", [signal.SIGUSR1, signal.SIGTERM])
def test_asked_to_leave_it_saves_and_queues_again(environment, tmp_path, asked):
    process = subprocess.Popen(["bash", SCRIPT, "--data", "faces.beton", "--out", "runs/x"], env=environment)
    deadline = time.monotonic() + 20
    while not (tmp_path / "srun.asked").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)  # the stand-in sets its trap
    process.send_signal(asked)
    assert process.wait(20) == 0
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "scontrol.asked").read_text() == "requeue 7\n"


@pytest.mark.parametrize("status", [0, 3])
def test_an_end_of_its_own_is_passed_on_and_not_queued_again(environment, tmp_path, status):
    run = subprocess.run(["bash", SCRIPT, "cpu", "--out", "a b"], env={**environment, "QUICK": str(status)}, timeout=20)
    assert run.returncode == status
    assert not (tmp_path / "scontrol.asked").exists()
    command = (tmp_path / "srun.asked").read_text()
    assert "--nnodes 2 --nproc-per-node 8" in command and "--rdzv-endpoint node1:20007" in command
    assert command.endswith("--module frl.cli pretrain cpu --out a b\n")
