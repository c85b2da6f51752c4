"""SwAV: swapped prediction of cluster assignments between the crops of an image (Caron et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import nn

from frl.config import RunConfig, SwAVConfig
from frl.errors import ConfigError
from frl.models.backbone import FaceNet, recompute_blocks
from frl.models.batchnorm import join_group, shares_statistics, synchronise
from frl.models.compiled import choose_encoders
from frl.models.small_maps import adapt_convolutions
from frl.objectives.sinkhorn import sinkhorn
from frl.runtime.distributed import World


def swapped_prediction_loss(assignments: torch.Tensor, scores: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy between each assignment and the predictions from all *other* crops (eq. 2, multi-crop eq. 6).

    With rows of the assignments summing to one, the cross-entropy is ``logsumexp(s/T) - <q, s>/T``: the
    log-softmax over the prototypes is never materialised.

    Args:
        assignments: ``(A, B, K)`` of the first A crops; constants.
        scores: ``(V, B, K)`` of all V crops, the first A in the same order.
        temperature: of the softmax.

    Returns:
        Scalar: mean over samples and over the A * (V - 1) pairs.
    """
    crops, assigned = len(scores), len(assignments)
    logits = scores / temperature
    agreement = torch.einsum("abk,vbk->avb", assignments, logits)
    cross_entropy = (logits.logsumexp(-1).unsqueeze(0) - agreement).mean(-1)
    other = 1 - torch.eye(assigned, crops, device=scores.device)
    return (cross_entropy * other).sum() / (assigned * (crops - 1))


