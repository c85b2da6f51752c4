"""``frl embed WEIGHTS IMAGES --out features.npz``."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import tyro
from numpy.typing import NDArray

from frl.cli.faces import Faces, LookConfig
from frl.cli.shown import FeaturesConfig
from frl.config import AugmentConfig
from frl.config.check import require
from frl.evaluate.features import extract_features
from frl.files import atomic_write
from frl.models.backbone import require_size
from frl.printable import printable
from frl.runtime.numerics import exact_products

Table = NDArray[np.float32]


@dataclass(frozen=True)
class EmbedConfig(FeaturesConfig, LookConfig):
    """Write a network's features of faces, with their names, for programs of your own."""

    weights: tyro.conf.Positional[Path]
    """A run's folder, a checkpoint or an export of frl, a torchvision state dict, a released checkpoint, or
    hub:ORG/NAME."""
    out: Path | None = None
    """File to write: .npz (names, features, labels), .csv (a row a face) or .parquet; none: features.npz, in place of
    an older one."""
    normalise: bool = False
    """Scale every feature to unit length."""

    usual: ClassVar[str] = "features.npz"
    suffixes: ClassVar[tuple[str, ...]] = (".npz", ".csv", ".parquet")

    def check(self) -> None:
        """As for all; what the file needs is installed, and the network could see such images."""
        FeaturesConfig.check(self)
        LookConfig.check(self)
        there = self.table.suffix.lower() != ".parquet" or importlib.util.find_spec("pyarrow") is not None
        cause = "writing .parquet needs pyarrow, which is not installed"
        require(there, "out", cause, "Run pip install pyarrow, or name a .npz.")


def main(arguments: list[str]) -> None:
    """Compute the features, write them and say where they are."""
    run(tyro.cli(EmbedConfig, args=arguments, prog="frl embed"))


def run(config: EmbedConfig) -> Table:
    """The features ``(N, D)`` of the faces, in the order of their names; they are written as ``config`` says.

    Raises:
        FrlError: whatever is wrong with the weights, the images or the options.
    """
    config.check()
    network = config.load(config.weights)
    require_size(network.arch, network.size, "--size")
    seen = config.seen(network.backbone)
    exact_products()
    faces, device = config.opened(network.size, AugmentConfig(mean=network.mean, std=network.std))
    found = extract_features(seen.to(device), faces.batches, normalise=config.normalise)
    features, faces = found.vectors.cpu().numpy(), faces.delivered()
    with atomic_write(config.table) as stream:
        WRITERS[config.table.suffix.lower()](stream, faces, features)
    shown = f"{len(faces):,} faces, shown at {network.size} pixels"
    print(f"{features.shape[1]} features ({network.arch}{config.of_network}) of {shown}: {printable(config.table)}")
    return features


def _write_npz(stream: BinaryIO, faces: Faces, features: Table) -> None:
    np.savez(stream, names=np.array(faces.names), features=features, labels=faces.labels)


def _write_csv(stream: BinaryIO, faces: Faces, features: Table) -> None:
    # Names of files keep their bytes, UTF-8 or not.
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "label", *(f"f{i}" for i in range(features.shape[1]))])
    for name, label, row in zip(faces.names, faces.labels.tolist(), features, strict=True):
        writer.writerow([name, label, *(f"{value:.8g}" for value in row.tolist())])
    text.detach()


def _write_parquet(stream: BinaryIO, faces: Faces, features: Table) -> None:
    import pyarrow
    import pyarrow.parquet

    # Its text is UTF-8: of a name that is not, \xfc and the like stand for the other bytes.
    names = [name.encode(errors="surrogateescape").decode(errors="backslashreplace") for name in faces.names]
    columns: dict[str, Any] = {"image": names, "label": faces.labels}
    flat = pyarrow.array(features.reshape(-1))
    columns["features"] = pyarrow.FixedSizeListArray.from_arrays(flat, features.shape[1])
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)


# A suffix of EmbedConfig's each.
WRITERS: dict[str, Callable[[BinaryIO, Faces, Table], None]] = {
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
