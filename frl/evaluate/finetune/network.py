"""A backbone with a head for a task."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from frl.config.finetune import FinetuneConfig, Head
from frl.errors import ConfigError
from frl.models.layers import UpToStage, feature_maps, freeze_statistics
from frl.tasks.heads import LinearHead, MapsHead
from frl.tasks.points import Points
from frl.tasks.task import SupervisedTask


class Predictor(nn.Module):
    """Images ``(B, 3, size, size)`` to what the head says of them, ``(B, K)`` float32.

    Args:
        backbone: images to pooled features.
        head: what stands on it.
        frozen_statistics: whether BatchNorm of the backbone keeps its statistics in training.
    """

    def __init__(self, backbone: nn.Module, head: LinearHead | MapsHead, *, frozen_statistics: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.frozen_statistics = frozen_statistics

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, size, size)``."""
        pooled = isinstance(self.head, LinearHead)
        return self.head(self.backbone(images).flatten(1) if pooled else feature_maps(self.backbone, images))

    def train(self, mode: bool = True) -> Predictor:
        """As of any module; but statistics that are frozen stay."""
        super().train(mode)
        if mode and self.frozen_statistics:
            freeze_statistics(self.backbone)
        return self


def predictor(backbone: nn.Module, task: SupervisedTask, config: FinetuneConfig) -> Predictor:
    """A copy of ``backbone`` with a head whose weights the seed determines, on the CPU; PyTorch's generator stays.

    Of a backbone up to a stage the copy has the layers up to there alone.

    Raises:
        ConfigError: if the head does not fit the task or the network.
    """
    backbone = copy.deepcopy(backbone).cpu()
    if isinstance(backbone, UpToStage):
        backbone.prune()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = new_head(backbone, task, config.head, config.size)
    frozen = config.batch_norm == "frozen"
    return Predictor(backbone, head, frozen_statistics=frozen).to(memory_format=torch.channels_last).train()


def new_head(backbone: nn.Module, task: SupervisedTask, kind: Head, size: int) -> LinearHead | MapsHead:
    """A head of a kind for a task, on a network that sees images of ``size`` x ``size``.

    Raises:
        ConfigError: if the kind does not fit the task or the network.
    """
    if kind == "maps" and not isinstance(task, Points):
        cause = f"maps say where points are, and the task {task.name} has none"
        raise ConfigError("--finetune.head", cause, "Use --finetune.head linear.")
    training = backbone.training
    backbone.eval()
    with torch.inference_mode():
        images = torch.zeros(1, 3, size, size)
        shape = (feature_maps(backbone, images) if kind == "maps" else backbone(images).flatten(1)).shape
    backbone.train(training)
    if kind == "linear":
        return LinearHead(shape[1], task.outputs, bounded=task.bounded)
    assert isinstance(task, Points)
    return MapsHead(shape[1], shape[2], task.count, task.axes)
