"""Figures and pictures for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from frl.evaluate.gallery import Gallery


PROJECTED = 64  # principal directions kept for the embedding projector, which rotates and reduces them itself


class TensorBoardSink:
    """Writes event files into ``folder``; events after ``first_step``, left by a killed run, are hidden.

    TensorBoard is imported with the first event: it takes long, and the first batch need not wait for it.

    Args:
        folder: of the event files.
        first_step: where this process begins.
        texts: by their names, written before all events; each a block of code.
    """

    def __init__(self, folder: Path, first_step: int, texts: Mapping[str, str]) -> None:
        self._folder, self._first_step, self._texts = folder, first_step, texts

    @cached_property
    def _board(self) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        board = SummaryWriter(str(self._folder), purge_step=self._first_step + 1 if self._first_step else None)
        for name, text in self._texts.items():
            board.add_text(name, "".join(f"    {line}\n" for line in text.splitlines()))
        return board

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
