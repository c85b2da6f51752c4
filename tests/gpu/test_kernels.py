"""The kernels written in Triton on a GPU, and on the CPU under ``TRITON_INTERPRET=1``: the graph's and others' views.

Without a GPU ``tests/pipelines/augment/test_fused.py`` runs this file under the interpreter.
"""

import dataclasses
import os

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF

from frl.config import AugmentConfig, ColourConfig, CropSpec
from pipelines.augment.gpu.ladder import OPERATIONS, Operation
from pipelines.augment.gpu.multicrop import MultiCrop
from pipelines.augment.gpu.packed import pack
from pipelines.augment.plan import JITTER_ORDERS, LEVELS, Plan, draw
from tests.gpu.conftest import AUGMENT, assert_close_to_crops_of
from tests.gpu.conftest import LEVELS as AS_LEVELS
from tests.pipelines.conftest import TWO_VIEWS

pytest.importorskip("triton", reason="no Triton here")

from pipelines.augment.gpu import kernels  # noqa: E402
from pipelines.augment.gpu.fused import FusedMultiCrop  # noqa: E402

reference = pytest.importorskip("pipelines.augment.reference", exc_type=ImportError)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
PLAIN = dict.fromkeys(("jitter_p", "grey_p", "blur_p"), 0.0)


@pytest.fixture
def device(device) -> torch.device:
    """A GPU, or the CPU under the interpreter."""
    if (device.type == "cpu") != INTERPRETED:
        pytest.skip("Triton's interpreter is for the CPU, and only for it")
    return device


def finished(crops: torch.Tensor, plan: Plan, device: torch.device, dtype: torch.dtype = torch.float32, **changes):
    """Crops ``(N, 3, size, size)`` in [0, 1], coloured as ``(N, 1)`` plans say, in [0, 1] again and on the CPU.

    Args:
        dtype: in which they come from the resizing.
        changes: of the augmentation.
    """
    crops, size = crops.permute(0, 3, 1, 2).contiguous().mul(255).to(device, dtype), crops.shape[-1]
    spec = CropSpec(size=size, count=1, scale=(1.0, 1.0))
    augment = AugmentConfig(crops=(spec,), **{"mean": (0, 0, 0), "std": (1, 1, 1)} | changes)
    packed = torch.from_numpy(pack(plan)).to(device)
    return FusedMultiCrop(augment).to(device).finish(crops, packed, 0, 1, blurs=True).cpu()


