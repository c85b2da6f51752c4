"""How much memory a step takes: estimated without computing it, and tried out for the largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from frl.config import CropSpec, RunConfig
from frl.errors import ConfigError
from frl.objectives import Objective, Setting
from frl.runtime.distributed import World
from frl.runtime.precision import Autocast, autocast_for, uses_bf16
from frl.training.build import new_objective
from frl.training.optimisers import build_optimiser
from frl.training.resume import kept_options

GIB = 1 << 30
USABLE = 0.92  # share of a GPU that a tried step may fill; the loader's images and fragments need the rest
FEWEST = 2  # identities that an objective of identities can work with
MULTIPLE = 8  # images per GPU: tensor cores like it
CPU = torch.device("cpu")

# Operations on maps (N, C, H, W) whose result for an image is of its own map alone, but for means over all of them.
OF_EACH_IMAGE = {
    torch.ops.aten._to_copy.default,
    torch.ops.aten.add_.Tensor,
    torch.ops.aten.convolution.default,
    torch.ops.aten.max_pool2d_with_indices.default,
    torch.ops.aten.native_batch_norm.default,
    torch.ops.aten.relu_.default,
}


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes on one device.

    Attributes:
        state: weights, buffers such as a queue, gradients, and what the optimiser keeps.
        activations: what the forward pass of one micro-batch leaves for its backward pass, and all views of the step.
    """

    state: int
    activations: int

    def __str__(self) -> str:
        activations, state = self.activations / GIB, self.state / GIB
        return f"{activations:.2f} GiB of activations, {state:.2f} GiB of weights, gradients and momentum a process"


