"""``frl pretrain`` on several GPUs: it starts a process for each, through torchrun's launcher."""

from __future__ import annotations

import os
from collections.abc import Sequence

from frl.config import RunConfig, validate
from frl.errors import ConfigError

OPTION = "--processes"
SAVING_SECONDS = 600
"""For processes to save and stop when they are asked to; torchrun's own 30 end within a few slow steps."""


def count(given: Sequence[str], config: RunConfig) -> int:
    """How many processes this one starts; 1: none, it trains itself, as one of those that a launcher has started does.

    Args:
        given: the value of ``--processes``, or nothing: one for each GPU of this machine.
        config: of the run.

    Raises:
        ConfigError: if it is no number of processes, there are fewer GPUs, or a launcher has started another number.
    """
    launched = int(os.environ.get("WORLD_SIZE", 0))
    gpus = 0 if config.device == "cpu" else _gpus()
    if not given:
        return 1 if launched else max(1, gpus)
    if not given[0].isdecimal() or int(given[0]) < 1:
        raise ConfigError(OPTION, f"{given[0]!r} is no number of processes", "Give a whole number, or leave it out.")
    wanted = int(given[0])
    if launched:
        if wanted != launched:
            cause = f"{wanted} are wanted, and a launcher has started {launched}"
            raise ConfigError(OPTION, cause, "Leave one of the two out.")
        return 1
    if wanted > gpus and (gpus or config.device == "cuda"):
        raise ConfigError(OPTION, f"{wanted} processes for {gpus} GPUs", "Start fewer, or use --device cpu.")
    return wanted


def _gpus() -> int:
    import torch  # takes longer than all the rest of the command line

    return torch.cuda.device_count()


def launch(processes: int, config: RunConfig, arguments: Sequence[str]) -> int:
    """Start so many processes of the same command, and wait for them; see ``frl.runtime.launch``.

    Returns:
        The exit status.

    Raises:
        ConfigError: if the run cannot work, before anything is started.
    """
    from frl.runtime import launch as launcher  # brings torchrun with it

    validate(config)
    if config.optim.batch_size % processes:
        cause = f"{config.optim.batch_size} images cannot be shared equally by {processes} processes"
        raise ConfigError("--optim.batch-size", cause, f"Use a multiple of {processes}.")
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # what lies in this folder stands in for no installed package
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torchrun's default, of which it warns where it is not set
    options = ["--standalone", "--shutdown-timeout", str(SAVING_SECONDS), "--nproc-per-node", str(processes)]
    return launcher.main([*options, "--module", "frl.cli", "pretrain", *arguments])
