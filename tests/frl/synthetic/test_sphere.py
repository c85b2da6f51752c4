"""The design plane is Lambert's projection: it goes both ways and keeps areas."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.synthetic.sphere import to_directions, to_plane

ANGLE = st.floats(0, 2 * np.pi)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 3.0), ANGLE, st.floats(0.1, 3))
def test_the_plane_tells_the_angle_from_straight_ahead(polar: float, azimuth: float, length: float) -> None:
    point = length * np.array(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)],
    )
    plane = to_plane(point)
    np.testing.assert_allclose(plane, 2 * np.sin(polar / 2) * np.array([np.cos(azimuth), np.sin(azimuth)]), atol=1e-5)
    np.testing.assert_allclose(to_directions(plane), point / length, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1.8), ANGLE)
def test_areas_are_kept(radius: float, azimuth: float) -> None:
    centre, step = radius * np.array([np.cos(azimuth), np.sin(azimuth)]), 1e-5
    along_u, along_v = (
        (to_directions(centre + step * axis) - to_directions(centre - step * axis)) / (2 * step) for axis in np.eye(2)
    )
    np.testing.assert_allclose(np.linalg.norm(np.cross(along_u, along_v)), 1, atol=1e-4)


def test_points_beyond_the_rim_stay_on_the_sphere() -> None:
    directions = to_directions(np.array([[2.7, 0.0], [-1.95, 1.95]]))
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-9)
