"""Every operation of the GPU's way, run here on the CPU, equals torchvision's, PIL's or OpenCV's."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image

from frl.config import AugmentConfig, ColourConfig, CropSpec
from frl.errors import ConfigError
from pipelines.augment.gpu import colour
from pipelines.augment.gpu.blur import batch_blur, blur_matrix
from pipelines.augment.gpu.colour import Planes
from pipelines.augment.gpu.ladder import OPERATIONS, Operation, rung_factors
from pipelines.augment.gpu.multicrop import MultiCrop
from pipelines.augment.gpu.packed import pack, unpack
from pipelines.augment.gpu.resample import batch_resample, columns_first, filter_weights
from pipelines.augment.normalise import NormaliseCrops
from pipelines.augment.plan import JITTER_ORDERS, LEVELS, Plan, draw
from pipelines.augment.reference import crops_of
from tests.pipelines.conftest import TWO_VIEWS

LEVEL = 1 / 255
AUGMENT = AugmentConfig(
    crops=(CropSpec(size=40, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=3, scale=(0.05, 0.14)))
)
STILL = AugmentConfig(
    crops=(CropSpec(size=32, count=1, scale=(1.0, 1.0), ratio=(1.0, 1.0)),),
    flip_p=0,
    jitter_p=0,
    grey_p=0,
    blur_p=0,
    mean=(0, 0, 0),
    std=(1, 1, 1),
)


@pytest.fixture
def crops() -> torch.Tensor:
    """(6, 3, 40, 40) in [0, 1]: pictures, noise, greys and pure colours."""
    rng = np.random.default_rng(0)
    smooth = [Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((40, 40)) for _ in range(3)]
    noise = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    greys = np.repeat(rng.integers(0, 256, (40, 40, 1), dtype=np.uint8), 3, axis=2)
    pure = rng.choice(np.array([0, 255], dtype=np.uint8), (40, 40, 3))
    images = np.stack([*map(np.asarray, smooth), noise, greys, pure])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous() / 255


def as_pil(crop: torch.Tensor) -> Image.Image:
    return Image.fromarray((crop * 255).round().byte().permute(1, 2, 0).numpy())


def from_pil(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def per_image(value: float, n: int = 6) -> torch.Tensor:
    return torch.full((n, 1, 1), value)


def planes_of(crops: torch.Tensor) -> Planes:
    return Planes(*crops.unbind(1))


def crops_from(planes: Planes) -> torch.Tensor:
    return torch.stack(planes, dim=1)


def jitter_plan(order: np.ndarray, factors: np.ndarray, jitter: np.ndarray) -> Plan:
    """A plan of nothing but jitter: ``(N, 4)``, ``(N, 4)``, ``(N,)``."""
    return Plan.unchanged(len(order))._replace(jitter=jitter, order=order, factors=factors.astype(np.float32))


def resampled(images: torch.Tensor, boxes: np.ndarray, flip: np.ndarray, size: int, half: bool = False) -> torch.Tensor:
    """``(B, H, W, 3)`` to ``(B * count, 3, size, size)`` in [0, 1]; boxes ``(B, count, 4)``."""
    columns = columns_first(images)
    columns = columns.half() if half else columns
    crops = batch_resample(columns, torch.from_numpy(boxes).float(), torch.from_numpy(flip), size)
    return crops.permute(0, 2, 3, 1).float() / 255


def random_images(batch: int, side: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8))


def plan_of(images: torch.Tensor, augment: AugmentConfig, epoch: int = 0) -> Plan:
    batch, side = images.shape[:2]
    return draw(augment, 5, epoch, np.arange(batch), np.full((batch, 2), side))


BOXES = {
    "whole image, same size": (0, 0, 64, 64, 64),
    "whole image, shrunk": (0, 0, 64, 64, 24),
    "shrunk, not square": (3, 10, 50, 31, 20),
    "enlarged": (20, 30, 17, 11, 48),
    "shrunk one way, enlarged the other": (1, 2, 60, 9, 32),
    "one pixel": (63, 63, 1, 1, 16),
    "one row": (10, 0, 1, 64, 16),
    "odd sizes": (7, 5, 37, 41, 23),
    "shrunk a little": (0, 0, 33, 34, 32),
}


class TestResample:
    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())
    def test_is_within_a_level_of_a_resized_pil_crop(self, box, flip):
        *place, size = box
        images = random_images(3, 64)
        expected = []
        for image in images.numpy():
            crop = TF.resized_crop(Image.fromarray(image), *place, [size, size])
            expected.append(from_pil(TF.hflip(crop) if flip else crop))
        boxes, flips = np.tile(np.int32(place), (3, 1, 1)), np.full((3, 1), flip)
        for half in (False, True):
            assert (resampled(images, boxes, flips, size, half) - torch.stack(expected)).abs().max() < 1.01 * LEVEL

    def test_equals_torchvision_in_float(self):
        """Without PIL's rounding the agreement is far closer than a level; half precision costs a third of one."""
        images = random_images(1, 64)
        whole = images.permute(0, 3, 1, 2).double() / 255
        for *place, size in BOXES.values():
            expected = TF.resized_crop(whole, *place, [size, size], antialias=True)
            box, flip = np.int32([[place]]), np.array([[False]])
            assert (resampled(images, box, flip, size) - expected).abs().max() < 1e-5
            assert (resampled(images, box, flip, size, half=True) - expected).abs().max() < 0.34 * LEVEL

    def test_each_crop_has_its_own_box_and_flip(self):
        images = random_images(4, 64)
        plan = plan_of(images, AUGMENT)
        boxes, flip = plan.boxes[:, :2], plan.flip[:, :2]
        together = resampled(images, boxes, flip, 32).view(4, 2, 3, 32, 32)
        for i in range(4):
            for v in range(2):
                alone = resampled(images[i : i + 1], boxes[i : i + 1, v : v + 1], flip[i : i + 1, v : v + 1], 32)
                torch.testing.assert_close(together[i, v], alone[0], atol=1e-6, rtol=0)

    def test_weights_sum_to_one_and_keep_to_the_box(self):
        start, length = torch.tensor([0.0, 5, 63]), torch.tensor([64.0, 7, 1])
        weights = filter_weights(start, length, torch.zeros(3, dtype=torch.bool), 24, 64)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 24))
        assert weights[1, :, :5].abs().max() == 0 and weights[1, :, 12:].abs().max() == 0
        assert (weights >= 0).all()

    @pytest.mark.parametrize("half", [False, True])
    def test_identity_box_is_the_identity(self, half):
        images = random_images(2, 32)
        box, pixels = np.tile(np.int32([0, 0, 32, 32]), (2, 1, 1)), images.permute(0, 3, 1, 2) / 255
        assert torch.equal(resampled(images, box, np.array([[False], [False]]), 32, half), pixels)
        assert torch.equal(resampled(images, box, np.array([[True], [False]]), 32, half)[0], pixels[0].flip(-1))

    def test_pixels_beyond_the_image_on_its_canvas_do_not_leak(self):
        images = random_images(2, 64)
        spoilt = images.clone()
        spoilt[:, 40:] = 255
        spoilt[:, :, 30:] = 255
        boxes, flip = np.tile(np.int32([0, 0, 40, 30]), (2, 1, 1)), np.zeros((2, 1), bool)
        assert torch.equal(resampled(images, boxes, flip, 24), resampled(spoilt, boxes, flip, 24))


