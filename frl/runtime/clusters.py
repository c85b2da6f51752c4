"""Clusters that run jobs for us: Slurm, or Ray. Neither is ours; here is only how each is asked."""

from __future__ import annotations

import getpass
import os
import pickle
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from frl.errors import ConfigError, first_line

JOBS = "jobs"
"""The folder of scripts, results and logs of Slurm's jobs, in that which is given for them."""

Task = TypeVar("Task", bound=Callable[[], Any])


class Outcome(NamedTuple):
    """How a job ended.

    Attributes:
        answer: what the task returned.
        lost: why there is no answer: the process or its machine is gone; None if there is one.
    """

    answer: Any = None
    lost: str | None = None


class Engine(Protocol):
    """Runs tasks elsewhere. A task is called there without arguments; it and its answer travel pickled.

    Attributes:
        at_once: tasks that may be submitted at a time; None: all, for the engine has a queue of its own.
    """

    @property
    def at_once(self) -> int | None: ...

    def submit(self, task: Any) -> Any:
        """Start a task, or queue it; returns the job.

        Raises:
            ConfigError: if the engine refuses it.
        """
        ...

    def outcome(self, job: Any) -> Outcome | None:
        """How a job ended, None as long as it has not."""
        ...

    def cancel(self, job: Any) -> None:
        """End a job; it may have ended already."""
        ...


@dataclass
class Jobs(Generic[Task]):
    """Tasks on their way through an engine.

    Attributes:
        engine: runs them.
        waiting: those not submitted yet; more may be added while others run.
        at_once: tasks that run at a time; None: as many as the engine takes.
        running: those submitted, with their jobs.
    """

    engine: Engine
    waiting: list[Task]
    at_once: int | None = None
    running: list[tuple[Task, Any]] = field(default_factory=list)

    def run(self, ended: Callable[[Task, Outcome], None], look: Callable[[], None]) -> None:
        """Until all are done. After an exception, such as one of the callbacks', what runs is cancelled.

        Args:
            ended: called with each task when its job ends.
            look: called between two looks at the jobs; takes the time that lies between them.
        """
        try:
            while self.waiting or self.running:
                self._start()
                self.running = [pair for pair in self.running if not self._has_ended(*pair, ended)]
                look()
        except BaseException:
            for _, job in self.running:
                self.engine.cancel(job)
            raise

    def _start(self) -> None:
        while self.waiting and (self.at_once is None or len(self.running) < self.at_once):
            task = self.waiting.pop(0)
            self.running.append((task, self.engine.submit(task)))

    def _has_ended(self, task: Task, job: Any, ended: Callable[[Task, Outcome], None]) -> bool:
        if (outcome := self.engine.outcome(job)) is None:
            return False
        ended(task, outcome)
        return True


class Slurm:
    """Jobs of Slurm, through submitit. Preempted ones are queued again by Slurm, those out of time by submitit.

    Args:
        name: of the jobs.
        folder: for scripts, results and logs.
        workers: cores of a job.
        options: of submitit's Slurm executor, over its own defaults.
    """

    at_once: int | None = None
    ASK_S = 2.0
    """Seconds between two questions to the controller."""
    GONE = 3
    """Questions in a row to which a job must be unknown before it counts as lost: a queue is not read in an instant."""

    def __init__(self, name: str, folder: Path, workers: int, options: Mapping[str, str]) -> None:
        try:
            import submitit
        except ImportError as error:
            raise ConfigError("--on slurm", "submitit is not installed", "Run pip install submitit.") from error
        self._asked = 0.0
        self._missing: dict[str, int] = {}  # of each job, to how many questions in a row it was unknown
        try:
            self._executor = submitit.SlurmExecutor(folder / JOBS, max_num_timeout=1000)
            self._executor.update_parameters(job_name=name, time=24 * 60, cpus_per_task=max(1, workers))
            self._executor.update_parameters(**{option: _number(value) for option, value in options.items()})
        except (RuntimeError, TypeError, ValueError, FileNotFoundError, AssertionError) as error:
            cause = f"cannot be used ({' '.join(str(error).split())})"
            raise ConfigError("--on slurm", cause, "Run it where sbatch is; mend --on-options.") from error

    def submit(self, task: Callable[[], Any]) -> Any:
        """See ``Engine``."""
        try:
            job = self._executor.submit(task)
        except Exception as error:  # submitit's own, of what sbatch says
            cause = f"sbatch refuses the job ({' '.join(str(error).split())[-300:]})"
            raise ConfigError("--on slurm", cause, "Mend --on-options, or ask for less.") from error
        self._missing[job.job_id] = 0
        return job

    def outcome(self, job: Any) -> Outcome | None:
        """See ``Engine``. The queue is asked, for accounting (sacct) is not everywhere."""
        if job.paths.result_pickle.exists():
            kind, answer = pickle.loads(job.paths.result_pickle.read_bytes())
            if kind == "success":
                return Outcome(answer=answer)
            return Outcome(lost=f"{str(answer).splitlines()[-1]}; its log: {job.paths.stderr}")
        self._ask()
        if self._missing[job.job_id] < self.GONE:
            return None
        return Outcome(lost=f"job {job.job_id} has left the queue without a result; its log: {job.paths.stderr}")

    def _ask(self) -> None:
        """See which jobs are queued or run; every few seconds, whoever asks."""
        if time.monotonic() - self._asked < self.ASK_S:
            return
        self._asked = time.monotonic()
        command = ["squeue", "--noheader", "--user", getpass.getuser(), "--format", "%i"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return
        if done.returncode:  # the controller does not answer: nothing is known
            return
        now = set(done.stdout.split())
        self._missing = {job: 0 if job in now else count + 1 for job, count in self._missing.items()}

    def cancel(self, job: Any) -> None:
        """See ``Engine``."""
        subprocess.run(["scancel", job.job_id], capture_output=True, timeout=60, check=False)


class Ray:
    """Tasks of a Ray cluster: that of ``RAY_ADDRESS``, else one on this machine."""

    at_once: int | None = None

    def __init__(self, workers: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise ConfigError("--on ray", "ray is not installed", "Run pip install ray.") from error
        self._ray = ray
        try:
            if not ray.is_initialized():
                ray.init(address=os.environ.get("RAY_ADDRESS"), include_dashboard=False, log_to_driver=False)
        except Exception as error:
            raise ConfigError("--on ray", f"the cluster does not answer ({error})", "Check RAY_ADDRESS.") from error
        # Lost tasks are started again by us, who count them and say so.
        self._run = ray.remote(num_cpus=max(1, workers), max_retries=0)(_call)

    def submit(self, task: Callable[[], Any]) -> Any:
        """See ``Engine``."""
        return self._run.remote(pickle.dumps(task))

    def outcome(self, job: Any) -> Outcome | None:
        """See ``Engine``."""
        done, _ = self._ray.wait([job], timeout=0)
        if not done:
            return None
        try:
            return Outcome(answer=self._ray.get(job))
        except self._ray.exceptions.RayError as error:
            logs = "/tmp/ray/session_latest/logs, or in the --temp-dir of the Ray on the machine where it ran"
            return Outcome(lost=f"Ray says: {first_line(error)}; its log: in {logs}")

    def cancel(self, job: Any) -> None:
        """See ``Engine``."""
        self._ray.cancel(job, force=True)


def _call(task: bytes) -> Any:
    return pickle.loads(task)()


def _number(text: str) -> str | int:
    return int(text) if text.isdecimal() else text