class SwAV(nn.Module):
    """The objective: from the views of a batch to the loss and what is worth logging.

    Args:
        net: the network to train.
        config: temperature, Sinkhorn and queue.
        crop_counts: crops per image of each resolution; assignments are made on the first resolution's.
        local_queue: queue length on this rank (the configured length divided by the world size); 0: no queue.
        queue_from_step: first step at which a full queue takes part in the assignment.
        freeze_steps: steps during which the prototypes do not learn.
        encode: how the backbone is called for each resolution; compiled callables go here.
    """

    def __init__(
        self,
        net: FaceNet,
        config: SwAVConfig,
        *,
        crop_counts: Sequence[int],
        local_queue: int = 0,
        queue_from_step: int = 0,
        freeze_steps: int = 0,
        encode: Sequence[Callable[[torch.Tensor], torch.Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.config = config
        self.crop_counts = tuple(crop_counts)
        self.queue_from_step = queue_from_step
        self.freeze_steps = freeze_steps
        self.encode: list[Callable[[torch.Tensor], torch.Tensor]] = list(
            encode or [net.backbone] * len(self.crop_counts)
        )
        self.step = 0
        width = net.prototypes.in_features
        self.register_buffer("queue", torch.zeros(self.crop_counts[0], local_queue, width), persistent=False)
        self.queue: torch.Tensor
        self.queue_filled = 0
        self.batch = 0

    @property
    def assigned(self) -> int:
        """Crops per image on which assignments are made."""
        return self.crop_counts[0]

    def forward(
        self, views: Sequence[torch.Tensor], assignments: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Loss of one batch.

        Args:
            views: one ``(count * B, 3, size, size)`` tensor per resolution, crop-major.
            assignments: ``(A, B, K)``, if they were made together with those of other samples; None: make them.

        Returns:
            What ``report`` says of the batch; the loss alone if the assignments were given.
        """
        features = self.embed(views)
        scores = self.net.score(features)
        if assignments is not None:
            return {"loss": swapped_prediction_loss(assignments, scores, self.config.temperature)}
        assigned = features[: self.assigned].detach()
        assignments, entropy = self.assign(assigned, scores[: self.assigned].detach())
        loss = swapped_prediction_loss(assignments, scores, self.config.temperature)
        return self.report(loss, assigned, assignments, entropy)

    def embed(self, views: Sequence[torch.Tensor]) -> torch.Tensor:
        """Unit features ``(V, B, D)`` of all V crops of B samples, float32; BatchNorm sees them all."""
        pooled = torch.cat([encode(view) for encode, view in zip(self.encode, views, strict=True)])
        return self.net.project(pooled).unflatten(0, (sum(self.crop_counts), -1))

    def report(
        self, loss: torch.Tensor, features: torch.Tensor, assignments: torch.Tensor, entropy: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The loss and what is worth logging; all of it stays on the device.

        Args:
            loss: scalar.
            features: ``(A, B, D)`` of the assigned crops, without gradient.
            assignments: ``(A, B, K)``.
            entropy: scalar, mean entropy of an image's assignment.

        Returns:
            ``loss`` (with gradient if it had one); ``spread`` (scalar: standard deviation of the unit features over
            the batch times the square root of their width; 1 when isotropic, 0 when collapsed), ``features``
            ``(B, D)``: unit features of the first crop, ``usage`` ``(K,)``: the assigned mass of each prototype,
            summing to 1, and ``assignment_entropy`` (scalar: ``entropy`` as a share of ln K).
        """
        return {
            "loss": loss,
            "spread": (features[0].var(0).mean() * features.shape[-1]).sqrt(),
            "features": features[0],
            "usage": assignments.mean((0, 1)),
            "assignment_entropy": entropy / math.log(assignments.shape[-1]),
        }

    @torch.no_grad()
    def assign(self, features: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Assign the batch, balanced together with the queue once that is full and due; then queue its features.

        Args:
            features: ``(A, B, D)``.
            scores: ``(A, B, K)`` of the features.

        Returns:
            Assignments ``(A, B, K)`` and the mean of their entropy, a scalar.
        """
        batch = scores.shape[1]
        if self.queue_filled and self.queue_filled >= self.queue.shape[1] and self.step >= self.queue_from_step:
            scores = torch.cat([scores, self.net.score(self.queue)], dim=1)
        log_assignments = sinkhorn(scores, self.config.epsilon, self.config.sinkhorn_iterations)[:, :batch]
        assignments = log_assignments.exp()
        if self.queue.shape[1]:
            self.queue.copy_(torch.cat([features, self.queue], dim=1)[:, : self.queue.shape[1]])
            self.queue_filled = min(self.queue_filled + batch, self.queue.shape[1])
            self.batch = batch
        return assignments, -torch.linalg.vecdot(assignments, log_assignments).mean()

    def before_step(self, step: int) -> None:
        """Between backward and the optimiser's step: keep the prototypes still while they are frozen."""
        if step < self.freeze_steps:
            self.net.prototypes.weight.grad = None

    def after_step(self, step: int) -> None:
        """After the optimiser's step: back to unit prototypes."""
        self.net.normalise_prototypes()
        self.step = step + 1

    def load_progress(self, step: int, queue: torch.Tensor, rank: int, world_size: int) -> None:
        """Go on from ``step`` with this rank's share of a queue that ``gather_queue`` returned."""
        self.step = step
        if not queue.numel():
            return
        mine = queue.chunk(world_size, dim=2)[rank]
        self.batch = mine.shape[2]
        self.queue_filled = mine.shape[1] * mine.shape[2]
        self.queue[:, : self.queue_filled] = mine.flatten(1, 2)

    def gather_queue(self, world_size: int) -> torch.Tensor:
        """The filled part of the queue over all ranks, ``(A, steps, batch, D)``, newest step first. A collective call.

        The steps stay whole, so that another number of ranks can share them out anew.
        """
        local = self.queue[:, : self.queue_filled]
        if not local.numel():
            return local.new_zeros(0)
        local = local.unflatten(1, (-1, self.batch)).contiguous()
        if world_size == 1:
            return local.clone()
        parts = [torch.empty_like(local) for _ in range(world_size)]
        dist.all_gather(parts, local)
        return torch.cat(parts, dim=2)


def build_objective(config: RunConfig, steps_per_epoch: int, world: World) -> SwAV:
    """The network and its objective on this rank's device; every rank starts from the same weights. A collective call.

    Raises:
        ConfigError: if the batch or the ranks cannot be divided as configured.
    """
    _check_shares(config, world)
    torch.manual_seed(config.seed)
    net = FaceNet(config.model).to(memory_format=torch.channels_last)
    if world.device.type == "cpu":
        adapt_convolutions(net.backbone)
    if config.recompute:
        recompute_blocks(net.backbone)
    if shares_statistics(config, world):
        synchronise(net, join_group(config.model.batch_norm_group))
    net.to(world.device)
    freeze = config.swav.freeze_prototypes_steps
    return SwAV(
        net,
        config.swav,
        crop_counts=[spec.count for spec in config.augment.crops],
        local_queue=config.swav.queue_length // world.size,
        queue_from_step=config.swav.queue_from_epoch * steps_per_epoch,
        freeze_steps=steps_per_epoch if freeze < 0 else freeze,
        encode=choose_encoders(net.backbone, config, world),
    ).to(world.device)


def _check_shares(config: RunConfig, world: World) -> None:
    batch, parts = config.optim.batch_size, config.optim.accumulate
    if batch % (world.size * parts):
        cause = f"{batch} images cannot be shared equally by {world.size} processes times {parts} micro-batches"
        raise ConfigError("--optim.batch-size", cause, f"Use a multiple of {world.size * parts}.")
    group = config.model.batch_norm_group
    if group and world.size % group:
        cause = f"{world.size} processes cannot be divided into groups of {group}"
        raise ConfigError("--model.batch-norm-group", cause, "Use a divisor of the number of processes, or 0 for all.")
