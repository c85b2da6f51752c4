"""Every operation equals torchvision's, PIL's or OpenCV's on the same parameters."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image

from frl.config import AugmentConfig, CropSpec
from frl.errors import ConfigError
from pipelines import colour
from pipelines.augment import HostMultiCrop, Resize
from pipelines.augment_gpu import MultiCrop
from pipelines.blur import batch_blur, blur_each, gaussian_taps
from pipelines.normalise import NormaliseCrops
from pipelines.packed import pack, unpack
from pipelines.plan import JITTER_ORDERS, Plan, draw
from pipelines.resample import batch_resample, filter_weights, planar, resample_each
from pipelines.threads import Threads
from tests.pipelines.reference import crops_of

LEVEL = 1 / 255
RECIPE = AugmentConfig(
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
def threads():
    pool = Threads(2, "test")
    yield pool
    pool.close()


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
    return torch.full((n, 1, 1, 1), value)


def random_images(batch: int, side: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8))


def plan_of(images: torch.Tensor, recipe: AugmentConfig, epoch: int = 0) -> Plan:
    batch, side = images.shape[:2]
    return draw(recipe, 5, epoch, np.arange(batch), np.full((batch, 2), side))


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
    def test_both_ways_are_within_a_level_of_a_resized_pil_crop(self, box, flip, threads):
        *place, size = box
        images = random_images(3, 64)
        boxes, flips = np.tile(np.int32(place), (3, 1)), np.full(3, flip)
        expected = []
        for image in images.numpy():
            crop = TF.resized_crop(Image.fromarray(image), *place, [size, size])
            expected.append(from_pil(TF.hflip(crop) if flip else crop))
        ours = batch_resample(planar(images), torch.from_numpy(boxes).float(), torch.from_numpy(flips), size) / 255
        on_host = resample_each(images, boxes, flips, np.arange(3), size, threads)
        assert (ours - torch.stack(expected)).abs().max() < 1.01 * LEVEL
        assert (on_host - torch.stack(expected)).abs().max() < 1.01 * LEVEL

    def test_equals_torchvision_in_float(self):
        """Without PIL's rounding the agreement is far closer than a level."""
        images = torch.rand(1, 3, 64, 64, dtype=torch.float64)
        for top, left, height, width, size in BOXES.values():
            cut = images[:, :, top : top + height, left : left + width]
            expected = torch.nn.functional.interpolate(cut, size=(size, size), mode="bilinear", antialias=True)
            box = torch.tensor([[top, left, height, width]], dtype=torch.float32)
            ours = batch_resample(images.float(), box, torch.tensor([False]), size)
            assert (ours - expected).abs().max() < 1e-5

    def test_each_image_has_its_own_box_and_flip(self, threads):
        images = random_images(4, 64)
        plan = plan_of(images, RECIPE).crop_major(0, 1)
        whole = resample_each(images, plan.boxes, plan.flip, np.arange(4), 32, threads)
        for i in range(4):
            alone = resample_each(
                images[i : i + 1], plan.boxes[i : i + 1], plan.flip[i : i + 1], np.arange(1), 32, threads
            )
            assert torch.equal(whole[i], alone[0])

    def test_weights_sum_to_one_and_keep_to_the_box(self):
        start, length = torch.tensor([0.0, 5, 63]), torch.tensor([64.0, 7, 1])
        weights = filter_weights(start, length, torch.zeros(3, dtype=torch.bool), 24, 64)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 24))
        assert weights[1, :, :5].abs().max() == 0 and weights[1, :, 12:].abs().max() == 0
        assert (weights >= 0).all()

    def test_identity_box_is_the_identity(self):
        images = planar(random_images(2, 32))
        box = torch.tensor([[0.0, 0, 32, 32]]).expand(2, 4)
        assert torch.equal(batch_resample(images, box, torch.tensor([False, False]), 32), images)
        assert torch.equal(batch_resample(images, box, torch.tensor([True, False]), 32)[0], images[0].flip(-1))

    def test_pixels_beyond_the_image_on_its_canvas_do_not_leak(self, threads):
        images = random_images(2, 64)
        boxes = np.tile(np.int32([0, 0, 40, 30]), (2, 1))
        spoilt = images.clone()
        spoilt[:, 40:] = 255
        spoilt[:, :, 30:] = 255
        flips, rows = np.zeros(2, dtype=bool), np.arange(2)
        on_host = [resample_each(x, boxes, flips, rows, 24, threads) for x in (images, spoilt)]
        masked = [
            batch_resample(planar(x), torch.from_numpy(boxes).float(), torch.from_numpy(flips), 24)
            for x in (images, spoilt)
        ]
        assert torch.equal(*on_host) and torch.equal(*masked)


