"""What a report tells, whatever it is written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from frl.errors import ConfigError
from frl.evaluate.gallery import Gallery
from frl.evaluate.knn import KnnResult
from frl.monitoring.described import described
from frl.objectives import Metric
from frl.report.judged import Judged


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of a report; what a run cannot tell is left out of the page.

    Attributes:
        title: headline.
        settings: rows of the first table, such as the data and the recipe.
        metrics: lines of the run's ``metrics.jsonl``; those with a ``loss`` also hold ``step``, ``lr`` and
            ``images_per_s``.
        crops: ``(H, W, 3)`` uint8, images and the crops made of them.
        gallery: images for the picture of nearest neighbours.
        tasks: what heads learn on frozen features.
        accuracy: k-NN identity accuracy by the name of the features, the trained network's first.
        seen: what training has seen of these images and of their labels, in words.
        health: what the alarm found, in a sentence.
        healthy: whether that is good.
        described: the metrics to draw, those of one chart next to each other.
        configuration: of the run, as its ``config.json``.
        defaults: the same with every option at its default, to tell what was chosen.
        starts: lines of the run's ``environment.jsonl``.
        notes: what is missing, and why.

    Raises:
        ConfigError: if no line of the metrics holds a loss.
    """

    title: str
    settings: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]]
    crops: np.ndarray | None = None
    gallery: Gallery | None = None
    tasks: Sequence[Judged] = ()
    accuracy: Mapping[str, KnnResult] = field(default_factory=dict)
    seen: str = ""
    health: str = ""
    healthy: bool = True
    described: Sequence[Metric] = described((Metric(name="loss", title="Loss"),))
    configuration: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    starts: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not any("loss" in line for line in self.metrics):
            raise ConfigError("report", "the metrics hold no loss", "Train for at least one logging interval.")

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one of the metrics; empty where it was never logged."""
        lines = [line for line in self.metrics if name in line]
        return [line["step"] for line in lines], [line[name] for line in lines]
