"""frl in Python: the commands as functions, with their options, their defaults and their errors."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from frl.beton import Beton
from frl.cli.data import open_images
from frl.config import AugmentConfig, DataConfig, EngineName
from frl.config.override import made, with_options
from frl.errors import ConfigError
from frl.network import Network, load_network
from frl.presets import preset as preset_of
from frl.runtime.distributed import pick_device
from pipelines.loader import MultiCropLoader, make_loader
from writers.in_place import InPlace

if TYPE_CHECKING:
    from writers.summary import Summary

__all__ = ["Network", "load", "loader", "measure", "open", "pretrain", "write"]

PathLike = str | os.PathLike[str]


def open(path: PathLike) -> Beton | InPlace:
    """A ``.beton``, or images where they are: ``len``, ``labels``, ``heights``, ``widths``, ``encoded(i)``,
    ``name(i)``; of a ``.beton`` also ``target(name, samples)``. A context manager.

    Raises:
        BetonError: if it is missing or broken.
        SourceError: if it is a folder or another source without a usable image.
    """
    return open_images(Path(path))


def loader(
    data: PathLike | Beton | InPlace | Sequence[PathLike],
    *,
    augment: AugmentConfig | str | None = None,
    batch_size: int = 256,
    seed: int = 0,
    device: str | torch.device = "auto",
    weights: Sequence[float] = (),
    order: Literal["auto", "random", "pages"] = "auto",
    augment_on: Literal["auto", "cpu", "gpu"] = "auto",
    engine: EngineName = "threads",
    workers: int = 0,
    prefetch: int = 3,
    on_broken: Literal["raise", "replace"] = "raise",
) -> MultiCropLoader:
    """Batches of crops: ``for batch in loader`` runs through an epoch, and each time through the next one;
    ``loader.epoch(e, start)`` through epoch e from a step on. Both give the same crops on every machine.

    Args:
        data: what ``frl pretrain --data`` takes, or several; an open ``.beton`` stands for its path.
        augment: what is done to make the crops; a string: as that preset does; None: the paper's.
        batch_size: images of a batch. Of an epoch the last images that fill none are left out.
        seed: of the order and of every crop.
        device: where the views are made; auto: the GPU if there is one.
        weights: share of each file in a batch; the other options, too, are those of ``frl pretrain``.

    Raises:
        FrlError: whatever is wrong with the files or the options.
    """
    files = (data,) if isinstance(data, (str, os.PathLike, Beton, InPlace)) else tuple(data)
    options = DataConfig(
        data=tuple(Path(file.path if isinstance(file, (Beton, InPlace)) else file) for file in files),
        weights=tuple(weights),
        order=order,
        augment_on=augment_on,
        engine=engine,
        workers=workers,
        prefetch=prefetch,
        on_broken=on_broken,
    )
    options.check()
    crops = preset_of(augment).config.augment if isinstance(augment, str) else augment or AugmentConfig()
    crops.check()
    if batch_size < 1:
        raise ConfigError("batch_size", f"{batch_size} is not a number of at least 1", "The default is 256.")
    return make_loader(options, crops, batch_size=batch_size, seed=seed, device=_device(device), open=open_images)


def load(
    weights: PathLike,
    *,
    arch: str | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    device: str | torch.device = "auto",
) -> Network:
    """A trained network with its preprocessing, in evaluation mode; see ``frl.network.load_network``.

        network = frl.load("runs/x")                              # or resnet50.pth, or hub:ORG/NAME
        features = network(network.preprocess("ann.jpg"))         # (1, 2048)

    Raises:
        CheckpointError: if the weights cannot be read or do not fit.
        ConfigError: if an option makes no sense.
    """
    return load_network(weights, arch=arch, size=size, mean=mean, std=std, device=_device(device))


def write(*sources: PathLike, out: PathLike, **options: Any) -> Summary:
    """Faces to a ``.beton``: ``frl write``, with its options as keyword arguments (``size=192, detect="dlib"``).

    Returns:
        what was written and what was left out.

    Raises:
        FrlError: as the command.
    """
    from writers.config import WriteConfig
    from writers.to_beton import write as write_beton

    given = {"sources": tuple(os.fspath(source) for source in sources), "out": out, **options}
    return write_beton(made(WriteConfig, given))


def pretrain(preset: str = "vggface2", **options: Any) -> Path:
    """Pre-train on this process's device: ``frl pretrain PRESET``.

    Args:
        preset: whose options hold unless others are given.
        options: by their names, those of a section as a dictionary: ``data="faces.beton", optim={"epochs": 20},
            objective="simclr"``; or with dots, ``**{"optim.epochs": 20}``.

    Returns:
        the folder of the run, for ``frl.load``.

    Raises:
        FrlError: as the command.
        KeyboardInterrupt: after Ctrl-C, when a checkpoint is saved; the same call goes on from there.
    """
    from frl.cli.run import run

    config = with_options(preset_of(preset).config, options)
    stopped_by = run(config, preset)
    if stopped_by == signal.SIGINT:
        raise KeyboardInterrupt
    if stopped_by is not None:
        raise SystemExit(128 + stopped_by)
    return config.out


def measure(task: str, weights: PathLike | None = None, **options: Any) -> Mapping[str, Any]:
    """``frl evaluate TASK --weights WEIGHTS``, with its options: ``measure("knn", "runs/x", data="probe.beton")``.

    Returns:
        the figures of every network that was measured, by its name: the one given, and its baselines.

    Raises:
        FrlError: as the command.
    """
    from frl.cli.evaluate import EVALUATIONS, run

    if task not in EVALUATIONS:
        raise ConfigError("task", f"there is none called {task!r}", f"Known are {', '.join(EVALUATIONS)}.")
    given = options if weights is None else {"weights": weights, **options}
    return run(made(cast(Any, EVALUATIONS[task]), given))


def _device(device: str | torch.device) -> torch.device:
    """The device that is meant; auto and cuda as ``frl pretrain`` means them."""
    if device in ("auto", "cuda", "cpu"):
        return pick_device(str(device), local_rank=0)
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ConfigError("device", f"{device!r} is none", "Use auto, cpu, cuda or cuda:0.") from error
