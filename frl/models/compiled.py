"""How the backbone is called for each crop size: eagerly, or as one compiled static graph per size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from frl.config import RunConfig
from frl.runtime.distributed import World
from frl.runtime.precision import autocast_for, uses_bf16

Encoder = Callable[[torch.Tensor], torch.Tensor]
WARM_UPS = 2
TRIALS = 5


def choose_encoders(backbone: nn.Module, config: RunConfig, world: World) -> list[Encoder]:
    """One encoder per crop size. A collective call; all ranks choose alike.

    ``config.compile`` decides; under ``auto`` a GPU times both ways, and the faster is used and printed. The two ways
    round differently, so a resumed run that chooses otherwise goes on within tolerance, not bit for bit: ``on`` and
    ``off`` fix the choice.
    """
    eager: list[Encoder] = [backbone] * len(config.augment.crops)
    if config.compile == "off" or (config.compile == "auto" and world.device.type == "cpu"):
        return eager
    # DDP's own splitting overlaps communication within one graph; here each crop size is a graph of its own, and a
    # graph for all of them would have dynamic shapes and be slower.
    torch._dynamo.config.optimize_ddp = False
    compiled: list[Encoder] = [torch.compile(backbone, dynamic=False) for _ in eager]
    if config.compile == "on":
        return compiled
    contest = Contest(backbone, config, world)
    return contest.faster({"eager": eager, "compiled": compiled})


class Contest:
    """Times forward and backward passes of the backbone on views of the run's shapes, and leaves no trace in it."""

    def __init__(self, backbone: nn.Module, config: RunConfig, world: World) -> None:
        self.backbone = backbone
        self.world = world
        self.autocast = autocast_for(config.precision, world.device)
        images = config.images_at_once(world.size)
        dtype = torch.bfloat16 if uses_bf16(config.precision, world.device) else torch.float32
        noise = torch.Generator(world.device).manual_seed(0)
        self.views = [
            torch.randn(
                spec.count * images, 3, spec.size, spec.size, dtype=dtype, device=world.device, generator=noise
            ).to(memory_format=torch.channels_last)
            for spec in config.augment.crops
        ]

    def faster(self, ways: dict[str, list[Encoder]]) -> list[Encoder]:
        """The encoders that take the least time, averaged over the ranks; prints the times."""
        times = self.world.mean(torch.tensor([self.seconds(way) for way in ways.values()], device=self.world.device))
        best = list(ways)[int(times.argmin())]
        if self.world.is_main:
            told = ", ".join(f"{name} {1e3 * time:.1f} ms" for name, time in zip(ways, times.tolist(), strict=True))
            print(f"{'backbone':>9}  {told}: {best}")
        return ways[best]

    def seconds(self, encoders: Sequence[Encoder]) -> float:
        """The shortest time of a few trials, after those that compile and warm up; infinite if it does not work."""
        before = [(buffer, buffer.clone()) for buffer in self.backbone.buffers()]
        try:
            return min([self.trial(encoders) for _ in range(WARM_UPS + TRIALS)][WARM_UPS:])
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # no compiler here, or one that fails: dynamo's and inductor's errors are these
            if self.world.is_main:
                print(f"{'backbone':>9}  not compiled: {str(error).strip().splitlines()[0]}")
            return float("inf")
        finally:
            for buffer, value in before:
                buffer.copy_(value)
            self.backbone.zero_grad(set_to_none=True)

    def trial(self, encoders: Sequence[Encoder]) -> float:
        """Seconds of one forward and backward pass over every crop size."""
        self._wait()
        began = time.perf_counter()
        for encode, view in zip(encoders, self.views, strict=True):
            with self.autocast():
                pooled = encode(view)
            pooled.float().sum().backward()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.world.device.type == "cuda":
            torch.cuda.synchronize(self.world.device)