def pictures(count: int, size: int) -> torch.Tensor:
    """``(count, 3, size, size)`` in [0, 1]: smooth colours, noise, greys and pure colours in turn."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    greys = np.repeat(rng.integers(0, 256, (size, size, 1), dtype=np.uint8), 3, axis=2)
    pure = rng.choice(np.array([0, 255], dtype=np.uint8), (size, size, 3))
    images = np.stack([smooth, noise, greys, pure])[np.arange(count) % 4]
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous() / 255


class TestViews:
    @pytest.mark.parametrize("augment", [AS_LEVELS, TWO_VIEWS], ids=["one colour", "two views"])
    def test_equal_the_graph_s(self, device, images, augment):
        """On a GPU both resize in half precision."""
        augment = dataclasses.replace(augment, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))
        plan = draw(augment, 5, 0, np.arange(len(images)), np.full((len(images), 2), 64))
        views = FusedMultiCrop(augment).to(device)(images.to(device), plan)
        graph = MultiCrop(augment).to(device)(images.to(device), plan)
        for ours, theirs in zip(views, graph, strict=True):
            assert ours.stride() == theirs.stride() and ours.dtype == theirs.dtype
            difference = (ours - theirs).abs()
            # A value may lie within a rounding error of the threshold of solarisation, on the other side of it.
            assert difference.mean() < (0.05 if device.type == "cuda" else 1e-3)
            assert difference.flatten().kthvalue(int(0.999 * difference.numel())).values < (
                0.6 if device.type == "cuda" else 2e-3
            )

    def test_equal_the_reference_s(self, device, images, plan):
        views = FusedMultiCrop(AS_LEVELS).to(device)(images.to(device), plan)
        assert_close_to_crops_of(reference.crops_of, views, images, plan)

    def test_have_the_training_s_dtype_and_layout(self, device, images, plan):
        exact = FusedMultiCrop(AUGMENT).to(device)(images.to(device), plan)
        views = FusedMultiCrop(AUGMENT, dtype=torch.bfloat16).to(device)(images.to(device), plan)
        for view, full in zip(views, exact, strict=True):
            assert view.dtype == torch.bfloat16 and view.is_contiguous(memory_format=torch.channels_last)
            # The interpreter cuts bits off where a GPU rounds.
            assert ((view.float() - full).abs() <= full.abs() * 2**-7 + 1e-6).all()

    def test_compiled_resizing_changes_nothing(self, device, images, plan):
        if device.type == "cpu":
            pytest.skip("compiling for the CPU takes minutes")
        augment = FusedMultiCrop(AS_LEVELS).to(device)
        compiled = FusedMultiCrop(AS_LEVELS, compile=True).to(device)
        for a, b in zip(compiled(images.to(device), plan), augment(images.to(device), plan), strict=True):
            assert (a - b).abs().max() < 1

    def test_no_synchronisation_with_the_host(self, device, images, plan):
        if device.type == "cpu":
            pytest.skip("the interpreter is the host")
        augment, on_device = FusedMultiCrop(AUGMENT).to(device), images.to(device)
        augment(on_device, plan)  # compiles
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            augment(on_device, plan)
        finally:
            torch.cuda.set_sync_debug_mode("default")


class TestJitter:
    FACTORS = np.array([1.6, 0.4, 1.7, 0.15])

    def test_all_24_orders_equal_torchvision_s(self, device):
        crops = pictures(24, 40)
        factors = np.tile(self.FACTORS, (24, 1, 1)).astype(np.float32)
        plan = Plan.unchanged(24, 1)._replace(jitter=np.ones((24, 1), bool), order=JITTER_ORDERS[:, None])
        ours = finished(crops, plan._replace(factors=factors), device)
        adjust = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
        for crop, order, view in zip(crops, JITTER_ORDERS, ours, strict=True):
            for operation in order:
                crop = adjust[operation](crop, self.FACTORS[operation])
            # torchvision's tensor path weights grey with 0.2989 where PIL, as ITU-R 601, has 0.299.
            assert (view - crop).abs().mean() < 3e-4 and (view - crop).abs().max() < 2e-2

    @pytest.mark.parametrize("operation", list(Operation))
    def test_one_operation_alone(self, device, operation):
        """And none at all where its factor is neutral or the crop is not jittered."""
        crops, neutral = pictures(12, 33), 0.0 if operation is Operation.HUE else 1.0
        factors = Plan.unchanged(12, 1).factors
        factors[:4, 0, operation] = 0.3
        factors[4:8, 0, operation] = neutral
        factors[8:, 0, operation] = 0.3
        plan = Plan.unchanged(12, 1)._replace(jitter=np.arange(12)[:, None] < 8, factors=factors)
        ours = finished(crops, plan, device)
        adjust = getattr(TF, f"adjust_{operation.name.lower()}")
        assert (ours[:4] - adjust(crops[:4], 0.3)).abs().max() < 3e-4
        assert (ours[4:] - crops[4:]).abs().max() < 1e-6

    def test_the_ladder_is_the_one_of_the_kernels(self):
        """``half_climbed`` spells out its rungs."""
        half = [{"B": Operation.BRIGHTNESS, "S": Operation.SATURATION, "H": Operation.HUE}[name] for name in "BSBHBSB"]
        assert (*half, Operation.CONTRAST, *half) == OPERATIONS

    def test_the_mean_is_of_the_whole_crop(self, device):
        """Tiles of a crop that they do not divide; every pixel counts once."""
        crops = pictures(4, 70)
        plan = Plan.unchanged(4, 1)._replace(jitter=np.ones((4, 1), bool))
        plan.factors[..., Operation.CONTRAST] = 0
        grey = TF.rgb_to_grayscale(crops).mean(dim=(1, 2, 3), keepdim=True)
        assert (finished(crops, plan, device) - grey).abs().max() < 2e-4


class TestBlur:
    @pytest.mark.parametrize("size", [12, 42, 43, 85], ids="{} pixels".format)
    def test_equals_opencv_s(self, device, size):
        """Borders of crops and of the kernel's tiles, of 42 pixels, and the smallest crop that mirrors both."""
        crops, sigma = pictures(8, size), np.float32([0.1, 0.5, 1.0, 2.0, 2.0, 1.3, 0.03, 0])
        ours = finished(crops, Plan.unchanged(8, 1)._replace(blur_sigma=sigma[:, None]), device)
        for crop, view, deviation in zip(crops, ours, sigma, strict=True):
            pixels = np.ascontiguousarray(crop.permute(1, 2, 0))
            expected = cv2.GaussianBlur(pixels, (23, 23), float(deviation)) if deviation > 0 else pixels
            assert (view - torch.from_numpy(expected).permute(2, 0, 1)).abs().max() < 1e-5

    def test_in_half_precision_it_is_within_a_third_of_a_level(self, device):
        crops, sigma = pictures(4, 60), np.float32([[0.5], [1.0], [1.5], [2.0]])
        plan = Plan.unchanged(4, 1)._replace(blur_sigma=sigma)
        difference = finished(crops, plan, device, torch.float16) - finished(crops, plan, device, torch.float32)
        assert 0 < difference.abs().max() * 255 < 0.34

    def test_the_tiles_are_as_wide_as_the_taps_allow(self):
        assert kernels.SPAN > 2 * 11 and kernels.SPAN & (kernels.SPAN - 1) == 0


