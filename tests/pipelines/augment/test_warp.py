"""A warped image and its points: discs are found where the points say, and what else is known follows."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as TF

from frl.beton.targets import MIRRORS, Kind, TargetSpec
from frl.config.finetune import WarpConfig
from frl.errors import ConfigError
from pipelines.augment.affine import Warp, draw_warp
from pipelines.augment.warp import WarpImages, carried, packed_warp
from tests.marks import find_marks, marked

SIZE, RADIUS = 96, 6
PLAIN = WarpConfig(
    rotation=35, scale=0.25, shift=0.08, erase_p=0, jitter_p=0, grey_p=0, blur_p=0, mean=(0, 0, 0), std=(1, 1, 1)
)
LANDMARKS = TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(5, 2))
CELLS = np.array([(0.35, 0.35), (0.65, 0.35), (0.5, 0.5), (0.35, 0.65), (0.65, 0.65)])


def views(config, images, warp):
    return WarpImages(config, images.shape[1])(images, torch.from_numpy(packed_warp(warp)))


def noise(count, size=SIZE):
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_marks_are_found_where_the_points_are():
    count, rng = 24, np.random.default_rng(1)
    points = CELLS * SIZE + rng.uniform(-4, 4, (count, 5, 2))
    images = torch.from_numpy(np.stack([marked(SIZE, SIZE, of_one, RADIUS) for of_one in points]))
    warp = draw_warp(PLAIN, 5, np.zeros(count, int), np.arange(count), SIZE)
    assert 6 < warp.flip.sum() < 18
    sides = torch.full((count, 2), float(SIZE))
    moved = carried({"landmarks": torch.from_numpy(points).float()}, (LANDMARKS,), sides, warp, SIZE)["landmarks"]
    for view, said, flip in zip(views(PLAIN, images, warp), moved.numpy(), warp.flip, strict=True):
        found = find_marks((view.permute(1, 2, 0) * 255).numpy())
        # In a mirror the point of a name is the mark of the other side.
        of_mark = said[list(LANDMARKS.permutation)] if flip else said
        assert np.abs(found - of_mark).max() < 0.25


def test_points_of_a_stretched_image_follow_it():
    sides = torch.tensor([[200.0, 100.0]])
    corners = torch.tensor([[[-0.5, -0.5], [199.5, -0.5], [99.5, 49.5], [-0.5, 99.5], [199.5, 99.5]]])
    moved = carried({"landmarks": corners}, (LANDMARKS,), sides, Warp.unchanged(1), 50)["landmarks"][0]
    torch.testing.assert_close(
        moved, torch.tensor([[-0.5, -0.5], [49.5, -0.5], [24.5, 24.5], [-0.5, 49.5], [49.5, 49.5]])
    )


def test_depth_grows_with_the_face():
    spec = TargetSpec(name="p", kind=Kind.POINTS, shape=(1, 3), mirror=(0,))
    warp = Warp.unchanged(1)._replace(scale=np.array([1.25]), angle=np.array([0.3]))
    moved = carried({"p": torch.tensor([[[10.0, 20.0, 8.0]]])}, (spec,), torch.full((1, 2), 100.0), warp, 50)["p"]
    assert moved[0, 0, 2] == pytest.approx(8 * 0.5 * 1.25)


def test_a_warp_that_changes_nothing_is_the_identity():
    images = noise(3)
    view = views(PLAIN, images, Warp.unchanged(3))
    torch.testing.assert_close(view, images.permute(0, 3, 1, 2) / 255, atol=1e-4, rtol=0)
    assert view.is_contiguous(memory_format=torch.channels_last)
    points = torch.rand(3, 5, 2) * SIZE
    same = carried({"landmarks": points}, (LANDMARKS,), torch.full((3, 2), float(SIZE)), Warp.unchanged(3), SIZE)
    torch.testing.assert_close(same["landmarks"], points, atol=1e-4, rtol=0)


def test_a_mirror_is_the_mirrored_image():
    images = noise(2)
    mirror = Warp.unchanged(2)._replace(flip=np.array([True, False]))
    view = views(PLAIN, images, mirror)
    torch.testing.assert_close(view[0], images[0].permute(2, 0, 1).flip(2) / 255, atol=1e-4, rtol=0)
    torch.testing.assert_close(view[1], images[1].permute(2, 0, 1) / 255, atol=1e-4, rtol=0)


def test_the_turn_is_torchvisions():
    """Of a smooth picture, whose border lies where neither repeats nor invents pixels."""
    small = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    smooth = F.interpolate(small, (SIZE, SIZE), mode="bicubic", align_corners=False).clamp(0, 1)
    levels = (smooth * 255).round().byte()
    warp = Warp.unchanged(1)._replace(angle=np.radians([20.0]), scale=np.array([1.2]), shift=np.array([[0.05, -0.04]]))
    ours = views(PLAIN, levels.permute(0, 2, 3, 1), warp)[0]
    translate = [0.05 * SIZE, -0.04 * SIZE]
    theirs = TF.affine(
        levels[0].float() / 255, 20.0, translate, 1.2, [0.0, 0.0], interpolation=TF.InterpolationMode.BILINEAR
    )
    inner = slice(24, -24)
    torch.testing.assert_close(ours[:, inner, inner], theirs[:, inner, inner], atol=2e-3, rtol=0)


def test_colours_are_those_of_the_reference():
    config = dataclasses.replace(PLAIN, jitter_p=1, brightness=0.4, contrast=0, saturation=0.5, hue=0)
    images = noise(4)
    warp = draw_warp(config, 1, np.zeros(4, int), np.arange(4), SIZE)
    warp = Warp.unchanged(4)._replace(colours=warp.colours)
    for view, image, order, factors in zip(
        views(config, images, warp), images, warp.colours.order[:, 0], warp.colours.factors[:, 0], strict=True
    ):
        expected = image.permute(2, 0, 1) / 255
        for operation in order.tolist():
            if operation == 0:
                expected = TF.adjust_brightness(expected, float(factors[0]))
            elif operation == 2:
                expected = TF.adjust_saturation(expected, float(factors[2]))
        torch.testing.assert_close(view, expected, atol=2e-3, rtol=0)


def test_blur_and_grey_keep_the_image_upright():
    config = dataclasses.replace(PLAIN, blur_p=1, blur_sigma=(0.1, 0.1001), grey_p=1)
    images = noise(1)
    warp = Warp.unchanged(1)._replace(colours=draw_warp(config, 0, np.zeros(1, int), np.arange(1), SIZE).colours)
    grey = TF.rgb_to_grayscale(images.permute(0, 3, 1, 2) / 255, 3)
    torch.testing.assert_close(views(config, images, warp), grey, atol=3e-3, rtol=0)


def test_solarisation_inverts_what_is_bright():
    config = dataclasses.replace(PLAIN, solarise_p=1, solarise_threshold=128)
    images = noise(1)
    warp = Warp.unchanged(1)._replace(colours=draw_warp(config, 0, np.zeros(1, int), np.arange(1), SIZE).colours)
    levels = images.permute(0, 3, 1, 2)
    torch.testing.assert_close(views(config, images, warp), TF.solarize(levels, 128) / 255, atol=1e-3, rtol=0)


def test_the_hidden_rectangle_has_the_mean_colour():
    config = dataclasses.replace(PLAIN, erase_p=1, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
    warp = Warp.unchanged(1)._replace(hidden=np.array([[0.25, 0.5, 0.75, 1.0]]))
    images = torch.full((1, SIZE, SIZE, 3), 255, dtype=torch.uint8)
    hidden = (views(config, images, warp)[0] == 0).all(0)
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    expected[SIZE // 2 :, SIZE // 4 : SIZE * 3 // 4] = True
    assert torch.equal(hidden, expected)


def test_what_else_is_known_follows_the_view():
    specs = (
        TargetSpec(name="pose", kind=Kind.VECTOR, shape=(3,), names=("yaw", "pitch", "roll")),
        TargetSpec(name="visible", kind=Kind.VISIBILITY, shape=(5,)),
        TargetSpec(name="affect", kind=Kind.VECTOR, shape=(2,), names=("valence", "arousal")),
        TargetSpec(name="mood", kind=Kind.CLASS),
    )
    known = {
        "pose": torch.tensor([[10.0, 5.0, 3.0]] * 2),
        "visible": torch.tensor([[1, 0, 1, -1, 0]] * 2, dtype=torch.int8),
        "affect": torch.tensor([[0.5, torch.nan]] * 2),
        "mood": torch.tensor([4, -1]),
    }
    warp = Warp.unchanged(2)._replace(flip=np.array([False, True]), angle=np.radians([20.0, 20.0]))
    moved = carried(known, specs, torch.full((2, 2), 64.0), warp, 64)
    torch.testing.assert_close(moved["pose"], torch.tensor([[10.0, 5.0, 23.0], [-10.0, 5.0, 17.0]]))
    assert moved["visible"].tolist() == [[1, 0, 1, -1, 0], [0, 1, 1, 0, -1]]
    assert moved["visible"].dtype == torch.int8
    torch.testing.assert_close(moved["affect"], known["affect"], equal_nan=True)
    assert moved["mood"].tolist() == [4, -1]


def test_unknown_points_stay_unknown():
    points = torch.full((4, 5, 2), torch.nan)
    points[:, 2] = 10
    warp = draw_warp(PLAIN, 0, np.zeros(4, int), np.arange(4), SIZE)
    moved = carried({"landmarks": points}, (LANDMARKS,), torch.full((4, 2), float(SIZE)), warp, SIZE)["landmarks"]
    assert moved[:, 2].isfinite().all() and moved[:, [0, 1, 3, 4]].isnan().all()


@pytest.mark.parametrize("name", sorted(MIRRORS))
def test_mirroring_twice_leads_back(name):
    table = MIRRORS[name]
    assert [table[i] for i in table] == list(range(len(table)))


def test_points_without_a_known_mirror_are_not_mirrored():
    seven = TargetSpec(name="seven", kind=Kind.POINTS, shape=(7, 2))
    warp = Warp.unchanged(1)._replace(flip=np.array([True]))
    with pytest.raises(ConfigError, match=r"target seven: is points \(7, 2\), and nobody knows"):
        carried({"seven": torch.zeros(1, 7, 2)}, (seven,), torch.full((1, 2), 64.0), warp, 64)


MIRRORED = Warp.unchanged(2)._replace(flip=np.array([False, True]), angle=np.radians([20.0, 20.0]))


@pytest.mark.parametrize(
    ("spec", "value", "expected"),
    [
        (TargetSpec(name="yaw", kind=Kind.VECTOR), 30.0, -30.0),
        (TargetSpec(name="roll", kind=Kind.VECTOR), 30.0, -10.0),
        (TargetSpec(name="roll", kind=Kind.VECTOR, shape=(1,)), [30.0], [-10.0]),
        (TargetSpec(name="head", kind=Kind.VECTOR, shape=(2,), names=("pose.Yaw", "pitch")), [30.0, 5], [-30.0, 5]),
        (TargetSpec(name="age", kind=Kind.VECTOR), 30.0, 30.0),
        (TargetSpec(name="open", kind=Kind.VECTOR, shape=(3,), names=("left_eye", "mouth", "Right_eye")),
         [1.0, 2, torch.nan], [torch.nan, 2, 1.0]),
        (TargetSpec(name="yaws", kind=Kind.VECTOR, shape=(2, 3)), [[1.0, 2, 3], [4, 5, 6]], [[1.0, 2, 3], [4, 5, 6]]),
        (TargetSpec(name="side", kind=Kind.CLASS, names=("left", "front", "right")), 2, 0),
        (TargetSpec(name="side", kind=Kind.CLASS, names=("left", "front", "right")), -1, -1),
        (TargetSpec(name="hidden", kind=Kind.CLASS, shape=(2,), names=("left ear", "right ear")), [1, -1], [-1, 1]),
        (TargetSpec(name="light", kind=Kind.CLASS, names=("bright", "dark")), 0, 0),
    ],
    ids=lambda value: value.name if isinstance(value, TargetSpec) else "",
)  # fmt: skip
def test_names_say_what_a_mirror_changes(spec: TargetSpec, value: object, expected: object) -> None:
    """A yaw needs no roll beside it, and one number is called as its target is."""
    turned = {"roll": 20.0}.get(spec.name, 0.0)
    known = torch.tensor([value, value])
    plain, mirrored = carried({spec.name: known}, (spec,), torch.full((2, 2), 64.0), MIRRORED, 64)[spec.name]
    torch.testing.assert_close(plain, known[0] + turned, equal_nan=True, check_dtype=False)
    torch.testing.assert_close(mirrored, torch.tensor(expected), equal_nan=True)
    assert plain.dtype == known.dtype


@pytest.mark.parametrize(
    "spec",
    [
        TargetSpec(name="left_eye", kind=Kind.VECTOR),
        TargetSpec(name="eyes", kind=Kind.VECTOR, shape=(2,), names=("left", "both")),
        TargetSpec(name="side", kind=Kind.CLASS, names=("left", "other")),
    ],
    ids=lambda spec: spec.name,
)
def test_a_side_without_the_other_is_not_mirrored(spec: TargetSpec) -> None:
    known = {spec.name: torch.zeros(2, *spec.shape, dtype=torch.int64)}
    with pytest.raises(ConfigError, match=r"nobody knows what a mirror shows.*flip-p 0"):
        carried(known, (spec,), torch.full((2, 2), 64.0), MIRRORED, 64)
    unchanged = carried(known, (spec,), torch.full((2, 2), 64.0), Warp.unchanged(2), 64)
    assert torch.equal(unchanged[spec.name], known[spec.name])
