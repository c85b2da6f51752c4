"""``frl report RUN``, and ``frl report RUN RUN ...`` for runs beside each other."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import nn

from frl import console
from frl.cli.data import open_images
from frl.cli.objectives import find
from frl.cli.report_tasks import Trained, judged_tasks
from frl.config import EngineName, ProbeConfig, RunConfig, as_dict, from_dict, upgraded
from frl.config.check import require, require_least, require_new_folder, require_there
from frl.config.probe import require_sides
from frl.errors import ConfigError, FrlError
from frl.evaluate import KnnResult, RawPixels, extract_features, leave_one_out, untrained
from frl.evaluate.gallery import Gallery, extract_gallery
from frl.evaluate.table import aligned, scores_table
from frl.files import atomic_write
from frl.models.backbone import require_size
from frl.monitoring.described import described, described_in
from frl.monitoring.logbook import read_metrics
from frl.objectives import Metric
from frl.pretrained import load_backbone
from frl.printable import printable
from frl.recipes import objective_in_words
from frl.report import Report, compared, write_report
from frl.report.compared import Compared, called, finals, form_of, require_few
from frl.report.judged import Judged
from frl.runtime import checkpoint
from frl.runtime.distributed import pick_device
from frl.runtime.numerics import exact_products
from frl.trained_on import is_another
from frl.training.build import implementation
from pipelines.preview import contact_sheet
from pipelines.whole_images import WholeImages

THUMBNAIL = 96  # side of the faces on the page, in pixels
PICTURES = 5000  # kept at most of these faces: 140 MB; the features of all are judged


@dataclass(frozen=True)
class ReportConfig:
    """Make a page of a run: curves, crops, nearest neighbours, configuration; with labels, how well it tells faces, and
    what heads learn on it. Of several runs: a page of curves over each other."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folder of the run of frl pretrain; of several runs, the folders."""
    weights: Path | None = None
    """Exported weights, a checkpoint, or a run's folder; none: the run's newest checkpoint."""
    data: Path | None = None
    """.beton of the faces shown, best labelled and of people the run has not seen; none: the run's probe, or what it
    was trained on."""
    out: Path | None = None
    """Folder of the report; none: report/ in the (first) run's."""
    size: int | None = None
    """Side of the images shown to the network; none: that of the run's probe, or of its largest crops."""
    neighbours: int | None = None
    """Neighbours that vote for an identity; none: as many as of the run's probe."""
    limit: int | None = None
    """Images used at most, of each file; none: as many as of the run's probes."""
    tasks: tuple[str, ...] = ()
    """Downstream tasks to show, as frl evaluate judges them frozen: landmarks, expression, ..., classes:NAME; none:
    those of the run's probe (--probe.tasks), if it had any."""
    tasks_data: Path | None = None
    """Of tasks: a .beton with the targets, which is split by subject; none: the files of the run's probe."""
    tasks_train: Path | None = None
    """In the place of tasks-data: a .beton to learn from."""
    tasks_test: Path | None = None
    """With tasks-train: a .beton with the same targets to be judged on."""
    engine: EngineName | None = None
    """What decodes the images; none: the engine of the run."""
    objective: str | None = None
    """Where the objective of the run is defined (mine.py:MyConfig), unless it is one of frl's."""

    def check(self) -> None:
        """Refuse what cannot work, before anything is loaded.

        Raises:
            ConfigError: on the first contradiction found.
        """
        if self.size is not None:
            require_least("size", self.size, 1, "Use about the size of the larger training crops.")
        if self.neighbours is not None:
            require_least("neighbours", self.neighbours, 1, "The usual number is 20.")
        if self.limit is not None:
            require_least("limit", self.limit, 1, "Leave it out for that of the run's probes.")
        require(bool(self.runs), "RUN", "no run is named", "Name the folder of a run of frl pretrain.")
        if self.data is not None:
            require_there(self.data, "data")
        if files := self.task_files:
            require_sides("tasks-", self.tasks, files)
        if len(self.runs) > 1:
            require_few(self.runs)
            remedy = "Leave it out, or report on each run by itself."
            for option in ("weights", "data"):
                alone = getattr(self, option) is None
                require(alone, option, "is of one run, and several are compared", remedy)
            unasked = self.neighbours is None
            require(unasked, "neighbours", "several runs are compared, without their neighbours", remedy)
            for option in ("size", "limit", "engine"):
                used = bool(self.tasks) or getattr(self, option) is None
                require(used, option, "several runs are compared without tasks, and no image is read", remedy)
        if self.out is not None:
            require_new_folder(self.out, "out")

    @property
    def task_files(self) -> dict[str, Path]:
        """The files of the tasks that are given."""
        named = {"data": self.tasks_data, "train": self.tasks_train, "test": self.tasks_test}
        return {name: path for name, path in named.items() if path is not None}


