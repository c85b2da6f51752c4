"""The CPU's way equals torchvision's, PIL's and OpenCV's on the same parameters, and the GPU's."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image

from frl.config import AugmentConfig, CropSpec
from frl.errors import ConfigError
from pipelines.augment import HostMultiCrop, Resize
from pipelines.augment_gpu import MultiCrop
from pipelines.blur import blur_each
from pipelines.plan import Plan, draw
from pipelines.resample import resample_each
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


def from_pil(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


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


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())
def test_is_within_a_level_of_a_resized_pil_crop(box, flip, threads):
    *place, size = box
    images = random_images(3, 64)
    boxes, flips = np.tile(np.int32(place), (3, 1)), np.full(3, flip)
    expected = []
    for image in images.numpy():
        crop = TF.resized_crop(Image.fromarray(image), *place, [size, size])
        expected.append(from_pil(TF.hflip(crop) if flip else crop))
    on_host = resample_each(images, boxes, flips, np.arange(3), size, threads)
    assert (on_host - torch.stack(expected)).abs().max() < 1.01 * LEVEL


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_blur_equals_opencv(sigma, threads):
    crops = random_images(6, 40).permute(0, 3, 1, 2).contiguous() / 255
    expected = [cv2.GaussianBlur(crop.permute(1, 2, 0).numpy(), (23, 23), sigma) for crop in crops]
    blur_each(crops, np.full(6, sigma, np.float32), threads)
    assert (crops.permute(0, 2, 3, 1) - torch.from_numpy(np.stack(expected))).abs().max() < 1e-6


class TestMultiCrop:
    def test_shapes_layout_and_type(self):
        images = random_images(5, 64)
        for dtype in (torch.float32, torch.bfloat16):
            views = HostMultiCrop(RECIPE, dtype=dtype)(images, plan_of(images, RECIPE))
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

    def test_views_follow_the_plan_crop_by_crop(self):
        """The whole recipe against torchvision on PIL images, one crop at a time."""
        images = random_images(6, 64, seed=3) // 3 + 60  # few clamped values, so that PIL's rounding stays small
        plan = plan_of(images, RECIPE)
        views = HostMultiCrop(dataclasses.replace(RECIPE, mean=(0, 0, 0), std=(1, 1, 1)))(images, plan)
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

    def test_identity_parameters_give_the_normalised_image(self):
        images = random_images(3, 32)
        view = HostMultiCrop(STILL)(images, plan_of(images, STILL))
        torch.testing.assert_close(view[0], images.permute(0, 3, 1, 2) / 255, atol=1e-6, rtol=0)

    def test_normalises_with_mean_and_deviation(self):
        images = random_images(3, 32)
        recipe = dataclasses.replace(STILL, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
        view = HostMultiCrop(recipe)(images, plan_of(images, recipe))[0]
        expected = TF.normalize(images.permute(0, 3, 1, 2) / 255, recipe.mean, recipe.std)
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)

    def test_samples_crops_and_epochs_differ(self):
        images = random_images(1, 64).expand(4, -1, -1, -1)
        multicrop = HostMultiCrop(RECIPE)
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

    def test_crops_too_small_for_the_blur_are_refused(self):
        tiny = dataclasses.replace(RECIPE, crops=(CropSpec(size=11, count=2, scale=(0.5, 1)),))
        with pytest.raises(ConfigError, match="23 taps"):
            HostMultiCrop(tiny)
        sharp = dataclasses.replace(tiny, blur_p=0)
        images = random_images(2, 32)
        plan = plan_of(images, sharp)
        assert HostMultiCrop(sharp)(images, plan)[0].shape == (4, 3, 11, 11)


def test_resize_equals_pil():
    images = random_images(3, 64)
    sizes = np.int32([[64, 64], [40, 64], [64, 17]])
    view = Resize(32, dataclasses.replace(RECIPE, mean=(0, 0, 0), std=(1, 1, 1)))(images, sizes)
    for image, (height, width), ours in zip(images.numpy(), sizes, view, strict=True):
        expected = from_pil(TF.resize(Image.fromarray(image[:height, :width]), [32, 32]))
        assert (ours - expected).abs().max() < 1.01 * LEVEL
