"""How the backbone is called for each crop size, and in which number format: as asked for, or as is faster."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from frl.config import RunConfig
from frl.errors import first_line
from frl.models.backbone import build_backbone
from frl.models.calls import Call
from frl.models.resnet import ResNet
from frl.models.small_maps import adapt_convolutions
from frl.runtime.distributed import World
from frl.runtime.precision import autocast_for, uses_bf16

Encoder = Callable[[torch.Tensor], torch.Tensor]
Options = dict[str, Any]  # of torch.compile
WARM_UPS = 2
TRIALS = 5
TRIED_PIXELS = 1 << 17  # for the number format: 64 times two crops of 32 x 32
CLEARLY = 0.85  # of the other's time
CLOSE = 0.1  # to that: once more, at most
MOST_ROUNDS = 3
ALIKE = 0.98  # cosine of the features of two ways that round differently, in bf16 too
MODES = 4  # in which a graph is needed: with and without gradients, with running statistics that move and that are held


def choose_encoders(
    backbone: nn.Module,
    config: RunConfig,
    world: World,
    calls: Sequence[Call] | None = None,
    others: Iterable[Encoder] = (),
) -> list[Encoder]:
    """One encoder per crop size. A collective call; all ranks choose alike.

    ``config.compile`` decides; under ``auto`` a GPU times the ways, and the fastest is used and printed. The ways
    round differently, so a resumed run that chooses otherwise goes on within tolerance, not bit for bit: ``on`` and
    ``off`` fix the choice.

    Args:
        backbone: on ``world.device``.
        config: of the run.
        world: this process among the ranks.
        calls: how a forward pass calls the backbone; None: once for each size, with all of its crops.
        others: encoders that were chosen before, of other backbones.
    """
    eager: list[Encoder] = [backbone] * len(config.augment.crops)
    if config.compile == "off" or (config.compile == "auto" and world.device.type == "cpu"):
        return eager
    import torch._dynamo  # only where something is compiled: it takes as long as torch itself

    # DDP's own splitting overlaps communication within one graph; here each crop size is a graph of its own, and a
    # graph for all of them would have dynamic shapes and be slower.
    torch._dynamo.config.optimize_ddp = False
    allow_recompiles(config)
    # Inductor measures too, which of several kernels is the fastest.
    options: Options = {"options": {"deterministic": True}} if config.deterministic else {}
    compiled: list[Encoder]
    if world.size > 1 and isinstance(backbone, ResNet):
        compiled = [compiled_by_stage(backbone, **options)] * len(eager)
    else:
        compiled = [torch.compile(backbone, dynamic=False, **options)] * len(eager)
    if config.compile == "on":
        return compiled
    contest = Contest(backbone, config, world, calls)
    if replays_are_right(config, world):
        graphs: list[Encoder] = [Replayed(torch.compile(backbone, dynamic=False, mode="reduce-overhead"))] * len(eager)
        if contest.faster({"eager": eager, "CUDA graphs": graphs}) is graphs:
            return graphs  # the compiled kernels without their launches; to compile them twice would take minutes
        if not any(isinstance(other, Replayed) for other in others):  # whose graphs would go, too
            torch.compiler.reset()  # or the memory of a whole step would stay with graphs that nobody replays
            torch.cuda.empty_cache()
    return contest.faster({"eager": eager, "compiled": compiled})


def replays_are_right(config: RunConfig, world: World) -> bool:
    """Whether a step may replay recorded CUDA graphs of the backbone, which write to the same memory each time.

    The gradients that a replay leaves are in that memory: another micro-batch would overwrite what it is to be added
    to. And the graphs of several ranks would have to hold their collectives.
    """
    return world.device.type == "cuda" and world.size == 1 and config.optim.accumulate == 1


class Replayed:
    """An encoder whose results outlive its next call: those of the other crop size, or of a pass without gradients."""

    def __init__(self, encode: Encoder) -> None:
        self.encode = encode

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features, in memory of their own."""
        return self.encode(x).clone()


def compiled_by_stage(backbone: ResNet, **options: Any) -> Encoder:
    """A ResNet as one graph for its stem, one for each of its four stages, and one for its pooling.

    The gradients of a graph all appear at the end of its backward pass. Of one graph for the whole network the first
    bucket would leave for the other ranks when there is nothing left to compute meanwhile. ``options``: of
    ``torch.compile``.
    """

    def stem(x: torch.Tensor) -> torch.Tensor:
        return backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(x))))

    def pooling(x: torch.Tensor) -> torch.Tensor:
        return torch.flatten(backbone.avgpool(x), 1)

    parts: tuple[Encoder, ...] = (stem, backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4, pooling)
    compiled = [torch.compile(part, dynamic=False, **options) for part in parts]

    def encode(x: torch.Tensor) -> torch.Tensor:
        for part in compiled:
            x = part(x)
        return x

    return encode


def allow_recompiles(config: RunConfig) -> None:
    """Let Dynamo keep a graph for every crop size of the run, in every mode and stage; beyond its limit it stays eager.

    Stages of a ResNet share their code, which is what the limit counts.
    """
    sizes = {spec.size for augment in config.augment.by_stage for spec in augment.crops}
    limit = 4 * MODES * (len(sizes) + 1)
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, limit)
    total = torch._dynamo.config.accumulated_recompile_limit
    torch._dynamo.config.accumulated_recompile_limit = max(total, 8 * limit)


