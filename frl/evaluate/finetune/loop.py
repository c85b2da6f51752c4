"""Fine-tuning: a backbone and a head learn a task, and the weights that suit held-out training data best are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from frl.batch import Batch, LabelledBatch, LabelledLoader
from frl.config.finetune import FinetuneConfig
from frl.errors import TrainingError
from frl.evaluate.features import extract_features
from frl.evaluate.finetune.network import Predictor, predictor
from frl.evaluate.finetune.progress import Check, Progress, State
from frl.evaluate.finetune.rates import momentum, optimiser_of, set_rates_of
from frl.models.batchnorm import ENOUGH_IMAGES, join_group, synchronise
from frl.models.small_maps import adapt_convolutions
from frl.objectives import across_ranks
from frl.objectives.momentum import follow, teacher_of
from frl.runtime.distributed import World
from frl.runtime.precision import autocast_for, computes_bf16, uses_bf16
from frl.tasks.task import SupervisedTask, Truth
from frl.training.nonfinite import BufferGuard, tell_all_ranks
from frl.training.parallel import averaged

ALONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
MOST_SKIPPED = 0.5
"""Share of the steps between two checks that may have an infinite or undefined gradient."""


class Judged(NamedTuple):
    """Images with their truth.

    Attributes:
        batches: this rank's share of the images, each batch of one view; the shares follow each other in the order of
            the ranks. It is iterated at every check.
        truth: of all ranks' images.
    """

    batches: Iterable[Batch]
    truth: Truth


@dataclass(frozen=True, kw_only=True)
class Finetuned:
    """What fine-tuning gave.

    Attributes:
        predictions: ``(N, K)`` float32, what is said of the test images.
        network: the weights that were chosen, on the device, in evaluation mode.
        step: after which they were.
        history: the checks, in order.
    """

    predictions: NDArray[np.float32]
    network: Predictor
    step: int
    history: tuple[Check, ...]


def finetune(
    backbone: nn.Module,
    task: SupervisedTask,
    train: LabelledLoader,
    validation: Judged | None,
    test: Iterable[Batch],
    config: FinetuneConfig,
    *,
    world: World = ALONE,
    folder: Path | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> Finetuned:
    """Fine-tune a copy of a backbone, with a new head, and predict the test images. A collective call.

    The averaged weights are judged at every check by the task's headline on ``validation``; the best are kept, the
    earlier of equal ones. The test images are looked at once, at the end.

    Args:
        backbone: images ``(B, 3, size, size)`` to pooled features; it stays as it is.
        task: what is learned.
        train: augmented batches of this rank, with the targets of ``task``.
        validation: held-out training data; None: the last weights are taken.
        test: this rank's share of the test images.
        config: already checked.
        world: this process among the ranks.
        folder: where checkpoints are kept, from which an interrupted run goes on bit for bit; None: nowhere.
        on_check: told of every check, on the main rank.

    Raises:
        ConfigError: if the head does not fit the task or the network.
        CheckpointError: if ``folder`` holds another run.
        TrainingError: if the loss or its gradients are not finite in most steps.
    """
    tuning = Tuning(backbone, task, train, config, world)
    progress = Progress.resume(folder, tuning.identity, world)
    tuning.load(progress.state)
    for stop in config.check_steps:
        if stop <= tuning.taken:
            continue
        loss = tuning.train(stop)
        score = tuning.judge(validation)
        check = Check(step=stop, loss=loss, score=score)
        progress.note(check, tuning.averaged_state, higher_is_better=score is None or score.higher_is_better)
        progress.save(tuning.state)
        if world.is_main:
            on_check(check)
    network = tuning.average
    network.load_state_dict(progress.best)
    network.eval()
    return Finetuned(
        predictions=tuning.predict(test),
        network=network,
        step=progress.best_step,
        history=tuple(progress.history),
    )


class Tuning:
    """The network, its averaged weights and its optimiser, at some step.

    Attributes:
        average: the network with the averaged weights.
        taken: steps taken.
    """

    def __init__(
        self, backbone: nn.Module, task: SupervisedTask, train: LabelledLoader, config: FinetuneConfig, world: World
    ) -> None:
        self.task, self.loader, self.config, self.world = task, train, config, world
        self.network = predictor(backbone, task, config)
        self._start_head()
        self.identity = Progress.identity_of(config, task, train, self.network)
        self.average = teacher_of(self.network)
        if world.device.type == "cpu":
            for network in (self.network, self.average):
                adapt_convolutions(network.backbone)
        if world.size > 1 and config.batch_size // world.size < ENOUGH_IMAGES:
            synchronise(self.network, join_group(0))
            self.network.train()
        self.network.to(world.device), self.average.to(world.device)
        self.optimiser = optimiser_of(self.network, config)
        self.model = averaged(self.network, world)
        self.guard = BufferGuard(self.network)
        self.precision = precision_of(config, world.device)
        self.autocast = autocast_for(self.precision, world.device)
        self.taken = 0

    def _start_head(self) -> None:
        """Let the head begin with the mean of what it is to say."""
        start = getattr(self.network.head, "start_at", None)
        if start is not None:
            start(self.task.encode(self.loader.targets, self.loader.sides).nanmean(0))

    def train(self, stop: int) -> float:
        """Take the steps up to ``stop``; the mean loss of those that counted.

        Raises:
            TrainingError: if too many did not.
        """
        losses, counted, steps = torch.zeros((), device=self.world.device), 0, stop - self.taken
        finite = torch.zeros((), device=self.world.device)
        self.network.train()
        for batch in self.loader.batches(self.taken, stop):
            loss = self.step(batch)
            finite += self.optimiser.finite
            losses += torch.where(self.optimiser.finite, loss, 0)
        counted = int(finite)
        if counted < (1 - MOST_SKIPPED) * steps:
            cause = f"{steps - counted} of {steps} steps had an infinite or undefined loss or gradient"
            raise TrainingError(f"step {stop}", cause, "Lower --finetune.lr and --finetune.head-lr, or use fp32.")
        return float(losses) / counted

    def step(self, batch: LabelledBatch) -> Tensor:
        """Learn from a batch of this rank; the loss of all ranks' joined batch. Nothing waits for the device."""
        set_rates_of(self.optimiser, self.taken, self.config)
        self.optimiser.zero_grad(set_to_none=True)
        self.guard.remember()
        encoded = self.task.encode(batch.targets, batch.sides)
        with self.autocast():
            predicted = self.model(batch.images)
        if self.world.size > 1:
            predicted, encoded = across_ranks.gather(predicted), torch.cat(self.world.gather(encoded))
        loss = self.task.loss(predicted, encoded)
        tell_all_ranks(loss).backward()
        self.optimiser.step()
        self.guard.settle(self.optimiser.finite)
        follow(self.average, self.network, momentum(self.taken, self.config), self.optimiser.finite)
        self.taken += 1
        return loss.detach()

    def judge(self, validation: Judged | None) -> Any:
        """The headline of the averaged weights; None without validation data."""
        self._take_statistics()
        if validation is None:
            return None
        return self.task.score(self.predict(validation.batches), validation.truth)[self.task.headline]

    @torch.no_grad()
    def _take_statistics(self) -> None:
        """BatchNorm of the averaged weights goes by the main rank's running statistics."""
        self.world.follow_main(self.network.buffers())
        for ours, theirs in zip(self.average.buffers(), self.network.buffers(), strict=True):
            ours.copy_(theirs)

    def predict(self, batches: Iterable[Batch]) -> NDArray[np.float32]:
        """What the averaged weights say of all ranks' images, ``(N, K)``."""
        network = FlipTested(self.average, self.task) if self.config.flip_test else self.average
        dtype = torch.bfloat16 if uses_bf16(self.precision) else None
        said = extract_features(network, batches, normalise=False, autocast=dtype).vectors
        return self.world.gather_rows(said).cpu().numpy()

    @property
    def averaged_state(self) -> State:
        """The averaged weights, on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.average.state_dict().items()}

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {
            "step": self.taken,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load(self, state: dict[str, Any] | None) -> None:
        """Go on from what ``state`` gave; None: from the beginning."""
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.taken = state["step"]


class FlipTested(nn.Module):
    """The mean of what a network says of an image and, mirrored back, of its mirror image."""

    def __init__(self, network: nn.Module, task: SupervisedTask) -> None:
        super().__init__()
        self.network, self.task = network, task

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` to ``(B, K)``."""
        return (self.network(images) + self.task.mirror(self.network(images.flip(3)))) / 2


def precision_of(config: FinetuneConfig, device: torch.device) -> str:
    """The number format of the network: as asked for; auto is bf16 on a GPU that computes it, else fp32."""
    if config.precision != "auto":
        return config.precision
    return "bf16" if device.type == "cuda" and computes_bf16(device) else "fp32"
