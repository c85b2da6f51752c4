"""What looks at a network while ``frl pretrain`` trains it, as the run's options ask for."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from frl.cli.data import open_images
from frl.cli.evaluate.parts import asked, one_file, two_files
from frl.config import KnnConfig, ProbeConfig, RunConfig
from frl.errors import ConfigError
from frl.evaluate.probe import KnnProbe, Probe, Schedule
from frl.evaluate.task_probe import Question, Side, TaskProbe, require_features
from frl.models.layers import up_to
from frl.runtime.distributed import World
from pipelines.whole_images import WholeImages


def open_probes(config: RunConfig, place: World, backbone: nn.Module) -> Schedule:
    """This rank's part of every probe that the run is to have, with their schedule.

    Raises:
        FrlError: whatever makes a probe impossible.
    """
    probes: list[tuple[Probe, int]] = []
    if config.knn.data is not None:
        images = _share(config, place, config.knn, config.knn.data, "--knn.data")
        probes.append((KnnProbe(images, config.augment, config.knn.neighbours), config.knn.every_epochs))
    if config.probe.tasks:
        seen = up_to(backbone, config.probe.stage, "--probe.stage")
        require_features(seen, config.probe.features, config.probe.size)
        files, wanted = questions(config.probe)
        shares = [_share(config, place, config.probe, path, "--probe.tasks") for path in files]
        heads = TaskProbe(shares, wanted, config.probe.features, config.probe.size, config.probe.stage)
        probes.append((heads, config.probe.every_epochs))
    return Schedule(probes)


def questions(probe: ProbeConfig) -> tuple[list[Path], list[Question]]:
    """The files of the tasks, and each task with its faces in them. No image is read.

    Raises:
        BetonError: a file is missing or broken.
        ConfigError: a task cannot be had from them; it names the files.
    """
    if probe.data is not None:
        files = [probe.data]
    else:
        assert probe.train is not None and probe.test is not None
        files = [probe.train, probe.test]
    try:
        if probe.data is not None:
            train, test = one_file(probe.data, probe.test_share, probe.seed, probe.limit)
        else:
            train, test = two_files(*files, shared_subjects=probe.shared_subjects, limit=probe.limit)
        found = []
        for name in probe.tasks:
            learned, judged, task = asked(name, train, test)
            sides = (Side(0, learned.rows, learned.truth), Side(len(files) - 1, judged.rows, judged.truth))
            found.append(Question(task, *sides))
    except ConfigError as error:
        raise error.within(f"--probe.tasks, {' and '.join(map(str, files))}") from error
    return files, found


def _share(config: RunConfig, place: World, probe: KnnConfig | ProbeConfig, path: Path, option: str) -> WholeImages:
    """This rank's share of the images of a probe.

    Raises:
        ConfigError: if there is not one for every rank.
    """
    images = WholeImages(
        path,
        size=probe.size,
        batch_size=min(config.optim.batch_size, 256),
        device=place.device,
        augment=config.augment,
        limit=probe.limit,
        part=(place.rank, place.size),
        engine=config.data.engine,
        workers=config.data.workers,
        on_broken=config.data.on_broken,
        open=open_images,
    )
    total = len(images.beton) if probe.limit is None else min(probe.limit, len(images.beton))
    if total < place.size:  # on all ranks alike: where some alone refused, the others would wait for them
        raise ConfigError(option, f"{path} has fewer images than there are processes", "Use a larger file.")
    return images