def test_grey_and_solarisation_equal_torchvision_s(device):
    crops = pictures(8, 40)
    plan = Plan.unchanged(8, 1)
    plan.grey[:4] = True
    plan.solarise[:, 0] = [LEVELS, 128, LEVELS, 100, LEVELS, 128, 1, 0]
    ours = finished(crops, plan, device)
    for crop, view, grey, threshold in zip(crops, ours, plan.grey[:, 0], plan.solarise[:, 0], strict=True):
        crop = TF.rgb_to_grayscale(crop, 3) if grey else crop
        levels = (crop * 255).round() if threshold < LEVELS else crop
        expected = torch.where(levels < threshold, crop, 1 - crop) if threshold < LEVELS else crop
        different = (view - expected).abs() > 3e-4
        assert different.float().mean() <= 0.01 * grey  # a grey may be about midway between two levels


def test_normalises_with_mean_and_deviation(device):
    crops, sigma = pictures(4, 40), np.float32([[0], [0], [1], [2]])
    plan, mean, std = Plan.unchanged(4, 1)._replace(blur_sigma=sigma), (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    ours = finished(crops, plan, device, mean=mean, std=std)
    torch.testing.assert_close(ours, TF.normalize(finished(crops, plan, device), mean, std), atol=1e-5, rtol=0)


def test_crops_follow_their_own_rows_of_the_plan(device, images):
    """Resolutions and crops told apart by one operation each."""
    crops = tuple(CropSpec(size=16, count=count, scale=(1.0, 1.0), ratio=(1.0, 1.0)) for count in (2, 3))
    augment = AugmentConfig(crops=crops, flip_p=0, mean=(0, 0, 0), std=(1, 1, 1), **PLAIN, solarise_p=1)
    plan = draw(augment, 0, 0, np.arange(8), np.full((8, 2), 64))
    plan = plan._replace(solarise=np.random.default_rng(0).choice([0, LEVELS], (8, 5)).astype(np.int32))
    views = FusedMultiCrop(augment).to(device)(images.to(device), plan)
    plain = FusedMultiCrop(augment).to(device)(
        images.to(device), plan._replace(solarise=np.full_like(plan.solarise, 256))
    )
    inverted = torch.cat(
        [(a.cpu() - (1 - b.cpu())).abs().amax((1, 2, 3)) < 1e-6 for a, b in zip(views, plain, strict=True)]
    )
    expected = np.concatenate([plan.solarise[:, :2].T.ravel(), plan.solarise[:, 2:].T.ravel()]) == 0
    assert inverted.tolist() == expected.tolist() and 0 < expected.mean() < 1


def test_a_crop_does_not_depend_on_its_batch(device):
    """Bit for bit: partial sums are added up in one order."""
    crops, augment = pictures(8, 70), AugmentConfig(crops=(CropSpec(size=70, count=1, scale=(0.5, 1.0)),))
    plan = draw(augment, 3, 0, np.arange(8), np.full((8, 2), 70))
    together = finished(crops, plan, device)
    for chosen in ([3], [7, 0, 4]):
        alone = finished(crops[chosen], Plan._make(part[chosen] for part in plan), device)
        assert torch.equal(alone, together[chosen])


def test_an_operation_without_effect_changes_nothing(device):
    crops = pictures(4, 40)
    assert (finished(crops, Plan.unchanged(4, 1), device) - crops).abs().max() < 1e-6
    assert ColourConfig().solarise_p == 0  # the column is read all the same
