"""The training step as published recipes of SwAV take it, for comparison: correct, and plainly written.

What it does and ours does not: contiguous (NCHW) images; float16 with a gradient scaler on a GPU; SyncBatchNorm; a
Python loop over the parameters for LARC, with two branches on the host each; the assignments one crop at a time,
normalised with a sum over the ranks for every row and column step; the loss crop by crop; ``item()`` at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from frl.config import RunConfig, SwAVConfig
from frl.objectives import Setting
from frl.training.build import new_objective


class ReferenceStep:
    """One step after the other on the same network as ours.

    Args:
        config: of the run; float32 on a CPU, float16 on a GPU.
        device: where it trains.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        net: Any = new_objective(config, Setting.of(config, steps_per_epoch=1, ranks=1))  # SwAV's parts by name
        if device.type == "cuda" and dist.is_initialized():  # stock SyncBatchNorm runs on GPUs alone
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        self.net = net.to(device)
        self.config = config
        assert isinstance(config.objective, SwAVConfig)
        self.objective = config.objective
        self.device = device
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=0.0, momentum=config.optim.momentum)
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")

    def __call__(self, views: Sequence[torch.Tensor]) -> float:
        """Train on the views of a batch, ``(count * B, 3, size, size)`` each, crop-major; the loss."""
        self.net.train()
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            pooled = torch.cat([self.net.backbone(view) for view in views])
            features = F.normalize(self.net.projector(pooled), dim=1)
            scores = self.net.prototypes(features)
        loss = self._loss(scores.float(), len(views[0]) // self.config.augment.crops[0].count)
        self.sgd.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.sgd)
        self._larc()
        self.scaler.step(self.sgd)
        self.scaler.update()
        with torch.no_grad():
            self.net.prototypes.weight.copy_(F.normalize(self.net.prototypes.weight, dim=1))
        return loss.item()

    def _loss(self, scores: torch.Tensor, batch: int) -> torch.Tensor:
        crops = scores.split(batch)
        assigned = self.config.augment.crops[0].count
        total = torch.zeros((), device=self.device)
        for a in range(assigned):
            targets = self._sinkhorn(crops[a].detach())
            others = [crop for index, crop in enumerate(crops) if index != a]
            losses = [-(targets * F.log_softmax(o / self.objective.temperature, dim=1)).sum(1).mean() for o in others]
            total = total + torch.stack(losses).mean()
        return total / assigned

    @torch.no_grad()
    def _sinkhorn(self, scores: torch.Tensor) -> torch.Tensor:
        mass = (scores / self.objective.epsilon).exp().T
        mass /= _summed(mass.sum())
        prototypes, samples = len(mass), mass.shape[1] * (dist.get_world_size() if dist.is_initialized() else 1)
        for _ in range(self.objective.sinkhorn_iterations):
            mass /= _summed(mass.sum(dim=1, keepdim=True)) * prototypes
            mass /= mass.sum(dim=0, keepdim=True) * samples
        return (mass * samples).T

    def _larc(self) -> None:
        optim = self.config.optim
        for group in self.sgd.param_groups:
            group["lr"] = optim.lr
        for parameter in self.net.parameters():
            if parameter.grad is None:
                continue
            weight_norm, grad_norm = parameter.detach().norm(), parameter.grad.norm()
            if weight_norm != 0 and grad_norm != 0:  # two waits for the device
                ratio = optim.trust * weight_norm / (grad_norm + optim.weight_decay * weight_norm + 1e-8)
                parameter.grad.add_(parameter.detach(), alpha=optim.weight_decay).mul_(ratio)


def _summed(values: torch.Tensor) -> torch.Tensor:
    if dist.is_initialized():
        dist.all_reduce(values)
    return values
