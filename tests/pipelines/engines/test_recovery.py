"""A decoder of whole batches that fails: the images at fault are found, and no others are accused."""

import numpy as np
import pytest

from frl.beton import Beton
from frl.errors import LoaderError
from pipelines.engines.engine import Request
from pipelines.engines.recovery import DecoderFailed, Recovery


def step(*samples: int) -> Request:
    return Request(samples=np.array(samples), share=slice(0, len(samples)))


@pytest.mark.parametrize("on_broken", ["raise", "replace"])
def test_a_decoder_that_takes_no_image_at_all_is_at_fault_itself(tiny_beton, on_broken):
    """Such as one whose GPU has no memory left."""

    def run(samples):
        raise DecoderFailed("CUDA allocation failed")

    with Beton(tiny_beton) as beton:
        recovery = Recovery(beton, on_broken, lambda sample: False)
        with pytest.raises(LoaderError, match="the decoder: CUDA allocation failed"):
            recovery.deliver(step(0, 1, 2, 3), run)
        assert not recovery.broken


def test_an_image_that_is_damaged_is_found_even_if_it_is_alone(write_beton, as_jpeg):
    broken = as_jpeg(np.full((16, 16, 3), 9, np.uint8))
    path = write_beton([(16, 16)] * 3, {1: broken[: len(broken) // 2] + b"\xff\xd9"})
    with Beton(path) as beton:

        def run(samples):
            if 1 in samples:
                raise DecoderFailed("no")
            return samples.tolist()

        recovery = Recovery(beton, "replace", lambda sample: sample != 1)
        assert recovery.at_fault([1]) == {1}
        made, samples, replaced = recovery.deliver(step(1, 2), run)
        assert (made, samples.tolist(), replaced) == ([2, 2], [2, 2], 1)
