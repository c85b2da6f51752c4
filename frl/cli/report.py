"""``frl report RUN``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import nn

from frl import console
from frl.cli.data import open_images
from frl.cli.objectives import find
from frl.config import EngineName, RunConfig, as_dict, from_dict, upgraded
from frl.config.check import require_least, require_new_folder, require_there
from frl.errors import ConfigError, FrlError
from frl.evaluate import KnnResult, RawPixels, extract_features, leave_one_out, untrained
from frl.evaluate.gallery import Gallery, extract_gallery
from frl.export import load_backbone
from frl.models.backbone import require_size
from frl.monitoring.described import described
from frl.monitoring.logbook import read_metrics
from frl.printable import printable
from frl.recipes import objective_in_words
from frl.report import Report, write_report
from frl.runtime.distributed import pick_device
from frl.runtime.numerics import exact_products
from frl.training.build import implementation
from pipelines.preview import contact_sheet
from pipelines.whole_images import WholeImages

THUMBNAIL = 96  # side of the faces on the page, in pixels


@dataclass(frozen=True)
class ReportConfig:
    """Make a page of a run: curves, crops, nearest neighbours, configuration; with labels, how well it tells faces."""

    run: tyro.conf.Positional[Path]
    """Folder of the run of frl pretrain."""
    weights: Path | None = None
    """Exported weights, a checkpoint, or a run's folder; none: the run's newest checkpoint."""
    data: Path | None = None
    """.beton of the faces shown, best labelled and of people the run has not seen; none: the run's probe, or what it
    was trained on."""
    out: Path | None = None
    """Folder of the report; none: report/ in the run's."""
    size: int | None = None
    """Side of the images shown to the network; none: that of the run's probe, or of its largest crops."""
    neighbours: int = 5
    """Neighbours that vote for an identity."""
    limit: int = 5000
    """Images used at most."""
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
        require_least("neighbours", self.neighbours, 1, "The default is 5.")
        require_least("limit", self.limit, 1, "The default is 5000.")
        if self.data is not None:
            require_there(self.data, "data")
        if self.out is not None:
            require_new_folder(self.out, "out")


def main(arguments: list[str]) -> None:
    """Measure, write the page, print the comparison."""
    options = tyro.cli(ReportConfig, args=arguments, prog="frl report")
    options.check()
    if options.objective is not None:
        find(options.objective)  # and is known from then on
    run = _run_config(options.run)
    notes: list[str] = []
    trained, arch = load_backbone(options.weights or options.run)
    faces = options.data or run.knn.data or run.data.data[0]
    gallery: Gallery | None = None
    accuracy: dict[str, KnnResult] = {}
    try:
        gallery, accuracy = _look(trained, arch, faces, run, options)
    except FrlError as error:
        if options.data is not None:
            raise
        notes.append(f"No faces to show: {error}")
    crops = None
    try:
        crops = contact_sheet(run.data.data[0], run.augment, run.seed, 6, open=open_images)
    except FrlError as error:
        notes.append(f"No crops to show: {error}")
    metrics = read_metrics(options.run / "metrics.jsonl")
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
                "faces": faces.name,
            },
            metrics=metrics,
            crops=crops,
            gallery=gallery,
            accuracy=accuracy,
            health=health,
            healthy=healthy,
            described=described(implementation(run.objective).metrics(run.objective)),
            configuration=as_dict(run),
            defaults=as_dict(RunConfig()),
            starts=read_metrics(options.run / "environment.jsonl"),
            notes=notes,
        ),
        options.out or options.run / "report",
    )
    if accuracy:
        print(_table(accuracy))
    print(printable(page))
    console.suggest(("frl", "export", options.run, "--out", "backbone.pth"))


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
    size = options.size or (run.knn.size if run.knn.data else max(spec.size for spec in run.augment.crops))
    require_size(arch, size, "--size")
    exact_products()
    images = WholeImages(
        faces,
        size=size,
        batch_size=128,
        device=device,
        augment=run.augment,
        limit=options.limit,
        engine=options.engine or run.data.engine,
        open=open_images,
    )
    try:
        features, gallery = extract_gallery(
            trained.to(device), images, run.augment, side=THUMBNAIL, pictures=options.limit
        )
        if not _has_pairs(features.labels):
            return gallery, {}
        rivals = {"untrained": untrained(arch, run.seed), "raw pixels": RawPixels()}
        found = {"trained": features}
        found |= {name: extract_features(rival.to(device), images) for name, rival in rivals.items()}
    finally:
        images.close()
    return gallery, {name: leave_one_out(*rival, neighbours=options.neighbours) for name, rival in found.items()}


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


def _table(accuracy: dict[str, KnnResult]) -> str:
    rows = [f"  {name:<12} {result.accuracy:6.1%}" for name, result in accuracy.items()]
    some = next(iter(accuracy.values()))
    judged = f"{some.neighbours} neighbours vote, {some.queries:,} images of {some.identities:,} identities"
    return "\n".join([f"k-NN identity accuracy, leave-one-out ({judged}):", *rows])
