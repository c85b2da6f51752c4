"""What stands between a backbone's features and a loss."""

from __future__ import annotations

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