def main(arguments: list[str]) -> None:
    """Measure, write the page, print the comparison."""
    options = tyro.cli(ReportConfig, args=arguments, prog="frl report")
    options.check()
    if options.objective is not None:
        find(options.objective)  # and is known from then on
    if len(options.runs) > 1:
        compare(options)
        return
    folder = options.runs[0]
    run = _run_config(folder)
    asked = _asked(options, run)
    notes: list[str] = []
    trained, arch = load_backbone(options.weights or folder)
    faces = options.data or run.knn.data or run.data.data[0]
    if another := is_another(run, _saved(folder)):
        notes.append(f"{run.data.data[0]} is not the file that this run was trained on: another lies there now.")
    gallery: Gallery | None = None
    accuracy: dict[str, KnnResult] = {}
    try:
        if options.data is not None or faces not in run.data.data or not another:
            gallery, accuracy = _look(trained, arch, faces, run, options)
    except FrlError as error:
        if options.data is not None:
            raise
        notes.append(f"No faces to show: {error}")
    tasks = _tasks(asked, [_trained(folder, run, options, "trained")], options, notes)
    crops = None
    try:
        crops = None if another else contact_sheet(run.data.data[0], run.augment, run.seed, 6, open=open_images)
    except FrlError as error:
        notes.append(f"No crops to show: {error}")
    metrics = read_metrics(folder / "metrics.jsonl")
    health, healthy = _health(metrics, run)
    page = write_report(
        Report(
            title=f"{arch} pre-trained on {' + '.join(path.name for path in run.data.data)}",
            settings={
                "progress": _progress(metrics),
                "network": arch,
                "objective": objective_in_words(run.objective),
                "training": f"{run.optim.epochs} epochs, batch {run.optim.batch_size}, "
                f"peak learning rate {run.optim.lr:g}",
                "weights": options.weights.name if options.weights else "newest checkpoint",
                "faces": f"{faces.name}, shown at {options.size or _size(run)} pixels",
            },
            metrics=metrics,
            crops=crops,
            gallery=gallery,
            tasks=tasks,
            accuracy=accuracy,
            seen="" if another else _seen(faces, run),
            health=health,
            healthy=healthy,
            described=_described(run, metrics),
            configuration=as_dict(run),
            defaults=as_dict(RunConfig()),
            starts=read_metrics(folder / "environment.jsonl"),
            notes=notes,
        ),
        options.out or folder / "report",
    )
    if accuracy:
        print(_table(accuracy, options.size or _size(run)))
    for judged in tasks:
        print(f"{judged.task}, {judged.sides}:\n{scores_table(judged.rows)}")
    print(printable(page))
    console.suggest(("frl", "export", folder, "--out", "backbone.pth"))


