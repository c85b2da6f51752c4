"""Convolutions of small maps: the same numbers as torch's, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from frl.models.backbone import build_backbone
from frl.models.resnet import Bottleneck
from frl.models.small_maps import SmallMapConv2d, adapt_convolutions


@given(
    batch=st.integers(1, 5),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    nchw=st.booleans(),
)
def test_values_and_gradients_are_those_of_torch(
    batch: int, height: int, width: int, kernel: int, stride: int, nchw: bool
) -> None:
    """Whether the map is tiny or not, in float64."""
    torch.manual_seed(0)
    x = torch.randn(batch, 3, height, width, dtype=torch.float64, requires_grad=True)
    conv = SmallMapConv2d(3, 4, kernel, stride, padding=kernel // 2, bias=False).double()
    given = x if nchw else x.contiguous(memory_format=torch.channels_last)
    found = conv(given)
    expected = F.conv2d(x, conv.weight, None, stride, kernel // 2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    towards = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, conv.weight), towards),
        torch.autograd.grad(expected, (x, conv.weight), towards),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_a_resnet_computes_the_same(arch: str) -> None:
    """All gradients of a network in float64, on maps that end at one pixel and at two by two."""
    torch.manual_seed(0)
    plain = build_backbone(arch)[0].double().to(memory_format=torch.channels_last)
    ours = build_backbone(arch)[0].double().to(memory_format=torch.channels_last)
    ours.load_state_dict(plain.state_dict())
    adapt_convolutions(ours)
    assert list(ours.state_dict()) == list(plain.state_dict())
    for size in (32, 40):
        images = torch.randn(4, 3, size, size, dtype=torch.float64)
        for net in (plain, ours):
            net.zero_grad()
            net(images)[:, 0].sum().backward()
        for (name, theirs), (_, mine) in zip(plain.named_parameters(), ours.named_parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


def test_the_stem_and_grouped_convolutions_stay() -> None:
    net, _ = build_backbone("resnet50-w16")
    block = net.layer1[0]
    assert isinstance(block, Bottleneck)
    block.conv2 = nn.Conv2d(16, 16, 3, padding=1, groups=4, bias=False)
    adapt_convolutions(net)
    assert type(net.conv1) is nn.Conv2d and type(block.conv2) is nn.Conv2d
    assert type(block.conv1) is SmallMapConv2d


@pytest.mark.parametrize("side", [1, 2, 3])
def test_under_autocast_only_factors_and_results_are_rounded(side: int) -> None:
    """The products of bf16 numbers are summed up in float32: the result is the exact one, rounded once or twice."""
    torch.manual_seed(0)
    conv = SmallMapConv2d(64, 8, 3, padding=1, bias=False)
    x = torch.randn(16, 64, side, side, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(x)
    assert found.dtype == torch.bfloat16
    towards = torch.randn_like(found)
    of_x, of_weight = torch.autograd.grad(found, (x, conv.weight), towards)
    assert of_x.dtype == of_weight.dtype == torch.float32
    exact_x, exact_weight = (t.detach().bfloat16().double().requires_grad_() for t in (x, conv.weight))
    exact = F.conv2d(exact_x, exact_weight, padding=1)
    expected = torch.autograd.grad(exact, (exact_x, exact_weight), towards.double())
    for ours, theirs in zip((found, of_x, of_weight), (exact, *expected), strict=True):
        worst = (ours.double() - theirs).abs().max() / theirs.abs().max()
        assert worst < 2**-7, worst
