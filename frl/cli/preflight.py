"""What can be known of a run before anything of it is made: whether its files and its folder can be used."""

from __future__ import annotations

import importlib.util
import os
from contextlib import closing

from frl.cli.data import open_images
from frl.config import RunConfig
from frl.errors import ConfigError
from frl.runtime.lock import require_own_folder
from frl.runtime.staging import readable
from pipelines.loader import check_batch, make_order
from pipelines.sampling.beton_set import BetonSet


def check_files(config: RunConfig) -> None:
    """Open and validate every file that ``config`` names, and see whether steps and probes can be made of them.

    Nothing is made, copied or decoded. Every process of a run may call it before they meet.

    Raises:
        BetonError: naming the file that is missing or broken.
        ConfigError: if no step can be made of the data, or no figure of what probes are given, a package is missing, or
            the run's folder holds what is of no run.
    """
    if os.environ.get("RANK", "0") == "0":  # the other machines need not see the folder
        require_own_folder(config.out)
    if config.wandb is not None and importlib.util.find_spec("wandb") is None:
        raise ConfigError("--wandb", "wandb is not installed", "Run pip install wandb, or leave it out.")
    data = readable(config.data)
    with closing(BetonSet(data.data, open_images)) as betons:
        order = make_order(betons, data, config.seed)
        check_batch(betons, order, config.optim.batch_size, int(os.environ.get("WORLD_SIZE", 1)))
    if config.knn.data is not None:
        from frl.evaluate.knn import require_pairs  # all that judges, and OpenCV: only for runs that have a probe

        with closing(open_images(config.knn.data)) as probe:
            require_pairs(probe.labels[: config.knn.limit], f"--knn.data {config.knn.data}")
    if config.probe.tasks:
        from frl.cli.probes import questions

        questions(config.probe)
