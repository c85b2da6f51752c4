"""The choice between the eager backbone and compiled graphs, and the layout that activations keep."""

import time
from dataclasses import replace
from functools import partial
from typing import ClassVar
from unittest.mock import patch

import pytest
import torch
from tiny_objective import tiny_backbone
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounter
from torch._functorch.aot_autograd import make_boxed_func

from frl.config import AugmentConfig, CropSpec, OptimConfig, RunConfig, Stage
from frl.models import compiled
from frl.models.backbone import build_backbone
from frl.models.batchnorm import statistics_held
from frl.models.calls import Call
from frl.models.compiled import Contest, Replayed, choose_encoders, compiled_by_stage, replays_are_right
from frl.runtime.distributed import World

CPU = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
CONFIG = RunConfig(
    augment=AugmentConfig(
        crops=(CropSpec(size=16, count=2, scale=(0.3, 1.0)), CropSpec(size=12, count=3, scale=(0.1, 0.3)))
    ),
    optim=OptimConfig(batch_size=4),
    precision="fp32",
)


def test_on_a_cpu_nothing_is_compiled_unless_told():
    backbone = tiny_backbone()
    assert choose_encoders(backbone, CONFIG, CPU) == [backbone, backbone]
    forced = choose_encoders(backbone, replace(CONFIG, compile="on"), CPU)
    assert all(encoder is not backbone for encoder in forced)


def test_each_crop_size_is_one_static_graph_without_a_break(monkeypatch):
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    backbone, _ = build_backbone("resnet18")
    encoders = choose_encoders(backbone, replace(CONFIG, compile="on"), CPU)
    for _ in range(3):
        for encode, spec in zip(encoders, CONFIG.augment.crops, strict=True):
            view = torch.randn(spec.count * 4, 3, spec.size, spec.size)
            pooled = encode(view)
            pooled.sum().backward()
            assert pooled.shape == (len(view), 512)
    assert counter.frame_count == 2


def test_every_size_and_mode_of_a_run_has_its_graph(monkeypatch):
    """Two sizes in each of two stages, with and without gradients, with statistics that move and that are held."""
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    backbone, _ = build_backbone("resnet18")
    smaller = replace(CONFIG.augment, stages=(Stage(until_epoch=1, sizes=(32, 24)),))
    torch._dynamo.reset()
    encoders = choose_encoders(backbone, replace(CONFIG, augment=smaller, compile="on"), CPU)
    graphs = []
    for _ in range(2):
        for size in (32, 24, 16, 12):
            view = torch.randn(4, 3, size, size)
            encoders[0](view).sum().backward()
            with torch.no_grad(), statistics_held(backbone):
                encoders[0](view)
            with statistics_held(backbone):
                encoders[0](view).sum().backward()
        graphs.append(counter.frame_count)
    assert graphs == [12, 12]


def test_on_several_ranks_the_last_stage_s_gradients_are_there_before_the_first_is_computed():
    """So that the first bucket can leave while the backward pass goes on."""
    events: list[str] = []

    def counted(graph, inputs):
        def run(*arguments):
            events.append("graph")
            return graph(*arguments)

        return make_boxed_func(run)

    torch._dynamo.reset()
    backbone, _ = build_backbone("resnet18")
    backend = aot_autograd(fw_compiler=lambda graph, inputs: make_boxed_func(graph.forward), bw_compiler=counted)
    with patch.object(torch, "compile", partial(torch.compile, backend=backend)):
        encode = compiled_by_stage(backbone)
    pooled = encode(torch.randn(2, 3, 32, 32))
    backbone.layer4[1].conv2.weight.register_post_accumulate_grad_hook(lambda _: events.append("last stage"))
    backbone.conv1.weight.register_post_accumulate_grad_hook(lambda _: events.append("stem"))
    pooled.sum().backward()
    assert events.index("last stage") < events.index("stem")
    between = events[events.index("last stage") : events.index("stem")]
    assert between.count("graph") == 4, events


