"""The similarity against OpenCV's and against known transformations; aligned faces by marks in their pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import find_marks, marked
from PIL import Image

from frl.evaluate.alignment import TEMPLATE, align, five_points, similarity


def moved(points: np.ndarray, scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    turn = np.radians(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return points @ matrix.T + shift


@settings(max_examples=50, deadline=None)
@given(
    scale=st.floats(0.1, 20),
    degrees=st.floats(-180, 180),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    known=st.sets(st.integers(0, 4), min_size=2, max_size=5),
)
def test_a_similarity_is_found_again_from_any_points(
    scale: float, degrees: float, shift: tuple[float, float], known: set[int]
) -> None:
    source = moved(TEMPLATE, scale, degrees, shift)
    source[[row for row in range(5) if row not in known]] = np.nan
    matrix = similarity(source, TEMPLATE)
    found = source @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(found[list(known)], TEMPLATE[list(known)], atol=1e-6)
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(scale**-2)


@pytest.mark.parametrize("seed", range(5))
def test_of_noisy_points_it_is_opencvs_least_squares(seed: int) -> None:
    random = np.random.default_rng(seed)
    source = moved(TEMPLATE, 2.5, 25, (40, -10)) + random.normal(0, 6, (5, 2))
    # Without outliers (a threshold no point reaches) OpenCV refines to the least squares over all points.
    theirs, inliers = cv2.estimateAffinePartial2D(source, TEMPLATE, ransacReprojThreshold=1e6, refineIters=1000)
    assert inliers.all()
    np.testing.assert_allclose(similarity(source, TEMPLATE), theirs, atol=1e-4)


def test_a_mirrored_face_is_turned_and_not_mirrored() -> None:
    mirrored = TEMPLATE * (-1, 1)
    assert np.linalg.det(similarity(mirrored, TEMPLATE)[:, :2]) > 0


@pytest.mark.parametrize(
    "points", [np.full((5, 2), np.nan), np.ones((5, 2)), np.where(np.arange(10).reshape(5, 2) < 2, 1.0, np.nan)]
)
def test_points_from_which_nothing_follows_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no similarity follows"):
        similarity(points, TEMPLATE)


@pytest.mark.parametrize("order", [[1, 0, 2, 4, 3], [1, 0, 2, 3, 4]])
@pytest.mark.parametrize("degrees", [0, 90, 180])
def test_eyes_that_are_exchanged_are_refused_and_a_headstand_is_not(order: list[int], degrees: float) -> None:
    points = moved(TEMPLATE, 1, degrees, (60, 60))
    image = Image.new("RGB", (250, 250))
    assert align(image, points, 112).shape == (112, 112, 3)
    with pytest.raises(ValueError, match="eyes seem to be exchanged"):
        align(image, points[order], 112)


def test_a_profile_whose_eyes_have_changed_places_is_aligned() -> None:
    points = np.array([[50.0, 50], [47, 50], [30, 70], [45, 90], [44, 90]])
    assert align(Image.new("RGB", (112, 112)), points, 112).shape == (112, 112, 3)


@pytest.mark.parametrize(("size", "scale"), [(112, 1.0), (112, 6.3), (224, 3.0), (64, 1.7)])
def test_marks_come_to_lie_on_the_template(size: int, scale: float) -> None:
    points = moved(TEMPLATE, scale, 20, (60 * scale, 20))
    image = marked(int(250 * scale), int(220 * scale), points, radius=4 * scale)
    found = find_marks(align(Image.fromarray(image), points, size))
    np.testing.assert_allclose((found + 0.5) * 112 / size - 0.5, TEMPLATE, atol=0.6)


def test_shrinking_averages_and_beyond_the_border_it_is_black() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (900, 450))[:, :, None].repeat(3, axis=2)
    face = align(Image.fromarray(stripes), TEMPLATE * 8, 112)
    assert np.abs(face[2:110, 2:110].astype(int) - 127).max() <= 2
    assert not align(Image.fromarray(stripes), TEMPLATE * 8 + (1000, 0), 112).any()


def test_five_of_68_points() -> None:
    points = np.random.default_rng(0).random((68, 2))
    five = five_points(points)
    np.testing.assert_array_equal(five[2:], points[[30, 48, 54]])
    np.testing.assert_allclose(five[:2], [(points[36] + points[39]) / 2, (points[42] + points[45]) / 2])
    np.testing.assert_array_equal(five_points(points[:5]), points[:5])
    with pytest.raises(ValueError, match="21 points, where 5 or 68 are known"):
        five_points(points[:21])
