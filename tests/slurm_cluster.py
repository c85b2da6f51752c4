"""A real Slurm for tests: munged, slurmctld and slurmd of this user, one node, on the loopback, in a folder of its own.

Debian: ``apt-get install slurm-wlm munge``. Nothing outside the folder is read or written, and the daemons run in the
foreground as children of the test, so that none outlives it.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "squeue")
CORES = 4  # that the node claims; Slurm binds nobody to them here
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
# cred_expire: a job that queues again is held back for as long as a credential lasts, two minutes by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
SwitchType=switch/none
# As trackers of real clusters do, this one signals every process below a task, not only the task.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2
JobRequeue=1
ReturnToService=2
# A slow machine may pass the time limit before anyone has looked: only the warning matters to the tests.
OverTimeLimit=30
KillWait=30
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 NodeHostname={host} CPUs={cores} RealMemory=512 Gres=gpu:2 State=UNKNOWN
PartitionName=common Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=300
PartitionName=urgent Nodes={host} MaxTime=INFINITE PriorityTier=2
"""


def missing_programs() -> list[str]:
    """What this machine lacks for a cluster."""
    return [name for name in PROGRAMS if _program(name) is None]


@contextmanager
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A running cluster; all its jobs and daemons end with the context."""
    # A socket's path must be short, which pytest's folders are not.
    with tempfile.TemporaryDirectory(prefix="slurm") as folder, ExitStack() as daemons:
        Path(folder).chmod(0o711)  # munged wants everybody to reach its socket
        cluster = SlurmCluster(Path(folder))
        cluster.configure()
        daemons.callback(cluster.kill_what_is_left)
        for command in cluster.daemons():
            daemons.enter_context(_daemon(command, cluster.environment, cluster.folder / "daemons.log"))
        cluster.wait_until_ready()
        try:
            yield cluster
        finally:
            cluster.cancel_all()


class SlurmCluster:
    """The commands of a cluster whose files lie in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def configure(self) -> None:
        """Write the configuration and the key."""
        controller_port, node_port = _two_free_ports()
        text = CONFIGURATION.format(
            host=self.host,
            folder=self.folder,
            user=getpass.getuser(),
            cores=CORES,
            controller_port=controller_port,
            node_port=node_port,
        )
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-1]\n")
        for name in ("gpu0", "gpu1"):  # Slurm only wants to see that they are there
            (self.folder / name).touch()
        (self.folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.folder / "munge.key").chmod(0o600)
        for name in ("state", "spool"):
            (self.folder / name).mkdir(mode=0o755)

    def daemons(self) -> list[list[str | None]]:
        """The commands that make the cluster, each in the foreground."""
        at = self.folder
        munged = [_program("munged"), "--foreground", f"--socket={at}/munge.socket", f"--key-file={at}/munge.key"]
        munged += [f"--pid-file={at}/munge.pid", f"--seed-file={at}/munge.seed", f"--log-file={at}/munge.log"]
        return [munged, [_program("slurmctld"), "-D", "-i", "-f", f"{at}/slurm.conf"],
                [_program("slurmd"), "-D", "-N", self.host, "-f", f"{at}/slurm.conf"]]  # fmt: skip

    def run(self, *command: str | Path, environment: Mapping[str, str] | None = None, check: bool = True) -> str:
        """What a command of Slurm prints; ``environment`` is added to it."""
        total = self.environment | dict(environment or {})
        run = subprocess.run(command, env=total, capture_output=True, text=True, timeout=300)
        assert not check or run.returncode == 0, f"{command}: {run.stdout}{run.stderr}{self.logs()}"
        return run.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job: JobState, Restarts, ..."""
        words = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def cancel_all(self) -> None:
        """End every job, and wait for that."""
        self.run("scancel", "--signal=KILL", "--full", "--user", getpass.getuser(), check=False)
        self.run("scancel", "--user", getpass.getuser(), check=False)
        deadline = time.monotonic() + 200
        while self.run("squeue", "--noheader", check=False) and time.monotonic() < deadline:
            time.sleep(0.2)

    def kill_what_is_left(self) -> None:
        """Processes of jobs are no children of the daemons; they know the cluster by its configuration."""
        mark = f"SLURM_CONF={self.folder}/slurm.conf".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended, or belongs to somebody else
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)

    def wait_until_ready(self) -> None:
        """Until the node takes jobs."""
        deadline = time.monotonic() + 200
        while "idle" not in self.run("sinfo", "--noheader", "--format=%t", check=False).split():
            assert time.monotonic() < deadline, f"the cluster did not start{self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        """What the daemons wrote."""
        return "".join(f"\n--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.folder.glob("*.log")))


@contextmanager
def _daemon(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with open(log, "a") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _two_free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
