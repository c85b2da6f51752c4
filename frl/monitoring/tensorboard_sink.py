"""Figures and pictures for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:
    from frl.evaluate.gallery import Gallery


PROJECTED = 64  # principal directions kept for the embedding projector, which rotates and reduces them itself


class TensorBoardSink:
    """Writes event files into ``folder``; events after ``first_step``, left by a killed run, are hidden."""

    def __init__(self, folder: Path, first_step: int) -> None:
        self._board = SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)

    def text(self, name: str, text: str) -> None:
        """A text, as a block of code."""
        self._board.add_text(name, "".join(f"    {line}\n" for line in text.splitlines()))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One curve a name."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def histogram(self, step: int, name: str, values: torch.Tensor) -> None:
        """A histogram over time."""
        self._board.add_histogram(name, values, step)

    def image(self, step: int, name: str, picture: torch.Tensor) -> None:
        """A picture."""
        self._board.add_image(name, picture, step)

    def gallery(self, step: int, gallery: Gallery) -> None:
        """The embedding projector: a point for each image, drawn as its thumbnail."""
        vectors = gallery.vectors.float().cpu()
        if vectors.shape[1] > PROJECTED:
            centred = vectors - vectors.mean(0)
            vectors = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:PROJECTED].T
        self._board.add_embedding(
            vectors,
            metadata=gallery.labels.tolist(),
            label_img=torch.from_numpy(gallery.images).permute(0, 3, 1, 2) / 255,
            global_step=step,
            tag="features",
        )

    def close(self) -> None:
        """Flush and close the event file."""
        self._board.close()