def compare(options: ReportConfig) -> None:
    """Write the page of several runs, and say where it is."""
    configs = [_run_config(folder) for folder in options.runs]
    names = _names(options.runs)
    runs: list[Compared] = []
    notes: list[str] = []
    for name, folder, config in zip(names, options.runs, configs, strict=True):
        metrics = read_metrics(folder / "metrics.jsonl")
        if not any("loss" in line for line in metrics):
            raise ConfigError(folder, "the metrics hold no loss", "Train for at least one logging interval.")
        runs.append(
            Compared(
                name=name,
                settings={
                    "progress": _progress(metrics),
                    "network": config.model.network,
                    "objective": objective_in_words(config.objective),
                    "data": " + ".join(path.name for path in config.data.data),
                },
                metrics=metrics,
                described=_described(config, metrics),
                configuration=as_dict(config),
            )
        )
    tasks: Sequence[Judged] = ()
    if options.tasks:
        trained = [_trained(*each) for each in zip(options.runs, configs, [options] * len(names), names, strict=True)]
        tasks = _tasks(_asked(options, configs[0]), trained, options, notes)
    page = (options.out or options.runs[0] / "report") / "compared.html"
    with atomic_write(page) as stream:
        # It may name a file whose name is not UTF-8.
        stream.write(compared.render(runs, tasks, notes).encode(errors="backslashreplace"))
    lines = [
        [called(metric), *(form_of(metric).format(value) if math.isfinite(value) else "-" for value in values)]
        for metric, values in finals(runs)
    ]
    print(aligned([["", *names], *lines], left=1))
    print(printable(page))