class TestColour:
    @pytest.mark.parametrize("factor", [0.0, 0.2, 0.7, 1.0, 1.3, 1.8])
    @pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
    def test_blends_equal_torchvision(self, name, factor, crops):
        ours = getattr(colour, f"adjust_{name}")(crops, per_image(factor))
        theirs = getattr(TF, f"adjust_{name}")
        # torchvision's tensor path weights grey with 0.2989 where PIL, as ITU-R 601, has 0.299.
        assert (ours - theirs(crops, factor)).abs().max() < 3e-4
        on_pil = torch.stack([from_pil(theirs(as_pil(crop), factor)) for crop in crops])
        # PIL truncates after each operation, and rounds the grey and its mean before it multiplies them.
        assert (ours - on_pil).abs().max() < 2.01 * LEVEL

    @pytest.mark.parametrize("turns", [-0.5, -0.2, -0.01, 0.0, 0.07, 0.2, 0.5])
    def test_hue_equals_torchvision(self, turns, crops):
        ours = colour.adjust_hue(crops, per_image(turns))
        assert (ours - TF.adjust_hue(crops, turns)).abs().max() < 1e-5

    @pytest.mark.parametrize("turns", [-0.2, 0.07, 0.2])
    def test_hue_is_near_pil_whose_hue_has_256_steps(self, turns, crops):
        ours = colour.adjust_hue(crops, per_image(turns))
        on_pil = torch.stack([from_pil(TF.adjust_hue(as_pil(crop), turns)) for crop in crops])
        difference = (ours - on_pil).abs()
        assert difference.mean() < 2 * LEVEL
        assert (
            difference.max() < 14 * LEVEL
        )  # half a step of hue at full chroma is 6 x 255 / 512 levels, four roundings

    @pytest.mark.parametrize("turns", [-0.5, 0.0, 0.3])
    def test_hue_leaves_greys_alone(self, turns, crops):
        assert torch.equal(colour.adjust_hue(crops[4:5], per_image(turns, 1)), crops[4:5])

    def test_identity_factors_are_the_identity(self, crops):
        for operation in (colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation):
            assert torch.equal(operation(crops, per_image(1.0)), crops)
        assert (colour.adjust_hue(crops, per_image(0.0)) - crops).abs().max() < 1e-6

    def test_each_image_has_its_own_factor(self, crops):
        factors = torch.linspace(0.2, 1.8, 6).view(6, 1, 1, 1)
        for operation in (
            colour.adjust_brightness,
            colour.adjust_contrast,
            colour.adjust_saturation,
            colour.adjust_hue,
        ):
            together = operation(crops, factors)
            for i in range(6):
                torch.testing.assert_close(together[i : i + 1], operation(crops[i : i + 1], factors[i : i + 1]))

    def test_jitter_in_all_24_orders_equals_torchvision(self, crops):
        factors = (1.6, 0.4, 1.7, 0.15)
        adjust = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
        for order in JITTER_ORDERS:
            expected = crops
            for operation in order:
                expected = adjust[operation](expected, factors[operation])
            of_all = torch.tensor([factors]).expand(6, 4)
            orders = torch.from_numpy(order).expand(6, 4)
            masked = colour.batch_jitter(crops, torch.ones(6, dtype=torch.bool), orders, of_all)
            torch.testing.assert_close(masked, colour.jitter_in_order(crops, order, of_all), atol=1e-6, rtol=0)
            # Where hue comes late, torchvision's grey weights shift it a little; see above.
            assert (masked - expected).abs().mean() < 3e-4
            assert (masked - expected).abs().max() < 2e-2

    def test_jitter_masks_and_mixes_orders(self, crops):
        jitter = torch.tensor([True, False, True, True, False, True])
        orders = torch.from_numpy(JITTER_ORDERS[[0, 3, 7, 12, 18, 23]])
        factors = torch.rand(6, 4) * 0.4 + torch.tensor([0.8, 0.8, 0.8, -0.2])
        out = colour.batch_jitter(crops, jitter, orders, factors)
        for i in range(6):
            alone = colour.jitter_in_order(crops[i : i + 1], orders[i].numpy(), factors[i : i + 1])[0]
            torch.testing.assert_close(out[i], alone if jitter[i] else crops[i], atol=1e-6, rtol=0)

    def test_grey_equals_pil(self, crops):
        chosen = torch.tensor([True, False, True, True, True, False])
        out = colour.batch_grey(crops, chosen)
        for i, crop in enumerate(crops):
            expected = from_pil(TF.to_grayscale(as_pil(crop), 3)) if chosen[i] else crop
            assert (out[i] - expected).abs().max() < 0.51 * LEVEL
        assert torch.equal(out[:, 0][chosen], out[:, 2][chosen])


