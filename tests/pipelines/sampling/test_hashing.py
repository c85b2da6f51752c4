"""The bits are SplitMix64's, for ever: a run may be resumed by a later version."""

import numpy as np
import pytest

from pipelines.sampling.hashing import fold, uniform

# The first outputs of the reference implementation for this seed (Vigna's splitmix64.c; also on Rosetta Code).
SEED = 1234567
OUTPUTS = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def test_outputs_are_those_of_the_reference_implementation():
    assert fold(SEED, np.arange(5)).tolist() == OUTPUTS


def test_counters_broadcast():
    table = fold(np.arange(3)[:, None], np.arange(4))
    assert table.shape == (3, 4)
    assert table[2, 3] == fold(2, 3)


def test_negative_and_huge_seeds_wrap():
    assert fold(-1, 0) == fold(2**64 - 1, 0) == fold(np.array([-1]), 0)[0]


def test_uniform_spans_the_half_open_interval():
    bits = np.array([0, 2**11 - 1, 2**11, 2**64 - 1], dtype=np.uint64)
    assert uniform(bits).tolist() == [0.0, 0.0, 2.0**-53, 1 - 2.0**-53]


@pytest.mark.parametrize("bit", range(0, 64, 7))
def test_one_changed_input_bit_changes_half_of_the_output(bit):
    counters = np.arange(2000)
    changed = fold(3, counters) ^ fold(3 ^ (1 << bit), counters)
    share = np.unpackbits(changed.view(np.uint8)).mean()
    assert abs(share - 0.5) < 0.01
