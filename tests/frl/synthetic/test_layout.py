"""The 68 landmarks: their order, their symmetry, and what expressions do to them."""

import numpy as np
import pytest

from frl.synthetic import draw_identity
from frl.synthetic.layout import BRIDGE, BROWS, EYES, INNER_LIPS, JAW, MIRROR, NOSE_BASE, OUTER_LIPS, place_landmarks
from frl.synthetic.scene import Expression

FACES = [draw_identity(0, index) for index in range(20)]


@pytest.mark.parametrize("identity", FACES[:5])
@pytest.mark.parametrize("expression", [Expression(), Expression(smile=1, mouth_open=0.5, brow_raise=0.7)])
def test_landmarks_are_symmetric(identity, expression) -> None:
    marks = place_landmarks(identity, expression)
    assert marks.shape == (68, 2)
    np.testing.assert_allclose(marks[MIRROR] * [-1, 1], marks, atol=1e-12)


def test_mirror_is_its_own_inverse() -> None:
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(68))


@pytest.mark.parametrize("identity", FACES[:5])
def test_order_is_that_of_300w(identity) -> None:
    marks = place_landmarks(identity, Expression(mouth_open=0.3))
    x, y = marks.T
    assert np.all(np.diff(x[JAW]) > 0) and np.argmax(y) == 8, "the jaw runs from left to right over the chin"
    for brow in BROWS:
        assert np.all(np.diff(x[brow]) > 0), "brows run from left to right"
    assert np.all(np.diff(y[BRIDGE]) > 0) and np.all(np.diff(x[NOSE_BASE]) > 0)
    for eye in EYES:
        corner, up1, up2, other, low1, low2 = marks[eye]
        assert corner[0] < up1[0] < up2[0] < other[0] and other[0] > low1[0] > low2[0] > corner[0]
        assert max(up1[1], up2[1]) < min(low1[1], low2[1])
    assert x[EYES[0]].max() < 0 < x[EYES[1]].min()
    for lips, corners, upper, lower in (
        (OUTER_LIPS, (0, 6), range(1, 6), range(7, 12)),
        (INNER_LIPS, (0, 4), range(1, 4), range(5, 8)),
    ):
        mouth = marks[lips]
        assert mouth[corners[0], 0] == mouth[:, 0].min() and mouth[corners[1], 0] == mouth[:, 0].max()
        assert np.all(np.diff(mouth[list(upper), 0]) > 0) and np.all(np.diff(mouth[list(lower), 0]) < 0)
        assert mouth[list(upper), 1].max() < mouth[list(lower), 1].min()


@pytest.mark.parametrize("identity", FACES)
def test_features_keep_their_order_down_the_face(identity) -> None:
    y = place_landmarks(identity, Expression())[:, 1]
    assert y[17:27].max() < y[36:48].min(), "brows above eyes"
    assert y[36:48].max() < y[33] < y[48:].min(), "eyes above the nose's base above the mouth"
    assert y[48:].max() < y[8], "mouth above the chin"


@pytest.mark.parametrize("identity", FACES)
def test_expressions_move_what_they_name(identity) -> None:
    still = place_landmarks(identity, Expression())
    smile = place_landmarks(identity, Expression(smile=1))
    assert np.ptp(smile[[48, 54], 0]) > 1.15 * np.ptp(still[[48, 54], 0]), "a smile widens the mouth"
    assert np.all(smile[[48, 54], 1] < still[[48, 54], 1]), "and raises its corners"
    gape = place_landmarks(identity, Expression(mouth_open=1))
    assert gape[66, 1] - gape[62, 1] > still[66, 1] - still[62, 1] + 0.1
    raised = place_landmarks(identity, Expression(brow_raise=1))
    assert np.all(raised[17:27, 1] < still[17:27, 1] - 0.05)
    frown = place_landmarks(identity, Expression(frown=1))
    assert frown[22, 0] - frown[21, 0] < still[22, 0] - still[21, 0], "a frown draws the brows together"
    assert np.all(frown[[21, 22], 1] > still[[21, 22], 1]), "and down"


@pytest.mark.parametrize("identity", FACES)
def test_lids_meet_in_step_with_the_closure(identity) -> None:
    def gap(closure: float) -> float:
        marks = place_landmarks(identity, Expression(eye_closure=closure))
        return float(np.mean(marks[[40, 41, 46, 47], 1] - marks[[38, 37, 44, 43], 1]))

    gaps = [gap(closure) for closure in (0, 0.25, 0.5, 0.75, 1)]
    assert np.all(np.diff(gaps) < 0)
    assert 0 < gaps[-1] < 0.15 * gaps[0]
