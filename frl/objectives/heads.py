"""What stands between a backbone's features and a loss."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def projector(width: int, hidden: int, out: int) -> nn.Sequential:
    """One hidden layer with BatchNorm and ReLU: ``(N, width)`` to ``(N, out)`` (SwAV, appendix A; SimCLR, section 2).

    Args:
        width: of the backbone's pooled features.
        hidden: width of the hidden layer.
        out: width of the projected features.
    """
    return nn.Sequential(
        nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out)
    )


def mlp(
    widths: Sequence[int], *, norm: bool = True, last_norm: nn.Module | None = None, last_bias: bool = True
) -> nn.Sequential:
    """Linear layers with ReLU between them: ``(N, widths[0])`` to ``(N, widths[-1])``.

    A layer that a BatchNorm follows has no bias, which the BatchNorm would take away again.

    Args:
        widths: of the input, of every hidden layer, and of the output.
        norm: whether a BatchNorm stands before each ReLU.
        last_norm: what follows the last layer; None: nothing.
        last_bias: whether the last layer has a bias, if nothing follows it.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths[:-2], widths[1:-1], strict=True):
        layers.append(nn.Linear(inputs, outputs, bias=not norm))
        layers += [nn.BatchNorm1d(outputs)] if norm else []
        layers.append(nn.ReLU(inplace=True))
    layers.append(nn.Linear(widths[-2], widths[-1], bias=last_bias and last_norm is None))
    return nn.Sequential(*layers, *([] if last_norm is None else [last_norm]))
