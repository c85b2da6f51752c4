"""Where a run's figures and pictures go besides its own folder's text files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from frl.evaluate.gallery import Gallery


class Sink(Protocol):
    """A tracker of experiments. A sink that raises is dropped with a warning; the run goes on."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers under their names."""
        ...

    def histogram(self, step: int, name: str, values: torch.Tensor) -> None:
        """The distribution of ``values``, a vector on the CPU."""
        ...

    def image(self, step: int, name: str, picture: torch.Tensor) -> None:
        """A picture ``(3, H, W)``, float in [0, 1]."""
        ...

    def gallery(self, step: int, gallery: Gallery) -> None:
        """Images with their features."""
        ...

    def close(self) -> None:
        """Write what is still held back."""
        ...
