"""Plans and crops, bit for bit as they were when these digests were taken: a run that goes on sees the same crops.

The numbers may only change together with a note that older runs cannot be resumed exactly.
"""

import hashlib

import numpy as np
import pytest

from frl.config import AugmentConfig, CropSpec
from pipelines.augment.plan import draw
from tests.pipelines.augment.test_cpu import cpu_crops

SMALL = (CropSpec(size=40, count=2, scale=(0.14, 1.0)), CropSpec(size=24, count=3, scale=(0.05, 0.14)))
RECIPES = {
    "the paper's": AugmentConfig(),
    "small crops": AugmentConfig(crops=SMALL),
    "other strengths": AugmentConfig(
        crops=SMALL, flip_p=0.3, jitter_p=1, brightness=1.5, contrast=0.4, saturation=0.2, hue=0.5, blur_sigma=(0.5, 3)
    ),
    "crops and flips alone": AugmentConfig(crops=SMALL, jitter_p=0, grey_p=0, blur_p=0),
}
DECISIONS = ("boxes", "flip", "jitter", "order", "factors", "grey", "blur_sigma")
DIGESTS = {
    "the paper's": ("9f9c706e9d271b51", "96b3028f352ac12e"),
    "small crops": ("d5b9a3d0ca6cd84e", "1c88a46ea1cdb4b9"),
    "other strengths": ("ab89725a07332791", "f743f5553ec64831"),
    "crops and flips alone": ("7bd2d5e410aeb536", "78a81aa84603fe03"),
}


def image(height: int, width: int, seed: int) -> np.ndarray:
    """Waves of colour, a hard edge and some noise, by integer arithmetic alone."""
    y, x = np.indices((height, width))
    waves = np.stack([(x * (3 + seed) + y * c) % 511 for c in (1, 4, 7)], axis=-1)
    folded = np.minimum(waves, 510 - waves)
    folded[height // 3 : height // 2, width // 4 :] //= 3
    noise = np.random.default_rng(seed).integers(0, 9, folded.shape)
    return (folded + noise).clip(0, 255).astype(np.uint8)


def digest(arrays) -> str:
    """Of the types, shapes and bytes."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(f"{array.dtype} {array.shape}".encode())
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()[:16]


def plan_digest(augment: AugmentConfig) -> str:
    sizes = np.random.default_rng(0).integers(20, 300, (500, 2))
    plan = draw(augment, 7, 3, np.arange(500) * 977, sizes)
    return digest(getattr(plan, name) for name in DECISIONS)


def crops_digest(augment: AugmentConfig) -> str:
    sizes = np.int32([(160, 160), (200, 120), (61, 83), (256, 256)])
    plan = draw(augment, 5, 2, np.arange(4), sizes)
    made = cpu_crops([image(*size, seed=i) for i, size in enumerate(sizes.tolist())], plan, augment.crops)
    return digest(crop for of_image in made for crop in of_image)


@pytest.mark.parametrize("name", RECIPES)
def test_plans_and_crops_are_as_they_were(name):
    assert (plan_digest(RECIPES[name]), crops_digest(RECIPES[name])) == DIGESTS[name]


def test_the_digests_see_every_decision():
    sizes = np.full((3, 2), 64)
    plan = draw(RECIPES["small crops"], 7, 3, np.arange(3), sizes)
    whole = [getattr(plan, name) for name in DECISIONS]
    seen = {digest(whole)}
    for place, array in enumerate(whole):
        changed = array.copy()
        changed.reshape(-1)[-1] = changed.reshape(-1)[-1] == 0
        seen.add(digest([*whole[:place], changed, *whole[place + 1 :]]))
    assert len(seen) == len(DECISIONS) + 1
