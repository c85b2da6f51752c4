"""Pictures follow from their scene, and their landmarks lie where the pixels show the features."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from frl.synthetic import Face, Identity, Scene, contact_sheet, draw_face, draw_identity, draw_scene, make_model, render
from frl.synthetic.identity import Beard, Hair
from frl.synthetic.layout import MIRROR
from frl.synthetic.scene import Camera, Expression, Pose

SIZE = 160
PLAIN = [
    replace(draw_identity(0, index), hair=Hair.BALD, beard=Beard.NONE, mole=None, freckles=0.0, parting=0.0)
    for index in range(4)
]


def marks(identity: Identity, **pose: float) -> np.ndarray:
    return draw_face(identity, Scene(pose=Pose(**pose)), SIZE)[1].astype(float)


def test_pictures_have_the_promised_form() -> None:
    image, landmarks = draw_face(draw_identity(1, 0), draw_scene(1, 0, 0), 96)
    assert image.shape == (96, 96, 3) and image.dtype == np.uint8
    assert landmarks.shape == (68, 2) and landmarks.dtype == np.float32
    assert image.std() > 10


def test_the_same_scene_gives_the_same_bytes() -> None:
    identity, scene = draw_identity(2, 3), draw_scene(2, 3, 4)
    first, second = (draw_face(identity, scene, 64)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    model = make_model(identity, 64)
    render(model, draw_scene(2, 3, 5))
    np.testing.assert_array_equal(render(model, scene).image, first, err_msg="a model must not change with use")


@pytest.mark.parametrize("index", range(8))
def test_a_frontal_face_shows_its_landmarks(index: int) -> None:
    face = render(make_model(draw_identity(0, index), SIZE), Scene())
    assert np.all((face.landmarks > 0) & (face.landmarks < SIZE - 1))
    assert face.visible[27:31].all() and face.visible[48:].all(), "nose and mouth hide behind nothing"


def test_identities_differ_in_the_same_scene() -> None:
    pictures = [draw_face(draw_identity(0, index), Scene(), 64)[0].astype(float) for index in range(6)]
    distances = [np.abs(a - b).mean() for k, a in enumerate(pictures) for b in pictures[:k]]
    assert min(distances) > 3


@pytest.mark.parametrize("identity", PLAIN)
def test_yaw_moves_landmarks_as_cosine_and_sine(identity: Identity) -> None:
    still = marks(identity)[:, 0] - (SIZE / 2 - 0.5)
    depths = []
    for yaw in (10.0, 25.0, 50.0):
        right, left = (marks(identity, yaw=sign * yaw)[:, 0] - (SIZE / 2 - 0.5) for sign in (1, -1))
        np.testing.assert_allclose((right + left) / 2, still * np.cos(np.radians(yaw)), atol=0.02)
        depths.append((right - left) / 2 / np.sin(np.radians(yaw)))
    np.testing.assert_allclose(depths[0], depths[2], atol=0.1)
    np.testing.assert_allclose(depths[1], depths[2], atol=0.1)
    assert depths[0].argmax() == 30, "the tip of the nose is nearest to the camera"
    assert depths[0][30] > depths[0][8] > 0, "then the chin"


@pytest.mark.parametrize("roll", [-30.0, 12.0, 45.0])
def test_roll_turns_all_landmarks_about_the_centre(roll: float) -> None:
    centre = np.array(Camera().centre) * SIZE - 0.5
    x, y = (marks(PLAIN[0], yaw=20, pitch=10) - centre).T
    cosine, sine = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    expected = np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1) + centre
    np.testing.assert_allclose(marks(PLAIN[0], yaw=20, pitch=10, roll=roll), expected, atol=0.01)


def test_scale_and_size_scale_the_landmarks() -> None:
    scene = Scene(camera=Camera(scale=0.2, centre=(0.5, 0.5)))
    small, large = (draw_face(PLAIN[0], scene, size)[1] + 0.5 for size in (64, 192))
    np.testing.assert_allclose(large, 3 * small, atol=0.01)
    wider = replace(scene, camera=replace(scene.camera, scale=0.4))
    np.testing.assert_allclose(draw_face(PLAIN[0], wider, 64)[1] + 0.5 - 32, 2 * (small - 32), atol=0.01)


def test_a_turned_head_hides_its_far_side() -> None:
    face = render(make_model(PLAIN[0], SIZE), Scene(pose=Pose(yaw=60)))
    assert not face.visible[13:17].any(), "the jaw away from the camera"
    assert face.visible[2:6].all() and face.visible[[36, 48]].all(), "the near jaw, eye and mouth corner"


def luminance(face: Face) -> np.ndarray:
    return face.image.astype(float) @ [0.299, 0.587, 0.114]


@pytest.mark.parametrize("pose", [Pose(), Pose(yaw=20, roll=10), Pose(yaw=-25, pitch=8), Pose(pitch=-12, roll=-20)])
@pytest.mark.parametrize("identity", PLAIN)
def test_irises_are_dark_where_the_eyes_are(identity: Identity, pose: Pose) -> None:
    face = render(make_model(replace(identity, eye_opening=1.3), 256), Scene(pose=pose))
    for eye in (slice(36, 42), slice(42, 48)):
        corners = face.landmarks[eye]
        mask = cv2.fillPoly(np.zeros((256, 256), np.uint8), [np.round(corners).astype(np.int32)], 1)
        row, column = np.nonzero(mask)
        along = (corners[3] - corners[0]) / np.linalg.norm(corners[3] - corners[0])
        place = (np.stack([column, row], axis=1) - corners[0]) @ along
        darkness = 255 - luminance(face)[row, column]
        share = place / np.linalg.norm(corners[3] - corners[0])
        middle, ends = np.abs(share - 0.5) < 0.15, np.abs(share - 0.5) > 0.3
        assert darkness[middle].mean() > darkness[ends].mean() + 25, "the iris is in the middle of the eye"


@pytest.mark.parametrize("pose", [Pose(), Pose(yaw=20, roll=10), Pose(yaw=-25, pitch=8)])
@pytest.mark.parametrize("identity", PLAIN)
def test_lips_are_red_between_their_landmarks(identity: Identity, pose: Pose) -> None:
    face = render(make_model(replace(identity, lip_colour=1.0), 256), Scene(pose=pose))
    redness = face.image[..., 0] / face.image.astype(float).sum(axis=-1)

    def at(point: np.ndarray) -> float:
        column, row = np.round(point).astype(int)
        return float(redness[row - 1 : row + 2, column - 1 : column + 2].mean())

    lip = at(face.landmarks[[57, 66]].mean(axis=0))
    assert lip > 1.05 * at(face.landmarks[8] * 0.5 + face.landmarks[57] * 0.5), "redder than the chin"
    assert lip > 1.05 * at(face.landmarks[33] * 0.4 + face.landmarks[51] * 0.6), "and than below the nose"


def test_an_open_mouth_is_dark_and_a_shut_eye_is_not() -> None:
    model = make_model(replace(PLAIN[1], lip_colour=0.3), 256)
    shut, gaping = (render(model, Scene(expression=Expression(mouth_open=gape))) for gape in (0.0, 1.0))
    column, row = np.round(gaping.landmarks[[62, 66]].mean(axis=0)).astype(int)
    assert luminance(gaping)[row, column] < 0.7 * luminance(shut)[row, column]
    awake, asleep = (render(model, Scene(expression=Expression(eye_closure=shut))) for shut in (0.0, 1.0))
    column, row = np.round(awake.landmarks[36:42].mean(axis=0)).astype(int)
    iris, lid = (luminance(face)[row - 2 : row + 3, column - 2 : column + 3].min() for face in (awake, asleep))
    assert lid > iris + 30, "the lid covers the iris"


@pytest.mark.parametrize("index", range(3))
def test_a_mirrored_scene_gives_a_mirrored_picture(index: int) -> None:
    drawn = draw_scene(7, 0, index)
    scene = replace(
        drawn, backdrop=replace(drawn.backdrop, blobs=0, grain=0.0), camera=replace(drawn.camera, noise=0.0)
    )
    model = make_model(PLAIN[index], SIZE)
    face, reflection = render(model, scene), render(model, scene.mirrored())
    reflected = reflection.landmarks[MIRROR]
    np.testing.assert_allclose(SIZE - 1 - reflected[:, 0], face.landmarks[:, 0], atol=0.02)
    np.testing.assert_allclose(reflected[:, 1], face.landmarks[:, 1], atol=0.02)
    difference = np.abs(face.image.astype(float) - reflection.image[:, ::-1])
    assert difference.mean() < 0.2
    unlike = np.abs(face.image.astype(float) - reflection.image)
    assert unlike.mean() > 4 * difference.mean(), "the picture itself is not symmetric"


def test_pixels_do_not_give_identity_away() -> None:
    """Leave-one-out nearest neighbours on small pixels are above chance (1 in 30), but far from enough."""
    pixels, labels = [], []
    for who in range(30):
        model = make_model(draw_identity(0, who), 32)
        for image in range(8):
            pixels.append(render(model, draw_scene(0, who, image)).image.astype(float).ravel())
            labels.append(who)
    table, names = np.array(pixels), np.array(labels)
    square = np.sum(table**2, axis=1)
    distance = square[:, None] + square[None] - 2 * table @ table.T
    np.fill_diagonal(distance, np.inf)
    accuracy = np.mean(names[distance.argmin(axis=1)] == names)
    assert 2 / 30 < accuracy < 0.35


def test_a_contact_sheet_shows_each_face_in_its_place() -> None:
    model = make_model(PLAIN[0], 64)
    rows = [[render(model, draw_scene(0, row, column)) for column in range(3)] for row in range(2)]
    sheet = contact_sheet(rows, marked=[1])
    assert sheet.shape == (128, 192, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[:64, 64:128], rows[0][1].image)
    column, row = np.round(rows[1][2].landmarks[30]).astype(int)
    assert tuple(sheet[64 + row, 128 + column]) in {(60, 255, 90), (255, 70, 70)}
    assert not np.array_equal(sheet[64:, 128:], rows[1][2].image), "dots are drawn into the sheet, not into the face"