class TestBlur:
    @pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
    def test_equals_opencv(self, sigma, crops, threads):
        expected = torch.stack(
            [
                torch.from_numpy(cv2.GaussianBlur(c.permute(1, 2, 0).numpy(), (23, 23), sigma)).permute(2, 0, 1)
                for c in crops
            ]
        )
        sigmas = torch.full((6,), sigma)
        assert (batch_blur(crops, sigmas) - expected).abs().max() < 1e-5
        in_place = crops.clone()
        blur_each(in_place, sigmas.numpy(), threads)
        assert (in_place - expected).abs().max() < 1e-6

    def test_equals_torchvision(self, crops):
        expected = TF.gaussian_blur(crops, [23, 23], [1.3, 1.3])
        assert (batch_blur(crops, torch.full((6,), 1.3)) - expected).abs().max() < 1e-5

    def test_sigma_zero_changes_nothing(self, crops, threads):
        sigma = torch.tensor([0, 1.5, 0, 0.1, 2, 0])
        out, in_place = batch_blur(crops, sigma), crops.clone()
        blur_each(in_place, sigma.numpy(), threads)
        for result in (out, in_place):
            assert torch.equal(result[sigma == 0], crops[sigma == 0])
            assert not torch.equal(result[4], crops[4])
        for i in range(6):
            torch.testing.assert_close(out[i : i + 1], batch_blur(crops[i : i + 1], sigma[i : i + 1]))

    def test_taps_are_opencv_s(self):
        for sigma in (0.1, 0.7, 2.0):
            expected = torch.from_numpy(cv2.getGaussianKernel(23, sigma, cv2.CV_64F))[:, 0]
            torch.testing.assert_close(gaussian_taps(torch.tensor([sigma]))[0].double(), expected, atol=1e-6, rtol=0)


@pytest.fixture(params=[HostMultiCrop, MultiCrop])
def way(request) -> type[HostMultiCrop] | type[MultiCrop]:
    """The CPU's way and the GPU's, which runs here too."""
    return request.param