class TestColour:
    @pytest.mark.parametrize("factor", [0.0, 0.2, 0.7, 1.0, 1.3, 1.8])
    @pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
    def test_blends_equal_torchvision(self, name, factor, crops):
        ours = crops_from(getattr(colour, f"adjust_{name}")(planes_of(crops), per_image(factor)))
        theirs = getattr(TF, f"adjust_{name}")
        # torchvision's tensor path weights grey with 0.2989 where PIL, as ITU-R 601, has 0.299.
        assert (ours - theirs(crops, factor)).abs().max() < 3e-4
        on_pil = torch.stack([from_pil(theirs(as_pil(crop), factor)) for crop in crops])
        # PIL truncates after each operation, and rounds the grey and its mean before it multiplies them.
        assert (ours - on_pil).abs().max() < 2.01 * LEVEL

    @pytest.mark.parametrize("turns", [-0.5, -0.2, -0.01, 0.0, 0.07, 0.2, 0.5])
    def test_hue_equals_torchvision(self, turns, crops):
        ours = crops_from(colour.adjust_hue(planes_of(crops), per_image(turns)))
        assert (ours - TF.adjust_hue(crops, turns)).abs().max() < 1e-5

    @pytest.mark.parametrize("turns", [-0.2, 0.07, 0.2])
    def test_hue_is_near_pil_whose_hue_has_256_steps(self, turns, crops):
        ours = crops_from(colour.adjust_hue(planes_of(crops), per_image(turns)))
        on_pil = torch.stack([from_pil(TF.adjust_hue(as_pil(crop), turns)) for crop in crops])
        difference = (ours - on_pil).abs()
        assert difference.mean() < 2 * LEVEL
        assert (
            difference.max() < 14 * LEVEL
        )  # half a step of hue at full chroma is 6 x 255 / 512 levels, four roundings

    @pytest.mark.parametrize("turns", [-0.5, 0.0, 0.3])
    def test_hue_leaves_greys_alone(self, turns, crops):
        assert torch.equal(crops_from(colour.adjust_hue(planes_of(crops[4:5]), per_image(turns, 1))), crops[4:5])

    def test_identity_factors_are_the_identity(self, crops):
        for operation, adjust in colour.ADJUST.items():
            neutral = per_image(0.0 if operation is Operation.HUE else 1.0)
            assert torch.equal(crops_from(adjust(planes_of(crops), neutral)), crops)

    def test_each_image_has_its_own_factor(self, crops):
        factors = torch.linspace(0.2, 1.8, 6).view(6, 1, 1)
        for adjust in colour.ADJUST.values():
            together = crops_from(adjust(planes_of(crops), factors))
            for i in range(6):
                alone = crops_from(adjust(planes_of(crops[i : i + 1]), factors[i : i + 1]))
                torch.testing.assert_close(together[i : i + 1], alone)

    def test_jitter_in_all_24_orders_equals_torchvision(self, crops):
        factors = np.array([1.6, 0.4, 1.7, 0.15])
        adjust = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
        for order in JITTER_ORDERS:
            expected = crops
            for operation in order:
                expected = adjust[operation](expected, factors[operation])
            plan = jitter_plan(np.tile(order, (6, 1)), np.tile(factors, (6, 1)), np.ones(6, bool))
            ours = crops_from(colour.batch_jitter(planes_of(crops), torch.from_numpy(rung_factors(plan))))
            # Where hue comes late, torchvision's grey weights shift it a little; see above.
            assert (ours - expected).abs().mean() < 3e-4
            assert (ours - expected).abs().max() < 2e-2

    def test_jitter_masks_and_mixes_orders(self, crops):
        jitter = np.array([True, False, True, True, False, True])
        order = JITTER_ORDERS[[0, 3, 7, 12, 18, 23]]
        factors = np.random.default_rng(0).uniform(0.8, 1.2, (6, 4)) - np.array([0, 0, 0, 1])
        rungs = torch.from_numpy(rung_factors(jitter_plan(order, factors, jitter)))
        out = crops_from(colour.batch_jitter(planes_of(crops), rungs))
        for i in range(6):
            alone = planes_of(crops[i : i + 1])
            for operation in order[i] if jitter[i] else ():
                alone = colour.ADJUST[Operation(operation)](alone, per_image(float(factors[i, operation]), 1))
            torch.testing.assert_close(out[i], crops_from(alone)[0], atol=1e-6, rtol=0)

    def test_every_order_climbs_the_ladder(self):
        """Read off the rungs that are not neutral, an image's operations come in its order, with its factors."""
        factors = np.tile([1.1, 1.2, 1.3, 0.1], (24, 1))
        rungs = rung_factors(jitter_plan(JITTER_ORDERS, factors, np.ones(24, bool)))
        for order, row in zip(JITTER_ORDERS, rungs, strict=True):
            climbed = [(op, f) for op, f in zip(OPERATIONS, row, strict=True) if f != (0 if op is Operation.HUE else 1)]
            assert [op for op, _ in climbed] == order.tolist()
            assert [f for _, f in climbed] == [np.float32(factors[0, op]) for op in order]

    def test_grey_equals_pil(self, crops):
        chosen = torch.tensor([True, False, True, True, True, False])
        out = crops_from(colour.batch_grey(planes_of(crops), chosen))
        for i, crop in enumerate(crops):
            expected = from_pil(TF.to_grayscale(as_pil(crop), 3)) if chosen[i] else crop
            assert (out[i] - expected).abs().max() < 0.51 * LEVEL
        assert torch.equal(out[:, 0][chosen], out[:, 2][chosen])


