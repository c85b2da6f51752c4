"""The CPU's crops: each operation against torchvision, PIL and OpenCV, and all of them against the slow reference."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torchvision.transforms.functional as TF
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from frl.config import AugmentConfig, CropSpec
from pipelines.augment.cpu.compiler import kernel
from pipelines.augment.cpu.crops import ThreadScratch, make_crops, sides_of
from pipelines.augment.cpu.sums import plane
from pipelines.augment.cpu.vectors import LANES, load, scale, splat, store
from pipelines.augment.plan import JITTER_ORDERS, Plan, draw, plan_whole
from pipelines.augment.reference import crops_of, resized_crop, solarised
from tests.pipelines.conftest import TWO_VIEWS, picture

AUGMENT = AugmentConfig(
    crops=(CropSpec(size=40, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=3, scale=(0.05, 0.14)))
)


def cpu_crops(images: list[np.ndarray], plan: Plan, specs: tuple[CropSpec, ...]) -> list[list[np.ndarray]]:
    """All crops of each image, in the augmentation's order, by one thread's scratch."""
    local = ThreadScratch(max(max(image.shape[:2]) for image in images))
    local.pixels[:] = 77  # what is beyond an image must not matter
    scratch = local.for_crops(max(spec.size for spec in specs))
    batch = len(images)
    sides = sides_of(specs)
    out = np.full(batch * int((sides**2).sum()) * 3, 99, np.uint8)
    for i, image in enumerate(images):
        height, width = image.shape[:2]
        local.pixels[: image.size] = image.reshape(-1)
        make_crops(local.pixels, height, width, plan, i, sides, scratch, out, batch, i)
    of_crop = np.split(out, np.cumsum(batch * sides**2 * 3)[:-1])
    views = [part.reshape(batch, side, side, 3) for part, side in zip(of_crop, sides, strict=True)]
    return [[view[i] for view in views] for i in range(batch)]


def one_crop(image: np.ndarray, size: int, **changes) -> np.ndarray:
    """The whole image as one crop of ``size``, with some of the plan's parameters changed."""
    plan = plan_whole(np.array([0]), np.array([image.shape[:2]], dtype=np.int32))
    typed = {name: np.array([[value]], getattr(plan, name).dtype) for name, value in changes.items()}
    plan = plan._replace(**typed)
    return cpu_crops([image], plan, (CropSpec(size=size, count=1, scale=(1, 1)),))[0][0]


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(int) - b.astype(int))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def in_levels(adjust, image: np.ndarray, factor: float) -> np.ndarray:
    """One of torchvision's functions on a float64 tensor, in grey levels, not rounded."""
    return adjust(TF.to_tensor(image).double(), factor).permute(1, 2, 0).numpy() * 255


@kernel
def scaled(values, factor, out):
    for i in range(0, len(values), LANES):
        store(scale(load(values, i), splat(factor)), out, i)


class TestVectors:
    def test_scale_is_the_upper_half_of_the_product(self):
        """Of every value with every seventeenth factor; 0 and 65535 are among them."""
        values, out = np.arange(65536, dtype=np.uint16), np.empty(65536, np.uint16)
        for factor in range(0, 65536, 17):
            scaled(values, np.uint16(factor), out)
            np.testing.assert_array_equal(out, (values.astype(np.uint32) * np.uint32(factor) >> 16).astype(np.uint16))

    def test_planes_begin_at_whole_vectors(self):
        for values in (1, 31, 100, 5000):
            room = plane(values)
            assert room.ctypes.data % (2 * LANES) == 0 and len(room) == values + LANES
            assert room.flags.c_contiguous and not room.any()


class TestResize:
    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_is_within_a_level_of_pil_for_any_box_of_any_image(self, data):
        height, width = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))
        box_height, box_width = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
        top, left = data.draw(st.integers(0, height - box_height)), data.draw(st.integers(0, width - box_width))
        size, flip = data.draw(st.integers(1, 70)), data.draw(st.booleans())
        image, box = noise(height, width, seed=height), np.int32([top, left, box_height, box_width])
        expected = np.asarray(resized_crop(image, box, flip, size))
        assert difference(one_crop(image, size, boxes=box, flip=flip), expected).max() <= 1

    @pytest.mark.parametrize("size", [224, 96, 33])
    def test_the_recipe_s_sizes_differ_from_pil_by_rounding_only(self, size):
        image = picture(256, 200)
        off = difference(one_crop(image, size), np.asarray(TF.resize(Image.fromarray(image), [size, size])))
        assert off.max() <= 1 and off.mean() < 0.25

    def test_the_identity_is_the_identity(self):
        for side in (8, 32, 50):
            np.testing.assert_array_equal(one_crop(noise(side, side), side), noise(side, side))
            np.testing.assert_array_equal(one_crop(noise(side, side), side, flip=True), noise(side, side)[:, ::-1])

    @pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
    def test_an_even_image_stays_even(self, level):
        for size in (17, 64, 100):
            assert (one_crop(np.full((61, 53, 3), level, np.uint8), size, blur_sigma=2) == level).all()


