"""Downstream tasks while a network trains: heads on frozen features, as ``frl evaluate --how frozen`` fits them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from frl.batch import Batch
from frl.errors import ConfigError
from frl.evaluate.downstream import Examination, FrozenFeatures
from frl.evaluate.features import evaluating, extract_features
from frl.evaluate.gallery import Probed
from frl.evaluate.splits import Labels, Rows
from frl.evaluate.unpooled import PooledAndUnpooled
from frl.models.layers import up_to
from frl.objectives import Metric
from frl.runtime.distributed import World
from frl.tasks.task import Score, SupervisedTask, Truth

Kinds = Literal["both", "pooled", "unpooled"]


class Side(NamedTuple):
    """Faces that a head learns from, or is judged on.

    Attributes:
        file: index of their file.
        rows: which of its faces, ascending.
        truth: what is known of these.
    """

    file: int
    rows: Rows
    truth: Truth


class Question(NamedTuple):
    """A task with its two sides."""

    task: SupervisedTask
    train: Side
    test: Side


class Shown(NamedTuple):
    """Features of images of one file.

    Attributes:
        vectors: ``(N, D)`` float32.
        samples: ``(N,)`` int64, which of the file's images.
    """

    vectors: Tensor
    samples: Tensor


@dataclass
class TaskProbe:
    """What ridge regression learns on the features of a backbone.

    Args:
        images: of each file this rank's share, not empty; the shares follow each other in the order of the ranks.
        questions: what is asked; their sides are faces of these files.
        features: pooled features, the last feature map, or both.
        size: side of the images, in pixels.
        stage: of the backbone, whose features they are; None: of the whole backbone.
    """

    images: Sequence[Iterable[Batch]]
    questions: Sequence[Question]
    features: Kinds
    size: int
    stage: int | None = None

    def look(self, backbone: nn.Module) -> None:
        """Extract the features of this rank's images: once, for all tasks."""
        backbone = up_to(backbone, self.stage)
        seen = PooledAndUnpooled(backbone)
        self.pooled = pooled_width(backbone, self.size)
        self.shown = [_extract(backbone if self.features == "pooled" else seen, images) for images in self.images]

    def gather(self, world: World) -> None:
        """The features of all ranks' images, which the main rank keeps."""
        gathered = [Shown(*map(world.gather_rows, shown)) for shown in self.shown]
        self.shown = gathered if world.is_main else []

    def judge(self) -> Probed:
        """The scores of each task on each kind of features, beside the best constant."""
        scores: dict[str, float] = {}
        metrics: list[Metric] = []
        words: list[str] = []
        for question in self.questions:
            task, examination, features = question.task, *self._examination(question)
            found = {row.features: row.trials[0].scores for row in examination.frozen("", features)}
            constant = examination.constant().trials[0].scores
            names = [name for name in constant if "/" not in name]
            for name in names:
                known = {kind: each[name] for kind, each in found.items() if np.isfinite(each[name].value)}
                scores |= {f"{task.name}/{kind}/{name}": each.value for kind, each in known.items()}
                metrics += [_metric(task, kind, name, each, constant[name]) for kind, each in known.items()]
            said = ", ".join(f"{each[task.headline].text} {kind}" for kind, each in found.items())
            words.append(f"{task.name}: {task.headline} {said} (constant {constant[task.headline].text})")
        self.shown = []
        return Probed(scores=scores, words="; ".join(words), described=tuple(metrics))

    def _examination(self, question: Question) -> tuple[Examination, Mapping[str, FrozenFeatures]]:
        """A question and the features for it; without the faces of which no image was to be had."""
        (train, train_truth), (test, test_truth) = map(self._of, question[1:])
        examination = Examination(
            task=question.task, train=train_truth, test=test_truth, labels=[Labels(share=1.0)], seeds=[0]
        )
        parts = {"pooled": slice(0, self.pooled), "unpooled": slice(self.pooled, None)}
        wanted = list(parts) if self.features == "both" else [self.features]
        return examination, {
            kind: FrozenFeatures(train=train[:, parts[kind]], test=test[:, parts[kind]]) for kind in wanted
        }

    def _of(self, side: Side) -> tuple[Tensor, Truth]:
        """The features of the faces of a side, and what is known of them."""
        shown = self.shown[side.file]
        samples = shown.samples.cpu().numpy()
        _, there, at = np.intersect1d(side.rows, samples, assume_unique=True, return_indices=True)
        return shown.vectors[torch.from_numpy(at).to(shown.vectors.device)], side.truth.rows(there)


@torch.inference_mode()
def pooled_width(backbone: nn.Module, size: int) -> int:
    """How many of the numbers of ``PooledAndUnpooled`` are the pooled features."""
    device = next(backbone.parameters()).device
    with evaluating(backbone):
        return backbone(torch.zeros(1, 3, size, size, device=device)).flatten(1).shape[1]


@torch.inference_mode()
def require_features(backbone: nn.Module, features: Kinds, size: int) -> None:
    """Refuse features that a backbone does not have, before it trains.

    Raises:
        ConfigError: its last features are no map.
    """
    if features == "pooled":
        return
    device = next(backbone.parameters()).device
    try:
        with evaluating(backbone):
            PooledAndUnpooled(backbone)(torch.zeros(1, 3, size, size, device=device))
    except ConfigError as error:
        raise ConfigError("--probe.features", error.cause, "Use --probe.features pooled.") from error


def _extract(network: nn.Module, images: Iterable[Batch]) -> Shown:
    samples = []

    def noted() -> Iterator[Batch]:
        for batch in images:
            samples.append(batch.samples)
            yield batch

    vectors = extract_features(network, noted(), normalise=False).vectors
    return Shown(vectors, torch.cat(samples).to(vectors.device))


def _metric(task: SupervisedTask, kind: str, name: str, score: Score, constant: Score) -> Metric:
    """How a score is drawn: from 0 on, with the constant as a dashed line where it is defined."""
    return Metric(
        name=f"{task.name}/{kind}/{name}",
        title=f"{task.name}: {name}",
        label=kind,
        note="heads on frozen features",
        lower=0.0,
        line=(constant.value, f"constant {constant.text}") if np.isfinite(constant.value) else None,
        percent="%" in score.pattern,
        higher_is_better=score.higher_is_better,
    )