class TestSolarise:
    @pytest.mark.parametrize("threshold", [0, 1, 128, 255])
    def test_whole_levels_equal_torchvision(self, threshold):
        levels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 16, 256)
        ours = crops_from(colour.batch_solarise(planes_of(levels / 255), torch.tensor([float(threshold)])))
        expected = TF.solarize(levels, threshold)
        assert torch.equal((ours * 255).round().byte(), expected)

    def test_values_between_two_levels_go_with_the_nearer(self):
        values = torch.tensor([127.4, 127.6, 128.0]).view(1, 1, 3) / 255
        ours = colour.batch_solarise(Planes(values, values, values), torch.tensor([128.0])).red * 255
        torch.testing.assert_close(ours.flatten(), torch.tensor([127.4, 127.4, 127.0]), atol=1e-4, rtol=0)

    def test_masks(self, crops):
        threshold = torch.tensor([LEVELS, 128, LEVELS, 10, 255, LEVELS])
        out = crops_from(colour.batch_solarise(planes_of(crops), threshold))
        for i, limit in enumerate(threshold.tolist()):
            expected = crops[i] if limit == LEVELS else TF.solarize(crops[i], limit / 255 - 1e-6)
            torch.testing.assert_close(out[i], expected)


class TestBlur:
    @staticmethod
    def blurred(crops: torch.Tensor, sigma: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return crops_from(batch_blur(planes_of(crops.transpose(2, 3)), sigma, dtype))

    @pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
    def test_equals_opencv(self, sigma, crops):
        expected = [cv2.GaussianBlur(crop.permute(1, 2, 0).numpy(), (23, 23), sigma) for crop in crops]
        expected = torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2)
        sigmas = torch.full((6,), sigma)
        assert (self.blurred(crops, sigmas) - expected).abs().max() < 1e-5
        assert (self.blurred(crops, sigmas, torch.float16) - expected).abs().max() < 0.3 * LEVEL

    def test_equals_torchvision(self, crops):
        expected = TF.gaussian_blur(crops, [23, 23], [1.3, 1.3])
        assert (self.blurred(crops, torch.full((6,), 1.3)) - expected).abs().max() < 1e-5

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    def test_sigma_zero_changes_nothing(self, crops, dtype):
        sigma = torch.tensor([0, 1.5, 0, 0.1, 2, 0])
        out = self.blurred(crops, sigma, dtype)
        assert torch.equal(out[sigma == 0], crops[sigma == 0].to(dtype).float())
        assert (out[4] - crops[4]).abs().max() > 10 * LEVEL
        for i in range(6):
            torch.testing.assert_close(out[i : i + 1], self.blurred(crops[i : i + 1], sigma[i : i + 1], dtype))

    def test_rows_are_opencv_s_taps(self):
        for sigma in (0.1, 0.7, 2.0):
            expected = torch.from_numpy(cv2.getGaussianKernel(23, sigma, cv2.CV_64F))[:, 0]
            row = blur_matrix(torch.tensor([sigma]), 40)[0, 20].double()
            torch.testing.assert_close(row[9:32], expected, atol=1e-6, rtol=0)
            assert row[:9].abs().max() == 0 and row[32:].abs().max() == 0

    def test_the_smallest_crops_mirror_both_borders(self):
        crop = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
        expected = cv2.GaussianBlur(crop[0].permute(1, 2, 0).numpy(), (23, 23), 2.0)
        ours = self.blurred(crop, torch.tensor([2.0]))[0].permute(1, 2, 0)
        torch.testing.assert_close(ours, torch.from_numpy(expected), atol=1e-5, rtol=0)


