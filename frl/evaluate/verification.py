"""Face verification by a threshold on cosine similarity, with the folds of LFW's View 2 (Huang et al., 2007)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from frl.config import AugmentConfig
from frl.errors import SourceError
from frl.evaluate.features import extract_features
from frl.evaluate.images import image_batches


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two images and whether they show one person.

    Attributes:
        fold: index of the fold, from 0.
        first: file of one image, relative to the folder of images.
        second: file of the other.
        same: whether both show the same person.
    """

    fold: int
    first: Path
    second: Path
    same: bool


@dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """Outcome of the cross-validation.

    Attributes:
        accuracy: mean over the folds of the share of pairs judged right.
        standard_error: of that mean: the folds' sample standard deviation over the root of their number.
        auc: area under the ROC curve of the held-out pairs.
        folds: accuracy of each held-out fold.
        thresholds: similarity from which on two images were taken for one person, chosen without that fold.
    """

    accuracy: float
    standard_error: float
    auc: float
    folds: tuple[float, ...]
    thresholds: tuple[float, ...]


def read_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    """Parse LFW's ``pairs.txt``.

    The header gives the number of folds and of pairs of each kind, ``folds n``. Every fold is n lines ``name i j`` of
    one person's images and n lines ``name1 i name2 j`` of two persons'. Image i of a name is ``name/name_000i.jpg``.

    Raises:
        SourceError: if the file cannot be read or breaks these rules; it names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(path, f"cannot be read ({error})", "Give a file like LFW's pairs.txt.") from error
    header = lines[0].split() if lines else []
    if len(header) != 2 or not all(_is_count(text) for text in header) or int(header[0]) < 2:
        raise SourceError(f"{path}, line 1", "is not 'folds n' with two folds or more", "Use a View 2 list of pairs.")
    folds, per_kind = map(int, header)
    if len(lines) - 1 != 2 * folds * per_kind:
        raise SourceError(
            path,
            f"{len(lines) - 1} pairs where the header promises {2 * folds * per_kind}",
            "The file is cut off, or its header is wrong.",
        )
    return [
        _parse_pair(line, f"{path}, line {number + 2}", number // (2 * per_kind), number // per_kind % 2 == 0)
        for number, line in enumerate(lines[1:])
    ]


def _parse_pair(line: str, where: str, fold: int, same: bool) -> Pair:
    fields = line.split()
    numbers = fields[1:] if same else fields[1::2]
    if len(fields) != (3 if same else 4) or not all(_is_count(text) for text in numbers):
        form = "name i j" if same else "name1 i name2 j"
        raise SourceError(where, f"expected '{form}', found '{line}'", "Compare it with LFW's pairs.txt.")
    other = fields[0] if same else fields[2]
    if not same and other == fields[0]:
        raise SourceError(where, f"a pair of different people that names {other} twice", "Correct the line.")
    return Pair(fold=fold, first=_file(fields[0], numbers[0]), second=_file(other, numbers[1]), same=same)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _file(name: str, number: str) -> Path:
    return Path(name) / f"{name}_{int(number):04d}.jpg"


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold t for which ``score >= t`` agrees most often with ``same``.

    Candidates lie half-way between neighbouring scores and outside of all; among the best, the middle one is taken.

    Args:
        scores: ``(P,)`` float64.
        same: ``(P,)`` bool.
    """
    values, index = np.unique(scores, return_inverse=True)
    positives = np.bincount(index, weights=same, minlength=len(values))
    negatives = np.bincount(index, weights=~same, minlength=len(values))
    # With the threshold below value i: the positives from i on and the negatives before i are right.
    right = np.append(np.cumsum(positives[::-1])[::-1], 0) + np.insert(np.cumsum(negatives), 0, 0)
    edges = np.concatenate([[values[0] - 1], (values[:-1] + values[1:]) / 2, [values[-1] + 1]])
    best = np.flatnonzero(right == right.max())
    return float(edges[best[(len(best) - 1) // 2]])


def roc_auc(scores: np.ndarray, same: np.ndarray) -> float:
    """Probability that a positive pair scores above a negative one, ties counting half (Mann and Whitney, 1947)."""
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    positives, negatives = same.sum(), (~same).sum()
    return float((mean_rank[index][same].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def cross_validate(
    features: np.ndarray, index: np.ndarray, same: np.ndarray, fold: np.ndarray, *, centre: bool = False
) -> VerificationResult:
    """Judge each fold with the threshold that suits the other folds best.

    Args:
        features: ``(M, D)`` floating point, one row an image; scaled to unit length here.
        index: ``(P, 2)``, the two images of each pair.
        same: ``(P,)`` bool.
        fold: ``(P,)``, from 0 to folds - 1.
        centre: subtract the mean feature of the other folds' images before the similarity is taken. Not a part of
            LFW's protocol; common for features that share a large constant part, as pooled rectified ones do.
    """
    accuracies, thresholds, held_out_scores = [], [], np.empty(len(same))
    for k in range(int(fold.max()) + 1):
        held_out = fold == k
        mean = features[np.unique(index[~held_out])].mean(axis=0) if centre else 0.0
        scores = cosine_similarity(features - mean, index)
        threshold = best_threshold(scores[~held_out], same[~held_out])
        accuracies.append(float(np.mean((scores[held_out] >= threshold) == same[held_out])))
        thresholds.append(threshold)
        held_out_scores[held_out] = scores[held_out]
    return VerificationResult(
        accuracy=float(np.mean(accuracies)),
        standard_error=float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))),
        auc=roc_auc(held_out_scores, same),
        folds=tuple(accuracies),
        thresholds=tuple(thresholds),
    )


def cosine_similarity(features: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Cosine similarity of the rows ``index[:, 0]`` and ``index[:, 1]``, ``(P,)`` float64; 0 where a row is zero."""
    norms = np.linalg.norm(features.astype(np.float64), axis=1)
    first, second = index.T
    products = np.array([np.dot(features[a], features[b]) for a, b in index], dtype=np.float64)
    lengths = norms[first] * norms[second]
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def verification(
    network: nn.Module,
    *,
    images: str | os.PathLike[str],
    pairs: str | os.PathLike[str],
    size: int,
    augment: AugmentConfig,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    flip: bool = False,
    centre: bool = False,
) -> VerificationResult:
    """Verify the listed pairs of faces with the cosine similarity of a network's features.

    Args:
        network: images ``(B, 3, size, size)`` to features; on ``device``.
        images: folder that holds ``name/name_0001.jpg`` and so on; each file is shown once.
        pairs: list in the format of LFW's ``pairs.txt``.
        size: side of the views, in pixels.
        augment: gives the mean and standard deviation of the normalisation.
        batch_size: images in a batch.
        device: where the features are computed.
        flip: add the feature of the mirrored image to that of the image.
        centre: see `cross_validate`.

    Raises:
        SourceError: if the list breaks its format or an image cannot be read.
    """
    listed = read_pairs(pairs)
    names = sorted({name for pair in listed for name in (pair.first, pair.second)})
    paths = [Path(images) / name for name in names]
    batches = image_batches(paths, size=size, augment=augment, batch_size=batch_size, device=device)
    features = extract_features(Mirrored(network) if flip else network, batches, normalise=False).vectors.cpu().numpy()
    row = {name: i for i, name in enumerate(names)}
    return cross_validate(
        features,
        np.array([(row[pair.first], row[pair.second]) for pair in listed]),
        np.array([pair.same for pair in listed]),
        np.array([pair.fold for pair in listed]),
        centre=centre,
    )


class Mirrored(nn.Module):
    """The sum of the unit features of an image and its mirror image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(B, 3, H, W)`` to features ``(B, D)``, float32."""
        both = (self.network(view).flatten(1).float() for view in (images, images.flip(3)))
        return torch.stack([F.normalize(features, dim=1) for features in both]).sum(dim=0)
