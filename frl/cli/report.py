"""``frl report RUN --weights weights.pth --data faces.beton``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from frl import report
from frl.config import AugmentConfig, CropSpec
from frl.errors import ConfigError
from frl.evaluate import Features, KnnResult, RawPixels, extract_features, leave_one_out, untrained
from frl.export import load_backbone
from frl.logbook import read_metrics
from pipelines.preview import contact_sheet
from pipelines.whole_images import WholeImages


@dataclass(frozen=True)
class ReportConfig:
    """Compare a trained network with the same one untrained and with raw pixels, in a page with pictures."""

    run: tyro.conf.Positional[Path]
    """Folder of the run of frl pretrain."""
    weights: Path
    """Exported weights, or a checkpoint."""
    data: Path
    """Labelled .beton on which identities are told apart; best of people the run has not seen."""
    out: Path = Path("report")
    """Folder of the report."""
    size: int = 224
    """Side of the images shown to the network."""
    neighbours: int = 5
    """Neighbours that vote for an identity."""
    limit: int = 5000
    """Images used at most."""


def main(arguments: list[str]) -> None:
    """Measure, write the page, print the comparison."""
    config = tyro.cli(ReportConfig, args=arguments, prog="frl report")
    settings = _settings(config.run)
    trained, arch = load_backbone(config.weights)
    rivals = {"trained": trained, "untrained": untrained(arch, settings["seed"]), "raw pixels": RawPixels()}
    images = WholeImages(
        config.data,
        size=config.size,
        batch_size=128,
        device=torch.device("cpu"),
        augment=AugmentConfig(),
        limit=config.limit,
    )
    features = {name: extract_features(network, images) for name, network in rivals.items()}
    accuracy = {name: leave_one_out(*found, neighbours=config.neighbours) for name, found in features.items()}
    augment = _augment(settings)
    files = [Path(file) for file in settings["data"]["data"]]
    page = report.write_report(
        report.Report(
            title=f"{arch} pre-trained on {' + '.join(file.name for file in files)}",
            settings={
                "network": f"{arch}, {settings['model']['prototypes']} prototypes",
                "recipe": f"{settings['optim']['epochs']} epochs, batch {settings['optim']['batch_size']}, "
                f"peak learning rate {settings['optim']['lr']:g}",
                "weights": config.weights.name,
                "probe": config.data.name,
            },
            metrics=read_metrics(config.run / "metrics.jsonl"),
            crops=contact_sheet(files[0], augment, settings["seed"], 6),
            gallery=_gallery(images, features["trained"]),
            accuracy=accuracy,
        ),
        config.out,
    )
    print(_table(accuracy))
    print(page)


def _settings(run: Path) -> dict:
    path = run / "config.json"
    if not path.is_file():
        raise ConfigError(path, "no such file", "Pass the --out folder of a run of frl pretrain.")
    return json.loads(path.read_text())


def _augment(settings: dict) -> AugmentConfig:
    """The augmentation that a saved configuration holds; JSON has made lists of its tuples."""

    def fields(saved: dict[str, Any]) -> dict[str, Any]:
        return {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}

    crops = tuple(CropSpec(**fields(spec)) for spec in settings["augment"]["crops"])
    return AugmentConfig(**{**fields(settings["augment"]), "crops": crops})


def _gallery(images: WholeImages, features: Features) -> report.Gallery:
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (AugmentConfig().mean, AugmentConfig().std))
    pictures = torch.cat([(batch.views[0] * std + mean).clamp(0, 1) * 255 for batch in images])
    return report.Gallery(
        images=pictures.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy().astype(np.uint8),
        vectors=features.vectors,
        labels=features.labels,
    )


def _table(accuracy: dict[str, KnnResult]) -> str:
    rows = [f"  {name:<12} {result.accuracy:6.1%}" for name, result in accuracy.items()]
    return "\n".join(["k-NN identity accuracy, leave-one-out:", *rows])