class TestMultiCrop:
    def test_shapes_layout_and_type(self, way):
        images = random_images(5, 64)
        for dtype in (torch.float32, torch.bfloat16):
            views = way(RECIPE, dtype=dtype)(images, plan_of(images, RECIPE))
            assert [tuple(v.shape) for v in views] == [(10, 3, 40, 40), (15, 3, 24, 24)]
            assert all(v.dtype == dtype and v.is_contiguous(memory_format=torch.channels_last) for v in views)

    def test_both_ways_agree(self):
        images = random_images(8, 64)
        plan = plan_of(images, RECIPE)
        std = min(RECIPE.std)
        for host, masked in zip(HostMultiCrop(RECIPE)(images, plan), MultiCrop(RECIPE)(images, plan), strict=True):
            assert host.shape == masked.shape and masked.is_contiguous(memory_format=torch.channels_last)
            difference = (host - masked).abs() * std
            # Half a level of rounding, stretched by up to 1.8 in three of the jitter's operations, and by hue.
            assert difference.mean() < 0.5 * LEVEL
            assert difference.max() < 12 * LEVEL

    def test_views_follow_the_plan_crop_by_crop(self, way):
        """The whole recipe against torchvision on PIL images, one crop at a time."""
        images = random_images(6, 64, seed=3) // 3 + 60  # few clamped values, so that PIL's rounding stays small
        plan = plan_of(images, RECIPE)
        views = way(dataclasses.replace(RECIPE, mean=(0, 0, 0), std=(1, 1, 1)))(images, plan)
        ours = [crop.permute(1, 2, 0).numpy() * 255 for view in views for crop in view]
        ours = [ours[place] for i in range(6) for place in (i, 6 + i, 12 + i, 18 + i, 24 + i)]
        jittered = plan.jitter.flatten()
        # PIL truncates after each of the jitter's operations, and the reference rounds after resizing and at the end.
        for kind, mean in (("PIL", 2.5), ("EXACT", 1.0)):
            expected = [
                crop for i, image in enumerate(images) for crop in crops_of(image.numpy(), plan, i, RECIPE, kind)
            ]
            differences = [np.abs(a - b) for a, b in zip(ours, expected, strict=True)]
            assert max(d.mean() for d in differences) < mean
            assert max(d.max() for d, changed in zip(differences, jittered, strict=True) if not changed) < 1.6

    def test_identity_parameters_give_the_normalised_image(self, way):
        images = random_images(3, 32)
        view = way(STILL)(images, plan_of(images, STILL))
        torch.testing.assert_close(view[0], images.permute(0, 3, 1, 2) / 255, atol=1e-6, rtol=0)

    def test_normalises_with_mean_and_deviation(self, way):
        images = random_images(3, 32)
        recipe = dataclasses.replace(STILL, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
        view = way(recipe)(images, plan_of(images, recipe))[0]
        expected = TF.normalize(images.permute(0, 3, 1, 2) / 255, recipe.mean, recipe.std)
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)

    def test_samples_crops_and_epochs_differ(self, way):
        images = random_images(1, 64).expand(4, -1, -1, -1)
        multicrop = way(RECIPE)
        views = torch.cat([multicrop(images, plan_of(images, RECIPE, epoch))[0] for epoch in range(2)])
        assert len({crop.numpy().tobytes() for crop in views}) == len(views)

    def test_a_sample_s_views_do_not_depend_on_its_batch(self):
        images = random_images(9, 64)
        multicrop = HostMultiCrop(RECIPE)
        sizes = np.full((9, 2), 64)
        together = multicrop(images, draw(RECIPE, 5, 0, np.arange(9), sizes))
        for chosen in ([3], [8, 0, 4]):
            part = multicrop(images[chosen], draw(RECIPE, 5, 0, np.array(chosen), sizes[chosen]))
            for whole, some in zip(together, part, strict=True):
                assert torch.equal(whole.view(-1, 9, *whole.shape[1:])[:, chosen].flatten(0, 1), some)

    def test_bits_do_not_depend_on_the_batch_even_of_large_crops(self):
        """PyTorch sums one large image with all its threads, and several with one thread each."""
        recipe = dataclasses.replace(
            RECIPE, crops=(CropSpec(size=224, count=1, scale=(0.14, 1)),), jitter_p=1, blur_p=0
        )
        images, sizes = random_images(12, 64), np.full((12, 2), 64)
        multicrop = HostMultiCrop(recipe)
        together = multicrop(images, draw(recipe, 5, 0, np.arange(12), sizes))[0]
        for i in range(12):
            assert torch.equal(
                multicrop(images[i : i + 1], draw(recipe, 5, 0, np.array([i]), sizes[:1]))[0][0], together[i]
            )

    def test_one_graph_without_breaks(self):
        """What a GPU compiles: the capture fails on a graph break or a synchronisation with the host."""
        images = random_images(4, 64)
        multicrop = MultiCrop(RECIPE)
        packed = torch.from_numpy(pack(plan_of(images, RECIPE)))
        captured = torch.compile(multicrop.forward_masked, backend="eager", fullgraph=True, dynamic=False)
        for a, b in zip(captured(images, packed), multicrop.forward_masked(images, packed), strict=True):
            assert torch.equal(a, b)

    def test_pack_keeps_every_number(self):
        plan = plan_of(random_images(4, 64), RECIPE)
        packed = unpack(torch.from_numpy(pack(plan)))
        for name, value in packed._asdict().items():
            np.testing.assert_array_equal(value.numpy(), getattr(plan, name), err_msg=name)

    def test_crops_too_small_for_the_blur_are_refused(self, way):
        tiny = dataclasses.replace(RECIPE, crops=(CropSpec(size=11, count=2, scale=(0.5, 1)),))
        with pytest.raises(ConfigError, match="23 taps"):
            way(tiny)
        sharp = dataclasses.replace(tiny, blur_p=0)
        images = random_images(2, 32)
        plan = plan_of(images, sharp)
        assert way(sharp)(images, plan)[0].shape == (4, 3, 11, 11)


def test_crops_made_while_loading_are_normalised():
    """The bytes of a CroppedBatch become channels-last views."""
    crops = [random_images(4, 40), random_images(6, 24, seed=1)]
    recipe = dataclasses.replace(RECIPE, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2**-8 * 10)):
        for levels, view in zip(crops, NormaliseCrops(recipe, dtype=dtype)(crops), strict=True):
            assert view.dtype == dtype and view.is_contiguous(memory_format=torch.channels_last)
            expected = TF.normalize(levels.permute(0, 3, 1, 2) / 255, recipe.mean, recipe.std)
            torch.testing.assert_close(view.float(), expected, atol=tolerance, rtol=0)


def test_resize_equals_pil():
    images = random_images(3, 64)
    sizes = np.int32([[64, 64], [40, 64], [64, 17]])
    view = Resize(32, dataclasses.replace(RECIPE, mean=(0, 0, 0), std=(1, 1, 1)))(images, sizes)
    for image, (height, width), ours in zip(images.numpy(), sizes, view, strict=True):
        expected = from_pil(TF.resize(Image.fromarray(image[:height, :width]), [32, 32]))
        assert (ours - expected).abs().max() < 1.01 * LEVEL
