"""Features as points in the plane: by their principal directions, and by UMAP where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from html import escape

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frl.evaluate.gallery import Gallery

WIDTH, HEIGHT, MARGIN = 720, 440, 14  # of the drawing, in its own units
COLOURS = ("#1f5fd0", "#b4540a", "#157f4a", "#8a3fb5", "#b01f5b", "#0f8b8d", "#a08800", "#6b4f3a", "#4c6ef5", "#d6336c")
"""Of the people with the most faces; the others are grey."""
MOST = 3000  # points that are drawn
FEW = 10
PCA, UMAP = "PCA", "UMAP"
METHODS: dict[str, Callable[[], bool]] = {
    PCA: lambda: True,
    UMAP: lambda: importlib.util.find_spec("umap") is not None,
}
"""Each way, and whether it can be gone."""


def projected(vectors: Tensor, method: str) -> NDArray[np.float64]:
    """Features ``(N, D)`` to ``(N, 2)``; of PCA the two directions in which they vary most, signs so that the largest
    weight of a direction is positive."""
    if method == UMAP:
        umap = importlib.import_module("umap")
        neighbours = min(15, len(vectors) - 1)
        # Its spectral start needs more points than it has dimensions; with a seed it takes one thread, said or not.
        start = "spectral" if len(vectors) > FEW else "random"
        found = umap.UMAP(n_components=2, n_neighbors=neighbours, metric="cosine", random_state=0, n_jobs=1, init=start)
        return np.asarray(found.fit_transform(vectors[:MOST].cpu().numpy()), np.float64)
    rows = vectors[:MOST].cpu().double()
    centred = rows - rows.mean(dim=0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    signs = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True)).sign()
    return (centred @ (directions * signs).T).numpy()


def drawn(gallery: Gallery, places: NDArray[np.float64]) -> tuple[str, str]:
    """The map as SVG, and what it shows in words; a face's colour says whose it is."""
    labels = gallery.labels[: len(places)].cpu().numpy()
    known, counts = np.unique(labels[labels >= 0], return_counts=True)
    several = known[np.argsort(-counts, kind="stable")][: len(COLOURS)]
    colours = dict(zip(several.tolist(), COLOURS, strict=False))
    spans = np.ptp(places, axis=0)
    spans[spans == 0] = 1.0
    factor = ((WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN) / spans).min()
    at = MARGIN + (places - places.min(axis=0)) * factor
    # People without a colour first, so that they hide nobody.
    order = sorted(range(len(places)), key=lambda index: int(labels[index]) in colours)
    dots = []
    for index in order:
        colour = colours.get(int(labels[index]))
        paint = f'fill="{colour}"' if colour else 'class="others"'
        who = f"person {labels[index]}" if labels[index] >= 0 else "unknown"
        x, y = round(at[index, 0], 1), round(HEIGHT - at[index, 1], 1)
        dots.append(f'<circle {paint} r="3.2" cx="{x}" cy="{y}"><title>{escape(who)}</title></circle>')
    words = f"{len(places):,} faces"
    if colours:
        words += f"; the {len(colours)} people with the most faces have a colour each, {len(known)} are known"
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">{"".join(dots)}</svg>'
    return svg, words