@pytest.mark.parametrize("slow", ["eager", "compiled"])
def test_the_faster_way_is_used_and_printed(capsys, slow):
    backbone = tiny_backbone()

    def slowly(view: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return backbone(view)

    ways = {name: [slowly if name == slow else backbone] * 2 for name in ("eager", "compiled")}
    chosen = Contest(backbone, CONFIG, CPU).faster(ways)
    assert chosen == [backbone] * 2
    assert capsys.readouterr().out.strip().endswith("eager" if slow == "compiled" else "compiled")


def test_the_contest_leaves_no_trace_and_a_broken_compiler_loses(capsys):
    backbone = tiny_backbone()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}

    def broken(view: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no C++ compiler\nsecond line")

    chosen = Contest(backbone, CONFIG, CPU).faster({"eager": [backbone] * 2, "compiled": [broken] * 2})
    assert chosen == [backbone] * 2
    assert "not compiled: no C++ compiler" in capsys.readouterr().out
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_a_way_that_gives_other_features_loses(capsys):
    """Such as those of a replay that has overwritten them."""
    backbone = tiny_backbone()

    def stale(view: torch.Tensor) -> torch.Tensor:
        return backbone(view.flip(0))

    def slowly(view: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return backbone(view)

    chosen = Contest(backbone, CONFIG, CPU).faster({"eager": [slowly] * 2, "CUDA graphs": [stale] * 2})
    assert chosen == [slowly] * 2
    assert "its features are not those of the network" in capsys.readouterr().out


def test_memory_that_only_the_network_itself_lacks_ends_the_run():
    backbone = tiny_backbone()

    def too_large(view: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("no memory for the graphs")

    fits, fails = [backbone] * 2, [too_large] * 2
    assert Contest(backbone, CONFIG, CPU).faster({"eager": fits, "CUDA graphs": fails}) == fits
    with pytest.raises(torch.OutOfMemoryError):
        Contest(backbone, CONFIG, CPU).faster({"eager": fails, "compiled": fits})


def test_what_a_replay_gives_outlives_the_next_one():
    """One memory for all results, as CUDA graphs have it."""
    memory = torch.zeros(2)

    def graph(x: torch.Tensor) -> torch.Tensor:
        return memory.copy_(x)

    encode = Replayed(graph)
    first, second = encode(torch.ones(2)), encode(torch.full((2,), 2.0))
    assert first.tolist() == [1, 1] and second.tolist() == [2, 2]


@pytest.mark.parametrize(("device", "ranks", "accumulate", "right"), [
    ("cuda", 1, 1, True), ("cuda", 2, 1, False), ("cuda", 1, 2, False), ("cpu", 1, 1, False),
])  # fmt: skip
def test_graphs_are_replayed_only_where_nothing_outlives_a_step_in_their_memory(device, ranks, accumulate, right):
    config = replace(CONFIG, optim=OptimConfig(batch_size=4, accumulate=accumulate))
    world = World(rank=0, size=ranks, local_rank=0, local_size=ranks, device=torch.device(device))
    assert replays_are_right(config, world) == right


def test_activations_stay_bf16_and_channels_last_from_end_to_end():
    backbone, _ = build_backbone("resnet50")
    backbone.to(memory_format=torch.channels_last)
    strays: list[str] = []

    def check(name: str):
        def hook(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
            if output.dtype != torch.bfloat16 or (
                output.dim() == 4 and not output.is_contiguous(memory_format=torch.channels_last)
            ):
                strays.append(f"{name}: {output.dtype} {output.stride()}")

        return hook

    for name, module in backbone.named_modules():
        module.register_forward_hook(check(name))
    view = torch.randn(2, 3, 64, 64, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        backbone(view)
    assert not strays


def test_a_teacher_is_timed_without_a_backward_pass_and_has_its_own_graph(monkeypatch, capsys):
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    torch._dynamo.reset()
    teacher = tiny_backbone().requires_grad_(False)
    seconds = Contest(teacher, CONFIG, CPU).seconds([torch.compile(teacher, dynamic=False)] * 2)
    assert 0 < seconds < float("inf") and "not compiled" not in capsys.readouterr().out
    assert counter.frame_count == 2


@pytest.fixture
def judge(monkeypatch):
    """In the place of the contest: replays win or lose as told, and what is tried is noted, as is a reset."""

    class Judge:
        tried: ClassVar[list] = []
        resets = 0
        replays_win = True

        def __init__(self, *of) -> None: ...

        def faster(self, ways):
            self.tried.append(list(ways))
            return list(ways.values())[-1 if self.replays_win or "compiled" in ways else 0]

        @classmethod
        def reset(cls) -> None:
            cls.resets += 1

    monkeypatch.setattr(compiled, "Contest", Judge)
    monkeypatch.setattr(compiled, "replays_are_right", lambda config, world: True)
    monkeypatch.setattr(torch.compiler, "reset", Judge.reset)
    return Judge


ON_GPU = replace(CPU, device=torch.device("cuda"))


@pytest.mark.parametrize("replays_win", [True, False])
def test_what_is_replayed_is_not_compiled_a_second_time(judge, replays_win):
    """A compilation takes a minute or more."""
    judge.replays_win = replays_win
    chosen = choose_encoders(tiny_backbone(), replace(CONFIG, compile="auto"), ON_GPU)
    assert judge.tried == [["eager", "CUDA graphs"], ["eager", "compiled"]][: 1 if replays_win else 2]
    assert isinstance(chosen[0], Replayed) == replays_win
    assert judge.resets == (not replays_win)


def test_the_graphs_of_another_backbone_stay(judge):
    config = replace(CONFIG, compile="auto")
    first = choose_encoders(tiny_backbone(), config, ON_GPU)
    judge.replays_win = False
    choose_encoders(tiny_backbone(), config, ON_GPU, None, first)
    assert not judge.resets


def test_the_contest_is_of_the_calls_of_a_step():
    backbone = tiny_backbone()
    asked = []

    def noted(view: torch.Tensor) -> torch.Tensor:
        asked.append(tuple(view.shape))
        return backbone(view)

    calls = [Call(1, 4), Call(1, 4), Call(0, 2)]
    Contest(backbone, CONFIG, CPU, calls).trial([noted] * 2)
    assert asked == [(4, 3, 12, 12), (4, 3, 12, 12), (2, 3, 16, 16)]
