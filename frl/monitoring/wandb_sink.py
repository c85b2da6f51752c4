"""Figures and pictures for Weights & Biases; the package comes with ``pip install wandb``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from frl.errors import ConfigError

if TYPE_CHECKING:
    from frl.evaluate.gallery import Gallery

PATIENCE_SECONDS = 30  # for the service to answer, before the run logs offline


class WandbSink:
    """Logs to ``project``; a run that is resumed in the same folder goes on under the same id.

    Without a network or a login the files stay in ``folder``, and ``wandb sync`` uploads them later.

    Raises:
        ConfigError: if the package is not installed.
    """

    def __init__(self, project: str, folder: Path, config: dict[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError("--wandb", "wandb is not installed", "Run pip install wandb, or leave it out.") from error
        self._wandb = wandb
        options = {
            "project": project,
            "name": folder.name,
            "id": hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12],
            "resume": "allow",
            "dir": str(folder),
            "config": config,
        }
        try:
            self._run = wandb.init(settings=wandb.Settings(init_timeout=PATIENCE_SECONDS), **options)
        except wandb.Error:
            self._run = wandb.init(mode="offline", **options)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One curve a name."""
        self._run.log(dict(values), step=step)

    def histogram(self, step: int, name: str, values: torch.Tensor) -> None:
        """A histogram over time."""
        self._run.log({name: self._wandb.Histogram(values.tolist())}, step=step)

    def image(self, step: int, name: str, picture: torch.Tensor) -> None:
        """A picture."""
        pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
        self._run.log({name: self._wandb.Image(pixels)}, step=step)

    def gallery(self, step: int, gallery: Gallery) -> None:
        """A table that the service can project: a thumbnail, its identity and its features a row."""
        rows = [
            [self._wandb.Image(image), label, vector]
            for image, label, vector in zip(
                gallery.images, gallery.labels.tolist(), gallery.vectors.float().cpu().tolist(), strict=True
            )
        ]
        self._run.log({"features": self._wandb.Table(columns=["image", "identity", "feature"], data=rows)}, step=step)

    def close(self) -> None:
        """Upload what is left."""
        self._run.finish()