def faster_precision(config: RunConfig, world: World) -> Literal["bf16", "fp32"]:
    """The number format in which this processor trains the run's backbone faster, by trying both.

    The run's largest crops show it, as many at once as the run has up to ``TRIED_PIXELS``: of few images the
    conversion of the weights, which is once a step, would be most of the time. The formats take turns on one thread,
    in its own processor time, which other work on the machine changes little. A close result is looked at again, and
    so is a first defeat of bf16, whose kernels are made with its first pass; bf16 is taken where it wins clearly, since
    it is less exact. A collective call; all ranks choose alike.
    """
    crops = max(config.augment.crops, key=lambda spec: spec.count * spec.size**2)
    images = min(config.images_at_once(world.size), TRIED_PIXELS // (crops.count * crops.size**2))
    optim = replace(config.optim, batch_size=max(2, images) * world.size, accumulate=1)
    tried = replace(config, optim=optim, augment=replace(config.augment, crops=(crops,)))
    backbone, _ = build_backbone(config.model.network)
    adapt_convolutions(backbone.to(memory_format=torch.channels_last))
    of_bf16, of_fp32 = (Contest(backbone, replace(tried, precision=name), world) for name in ("bf16", "fp32"))
    with one_thread():
        of_fp32.trial([backbone], time.thread_time)  # takes the memory that both use
        bf16 = fp32 = math.inf
        for turn in range(MOST_ROUNDS):
            found = [contest.trial([backbone], time.thread_time)[0] for contest in (of_bf16, of_fp32)]
            mean = world.mean(torch.tensor(found)).tolist()
            bf16, fp32 = min(bf16, mean[0]), min(fp32, mean[1])
            if bf16 < (CLEARLY - CLOSE) * fp32 or (turn and bf16 > (CLEARLY + CLOSE) * fp32):
                break
    chosen: Literal["bf16", "fp32"] = "bf16" if bf16 < CLEARLY * fp32 else "fp32"
    if world.is_main:
        print(f"{'precision':>9}  bf16 {1e3 * bf16:.1f} ms, fp32 {1e3 * fp32:.1f} ms: {chosen}")
    return chosen


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on the calling thread alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Contest:
    """Times forward and backward passes of the backbone on views of a step's shapes, and leaves no trace in it.

    Args:
        calls: see ``choose_encoders``.
    """

    def __init__(
        self, backbone: nn.Module, config: RunConfig, world: World, calls: Sequence[Call] | None = None
    ) -> None:
        self.backbone = backbone
        self.world = world
        self.expected: torch.Tensor | None = None
        self.autocast = autocast_for(config.precision, world.device)
        images, crops = config.images_at_once(world.size), config.augment.crops
        if calls is None:
            calls = [Call(place, spec.count * images) for place, spec in enumerate(crops)]
        dtype = torch.bfloat16 if uses_bf16(config.precision) else torch.float32
        noise = torch.Generator(world.device).manual_seed(0)
        self.views = [
            (
                call.resolution,
                torch.randn(
                    (call.crops, 3, crops[call.resolution].size, crops[call.resolution].size),
                    dtype=dtype,
                    device=world.device,
                    generator=noise,
                ).to(memory_format=torch.channels_last),
            )
            for call in calls
        ]

    def faster(self, ways: dict[str, list[Encoder]]) -> list[Encoder]:
        """The encoders that take the least time, averaged over the ranks; prints the times."""
        if self.world.is_main:
            tried = f"trying {', '.join(ways)}; compiling what is not in the cache takes a minute or two"
            print(f"{'backbone':>9}  {tried}", flush=True)
        times = self.world.mean(torch.tensor([self.seconds(way) for way in ways.values()], device=self.world.device))
        best = list(ways)[int(times.argmin())]
        if self.world.is_main:
            told = ", ".join(f"{name} {1e3 * time:.1f} ms" for name, time in zip(ways, times.tolist(), strict=True))
            print(f"{'backbone':>9}  {told}: {best}")
        return ways[best]

    def seconds(self, encoders: Sequence[Encoder]) -> float:
        """The shortest time of a few trials, after those that compile and warm up.

        The first way that is tried says what is right. Another that fails, or gives other features, takes for ever.
        """
        before = [(buffer, buffer.clone()) for buffer in self.backbone.buffers()]
        try:
            seconds, features = zip(*[self.trial(encoders) for _ in range(WARM_UPS + TRIALS)], strict=True)
            if self.expected is None:
                self.expected = features[-1]
            elif F.cosine_similarity(self.expected, features[-1]).mean() < ALIKE:
                return self._lost("its features are not those of the network")
            return min(seconds[WARM_UPS:])
        except RuntimeError as error:  # no compiler here, or one that fails: dynamo's and inductor's errors are these
            if self.expected is None and isinstance(error, torch.OutOfMemoryError):
                raise
            return self._lost(first_line(error))
        finally:
            for buffer, value in before:
                buffer.copy_(value)
            self.backbone.zero_grad(set_to_none=True)

    def trial(
        self, encoders: Sequence[Encoder], clock: Callable[[], float] = time.perf_counter
    ) -> tuple[float, torch.Tensor]:
        """Seconds, by ``clock``, of the calls of one step together; the features.

        Forward and backward, or of a teacher, which does not learn, forward alone.
        """
        learns = any(parameter.requires_grad for parameter in self.backbone.parameters())
        self.backbone.zero_grad(set_to_none=True)
        self._wait()
        began = clock()
        with torch.set_grad_enabled(learns), self.autocast():
            features = torch.cat([encoders[resolution](view) for resolution, view in self.views]).float()
        if learns:
            features.sum().backward()
        self._wait()
        return clock() - began, features.detach()

    def _lost(self, cause: str) -> float:
        if self.world.is_main:
            print(f"{'backbone':>9}  not compiled: {cause}")
        return float("inf")

    def _wait(self) -> None:
        if self.world.device.type == "cuda":
            torch.cuda.synchronize(self.world.device)
