"""Poses turn as their docstrings say; scenes and identities follow from their seeds."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.synthetic import Identity, Scene, draw_identity, draw_scene
from frl.synthetic.scene import Light, Pose

ANGLE = st.floats(-90, 90)


@settings(max_examples=100, deadline=None)
@given(ANGLE, ANGLE, ANGLE)
def test_pose_is_yaw_then_pitch_then_roll(yaw: float, pitch: float, roll: float) -> None:
    # OpenCV's Rodrigues turns by the right-hand rule about x right, y down, z: our z points the other way round.
    flip = np.diag([1.0, 1.0, -1.0])
    about_y, about_x, about_z = (
        flip @ cv2.Rodrigues(np.radians(angle) * axis)[0] @ flip
        for angle, axis in ((-yaw, np.eye(3)[1]), (-pitch, np.eye(3)[0]), (roll, np.eye(3)[2]))
    )
    np.testing.assert_allclose(Pose(yaw=yaw, pitch=pitch, roll=roll).matrix(), about_z @ about_x @ about_y, atol=1e-9)


def test_the_nose_follows_the_signs() -> None:
    nose = np.array([0, 0, 1])
    assert (Pose(yaw=30).matrix() @ nose)[0] > 0.4, "positive yaw moves it to the right"
    assert (Pose(pitch=30).matrix() @ nose)[1] < -0.4, "positive pitch lifts it"
    assert (Pose(roll=30).matrix() @ [0, -1, 0])[0] > 0.4, "positive roll turns the crown clockwise, to the right"


@pytest.mark.parametrize("azimuth, elevation, expected", [(0, 0, (0, 0, 1)), (90, 0, (1, 0, 0)), (0, 90, (0, -1, 0))])
def test_light_comes_from_where_it_says(azimuth: float, elevation: float, expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(Light(azimuth=azimuth, elevation=elevation).direction(), expected, atol=1e-12)


def test_same_seed_same_draw_and_no_other() -> None:
    assert draw_identity(3, 5) == draw_identity(3, 5)
    assert draw_scene(3, 5, 7) == draw_scene(3, 5, 7)
    assert len({draw_identity(seed, index) for seed in range(3) for index in range(20)}) == 60
    assert len({draw_scene(seed, who, image) for seed in range(3) for who in range(3) for image in range(3)}) == 27


def test_an_identity_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        draw_identity(0, 0).redness = 0.0  # type: ignore[misc]


def test_intensities_and_colours_are_within_bounds() -> None:
    for index in range(200):
        scene, identity = draw_scene(0, index, 0), draw_identity(0, index)
        assert all(0 <= value <= 1 for value in dataclasses.astuple(scene.expression))
        assert all(0 <= value <= 1 for value in (*identity.skin, *identity.hair_colour, *identity.iris, *scene.clothes))


def test_every_kind_of_identity_and_scene_turns_up() -> None:
    identities: list[Identity] = [draw_identity(0, index) for index in range(300)]
    scenes: list[Scene] = [draw_scene(0, index, 0) for index in range(300)]
    assert len({identity.hair for identity in identities}) == 9
    assert len({identity.beard for identity in identities}) == 5
    assert {scene.glasses is None for scene in scenes} == {True, False}
    assert np.std([scene.pose.yaw for scene in scenes]) > 10
    assert max(scene.expression.eye_closure for scene in scenes) > 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_a_mirror_in_a_mirror_changes_nothing(image: int) -> None:
    scene = draw_scene(0, 0, image)
    twice = scene.mirrored().mirrored()
    assert twice.pose == scene.pose and twice.light == scene.light
    assert twice.camera.centre == pytest.approx(scene.camera.centre)
    assert twice.backdrop.angle == pytest.approx(scene.backdrop.angle)