class TestColour:
    @pytest.mark.parametrize("factor", [0.0, 0.2, 0.7, 1.0, 1.3, 1.8, 2.7])
    @pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
    def test_blends_are_within_a_level_of_torchvision(self, name, factor):
        place = ["brightness", "contrast", "saturation"].index(name)
        factors = [1.0, 1.0, 1.0, 0.0]
        factors[place] = factor
        for image in (picture(64, 64), noise(64, 64), noise(50, 50)):
            ours = one_crop(image, len(image), jitter=True, order=range(4), factors=factors)
            off = np.abs(ours - in_levels(getattr(TF, f"adjust_{name}"), image, factor))
            assert off.max() < 0.75 and off.mean() < 0.3  # rounding to whole levels alone is 0.5 and 0.25

    @pytest.mark.parametrize("turns", [-0.5, -0.2, -0.01, 0.0, 0.07, 0.2, 0.5])
    def test_hue_is_within_a_level_of_torchvision(self, turns):
        for image in (picture(64, 64), noise(64, 64)):
            ours = one_crop(image, 64, jitter=True, order=range(4), factors=[1, 1, 1, turns])
            off = np.abs(ours - in_levels(TF.adjust_hue, image, turns))
            assert off.max() < 0.75 and off.mean() < 0.3

    def test_hue_leaves_greys_and_turns_primaries(self):
        greys = np.repeat(noise(40, 40)[..., :1], 3, axis=2)
        np.testing.assert_array_equal(one_crop(greys, 40, jitter=True, order=range(4), factors=[1, 1, 1, 0.17]), greys)
        red = np.full((32, 32, 3), [255, 0, 0], np.uint8)
        for turns, colour in ((1 / 3, [0, 255, 0]), (-1 / 3, [0, 0, 255]), (0.5, [0, 255, 255])):
            turned = one_crop(red, 32, jitter=True, order=range(4), factors=[1, 1, 1, turns])
            assert difference(turned, np.full_like(red, colour)).max() <= 1

    def test_identity_factors_are_the_identity(self):
        image = noise(40, 40)
        for order in JITTER_ORDERS[::5]:
            assert difference(one_crop(image, 40, jitter=True, order=order, factors=[1, 1, 1, 0]), image).max() == 0

    def test_all_24_orders_equal_torchvision(self):
        image, factors = picture(48, 48) // 2 + 50, (1.3, 0.6, 1.4, 0.1)
        adjust = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
        for order in JITTER_ORDERS:
            expected = TF.to_tensor(image).double()
            for operation in order:
                expected = adjust[operation](expected, factors[operation])
            ours = one_crop(image, 48, jitter=True, order=order, factors=factors)
            off = np.abs(ours - expected.permute(1, 2, 0).numpy() * 255)
            # Where hue comes late, torchvision's grey weights (0.2989 for 0.299) shift it a little.
            assert off.max() < 1.5 and off.mean() < 0.4, order

    def test_grey_equals_pil(self):
        image = noise(45, 45)
        expected = np.asarray(TF.to_grayscale(Image.fromarray(image), 3))
        ours = one_crop(image, 45, grey=True)
        assert difference(ours, expected).max() <= 1
        assert (ours[..., 0] == ours[..., 1]).all() and (ours[..., 0] == ours[..., 2]).all()

    def test_the_contrast_s_pivot_does_not_see_padding(self):
        """Crops whose width is no multiple of a vector are stored in wider rows."""
        for size in (31, 32, 33):
            image = np.full((size, size, 3), 200, np.uint8)
            ours = one_crop(image, size, jitter=True, order=range(4), factors=[1, 0, 1, 0])
            assert difference(ours, image).max() <= 1


