"""An objective of your own, trained: python own_objective.py faces.beton runs/own; on all GPUs:
bash scripts/pretrain_ffcv.sh --objective own_objective.py:UniformityConfig --data faces.beton --objective.weight 0.5"""

import sys
from dataclasses import dataclass

import torch

import frl
from frl.config import ObjectiveConfig
from frl.objectives import Metric, Objective, StepOutput


@dataclass(frozen=True, kw_only=True)
class UniformityConfig(ObjectiveConfig, name="uniformity", implementation=f"{__name__}:Uniformity"):
    """Crops of an image close together, images spread out over the sphere (Wang and Isola, 2020)."""

    weight: float = 1.0  # of the spread in the loss


class Uniformity(Objective):
    def __init__(self, config, backbone, width, setting):
        super().__init__(backbone, setting)
        self.weight, self.head = config.weight, torch.nn.Linear(width, 32)

    def forward(self, views, labels=None, targets=None):
        crops = torch.nn.functional.normalize(self.head(self.encode(views)).float())
        first, *others = crops.chunk(sum(self.crop_counts))  # each (B, 32)
        alignment = torch.stack([(first - other).square().sum(1).mean() for other in others]).mean()
        spread = torch.pdist(first).square().mul(-2).exp().mean().log()  # over the images of this micro-batch
        return StepOutput(alignment + self.weight * spread, first.detach(), {"alignment": alignment.detach()})

    @classmethod
    def metrics(cls, config):
        return (Metric(name="loss", title="Loss"), Metric(name="alignment", title="Alignment", lower=0))


if __name__ == "__main__":
    frl.pretrain("cpu", data=sys.argv[1], out=sys.argv[2], objective=UniformityConfig(weight=0.5))