class Uncompiled(TorchDispatchMode):
    """A dispatch mode without the wrapper that hides it from torch's compiler, and imports that for it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class OneImage(Uncompiled):
    """Within it operations on maps are carried out for one image of all, and initial values are not drawn.

    What an operation would give for all images is allocated and not written: it costs neither time nor, where the
    system provides a page when it is written, memory. Everything else is computed, on whatever is there.
    """

    def __torch_dispatch__(
        self, operation: Any, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        in_place = operation._schema.name.endswith("_")
        if torch.Tag.nondeterministic_seeded in operation.tags:
            with torch.random.fork_rng(devices=[]):
                return args[0] if in_place else operation(*args, **kwargs)
        if operation not in OF_EACH_IMAGE or args[0].dim() != 4:
            return operation(*args, **kwargs)
        if in_place:
            return args[0]
        results = operation(args[0][:1], *args[1:], **kwargs)
        if isinstance(results, torch.Tensor):
            return _for_all(results, len(args[0]))
        return tuple(_for_all(result, len(args[0])) for result in results)


def _for_all(result: torch.Tensor, images: int) -> torch.Tensor:
    """Room for a result, which is of one image, for all of them; what is no map, such as a mean over them, stays."""
    if result.dim() != 4:
        return result
    return result.new_empty_strided((images, *result.shape[1:]), (result.numel(), *result.stride()[1:]))


class Ledger(Uncompiled):
    """Keeps account of the storages that operations allocate within a ``with`` block."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: dict[int, tuple[StorageWeakRef, int]] = {}

    @property
    def live(self) -> int:
        """Bytes alive now."""
        return sum(size for storage, size in self._entries.values() if not storage.expired())

    def __torch_dispatch__(
        self, operation: Any, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._entries[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return result


def step_memory(
    config: RunConfig, images: int, bf16: bool, identities: int = FEWEST, device: torch.device = CPU
) -> StepMemory:
    """What a step needs that shows ``images`` at once to one device.

    The forward pass runs on tensors without content: next to nothing is computed. The backward pass frees
    activations as it makes gradients, so the sum is about the peak, but for what convolution libraries borrow. A
    compiled backbone needs somewhat less.

    Args:
        config: of the run.
        images: of one micro-batch on one device.
        bf16: whether the network computes in bf16.
        identities: in the data.
        device: that trains.
    """
    autocast: Autocast = (lambda: torch.autocast("cpu", dtype=torch.bfloat16)) if bf16 else nullcontext
    shapes, objective = without_content(config, identities, device)
    with shapes:
        state = sum(tensor.nbytes for tensor in [*objective.parameters(), *objective.buffers()])
        learning = sum(parameter.nbytes for parameter in objective.parameters() if parameter.requires_grad)
        with Ledger() as ledger:
            views = [blank_view(spec, images, bf16, torch.device("cpu")) for spec in config.augment.crops]
            loss = loss_of(objective, views, autocast)
        assert loss.requires_grad  # and so holds what the backward pass needs
        waiting = (config.optim.accumulate - 1) * sum(view.nbytes for view in views)
        return StepMemory(state=state + (1 + config.optim.moments) * learning, activations=ledger.live + waiting)


def without_content(
    config: RunConfig, identities: int, device: torch.device
) -> tuple[AbstractContextManager, Objective]:
    """The objective of a run without values, and within what its operations have shapes alone.

    torch's own way to do it imports torch's compiler, which takes nearly as long as the import of torch itself. A run
    on a GPU compiles its network and a network of timm imports it in any case. For a ResNet on a CPU it is not needed.
    """
    if device.type == "cpu" and not config.model.is_timm:
        with OneImage() as shapes:
            return shapes, alone(config, identities)
    with torch.device("meta"):  # where timm can build its networks, too
        objective = alone(config, identities)
    with FakeTensorMode(allow_non_fake_inputs=True) as shapes:
        return shapes, objective.to_empty(device="cpu")


def alone(config: RunConfig, identities: int = FEWEST) -> Objective:
    """The objective of a run as if this process were the only one: it calls no collective."""
    return new_objective(config, Setting.of(config, steps_per_epoch=1, ranks=1, identities=identities))


def blank_view(spec: CropSpec, images: int, bf16: bool, device: torch.device) -> torch.Tensor:
    """A view of the right shape and layout, ``(count * images, 3, size, size)``, of zeros."""
    shape = (spec.count * images, 3, spec.size, spec.size)
    dtype = torch.bfloat16 if bf16 else torch.float32
    return torch.empty(shape, dtype=dtype, device=device, memory_format=torch.channels_last).zero_()


def loss_of(objective: Objective, views: Sequence[torch.Tensor], autocast: Autocast) -> torch.Tensor:
    """The loss of one micro-batch of one person."""
    labels = torch.zeros(len(views[0]) // objective.crop_counts[0], dtype=torch.int64, device=views[0].device)
    with autocast():
        return objective(views, labels).loss


def with_largest_batch(config: RunConfig, world: World, identities: int = FEWEST, beside: int = 0) -> RunConfig:
    """``config`` with the largest batch that the GPUs hold; a run that goes on keeps its own. A collective call.

    Args:
        config: of the run.
        world: this process among the ranks.
        identities: in the data.
        beside: bytes that the loader needs on a GPU for each image of its share of a step.

    Raises:
        ConfigError: without a GPU, or if not even a few images fit.
    """
    if kept := kept_options(config, world):
        return _with_batch(config, kept["optim"]["batch_size"])
    if world.device.type != "cuda":
        cause = "the largest batch that fits is found by trying it on a GPU, and there is none"
        raise ConfigError("--optim.batch-size", cause, "Give a number; the start-up table says what memory it takes.")
    images = largest(lambda count: fits(config, count, world.device, identities, beside), MULTIPLE, limit=1 << 16)
    found = torch.tensor(images, device=world.device)
    if world.size > 1:
        dist.all_reduce(found, dist.ReduceOp.MIN)
    if not found:
        cause = f"not even {MULTIPLE} images at once fit this GPU"
        raise ConfigError("--optim.batch-size", cause, "Use --recompute, smaller --augment.crops or a smaller --model.")
    return _with_batch(config, int(found) * world.size * config.optim.accumulate)


def _with_batch(config: RunConfig, batch: int) -> RunConfig:
    return replace(config, optim=replace(config.optim, batch_size=batch), objective=config.objective.fitted(batch))


def fits(config: RunConfig, images: int, device: torch.device, identities: int = FEWEST, beside: int = 0) -> bool:
    """Whether a step that shows ``images`` at once to a GPU stays within its memory; by doing it."""
    torch.cuda.set_per_process_memory_fraction(USABLE, device)
    try:
        whole = images * config.optim.accumulate  # the loader's share of a step
        held = torch.empty(whole * beside, dtype=torch.uint8, device=device)
        take_two_steps(config, images, device, identities)
        del held
        return True
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        torch.cuda.empty_cache()


def take_two_steps(config: RunConfig, images: int, device: torch.device, identities: int = FEWEST) -> None:
    """Take two steps that move nothing; the second time the momentum is there. All tensors end with the call.

    Raises:
        torch.OutOfMemoryError: if the memory does not suffice.
    """
    objective = alone(config, identities).to(device).to(memory_format=torch.channels_last)
    optimiser = build_optimiser(replace(config.optim, start_lr=0.0), objective)
    bf16 = uses_bf16(config.precision)
    views = [blank_view(spec, images, bf16, device) for spec in config.augment.crops]
    for _ in range(2):
        optimiser.zero_grad()
        loss_of(objective, views, autocast_for(config.precision, device)).backward()
        optimiser.step()
    torch.cuda.synchronize(device)


def largest(fits: Callable[[int], bool], multiple: int, limit: int) -> int:
    """The largest multiple of ``multiple`` up to ``limit`` that fits; 0 if none does.

    Doubles until something does not fit, then halves the gap: about ``2 * log2(answer / multiple)`` trials.

    Args:
        fits: whether a size fits; if one does, so do the smaller ones.
        multiple: step and smallest size.
        limit: nothing larger is tried.
    """
    good, bad = 0, limit // multiple + 1
    while good < bad - 1:
        size = min(max(1, 2 * good), bad - 1) if bad == limit // multiple + 1 else (good + bad) // 2
        good, bad = (size, bad) if fits(size * multiple) else (good, size)
    return good * multiple