class TestMultiCrop:
    def test_shapes_layout_and_type(self):
        images = random_images(5, 64)
        for dtype in (torch.float32, torch.bfloat16):
            views = MultiCrop(AUGMENT, dtype=dtype)(images, plan_of(images, AUGMENT))
            assert [tuple(v.shape) for v in views] == [(10, 3, 40, 40), (15, 3, 24, 24)]
            assert all(v.dtype == dtype and v.is_contiguous(memory_format=torch.channels_last) for v in views)

    @pytest.mark.parametrize("augment", [AUGMENT, TWO_VIEWS], ids=["one colour", "two views"])
    def test_views_follow_the_plan_crop_by_crop(self, augment):
        """The whole augment against torchvision on PIL images, one crop at a time."""
        images = random_images(6, 64, seed=3) // 3 + 60  # few clamped values, so that PIL's rounding stays small
        plan = plan_of(images, augment)
        views = MultiCrop(dataclasses.replace(augment, mean=(0, 0, 0), std=(1, 1, 1)))(images, plan)
        ours = [crop.permute(1, 2, 0).numpy() * 255 for view in views for crop in view]
        ours = [ours[place] for i in range(6) for place in range(i, len(ours), 6)]
        jittered = plan.jitter.flatten()
        # PIL truncates after each of the jitter's operations, and the reference rounds after resizing and at the end.
        for kind, mean in (("PIL", 2.5), ("EXACT", 1.0)):
            expected = [
                crop for i, image in enumerate(images) for crop in crops_of(image.numpy(), plan, i, augment, kind)
            ]
            differences = [np.abs(a - b) for a, b in zip(ours, expected, strict=True)]
            assert max(d.mean() for d in differences) < mean
            assert max(d.max() for d, changed in zip(differences, jittered, strict=True) if not changed) < 1.6

    def test_identity_parameters_give_the_normalised_image(self):
        images = random_images(3, 32)
        view = MultiCrop(STILL)(images, plan_of(images, STILL))
        torch.testing.assert_close(view[0], images.permute(0, 3, 1, 2) / 255, atol=1e-6, rtol=0)

    def test_normalises_with_mean_and_deviation(self):
        images = random_images(3, 32)
        augment = dataclasses.replace(STILL, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
        view = MultiCrop(augment)(images, plan_of(images, augment))[0]
        expected = TF.normalize(images.permute(0, 3, 1, 2) / 255, augment.mean, augment.std)
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)

    def test_samples_crops_and_epochs_differ(self):
        images = random_images(1, 64).expand(4, -1, -1, -1)
        multicrop = MultiCrop(AUGMENT)
        views = torch.cat([multicrop(images, plan_of(images, AUGMENT, epoch))[0] for epoch in range(2)])
        assert len({crop.numpy().tobytes() for crop in views}) == len(views)

    def test_a_sample_s_views_do_not_depend_on_its_batch(self):
        images = random_images(9, 64)
        multicrop = MultiCrop(AUGMENT)
        sizes = np.full((9, 2), 64)
        together = multicrop(images, draw(AUGMENT, 5, 0, np.arange(9), sizes))
        for chosen in ([3], [8, 0, 4]):
            part = multicrop(images[chosen], draw(AUGMENT, 5, 0, np.array(chosen), sizes[chosen]))
            for whole, some in zip(together, part, strict=True):
                chosen_alone = whole.view(-1, 9, *whole.shape[1:])[:, chosen].flatten(0, 1)
                torch.testing.assert_close(some, chosen_alone, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("augment", [AUGMENT, TWO_VIEWS], ids=["one colour", "two views"])
    def test_one_graph_without_breaks(self, augment):
        """What a GPU compiles: the capture fails on a graph break or a synchronisation with the host."""
        images = random_images(4, 64)
        multicrop = MultiCrop(augment)
        packed = torch.from_numpy(pack(plan_of(images, augment)))
        captured = torch.compile(multicrop.forward_masked, backend="eager", fullgraph=True, dynamic=False)
        for a, b in zip(captured(images, packed), multicrop.forward_masked(images, packed), strict=True):
            assert torch.equal(a, b)

    def test_pack_keeps_every_number(self):
        plan = plan_of(random_images(4, 64), TWO_VIEWS)
        packed = unpack(torch.from_numpy(pack(plan)))
        np.testing.assert_array_equal(packed.pop("rungs").numpy(), rung_factors(plan))
        assert packed.keys() | {"jitter", "order", "factors"} == set(Plan._fields)
        for name, part in packed.items():
            np.testing.assert_array_equal(part.numpy(), getattr(plan, name), err_msg=name)

    def test_crops_too_small_for_the_blur_are_refused(self):
        tiny = dataclasses.replace(AUGMENT, crops=(CropSpec(size=11, count=2, scale=(0.5, 1)),))
        with pytest.raises(ConfigError, match="23 taps"):
            MultiCrop(tiny)
        own = dataclasses.replace(tiny.crops[0], colour=ColourConfig())
        with pytest.raises(ConfigError, match="11 pixels are too few"):
            MultiCrop(dataclasses.replace(tiny, crops=(own,), blur_p=0))
        sharp = dataclasses.replace(tiny, blur_p=0)
        images = random_images(2, 32)
        plan = plan_of(images, sharp)
        assert MultiCrop(sharp)(images, plan)[0].shape == (4, 3, 11, 11)


def operations(augment: AugmentConfig) -> list[str]:
    """The names of the operations in the graph that a GPU compiles."""
    torch.compiler.reset()  # earlier tests have compiled it for other configurations, of which torch admits few
    images, found = random_images(2, 64), []

    def look(graph: torch.fx.GraphModule, inputs: list) -> object:
        found.extend(getattr(node.target, "__name__", str(node.target)) for node in graph.graph.nodes)
        return graph.forward

    packed = torch.from_numpy(pack(plan_of(images, augment)))
    torch.compile(MultiCrop(augment).forward_masked, backend=look, fullgraph=True, dynamic=False)(images, packed)
    return found


def test_an_operation_is_left_out_only_where_a_resolution_never_sees_it():
    """Blur is two products a plane, solarisation a choice a plane; the resizing of a resolution is two products."""
    plain, blurred = ColourConfig(blur_p=0), ColourConfig(blur_p=0.1)
    bright = ColourConfig(blur_p=0, solarise_p=0.1)

    def graph(*colours: ColourConfig) -> list[str]:
        crops = tuple(CropSpec(size=24, count=1, scale=(0.1, 1), colour=colour) for colour in colours)
        return operations(AugmentConfig(crops=crops))

    neither = graph(plain, plain)
    assert neither.count("bmm") == 4
    assert graph(blurred, plain).count("bmm") == graph(plain, blurred).count("bmm") == 4 + 6
    assert graph(blurred, blurred).count("bmm") == 4 + 12
    assert graph(bright, plain).count("where") == neither.count("where") + 3
    assert graph(bright, bright).count("where") == neither.count("where") + 6


def test_crops_made_while_loading_are_normalised():
    """The bytes of a CroppedBatch become channels-last views."""
    crops = [random_images(4, 40), random_images(6, 24, seed=1)]
    augment = dataclasses.replace(AUGMENT, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2**-8 * 10)):
        for levels, view in zip(crops, NormaliseCrops(augment, dtype=dtype)(crops), strict=True):
            assert view.dtype == dtype and view.is_contiguous(memory_format=torch.channels_last)
            expected = TF.normalize(levels.permute(0, 3, 1, 2) / 255, augment.mean, augment.std)
            torch.testing.assert_close(view.float(), expected, atol=tolerance, rtol=0)