class TestBlur:
    @pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5, 0.8, 1.0, 1.3, 1.7, 2.0, 5.0])
    def test_narrow_kernels_equal_opencv_s_23_taps(self, sigma):
        edges = np.where(np.indices((64, 64)).sum(axis=0)[..., None] % 16 < 8, 255, 0).repeat(3, axis=2)
        for image in (picture(64, 64), noise(64, 64), edges.astype(np.uint8), noise(23, 23)):
            expected = cv2.GaussianBlur(image.astype(np.float32), (23, 23), sigma)
            off = np.abs(one_crop(image, len(image), blur_sigma=sigma) - expected)
            assert off.max() < 0.95 and off.mean() < 0.35

    @pytest.mark.parametrize("size", [12, 17, 31, 32, 33, 63, 65, 97])
    def test_both_ends_of_every_line_are_mirrored(self, size):
        expected = cv2.GaussianBlur(noise(size, size).astype(np.float32), (23, 23), 2.0)
        assert np.abs(one_crop(noise(size, size), size, blur_sigma=2) - expected).max() < 0.95

    def test_sigma_zero_changes_nothing(self):
        np.testing.assert_array_equal(one_crop(noise(48, 48), 48, blur_sigma=0), noise(48, 48))


class TestSolarise:
    @pytest.mark.parametrize("threshold", [0, 1, 77, 128, 254, 255, 256])
    def test_whole_levels_are_pil_s_to_the_bit(self, threshold):
        """All 256 levels; and resized, coloured and blurred ones once they are rounded, whatever their width."""
        levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
        for image, size, changes in (
            (levels, 16, {}),
            (noise(60, 50), 33, {"flip": True}),
            (noise(60, 50), 47, {"grey": True, "blur_sigma": 0.7}),
            (picture(64, 64), 64, {"jitter": True, "order": [2, 1, 0, 3], "factors": [1.3, 0.5, 1.4, 0.1]}),
        ):
            expected = solarised(one_crop(image, size, **changes), threshold)
            np.testing.assert_array_equal(one_crop(image, size, **changes, solarise=threshold), expected)

    def test_a_level_is_inverted_from_the_threshold_on(self):
        levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
        made = one_crop(levels, 16, solarise=100)[..., 1].reshape(-1).tolist()
        assert made == [*range(100), *range(155, -1, -1)]


class TestEndToEnd:
    @pytest.mark.parametrize("augment", [AUGMENT, TWO_VIEWS], ids=["one colour", "two views"])
    @pytest.mark.parametrize("sizes", [[(64, 64)] * 8, [(300, 280), (61, 83), (40, 200), (150, 150)]])
    def test_follows_the_plan_as_the_reference_does(self, sizes, augment):
        images = [picture(*size, seed=i) // 2 + 60 for i, size in enumerate(sizes)]
        plan = draw(augment, 5, 0, np.arange(len(images)), np.int32(sizes))
        for i, made in enumerate(cpu_crops(images, plan, augment.crops)):
            for kind, largest, mean in (("EXACT", 9, 0.8), ("PIL", 40, 2.5)):
                for ours, expected in zip(made, crops_of(images[i], plan, i, augment, kind), strict=True):
                    off = difference(ours, expected)
                    assert off.max() <= largest and off.mean() < mean

    def test_samples_do_not_depend_on_what_the_scratch_held(self):
        sizes = np.int32([(64, 64), (90, 30), (17, 41)])
        images = [noise(*size, seed=7) for size in sizes]
        plan = draw(AUGMENT, 5, 0, np.arange(3), sizes)
        together = cpu_crops(images, plan, AUGMENT.crops)
        for i in range(3):
            alone = cpu_crops([images[i]], draw(AUGMENT, 5, 0, np.array([i]), sizes[i : i + 1]), AUGMENT.crops)[0]
            assert all((a == b).all() for a, b in zip(alone, together[i], strict=True))


def test_a_second_process_does_not_compile():
    """The kernels are kept on disk: what took a minute takes a second."""
    code = (
        "import numpy as np, time; from tests.pipelines.augment import test_cpu as t;"
        "s = time.thread_time(); t.one_crop(t.noise(40, 40), 32); print(time.thread_time() - s);"
        "from pipelines.augment.cpu.crops import make_crops; print(sum(make_crops.stats.cache_misses.values()))"
    )
    one_crop(noise(40, 40), 32)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    seconds, misses = ran.stdout.split()
    assert int(misses) == 0 and float(seconds) < 5
