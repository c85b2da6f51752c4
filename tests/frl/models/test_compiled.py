"""The choice between the eager backbone and compiled graphs, and the layout that activations keep."""

import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny_objective import tiny_backbone
from torch._dynamo.testing import CompileCounter

from frl.config import AugmentConfig, CropSpec, OptimConfig, RunConfig
from frl.models.backbone import build_backbone
from frl.models.compiled import Contest, choose_encoders
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
