"""What a logging interval says of a representation, and the words for what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure that is logged.

    Attributes:
        name: in ``metrics.jsonl`` and the trackers.
        title: of its chart; metrics of one title share a chart.
        label: of its curve.
        note: what the chart's figures mean.
        lower: a value that the axis includes.
        line: height and name of a dashed line, such as the loss of guessing.
        percent: whether it is a share, written in per cent.
        whole: whether it is written without decimals.
        higher_is_better: its direction; None: it has none.
    """

    name: str
    title: str
    label: str = ""
    note: str = ""
    lower: float | None = None
    line: tuple[float, str] | None = None
    percent: bool = False
    whole: bool = False
    higher_is_better: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """Means of a logging interval over its finite steps and all ranks.

    Attributes:
        loss: of a step.
        feature_std: standard deviation of the unit features over a batch, as a share of the isotropic 1/sqrt(D).
        effective_rank: of the features (RankMe), from 1, all on one line, to their width.
        width: D, of the features.
        images: whose features a rank's batch holds.
        scalars, histograms: of the objective.
    """

    loss: float
    feature_std: float
    effective_rank: float
    width: int
    images: int
    scalars: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Tensor] = field(default_factory=dict)


LOOK_AT_THE_DATA = (
    "look at the data (frl preview): duplicates, or crops that show nothing of a face, cannot be told apart"
)


@dataclass(frozen=True)
class Diagnosis:
    """A collapse.

    Attributes:
        sign: by which it shows.
        remedies: what helps, the best first, each with its reason.
    """

    sign: str
    remedies: tuple[str, ...]

    def __str__(self) -> str:
        numbered = "; ".join(f"({i}) {text}" for i, text in enumerate(self.remedies, 1))
        return f"{self.sign}. Try, in this order: {numbered}"


def relative_entropy(use: Tensor) -> Tensor:
    """Entropy of the distribution ``use`` ``(K,)`` as a share of the largest possible, ln K."""
    return torch.special.entr(use).sum() / math.log(len(use))
