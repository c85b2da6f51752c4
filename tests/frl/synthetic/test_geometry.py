"""Rays meet surfaces where analysis says; stencils cover what their outlines enclose."""

import numpy as np
import pytest

from frl.synthetic.brush import curve, disc, ribbon, stencil
from frl.synthetic.head import EXTENT, RELIEF, grid_position, plane_grid, sample
from frl.synthetic.rays import trace
from frl.synthetic.scene import Camera, Pose, Scene
from frl.synthetic.sphere import to_plane
from frl.synthetic.view import View

CELL = 2 * EXTENT / 399
"""Side of a cell of a grid of 400."""


def test_rays_meet_a_ball() -> None:
    scene = Scene(pose=Pose(yaw=20, pitch=-10, roll=5), camera=Camera(scale=0.4, centre=(0.45, 0.55)))
    view = View.of(scene, 200)
    hits = trace(np.full((RELIEF, RELIEF), 0.8, np.float32), view)
    rows, columns = np.mgrid[hits.window]
    x, y = np.moveaxis(view.rays(np.stack([columns, rows], axis=-1)), -1, 0)
    inside = np.hypot(x, y) < 0.75
    depth = np.sqrt(np.maximum(0.8**2 - x**2 - y**2, 0))
    np.testing.assert_allclose(np.hypot(hits.depth, np.hypot(x, y))[inside], 0.8, atol=5e-3)
    np.testing.assert_allclose(hits.depth[inside], depth[inside], atol=2e-2)
    expected = to_plane(np.stack([x, y, depth], axis=-1) @ view.rotation)
    np.testing.assert_allclose(np.stack([hits.u, hits.v], axis=-1)[inside], expected[inside], atol=2e-2)
    assert np.all(hits.cover[inside] == 1) and np.all(hits.cover[np.hypot(x, y) > 0.85] == 0)
    assert hits.cover.sum() / view.scale**2 == pytest.approx(np.pi * 0.8**2, rel=0.03)


def test_a_head_outside_the_picture_is_no_error() -> None:
    view = View.of(Scene(camera=Camera(centre=(4.0, -3.0))), 64)
    hits = trace(np.ones((RELIEF, RELIEF), np.float32), view)
    assert not hits.cover.any()


def test_grids_are_sampled_where_they_were_laid() -> None:
    plane = plane_grid(33)
    np.testing.assert_allclose(grid_position(plane[[0, 16, 32], [0, 16, 32]], 33), [[0, 0], [16, 16], [32, 32]])
    u, v = np.random.default_rng(0).uniform(-EXTENT, EXTENT, (2, 5, 7)).astype(np.float32)
    values = sample(plane, u, v)
    # OpenCV interpolates in steps of 1/32 of a cell.
    np.testing.assert_allclose(values, np.stack([u, v], axis=-1), atol=2 * EXTENT / 32 / 32)


@pytest.mark.parametrize("softness", [0.0, 0.05])
def test_a_stencil_covers_its_outline(softness: float) -> None:
    shape = stencil(disc(np.array([0.3, -0.2]), 0.4, 0.5), 400, softness)
    # OpenCV fills the cells on the outline too: half a cell more all around.
    grown = np.pi * (0.4 + CELL / 2) * (0.2 + CELL / 2)
    assert shape.coverage.sum() * CELL**2 == pytest.approx(grown, rel=0.02)
    rows, columns = np.mgrid[shape.window]
    middle = [np.average(index, weights=shape.coverage) for index in (columns, rows)]
    np.testing.assert_allclose(middle, grid_position(np.array([0.3, -0.2]), 400), atol=0.3)


def test_stencils_overlap_like_sets() -> None:
    left, right = (stencil(disc(np.array([x, 0]), 0.3), 400) for x in (-0.1, 0.1))
    apart = stencil(disc(np.array([1.2, 1.2]), 0.2), 400)
    radius = 0.3 + CELL / 2
    lens = 2 * radius**2 * np.arccos(0.1 / radius) - 0.1 * np.sqrt(4 * radius**2 - 0.2**2)
    assert left.both(right).coverage.sum() * CELL**2 == pytest.approx(lens, rel=0.02)
    assert left.both(apart).coverage.sum() == 0


def test_curves_pass_through_their_points() -> None:
    points = np.array([[0, 0], [1, 2], [3, 1], [4, 4]], float)
    line = curve(points, closed=False)
    np.testing.assert_allclose(line[::6], points, atol=1e-12)
    np.testing.assert_allclose(curve(points, closed=True)[::6], points, atol=1e-12)


def test_a_ribbon_has_its_widths() -> None:
    outline = ribbon(np.array([[0, 0], [1, 0], [2, 0]], float), np.array([0.2, 0.4, 0.2]))
    np.testing.assert_allclose(np.abs(outline[:, 1]), [0.1, 0.2, 0.1, 0.1, 0.2, 0.1])
