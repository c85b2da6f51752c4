"""Normalising is what the loaders do, and restoring undoes it."""

import torch

from frl.config import AugmentConfig
from frl.pixels import normalised, restored
from pipelines.augment.normalise import NormaliseCrops

AUGMENT = AugmentConfig(mean=(0.1, 0.5, 0.9), std=(0.3, 0.2, 0.7))
IMAGES = torch.randint(0, 256, (3, 5, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_restoring_undoes_normalising():
    pixels = restored(normalised(IMAGES, AUGMENT), AUGMENT)
    torch.testing.assert_close(pixels * 255, IMAGES.permute(0, 3, 1, 2).float(), rtol=0, atol=1e-4)


def test_evaluation_and_training_see_the_same_numbers():
    (view,) = NormaliseCrops(AUGMENT)([IMAGES])
    torch.testing.assert_close(normalised(IMAGES, AUGMENT), view)
