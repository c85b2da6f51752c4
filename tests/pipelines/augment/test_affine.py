"""The plan of a labelled face: ranges, mirror, and independence of the batch."""

import dataclasses

import numpy as np
import pytest

from frl.config.finetune import WarpConfig
from frl.errors import ConfigError
from pipelines.augment.affine import ASPECT, Warp, draw_warp

CONFIG = WarpConfig(rotation=30, scale=0.25, shift=0.1, erase_p=0.5)
MANY = np.arange(4000)


def drawn(config=CONFIG, seed=3, turn=0, samples=MANY, size=64):
    return draw_warp(config, seed, np.full(len(samples), turn), samples, size)


def test_values_fill_their_ranges():
    warp = drawn()
    assert np.degrees(warp.angle).min() == pytest.approx(-30, abs=0.2)
    assert np.degrees(warp.angle).max() == pytest.approx(30, abs=0.2)
    assert warp.scale.min() == pytest.approx(1 / 1.25, abs=2e-3) and warp.scale.max() == pytest.approx(1.25, abs=2e-3)
    assert np.log(warp.scale).mean() == pytest.approx(0, abs=0.01), "as often larger as smaller"
    assert np.abs(warp.shift).max() == pytest.approx(0.1, abs=1e-3)
    assert warp.flip.mean() == pytest.approx(0.5, abs=0.03)
    hidden = warp.hidden[:, 2:] > warp.hidden[:, :2]
    assert hidden.all(1).mean() == pytest.approx(0.5, abs=0.03)
    sides = (warp.hidden[:, 2:] - warp.hidden[:, :2])[hidden.all(1)]
    assert (warp.hidden >= 0).all() and (warp.hidden <= 1).all()
    assert sides.prod(1).min() == pytest.approx(0.02, abs=1e-3) and sides.prod(1).max() == pytest.approx(0.2, abs=1e-3)
    assert (sides[:, 0] / sides[:, 1]).max() <= ASPECT + 1e-9


def test_a_probability_of_0_is_never_and_of_1_always():
    never = drawn(dataclasses.replace(CONFIG, flip_p=0, erase_p=0, rotation=0, scale=0, shift=0))
    assert not never.flip.any() and not never.hidden.any() and not never.angle.any()
    assert (never.scale == 1).all() and not never.shift.any()
    always = drawn(dataclasses.replace(CONFIG, flip_p=1, erase_p=1))
    assert always.flip.all() and (always.hidden[:, 2:] > always.hidden[:, :2]).all()


def test_a_sample_has_its_warp_whatever_it_shares_a_batch_with():
    whole = drawn()
    for chosen in (np.array([7]), np.array([3999, 7, 12]), np.array([7, 7])):
        part = drawn(samples=chosen)
        for field in ("flip", "angle", "scale", "shift", "hidden"):
            np.testing.assert_array_equal(getattr(part, field), getattr(whole, field)[chosen])
        for ours, theirs in zip(part.colours, whole.colours, strict=True):
            np.testing.assert_array_equal(ours, theirs[chosen])


def test_passes_and_seeds_differ_and_may_meet_in_a_batch():
    first, second, other = drawn(turn=0), drawn(turn=1), drawn(seed=4)
    assert (first.angle != second.angle).all() and (first.angle != other.angle).all()
    mixed = draw_warp(CONFIG, 3, np.array([0, 1, 0]), np.array([5, 5, 6]), 64)
    np.testing.assert_array_equal(mixed.angle, [first.angle[5], second.angle[5], first.angle[6]])
    np.testing.assert_array_equal(mixed.flip, [first.flip[5], second.flip[5], first.flip[6]])
    np.testing.assert_array_equal(mixed.colours.factors[1], second.colours.factors[5])


def test_backward_undoes_forward():
    warp, points = drawn(), np.random.default_rng(0).uniform(-0.5, 0.5, (len(MANY), 2))
    there = np.einsum("bij,bj->bi", warp.forward[:, :, :2], points) + warp.forward[:, :, 2]
    back = np.einsum("bij,bj->bi", warp.backward[:, :, :2], 2 * there) + warp.backward[:, :, 2]
    np.testing.assert_allclose(back / 2, points, atol=1e-6)


def test_a_positive_angle_turns_clockwise():
    quarter = Warp.unchanged(1)._replace(angle=np.array([np.pi / 2]))
    right = quarter.forward[0, :, :2] @ [1, 0]
    np.testing.assert_allclose(right, [0, 1], atol=1e-6)  # what was on the right is below: y grows downwards


def test_a_mirror_comes_before_the_turn():
    both = Warp.unchanged(1)._replace(angle=np.array([np.pi / 2]), flip=np.array([True]))
    np.testing.assert_allclose(both.forward[0, :, :2] @ [1, 0], [0, -1], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"rotation": -1}, "augment.rotation"),
        ({"scale": -0.1}, "augment.scale"),
        ({"shift": 2}, "augment.shift"),
        ({"erase_p": 1.5}, "augment.erase-p"),
        ({"erase_area": (0.3, 0.2)}, "augment.erase-area"),
        ({"flip_p": 2}, "flip-p"),
        ({"hue": 0.7}, "hue"),
    ],
)
def test_ranges_that_are_none_are_refused(change, option):
    with pytest.raises(ConfigError, match=option):
        dataclasses.replace(CONFIG, **change).check()
