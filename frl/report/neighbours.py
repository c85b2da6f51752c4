"""Which images the network finds alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from frl.evaluate.gallery import Gallery

Verdict = Literal["same", "other", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One neighbour of a question.

    Attributes:
        image: index into the gallery.
        similarity: cosine of the angle between the features.
        verdict: whether it shows the person of the question, by the labels.
    """

    image: int
    similarity: float
    verdict: Verdict


def nearest(gallery: Gallery, questions: int, neighbours: int) -> list[tuple[int, list[Answer]]]:
    """Images evenly spread over the gallery, each with its nearest others, the nearest first.

    Where labels tell persons apart, only images are asked about whose person has another one, and only labelled images
    answer. There are fewer questions and answers than wanted where the gallery is smaller.
    """
    labels = gallery.labels.cpu()
    known = torch.nonzero(labels >= 0).squeeze(1)
    _, identity, sizes = labels[known].unique(return_inverse=True, return_counts=True)
    askable = known[sizes[identity] > 1]
    labelled = len(askable) > 0
    if not labelled:
        askable = known = torch.arange(len(labels))
    asked = askable[np.linspace(0, len(askable) - 1, min(questions, len(askable))).round().astype(int)]
    similarity = gallery.vectors[asked].cpu() @ gallery.vectors[known].cpu().T
    similarity[asked[:, None] == known] = -torch.inf
    cosine, others = similarity.topk(min(neighbours, len(known) - 1), dim=1)

    def answer(question: int, other: int, cosine: float) -> Answer:
        same = bool(labels[other] == labels[question])
        return Answer(image=other, similarity=cosine, verdict=("same" if same else "other") if labelled else "unknown")

    return [
        (question, [answer(question, *found) for found in zip(row.tolist(), cosines.tolist(), strict=True)])
        for question, row, cosines in zip(asked.tolist(), known[others], cosine, strict=True)
    ]
