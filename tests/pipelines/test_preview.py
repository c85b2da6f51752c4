"""The contact sheet shows each original beside its crops."""

import io

import numpy as np
from PIL import Image

from frl.beton import Beton
from frl.config import AugmentConfig, CropSpec
from pipelines.preview import GAP, HEADER, contact_sheet
from pipelines.sampling.order import permutation

AUGMENT = AugmentConfig(
    crops=(CropSpec(size=32, count=2, scale=(0.14, 1)), CropSpec(size=16, count=1, scale=(0.05, 0.14)))
)


def test_a_row_per_sample(tiny_beton):
    sheet = contact_sheet(tiny_beton, AUGMENT, seed=1, count=3)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (HEADER + 3 * (48 + GAP), GAP + 4 * (48 + GAP), 3)  # crops as high as the image
    assert (sheet[:HEADER] < 128).any()  # captions
    first = int(permutation(23, 1, 0)[0])
    expected = np.asarray(Image.open(io.BytesIO(Beton(tiny_beton).encoded(first).tobytes())))
    np.testing.assert_array_equal(sheet[HEADER : HEADER + 48, GAP : GAP + 48], expected)
    smallest = sheet[HEADER : HEADER + 48, GAP + 3 * (48 + GAP) :][:, :48]
    np.testing.assert_array_equal(smallest, smallest[1::3, 1::3].repeat(3, 0).repeat(3, 1))  # of 16 pixels, each of 9


def test_the_crops_follow_the_seed(tiny_beton):
    sheets = [contact_sheet(tiny_beton, AUGMENT, seed=seed, count=2) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(sheets[0], sheets[1])
    assert (sheets[0] != sheets[2]).any()


def test_small_files_and_sizes_that_differ(write_beton):
    path = write_beton([(48, 30), (20, 48)])
    assert contact_sheet(path, AUGMENT, count=8).shape[0] == HEADER + 2 * (GAP + 48)


def test_engines_one_below_the_other(tiny_beton):
    one = contact_sheet(tiny_beton, AUGMENT, seed=1, count=2)
    both = contact_sheet(tiny_beton, AUGMENT, seed=1, count=2, engines=("threads", "torch"))
    assert both.shape[0] == HEADER + 4 * (48 + GAP)
    shift = both.shape[1] - one.shape[1]
    row = 48 + GAP
    for image in range(2):
        torch_row = both[HEADER + (2 * image + 1) * row :][:48, shift:]
        np.testing.assert_array_equal(torch_row, one[HEADER + image * row :][:48])
        threads_row = both[HEADER + 2 * image * row :][:48, shift:]
        assert np.abs(threads_row.astype(int) - torch_row).mean() < 3, "the same crops of the same image"
