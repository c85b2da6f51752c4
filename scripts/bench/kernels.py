"""Count the operations of a training step that start kernels on a GPU, part by part; on shapes alone, without a GPU.

    python scripts/bench/kernels.py [PRESET]

The step runs eagerly on tensors without content, and every operation that computes or copies is counted once. Most are
one kernel; a convolution may be a few, and an operation over a list of tensors (``_foreach_*``) takes one for some
dozens of them. A compiled backbone fuses what lies between its convolutions: this counts what it starts from.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from kernels_table import in_words
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from frl import console
from frl.config import RunConfig
from frl.presets import preset
from frl.runtime.distributed import World
from frl.training.memory import alone, blank_view
from frl.training.step import Step

IMAGES = 8  # of a step; the count does not depend on it
FREE = {"detach", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view"}


class Parts(TorchDispatchMode):
    """Counts operations by name, for each part of the step.

    Attributes:
        part: which is under way.
        counts: operations of each part.
    """

    def __init__(self) -> None:
        super().__init__()
        self.part = "the rest"
        self.counts: dict[str, Counter[str]] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = operation.overloadpacket.__name__
        if operation.namespace == "aten" and not operation.is_view and name not in FREE:
            self.counts.setdefault(self.part, Counter())[name] += 1
        return operation(*args, **(kwargs or {}))

    def during(self, part: str, function: Callable[..., Any], then: str = "the rest") -> Callable[..., Any]:
        """``function``, whose operations belong to ``part``; what follows belongs to ``then``."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.part = part
            result = function(*args, **kwargs)
            self.part = then
            return result

        return counted


def count(config: RunConfig) -> dict[str, Counter[str]]:
    """The operations of a step of ``config`` with bf16 autocast, by part."""
    config = replace(config, precision="bf16", optim=replace(config.optim, batch_size=IMAGES))
    world = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
    with FakeTensorMode():
        objective = alone(config)
        step = Step(config, objective, 100, world)
        views = [blank_view(spec, IMAGES, True, world.device) for spec in config.augment.crops]
        labels = torch.zeros(IMAGES, dtype=torch.int64)
        step(views, labels)  # makes the momentum
        parts = Parts()
        for owner, name, part, then in (
            (step.model, "forward", "forward", "backward"),
            (step.optimiser, "step", "optimiser", "the rest"),
            (step.guard, "remember", "guard of the buffers", "the rest"),
            (step.guard, "settle", "guard of the buffers", "the rest"),
        ):
            setattr(owner, name, parts.during(part, getattr(owner, name), then))
        with parts:
            step(views, labels)
    return parts.counts


def main() -> None:
    """Count and print."""
    name = sys.argv[1] if len(sys.argv) > 1 else "vggface2"
    print(in_words(count(preset(name).config)))


if __name__ == "__main__":
    sys.exit(console.run("bench kernels", main))
