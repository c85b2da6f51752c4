"""``frl embed WEIGHTS IMAGES --out features.npz``."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from frl.cli.faces import Faces, open_faces
from frl.config import AugmentConfig
from frl.config.check import require, require_least, require_new_file
from frl.config.coerce import coerce
from frl.evaluate.features import extract_features
from frl.export import load_backbone, require_arch
from frl.files import atomic_write
from frl.models.backbone import require_size
from frl.printable import printable
from frl.runtime.distributed import pick_device
from frl.runtime.numerics import exact_products

Table = NDArray[np.float32]


@dataclass(frozen=True)
class EmbedConfig:
    """Write a network's features of faces, with their names, for programs of your own."""

    weights: tyro.conf.Positional[Path]
    """A run's folder, a checkpoint or an export of frl, a torchvision state dict, or a released checkpoint."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Images, of which the central square is shown, folders of them, or one .beton."""
    out: Path | None = None
    """File to write: .npz (names, features, labels), .csv (a row a face) or .parquet; none: features.npz, in place of
    an older one."""
    arch: str | None = None
    """Network; none: told by the file or by the shapes of its weights."""
    size: int = 224
    """Side of the images shown to the network; use about the size of the larger training crops."""
    normalise: bool = False
    """Scale every feature to unit length."""
    batch_size: int = 64
    """Images in a batch."""
    mean: tuple[float, float, float] = AugmentConfig().mean
    """Subtracted from RGB in [0, 1], as in training."""
    std: tuple[float, float, float] = AugmentConfig().std
    """Divides RGB after the mean is subtracted, as in training."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """auto: the GPU if there is one."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def __post_init__(self) -> None:
        coerce(self)

    @property
    def table(self) -> Path:
        """The file to write."""
        return self.out or Path("features.npz")

    def check(self) -> None:
        """Refuse what cannot work, before anything is loaded.

        Raises:
            ConfigError: on the first contradiction found.
        """
        suffix = self.table.suffix.lower()
        require(suffix in WRITERS, "out", f"{self.table} is none of {', '.join(WRITERS)}", "Name one of them.")
        there = suffix != ".parquet" or importlib.util.find_spec("pyarrow") is not None
        cause = "writing .parquet needs pyarrow, which is not installed"
        require(there, "out", cause, "Run pip install pyarrow, or name a .npz.")
        require_new_file(self.table, "out", overwrite=self.overwrite or self.out is None)
        if self.arch is not None:
            require_arch(self.arch)
        require_least("size", self.size, 1, "Use about the size of the larger training crops.")
        require_least("batch_size", self.batch_size, 1, "The default is 64.")
        AugmentConfig(mean=self.mean, std=self.std).check()


def main(arguments: list[str]) -> None:
    """Compute the features, write them and say where they are."""
    run(tyro.cli(EmbedConfig, args=arguments, prog="frl embed"))


def run(config: EmbedConfig) -> Table:
    """The features ``(N, D)`` of the faces, in the order of their names; they are written as ``config`` says.

    Raises:
        FrlError: whatever is wrong with the weights, the images or the options.
    """
    config.check()
    backbone, arch = load_backbone(config.weights, config.arch)
    require_size(arch, config.size, "--size")
    device = pick_device(config.device, local_rank=0)
    exact_products()
    faces = open_faces(
        config.images,
        size=config.size,
        augment=AugmentConfig(mean=config.mean, std=config.std),
        batch_size=config.batch_size,
        device=device,
    )
    found = extract_features(backbone.to(device), faces.batches, normalise=config.normalise)
    features = found.vectors.cpu().numpy()
    with atomic_write(config.table) as stream:
        WRITERS[config.table.suffix.lower()](stream, faces, features)
    print(f"{features.shape[1]} features ({arch}) of {len(faces):,} faces: {printable(config.table)}")
    return features


def _write_npz(stream: BinaryIO, faces: Faces, features: Table) -> None:
    np.savez(stream, names=np.array(faces.names), features=features, labels=faces.labels)


def _write_csv(stream: BinaryIO, faces: Faces, features: Table) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "label", *(f"f{i}" for i in range(features.shape[1]))])
    for name, label, row in zip(faces.names, faces.labels.tolist(), features, strict=True):
        writer.writerow([name, label, *(f"{value:.8g}" for value in row.tolist())])
    text.detach()


def _write_parquet(stream: BinaryIO, faces: Faces, features: Table) -> None:
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, Any] = {"image": faces.names, "label": faces.labels}
    flat = pyarrow.array(features.reshape(-1))
    columns["features"] = pyarrow.FixedSizeListArray.from_arrays(flat, features.shape[1])
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)


WRITERS: dict[str, Callable[[BinaryIO, Faces, Table], None]] = {
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