def _names(runs: Sequence[Path]) -> list[str]:
    """The folders' names, with as much of their paths as tells them apart.

    Raises:
        ConfigError: a run is named twice.
    """
    paths = [run.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise ConfigError("RUN", "a run is named twice", "Name each run once.")
    for depth in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return list(map(str, paths))


def _described(run: RunConfig, metrics: list[dict[str, Any]]) -> tuple[Metric, ...]:
    return described(implementation(run.objective).metrics(run.objective), described_in(metrics))


def _seen(faces: Path, run: RunConfig) -> str:
    """What training has seen of the faces by which people are told apart, as the end of a sentence."""
    learns = "identity" if run.objective.name == "supervised" else getattr(run.objective, "positives", "image")
    if faces in run.data.data:
        return f", the data of the training, which saw their {'names, too' if learns == 'identity' else 'faces alone'}"
    return ", not the data of the training" if learns == "identity" else ", whose labels training has not seen"


def _asked(options: ReportConfig, run: RunConfig) -> ProbeConfig:
    """The tasks to show: those asked for, or those of the run's probe; on the files given, or on the probe's; otherwise
    as the probe judges them.

    Raises:
        ConfigError: tasks are asked for, and there is nothing to learn them from.
    """
    asked = replace(run.probe, tasks=options.tasks or run.probe.tasks, limit=options.limit or run.probe.limit)
    if options.task_files:
        return replace(asked, data=options.tasks_data, train=options.tasks_train, test=options.tasks_test)
    if options.tasks:
        there = run.probe.data is not None or run.probe.train is not None
        remedy = "Give --tasks-data, or --tasks-train and --tasks-test."
        require(there, "tasks", "there is nothing to learn from, neither here nor in the run's options", remedy)
    return asked


def _trained(folder: Path, run: RunConfig, options: ReportConfig, name: str) -> Trained:
    size = options.size or (run.probe.size if run.probe.tasks else _size(run))
    return Trained(name, options.weights or folder, size, run.augment, options.engine or run.data.engine)


def _size(run: RunConfig) -> int:
    """Side of the images shown to the network, unless it is given."""
    return run.knn.size if run.knn.data else max(spec.size for spec in run.augment.crops)


def _tasks(asked: ProbeConfig, trained: Sequence[Trained], options: ReportConfig, notes: list[str]) -> Sequence[Judged]:
    """The tasks; a note why there are none where nobody asked for them by name and their files are gone, say."""
    try:
        return judged_tasks(asked, trained)
    except FrlError as error:
        if options.tasks:
            raise
        notes.append(f"No tasks to show: {error}")
        return []


def _saved(run: Path) -> dict[str, Any]:
    """The newest checkpoint of a run; empty where there is none, only weights that were given."""
    try:
        return checkpoint.read_tensors(run)
    except FrlError:
        return {}


def _run_config(run: Path) -> RunConfig:
    path = run / "config.json"
    if not path.is_file():
        raise ConfigError(path, "no such file", "Pass the --out folder of a run of frl pretrain.")
    try:
        return from_dict(RunConfig, upgraded(json.loads(path.read_bytes())))
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(path, f"is not the configuration of a run ({error})", "Restore it from a copy.") from error


def _look(
    trained: nn.Module, arch: str, faces: Path, run: RunConfig, options: ReportConfig
) -> tuple[Gallery, dict[str, KnnResult]]:
    """A gallery of ``faces``, and how well identities are told apart where labels say who is who."""
    device = pick_device("auto", 0)
    size = options.size or _size(run)
    require_size(arch, size, "--size")
    exact_products()
    images = WholeImages(
        faces,
        size=size,
        batch_size=128,
        device=device,
        augment=run.augment,
        limit=options.limit or run.knn.limit,
        engine=options.engine or run.data.engine,
        open=open_images,
    )
    try:
        features, gallery = extract_gallery(trained.to(device), images, run.augment, side=THUMBNAIL, pictures=PICTURES)
        if not _has_pairs(features.labels):
            return gallery, {}
        rivals = {"untrained": untrained(arch, run.seed), "raw pixels": RawPixels()}
        found = {"trained": features}
        found |= {name: extract_features(rival.to(device), images) for name, rival in rivals.items()}
    finally:
        images.close()
    neighbours = options.neighbours or run.knn.neighbours
    return gallery, {name: leave_one_out(*rival, neighbours=neighbours) for name, rival in found.items()}


def _has_pairs(labels: torch.Tensor) -> bool:
    _, counts = np.unique(labels[labels >= 0].cpu().numpy(), return_counts=True)
    return bool((counts > 1).any())


def _progress(metrics: list[dict[str, Any]]) -> str:
    last = max((line for line in metrics if "loss" in line), key=lambda line: line["step"], default=None)
    return f"step {last['step']:,}, epoch {last['epoch']}" if last else "no step logged"


def _health(metrics: list[dict[str, Any]], run: RunConfig) -> tuple[str, bool]:
    """What the alarm found, and whether all is well: at the end of the run there were no signs, and no alarm before.

    The last interval is judged by what the alarm noted of it, so that the two agree.
    """
    last = max((line["step"] for line in metrics if "loss" in line), default=0)
    signs = {line["step"]: line["signs"] for line in metrics if "signs" in line}
    alarms = [line for line in metrics if "alarm" in line]
    patience = f"the alarm sounds when signs have lasted for {run.health.patience_steps:,} steps"
    times = f"{len(alarms)} times" if len(alarms) != 1 else "once"
    before = f"The alarm was raised {times}, last at step {alarms[-1]['step']:,}" if alarms else patience.capitalize()
    if last in signs:
        return f"Step {last:,}: {signs[last]}. {before}.", False
    if alarms and alarms[-1]["step"] == last:
        return f"Step {last:,}: {alarms[-1]['alarm']}", False
    if alarms:
        return f"No sign of a collapse at step {last:,}, but before it. {before}: {alarms[-1]['alarm']}", False
    return f"No sign of a collapse at step {last:,}, and no alarm before; {patience}.", True


def _table(accuracy: dict[str, KnnResult], size: int) -> str:
    rows = [f"  {name:<12} {result.accuracy:6.1%}" for name, result in accuracy.items()]
    some = next(iter(accuracy.values()))
    people = f"{some.queries:,} images of {some.identities:,} identities"
    judged = f"{some.neighbours} neighbours vote, {people}, {size} pixels"
    return "\n".join([f"k-NN identity accuracy, leave-one-out ({judged}):", *rows])
