"""Features with their place, HOG against scikit-image, and the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from frl.config import AugmentConfig
from frl.evaluate import RawPixels, untrained
from frl.evaluate.cache import FeatureCache, feature_key
from frl.evaluate.features import OfMirrorImages
from frl.evaluate.hog import Hog, descriptors
from frl.evaluate.unpooled import MOST_NUMBERS, PooledAndUnpooled, shrunk


def test_hog_is_scikit_images():
    feature = pytest.importorskip("skimage.feature")
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pixels[1, :, 20:40] = 0.5  # where nothing changes
    for ours, picture in zip(descriptors(pixels), pixels, strict=True):
        theirs = feature.hog(
            picture.permute(1, 2, 0).numpy(),
            orientations=9,
            pixels_per_cell=(8, 8),
            cells_per_block=(2, 2),
            block_norm="L2-Hys",
            channel_axis=2,
        )
        assert ours.shape == theirs.shape and np.allclose(ours, theirs, atol=1e-8)


def test_hog_undoes_the_normalisation():
    augment = AugmentConfig()
    pixels = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (augment.mean, augment.std))
    assert torch.allclose(Hog(augment)((pixels - mean) / std), descriptors(pixels), atol=1e-4)


def test_pooled_features_come_first_and_the_map_keeps_places():
    backbone = untrained("resnet18-w16-nopool").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        both = PooledAndUnpooled(backbone)(images)
        pooled = backbone(images)
    width = pooled.shape[1]
    assert torch.allclose(both[:, :width], pooled, atol=1e-5)
    cells = both[:, width:].reshape(2, width, -1)
    assert cells.shape[2] == 16 and torch.allclose(cells.mean(2), pooled, atol=1e-5)


@pytest.mark.parametrize("channels, side, cells", [(128, 4, 16), (512, 7, 16), (2048, 7, 4), (128, 2, 4), (9000, 7, 1)])
def test_the_map_has_as_many_cells_as_numbers_allow(channels, side, cells):
    found = shrunk(torch.ones(1, channels, side, side)).flatten(2).shape[2]
    assert found == cells and (channels * found <= MOST_NUMBERS or cells == 1)


def test_what_is_kept_is_not_computed_again(tmp_path: Path):
    cache, calls = FeatureCache(tmp_path / "cache"), []

    def compute() -> torch.Tensor:
        calls.append(1)
        return torch.arange(6.0).reshape(3, 2)

    first = cache.get("key", 3, compute)
    assert torch.equal(cache.get("key", 3, compute), first) and len(calls) == 1
    cache.get("other", 3, compute)
    assert len(calls) == 2
    (tmp_path / "cache" / "key.npz").write_bytes(b"damaged")
    assert torch.equal(cache.get("key", 3, compute), first) and len(calls) == 3
    assert torch.equal(cache.get("key", 3, compute), first) and len(calls) == 3
    FeatureCache(None).get("key", 3, compute)
    assert len(calls) == 4


def test_a_key_depends_on_everything_that_features_depend_on():
    def network(seed: int) -> torch.nn.Module:
        return untrained("resnet18-w16-nopool", seed)

    one_weight = network(0)
    with torch.no_grad():
        one_weight.layer1[0].bn1.running_mean[0] += 1
    keys = [
        feature_key(network(0), "data", "view"),
        feature_key(network(1), "data", "view"),
        feature_key(one_weight, "data", "view"),
        feature_key(network(0), "other data", "view"),
        feature_key(network(0), "data", "other view"),
        feature_key(OfMirrorImages(network(0)), "data", "view"),
        feature_key(RawPixels(), "data", "view"),
        feature_key(RawPixels(16), "data", "view"),
        feature_key(Hog(AugmentConfig()), "data", "view"),
    ]
    assert len(set(keys)) == len(keys)
    assert feature_key(network(0), "data", "view") == keys[0]
