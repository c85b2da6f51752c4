"""``frl predict WEIGHTS IMAGES --out predictions.csv --draw sheet.png``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from frl.batch import Batch
from frl.cli.faces import Faces, LookConfig
from frl.cli.preview import require_picture, save_picture
from frl.config import AugmentConfig
from frl.config.check import require, require_file, require_least, require_new_file
from frl.evaluate.features import extract_features
from frl.evaluate.finetune import Saved, load
from frl.evaluate.finetune.loop import FlipTested
from frl.evaluate.gallery import thumbnails
from frl.evaluate.said import Said, contact_sheet, said
from frl.evaluate.table import defined
from frl.files import atomic_write
from frl.printable import printable
from frl.runtime.numerics import exact_products


@dataclass(frozen=True)
class PredictConfig(LookConfig):
    """Say of photographs what a fine-tuned network has learned: landmarks, an expression, valence and arousal, ..."""

    weights: tyro.conf.Positional[Path]
    """What frl evaluate TASK --how finetune --save wrote."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Face crops like those it was trained on, of which the central square is shown: images, folders of them, or one
    .beton, which frl write makes of whole photographs."""
    out: Path | None = None
    """File to write: .csv or .json; none: predictions.csv, in place of an older one."""
    draw: Path | None = None
    """Picture of the first faces with what is said of them."""
    count: int = 64
    """Faces on the picture at most."""
    flip: bool = False
    """Say the mean of what is said of an image and, mirrored back, of its mirror image."""

    usual: ClassVar[str] = "predictions.csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".json")

    def check(self) -> None:
        """As for all; the weights are there, and the picture can be drawn."""
        require_file(self.weights, "weights")
        super().check()
        if self.draw is not None:
            require_new_file(self.draw, "draw", overwrite=self.overwrite)
            require_picture(self.draw, "draw")
        require_least("count", self.count, 1, "The default is 64.")
        drawn = self.draw is not None or self.count == type(self).count
        require(drawn, "count", "no picture is drawn", "Add --draw FILE.png, or leave it out.")


@dataclass
class Shown:
    """Passes batches on, and keeps the first images for a picture.

    Args:
        batches: each of one view.
        augment: its mean and standard deviation normalised them.
        count: images kept at most.
    """

    batches: Faces
    augment: AugmentConfig
    count: int
    images: list[NDArray[np.uint8]] = field(default_factory=list)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches.batches:
            wanted = batch.views[0][: self.count - len(self.images)]
            self.images += list(thumbnails(wanted, self.augment, max(wanted.shape[2:])))
            yield batch


def main(arguments: list[str]) -> None:
    """Predict, write the table and the picture, and say where they are."""
    run(tyro.cli(PredictConfig, args=arguments, prog="frl predict"))


def run(config: PredictConfig) -> Said:
    """What is said of the faces, in pixels of the photographs; it is written as ``config`` says.

    Raises:
        FrlError: whatever is wrong with the weights, the images or the options.
    """
    config.check()
    saved = load(config.weights)
    exact_products()
    faces, device = config.opened(saved.size, saved.augment)
    shown = Shown(faces, saved.augment, config.count if config.draw is not None else 0)
    predicted = predictions(saved, shown, device, flip=config.flip)
    faces = faces.delivered()
    found = said(saved.task, predicted, faces.sides)
    write_table(config.table, faces, found)
    print(f"{saved.task.name} of {len(faces):,} faces: {printable(config.table)}")
    if config.draw is not None:
        save_picture(config.draw, contact_sheet(shown.images, found, faces.sides))
        print(printable(config.draw))
    return found


def predictions(saved: Saved, batches: Shown, device: torch.device, *, flip: bool) -> NDArray[np.float32]:
    """What the network says, ``(N, K)``."""
    network = saved.network.to(device)
    judged = FlipTested(network, saved.task) if flip else network
    return extract_features(judged, batches, normalise=False).vectors.cpu().numpy()


def write_table(path: Path, faces: Faces, found: Said) -> None:
    """A row or an object for each face; points in pixels of its upright photograph, or of the image in the .beton.

    Raises:
        OSError: if it cannot be written.
    """
    columns = found.columns
    if found.points is not None:  # of other tasks a number, or a class, may be called x1
        columns = {name: _placed(name, values, faces) for name, values in columns.items()}
    with atomic_write(path) as stream:
        stream.write(_json(faces, columns) if path.suffix.lower() == ".json" else _csv(faces, columns))


def _placed(name: str, values: NDArray[Any], faces: Faces) -> NDArray[Any]:
    """Coordinates within the square that was shown, as those within the whole photograph."""
    axis = {"x": 0, "y": 1}.get(name[0])  # depth has no corner
    return values if axis is None else values + faces.corners[:, axis]


def _csv(faces: Faces, columns: Mapping[str, NDArray[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *columns])
    for index, name in enumerate(faces.names):
        writer.writerow([name, *(_value(values[index]) for values in columns.values())])
    return text.getvalue().encode(errors="surrogateescape")  # names of files keep their bytes, UTF-8 or not


def _json(faces: Faces, columns: Mapping[str, NDArray[Any]]) -> bytes:
    rows = [
        {"image": name, **{key: _value(values[index]) for key, values in columns.items()}}
        for index, name in enumerate(faces.names)
    ]
    return json.dumps(defined(rows), indent=1).encode()


def _value(value: Any) -> str | float:
    """As a table has it: four decimals are a thousandth of a pixel and less."""
    return str(value) if isinstance(value, str) else round(float(value), 4)
