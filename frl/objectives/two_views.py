"""What objectives that compare two views of an image have in common, and those that have a teacher."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from frl.models.calls import Call
from frl.objectives import across_ranks
from frl.objectives.momentum import follow, teacher_of
from frl.objectives.objective import Encoder, Objective, Setting, Views

TAUGHT = 2  # crops that a teacher sees


class TwoViews(Objective):
    """Compares the first two crops of an image; they may be of one resolution, or of two with other colours each."""

    def crops(self, views: Views) -> list[Tensor]:
        """``(B, 3, size, size)`` of every crop."""
        return [crop for view, count in zip(views, self.crop_counts, strict=True) for crop in view.chunk(count)]

    def encode_each(self, views: Views, backbone: str = "backbone", *, first: int | None = None) -> list[Tensor]:
        """Pooled features ``(B, width)`` of every crop, or of the ``first`` few; BatchNorm sees a crop at a time.

        As the authors of the methods with a predictor do it: a batch of both views together has other statistics.
        """
        return [self.encoder(backbone, place)(crop) for place, crop in enumerate(self.crops(views)[:first])]

    @property
    def resolutions(self) -> list[int]:
        """Of each crop."""
        return [index for index, count in enumerate(self.crop_counts) for _ in range(count)]

    def calls(self, backbone: str, images: int, sizes: Sequence[int]) -> list[Call]:
        """A crop at a time, as ``encode_each`` does; see ``Objective``."""
        return [Call(resolution, images) for resolution in self.resolutions]

    def encoder(self, backbone: str, place: int) -> Encoder:
        """How a backbone is called for the crop at ``place``."""
        encoders = self.encoders.get(backbone)
        return encoders[self.resolutions[place]] if encoders else getattr(self, backbone)

    def gather(self, values: Tensor) -> Tensor:
        """``(b, ...)`` of every rank one after the other, ``(B, ...)``, with their gradients."""
        return across_ranks.gather(values) if self.setting.ranks > 1 else values

    @property
    def rank(self) -> int:
        """Whose samples are this process's."""
        return dist.get_rank() if self.setting.ranks > 1 else 0


class Taught(TwoViews):
    """Has a teacher: backbone and projector that follow the student's as an exponential moving average.

    The teacher's BatchNorm normalises by its batch, as the student's does, and has running statistics of its own.

    Attributes:
        projector: the student's.
        teacher, teacher_projector: of the same architecture; they do not learn by gradients.
    """

    backbones: ClassVar[tuple[str, ...]] = ("backbone", "teacher")

    def __init__(self, backbone: nn.Module, projector: nn.Module, setting: Setting) -> None:
        super().__init__(backbone, setting)
        self.projector = projector
        self.teacher = teacher_of(backbone)
        self.teacher_projector = teacher_of(projector)

    def calls(self, backbone: str, images: int, sizes: Sequence[int]) -> list[Call]:
        """The teacher sees the first two crops."""
        calls = super().calls(backbone, images, sizes)
        return calls[:TAUGHT] if backbone == "teacher" else calls

    @abstractmethod
    def momentum_after(self, step: int) -> float:
        """How much of the teacher stays when it follows the student after ``step``."""

    @torch.no_grad()
    def taught(self, views: Views) -> list[Tensor]:
        """The teacher's projections ``(B, D)`` of the first two crops."""
        return [self.teacher_projector(pooled) for pooled in self.encode_each(views, "teacher", first=TAUGHT)]

    def after_step(self, step: int, finite: Tensor) -> None:
        """Let the teacher follow."""
        momentum = self.momentum_after(step)
        follow(self.teacher, self.backbone, momentum, finite)
        follow(self.teacher_projector, self.projector, momentum, finite)
