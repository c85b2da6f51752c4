"""Templates pooled in one pass against the same pooled from all features at once."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score, roc_curve

from frl.config import AugmentConfig
from frl.errors import SourceError
from frl.evaluate import RawPixels
from frl.evaluate.alignment import TEMPLATE
from frl.evaluate.faces import FaceImages
from frl.evaluate.templates import pool, verify_templates
from frl.evaluate.verification import Mirrored
from frl.tasks.layouts.ijb import Templates, open_ijb

IMAGES, TEMPLATES, SIZE = 60, 14, 16


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Random pictures; image 7 is in two templates, and the entries are in no order."""
    random = np.random.default_rng(0)
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    faces = []
    for number in range(1, IMAGES + 1):
        stream = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (120, 130, 3), np.uint8)).save(stream, "PNG")
        (tmp_path / "loose_crop" / f"{number}.jpg").write_bytes(stream.getvalue())
        points = (TEMPLATE + random.normal(0, 2, (5, 2))).reshape(-1)
        faces.append(" ".join([f"{number}.jpg", *(f"{x:.3f}" for x in points), f"{random.uniform(0.3, 1):.3f}"]))
    members = [(number, 10 * random.integers(0, TEMPLATES), random.integers(0, 3)) for number in range(1, IMAGES + 1)]
    members += [(7, 990, 1), (8, 990, 1), (9, 990, 2)]
    random.shuffle(members)
    known = sorted({template for _, template, _ in members})
    pairs = [(a, b, int((a + b) % 40 == 0)) for a in known for b in known]
    for name, lines in (
        ("name_5pts_score", faces),
        ("face_tid_mid", [f"{number}.jpg {template} {media}" for number, template, media in members]),
        ("template_pair_label", [" ".join(map(str, pair)) for pair in pairs]),
    ):
        (tmp_path / "meta" / f"ijbb_{name}.txt").write_text("\n".join(lines))
    return tmp_path


def shown(templates: Templates, batch_size: int) -> FaceImages:
    return FaceImages(
        names=templates.names,
        read=templates.read,
        size=SIZE,
        augment=AugmentConfig(),
        points=templates.points,
        batch_size=batch_size,
    )


def pooled_at_once(features: np.ndarray, root: Path) -> dict[int, np.ndarray]:
    """By the lists themselves: the mean in each media, the sum over these."""
    scores = {line.split()[0]: float(line.split()[-1]) for line in _lines(root, "name_5pts_score")}
    medias: dict[tuple[int, int], list[np.ndarray]] = {}
    for line in _lines(root, "face_tid_mid"):
        name, template, media = line.split()
        feature = features[int(name[:-4]) - 1] * scores[name]
        medias.setdefault((int(template), int(media)), []).append(feature)
    sums: dict[int, np.ndarray] = {}
    for (template, _), found in medias.items():
        sums[template] = sums.get(template, 0) + np.mean(found, axis=0)
    return {template: total / np.linalg.norm(total) for template, total in sums.items()}


def _lines(root: Path, name: str) -> list[str]:
    return (root / "meta" / f"ijbb_{name}.txt").read_text().splitlines()


def test_templates_are_pooled_as_the_lists_say_and_judged_by_the_roc_curve(root: Path) -> None:
    templates, network = open_ijb(root), Mirrored(RawPixels(), unit=False)
    # The names in the score list are in the order of their numbers, and so are the rows.
    features = np.concatenate([network(batch.views[0]).numpy() for batch in shown(templates, 60)])
    expected = pooled_at_once(features.astype(np.float64), root)
    for batch_size in (60, 7):
        pooled, count = pool(network, shown(templates, batch_size), templates)
        assert count.sum() == IMAGES + 3
        np.testing.assert_allclose(pooled.numpy(), [expected[template] for template in sorted(expected)], atol=1e-5)
    result = verify_templates(network, templates, size=SIZE, augment=AugmentConfig(), batch_size=9)
    pairs = [tuple(map(int, line.split())) for line in _lines(root, "template_pair_label")]
    scores, same = [float(expected[a] @ expected[b]) for a, b, _ in pairs], [label for *_, label in pairs]
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    assert result.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-3)
    assert result.tar_at_far["0.1"] == pytest.approx(tar[far <= 0.1].max(), abs=0.03)
    assert result.tar_at_far["1e-06"] is None and result.pairs == len(pairs) and result.remarks == ()


def test_an_image_that_cannot_be_used_is_counted_and_an_empty_template_left_out(root: Path) -> None:
    templates = open_ijb(root)
    lines = _lines(root, "face_tid_mid")
    alone = [line.split()[0] for line in lines if line.split()[1] == lines[0].split()[1]]
    for name in alone:
        (root / "loose_crop" / name).write_bytes(b"<html>")
    result = verify_templates(RawPixels(), templates, size=SIZE, augment=AugmentConfig())
    (remark,) = result.remarks
    assert remark.startswith(f"{len(alone)} of 60 images cannot be used (") and "cannot be decoded" in remark
    lost = int((templates.pairs == templates.template[0]).any(axis=1).sum())
    assert result.pairs == len(templates.same) - lost and f"{lost} of {len(templates.same)} pairs" in remark
    for image in (root / "loose_crop").iterdir():
        image.write_bytes(b"")
    with pytest.raises(SourceError, match="60 of 60 images cannot be used"):
        verify_templates(RawPixels(), templates, size=SIZE, augment=AugmentConfig())


def test_mirrored_features_are_added_as_they_are_if_asked(root: Path) -> None:
    images = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(Mirrored(RawPixels(), unit=False)(images), (images + images.flip(3)).flatten(1))
