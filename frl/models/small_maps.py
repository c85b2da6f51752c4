"""Convolutions of maps of a few pixels as matrix products, for training on CPUs.

After a ResNet's strides a small crop is a map of 3 x 3, 2 x 2 or one pixel. Most of a 3 x 3 kernel then lies on the
padding: on a single pixel eight of its nine taps. oneDNN multiplies them all the same, and takes up to fifty times as
long as needed for the gradient of the weights. Here every pair of an output pixel and an input pixel under the kernel
is one product of matrices on views of the channels-last tensors; nothing is copied, and nothing multiplied by padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from frl.models.resnet import BasicBlock, Bottleneck

MOST_PIXELS = 9  # of an output map; beyond, oneDNN is as fast


class SmallMapConv2d(nn.Conv2d):
    """``nn.Conv2d`` without bias, groups and dilation, and with a way of its own for small maps; the state is the same.

    In a compiled graph it is ``nn.Conv2d``. Under autocast its products are of the lower precision, and their sums over
    taps and pixels of float32, as within one product.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` to ``(N, out_channels, height, width)``, channels-last."""
        lengths = [
            (input.shape[2 + axis] + 2 * int(self.padding[axis]) - self.kernel_size[axis]) // self.stride[axis] + 1
            for axis in range(2)
        ]
        if torch.compiler.is_compiling() or not 0 < lengths[0] * lengths[1] <= MOST_PIXELS:
            return super().forward(input)
        device, weight = input.device.type, self.weight
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            input, weight = input.to(dtype), weight.to(dtype)
        with torch.autocast(device, enabled=False):
            return _Products.apply(input, weight, self.stride, self.padding, lengths)


def adapt_convolutions(backbone: nn.Module) -> None:
    """Make the convolutions of a ResNet's blocks of this kind, where they can be; their state stays.

    The convolution of the stem never sees a small map.
    """
    for block in backbone.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            for conv in block.modules():
                if type(conv) is nn.Conv2d and conv.groups == 1 and conv.dilation == (1, 1) and conv.bias is None:
                    conv.__class__ = SmallMapConv2d  # it adds a way to compute, and no state


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        stride: tuple[int, int],
        padding: tuple[int, int],
        lengths: list[int],
    ) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding
        shape = (len(x), len(weight), *lengths)
        out = torch.empty(shape, dtype=_dtype_of_sums(x), device=x.device, memory_format=torch.channels_last).zero_()
        for o, i, tap in _pairs(x, weight, out, stride, padding):
            _add_product(out[o], x[i], weight[tap].T)
        return out.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        of_x = torch.zeros_like(x, dtype=_dtype_of_sums(x))
        of_weight = torch.zeros_like(weight, dtype=_dtype_of_sums(x))
        for o, i, tap in _pairs(x, weight, grad, *ctx.geometry):
            _add_product(of_x[i], grad[o], weight[tap])
            _add_product(of_weight[tap], grad[o].T, x[i])
        return of_x.to(x.dtype), of_weight.to(weight.dtype), None, None, None


def _dtype_of_sums(x: torch.Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _add_product(total: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> None:
    """Add a product of matrices to a sum, in place."""
    if one.dtype == total.dtype:
        total.addmm_(one, other)
    else:
        total.add_(one @ other)


Pixel = tuple[slice, slice, int, int]


def _pairs(
    x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Iterator[tuple[Pixel, Pixel, Pixel]]:
    """Every output pixel with every input pixel under its kernel, and the tap on it: indices of ``(N, C)`` matrices."""
    all_of = slice(None)
    rows, columns = (
        _line(x.shape[2 + axis], out.shape[2 + axis], weight.shape[2 + axis], stride[axis], padding[axis])
        for axis in range(2)
    )
    for o_y, i_y, tap_y in rows:
        for o_x, i_x, tap_x in columns:
            yield (all_of, all_of, o_y, o_x), (all_of, all_of, i_y, i_x), (all_of, all_of, tap_y, tap_x)


def _line(length: int, outputs: int, taps: int, stride: int, padding: int) -> list[tuple[int, int, int]]:
    """Along one axis: output, input and tap of each product that meets no padding."""
    return [
        (o, i, tap) for o in range(outputs) for tap in range(taps) if 0 <= (i := o * stride - padding + tap) < length
    ]
