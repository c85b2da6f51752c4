"""The faces of a benchmark as batches: what it holds is used, what cannot be is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from frl.batch import Batch
from frl.config import AugmentConfig
from frl.errors import blame_machine
from frl.evaluate.alignment import align
from frl.evaluate.images import DECODERS, central_square, decoded
from frl.images.photo import UnusableImage
from frl.images.places import misplaced
from frl.pixels import normalised


@dataclass(kw_only=True)
class FaceImages:
    """Iterates batches of one view ``(B, 3, size, size)``, in the order of the names; the last may be smaller.

    In the place of an image that cannot be used stands a black one.

    Attributes:
        names: of the N images; ``Batch.samples`` are their rows. Identities are unknown (-1).
        read: the encoded image of a row. Raises ``OSError``.
        size: side of the view, in pixels.
        augment: gives the mean and the standard deviation.
        points: ``(N, 5, 2)`` to align faces by, NaN where unknown; None: the central square is taken.
        batch_size: images in a batch.
        device: where the batch is delivered.
        faults: why images that have been iterated over cannot be used, by their row.
    """

    names: Sequence[str]
    read: Callable[[int], bytes]
    size: int
    augment: AugmentConfig
    points: NDArray[np.float64] | None = None
    batch_size: int = 64
    device: torch.device | str = "cpu"
    faults: dict[int, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Batch]:
        """The batches.

        Raises:
            MachineError: if the disk fails.
        """
        with ThreadPoolExecutor(DECODERS) as decoders:
            for start in range(0, len(self.names), self.batch_size):
                rows = range(start, min(start + self.batch_size, len(self.names)))
                images = np.stack(list(decoders.map(self._face, rows)))
                yield Batch(
                    views=[normalised(torch.from_numpy(images).to(self.device), self.augment)],
                    samples=torch.arange(rows.start, rows.stop, device=self.device),
                    targets={"identity": torch.full((len(rows),), -1, device=self.device)},
                )

    def _face(self, row: int) -> NDArray[np.uint8]:
        try:
            image = decoded(self.read(row))
            if self.points is None:
                return central_square(image, self.size)
            if fault := misplaced(*image.size, self.points[row]):
                raise ValueError(fault)
            return align(image, self.points[row], self.size)
        except UnusableImage as error:
            self.faults[row] = f"cannot be decoded ({error})"
        except OSError as error:
            blame_machine(error, f"reading {self.names[row]}")
            self.faults[row] = f"cannot be read ({error.strerror})"
        except ValueError as error:
            self.faults[row] = f"cannot be aligned ({error})"
        return np.zeros((self.size, self.size, 3), np.uint8)
