"""How the figures that every run logs are titled, bounded and drawn; the objective describes its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from frl.errors import ConfigError
from frl.objectives import Metric

METRICS_BEFORE = (
    Metric(
        name="knn_top1",
        title="Online k-NN",
        label="top-1",
        note="identity accuracy, leave-one-out",
        percent=True,
        higher_is_better=True,
    ),
    Metric(
        name="effective_rank",
        title="Effective rank",
        label="RankMe",
        note="directions that the features fill",
        lower=1,
    ),
    Metric(
        name="feature_std",
        title="Feature standard deviation",
        label="of isotropic features'",
        note="1: isotropic, 0: every image alike",
        lower=0,
    ),
)
METRICS_AFTER = (
    Metric(name="lr", title="Learning rate", label="rate", lower=0),
    Metric(name="images_per_s", title="Speed", label="images/s", lower=0, whole=True),
    Metric(
        name="images_per_s_per_process",
        title="Speed of a process",
        label="images/s",
        note="a GPU each",
        lower=0,
        whole=True,
    ),
    Metric(name="mfu", title="Utilisation", label="MFU", note="of the GPU's peak in bf16", lower=0, percent=True),
    Metric(name="data_wait", title="Waiting for data", label="share", note="share of the time", lower=0, percent=True),
    Metric(name="memory_gib", title="Memory", label="GiB", note="most held so far", lower=0),
)


def described(of_the_objective: tuple[Metric, ...], of_probes: tuple[Metric, ...] = ()) -> tuple[Metric, ...]:
    """All figures of a run: the loss, what probes found, the features, what else the objective logs, and the speed."""
    loss = tuple(metric for metric in of_the_objective if metric.name == "loss")
    others = tuple(metric for metric in of_the_objective if metric.name != "loss")
    return (*loss, *of_probes, *METRICS_BEFORE, *others, *METRICS_AFTER)


def described_in(lines: Iterable[Mapping[str, Any]]) -> tuple[Metric, ...]:
    """How the probes' scores are drawn, as it is noted in lines of a ``metrics.jsonl``; the last word counts.

    Raises:
        ConfigError: if a later version noted what this one does not know.
    """
    found: dict[str, Metric] = {}
    for line in lines:
        for fields in line.get("described", ()):
            try:
                metric = Metric(**{**fields, "line": tuple(fields["line"]) if fields.get("line") else None})
            except TypeError as error:
                cause = f"describes a figure in a way that this version does not know ({error})"
                raise ConfigError("metrics.jsonl", cause, "Use the version of frl that trained the run.") from error
            found[metric.name] = metric
    return tuple(found.values())
