"""Points follow the pixels of the real engines' crops, and are each other's mirror images where a view is flipped."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from frl.beton import BetonWriter
from frl.beton.targets import Kind, TargetSpec
from frl.config import AugmentConfig, CropSpec, DataConfig
from frl.errors import ConfigError
from pipelines.augment.plan import draw
from pipelines.augment.points import points_in_views, visibility_in_views
from pipelines.loader import make_loader
from tests.marks import COLOURS, find_marks, marked
from tests.pipelines.conftest import ENGINES

LANDMARKS = TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(5, 2))
CROPS = (CropSpec(size=96, count=3, scale=(0.5, 1.0)), CropSpec(size=48, count=2, scale=(0.3, 0.9)))
PLAIN = AugmentConfig(crops=CROPS, jitter_p=0, grey_p=0, blur_p=0)
CPU = torch.device("cpu")
SIDE, RADIUS = 128, 7


@pytest.fixture
def marked_beton(tmp_path):
    """Eight pictures with marks at their landmarks, of two shapes."""
    path, rng = tmp_path / "marks.beton", np.random.default_rng(2)
    with BetonWriter(path, capacity=8, page_size=1 << 21, targets=(LANDMARKS,)) as file:
        for i in range(8):
            width, height = (SIDE, SIDE) if i % 2 else (SIDE, 100)
            cells = np.array([(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)])
            points = cells * (width, height) + rng.uniform(-4, 4, (5, 2))
            stream = io.BytesIO()
            image = Image.fromarray(marked(width, height, points, RADIUS))
            image.save(stream, "JPEG", quality=98, subsampling=0)
            file.append(stream.getvalue(), height, width, -1, f"{i}.jpg", {"landmarks": points})
    return path


@pytest.mark.parametrize("augment_on", ["cpu", "gpu"])
@pytest.mark.parametrize("engine", ENGINES)
def test_marks_are_found_where_the_points_are(marked_beton, engine, augment_on):
    data = DataConfig(data=(marked_beton,), engine=engine, workers=1, augment_on=augment_on)
    loader = make_loader(data, PLAIN, batch_size=4, seed=7, device=CPU)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (PLAIN.mean, PLAIN.std))
    checked = {False: 0, True: 0}
    try:
        for batch in loader.epoch(3):
            samples = batch.samples.numpy()
            assert batch.targets["landmarks"].shape == (4, 5, 2)
            sizes = np.stack([loader.betons.heights[samples], loader.betons.widths[samples]], 1)
            flips = [draw(PLAIN, 7, 3, samples, sizes).crop_major(*part).flip for part in ((0, 3), (3, 2))]
            views = zip(batch.views, loader.points(batch, 3), flips, CROPS, strict=True)
            for pixels, points, flip, crop in views:
                assert points.shape == (crop.count * 4, 5, 2)
                for view, stored, flipped in zip(pixels, points.numpy(), flip, strict=True):
                    image = ((view.float() * std + mean) * 255).permute(1, 2, 0).numpy()
                    with np.errstate(invalid="ignore"):
                        found = find_marks(image)
                    # In a mirror the point of a name is the mark of the other side.
                    of_mark = stored[list(LANDMARKS.permutation)] if flipped else stored
                    margin = RADIUS * crop.size / 50
                    inside = ((of_mark > margin) & (of_mark < crop.size - 1 - margin)).all(1)
                    assert np.abs(found - of_mark)[inside].max(initial=0) < 0.3
                    checked[bool(flipped)] += int(inside.sum())
    finally:
        loader.close()
    assert min(checked.values()) > 30


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 30), depth=st.booleans())
def test_the_edges_of_the_box_become_those_of_the_view(seed, depth):
    sizes = np.array([[40, 30], [64, 64], [17, 90]])
    plan = draw(PLAIN, seed, 0, np.arange(3), sizes)
    spec = TargetSpec(name="p", kind=Kind.POINTS, shape=(3, 3 if depth else 2), mirror=(1, 0, 2))
    first = 0
    for crop in CROPS:
        part = plan.crop_major(first, crop.count)
        only = dataclasses.replace(crop, count=1)
        for row in range(crop.count * 3):
            v = row // 3
            one = plan.crop_major(first + v, 1)
            top, left, height, width = part.boxes[row].tolist()
            corners = np.array([[left, top], [left + width, top], [left + width / 2, top + height / 4]]) - 0.5
            given = np.tile(corners, (3, 1, 1))
            given = np.concatenate([given, np.full((3, 3, 1), 2.0)], 2) if depth else given
            found = points_in_views(torch.from_numpy(given), _as_batch(one), (only,), spec)[0][row % 3].numpy()
            expected = np.array([[0, 0], [1, 0], [0.5, 0.25]]) * crop.size - 0.5
            if part.flip[row]:
                expected[:, 0] = crop.size - 1 - expected[:, 0]
                expected = expected[[1, 0, 2]]
            np.testing.assert_allclose(found[:, :2], expected, atol=1e-3)
            if depth:
                np.testing.assert_allclose(found[:, 2], 2 * crop.size / np.sqrt(width * height), rtol=1e-5)
        first += crop.count


def _as_batch(part):
    """A plan of (B, 1) crops of one of (B,)."""
    return type(part)(*(column[:, None] for column in part))


def test_unknown_points_stay_unknown_and_visibility_changes_sides():
    plan = draw(PLAIN, 1, 0, np.arange(16), np.full((16, 2), 64))
    points = torch.full((16, 5, 2), torch.nan)
    points[:, 2] = 10
    for found in points_in_views(points, plan, CROPS, LANDMARKS):
        assert found[:, 2].isfinite().all() and found[:, [0, 1, 3, 4]].isnan().all()
    visible = TargetSpec(name="visible", kind=Kind.VISIBILITY, shape=(5,))
    seen = torch.tensor([[1, 0, 1, -1, 0]], dtype=torch.int8).repeat(16, 1)
    found = visibility_in_views(seen, plan, CROPS, visible)
    assert found[0].dtype == torch.int8 and found[0].shape == (48, 5)
    flip = plan.crop_major(0, 3).flip
    assert found[0][~flip].unique(dim=0).tolist() == [[1, 0, 1, -1, 0]]
    assert found[0][flip].unique(dim=0).tolist() == [[0, 1, 1, 0, -1]]


def test_what_has_no_known_mirror_image_is_not_flipped():
    plan = draw(PLAIN, 1, 0, np.arange(16), np.full((16, 2), 64))
    seven = TargetSpec(name="seven", kind=Kind.POINTS, shape=(7, 2))
    with pytest.raises(ConfigError, match=r"target seven: is points \(7, 2\), and nobody knows"):
        points_in_views(torch.zeros(16, 7, 2), plan, CROPS, seven)
    straight = plan._replace(flip=np.zeros_like(plan.flip))
    assert len(points_in_views(torch.zeros(16, 7, 2), straight, CROPS, seven)) == 2
    with pytest.raises(ConfigError, match="is vector, not points"):
        points_in_views(torch.zeros(16, 1), plan, CROPS, TargetSpec(name="age", kind=Kind.VECTOR))
    with pytest.raises(ConfigError, match="not visibility"):
        visibility_in_views(torch.zeros(16, 5), plan, CROPS, LANDMARKS)


def test_the_colours_tell_the_points_apart():
    assert len(COLOURS) == LANDMARKS.shape[0]
