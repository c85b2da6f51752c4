"""Run the steps of a study as jobs of a Slurm array, through submitit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frl.errors import ConfigError, TrainingError
from frl.study.perform import run_step
from frl.study.steps import Step


@dataclass(frozen=True)
class Slurm:
    """Runs steps on a cluster.

    Attributes:
        jobs: how many at once.
        options: of the jobs, as submitit calls them: ``timeout_min``, ``cpus_per_task``, ``slurm_partition``, ...
    """

    jobs: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, steps: Sequence[Step], out: Path, tell: Callable[[Step, int], None]) -> None:
        """Submit them as one array and wait for all; see ``Launcher``.

        Raises:
            ConfigError: if submitit is not installed, or there is no Slurm here.
        """
        try:
            import submitit
        except ImportError as error:
            raise ConfigError("--on slurm", f"needs submitit ({error})", "pip install submitit") from error
        if submitit.SlurmExecutor.affinity() <= 0:
            raise ConfigError("--on slurm", "there is no srun here", "Start it on a login node, or use --on local.")
        executor = submitit.AutoExecutor(folder=out / "jobs" / "%j", cluster="slurm")
        executor.update_parameters(name="frl-study", slurm_array_parallelism=self.jobs, **self.options)
        jobs = executor.map_array(run_step, steps, [out.absolute()] * len(steps))
        for step, job in zip(steps, jobs, strict=True):
            try:
                tell(step, job.result())
            except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
                cause = f"did not end ({error})"
                raise TrainingError(f"job {job.job_id}", cause, "The same command goes on.") from error
