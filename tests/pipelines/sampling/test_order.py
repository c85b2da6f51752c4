"""Each sample comes once an epoch; each global step is the same on any number of ranks; files are used evenly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sampling.order import Order, permutation, rank_share, shares_by_weight, step_samples

SEEDS = st.integers(-(2**63), 2**63 - 1)
SIZES = st.lists(st.integers(1, 80), min_size=1, max_size=4)


def order_of(sizes, *, shares=None, window=0, seed=0, per_page=7) -> Order:
    """Files of the given numbers of samples, a few to a page, as a writer lays them out."""
    pages, first = [], 0
    for size in sizes:
        pages.append(first + np.arange(size) // per_page)
        first = pages[-1][-1] + 1
    return Order(
        pages=np.concatenate(pages),
        starts=np.cumsum([0, *sizes]),
        shares=tuple(sizes if shares is None else shares),
        seed=seed,
        window=window,
    )


@settings(max_examples=50, deadline=None)
@given(n=st.integers(0, 500), seed=st.integers(-(2**63), 2**63 - 1), epoch=st.integers(0, 10**6))
def test_every_sample_comes_once(n, seed, epoch):
    assert np.sort(permutation(n, seed, epoch)).tolist() == list(range(n))


def test_the_order_is_pinned():
    """These numbers may only change together with a note that older runs cannot be resumed exactly."""
    assert permutation(12, 42, 7).tolist() == PINNED


def test_epochs_and_seeds_differ():
    orders = {tuple(permutation(20, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_every_sample_reaches_every_place():
    counts = np.zeros((10, 10))
    for epoch in range(5000):
        counts[np.arange(10), permutation(10, 0, epoch)] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 153  # 81 degrees of freedom, significance 2e-6


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_ranks_share_each_step_without_gap_or_overlap(world):
    order = permutation(100, 0, 0)
    for step in range(8):
        samples = step_samples(order, step, 12)
        shares = [samples[rank_share(12, rank, world)] for rank in range(world)]
        assert len({len(share) for share in shares}) == 1
        np.testing.assert_array_equal(np.concatenate(shares), order[step * 12 : step * 12 + 12])


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, window=st.integers(0, 6), seed=SEEDS, epoch=st.integers(0, 10**6))
def test_without_weights_an_epoch_is_every_sample_once(sizes, window, seed, epoch):
    order = order_of(sizes, window=window, seed=seed)
    assert np.sort(order.epoch(epoch).samples).tolist() == list(range(sum(sizes))) and len(order) == sum(sizes)


def test_without_weights_random_order_is_the_permutation():
    assert order_of([30, 11], seed=5).epoch(3).samples.tolist() == permutation(41, 5, 3).tolist()


class TestWeights:
    @settings(max_examples=60, deadline=None)
    @given(data=st.data(), sizes=SIZES, window=st.integers(0, 3), seed=SEEDS)
    def test_no_sample_twice_an_epoch_and_all_evenly_over_epochs(self, data, sizes, window, seed):
        shares = [data.draw(st.integers(1, size)) for size in sizes]
        order = order_of(sizes, shares=shares, window=window, seed=seed)
        uses = np.zeros(sum(sizes), dtype=int)
        for epoch in range(5):
            samples = order.epoch(epoch).samples
            assert len(np.unique(samples)) == len(samples) == len(order)
            np.add.at(uses, samples, 1)
            for start, stop, share in zip(order.starts, order.starts[1:], shares, strict=False):
                assert np.ptp(uses[start:stop]) <= 1
                assert ((samples >= start) & (samples < stop)).sum() == share

    @settings(max_examples=100, deadline=None)
    @given(files=st.lists(st.tuples(st.integers(1, 10**7), st.floats(1e-3, 1e3)), min_size=1, max_size=5))
    def test_shares_are_in_the_ratio_of_the_weights_and_as_large_as_can_be(self, files):
        sizes, weights = zip(*files, strict=True)
        shares = shares_by_weight(sizes, weights)
        assert all(share <= size for share, size in zip(shares, sizes, strict=True))
        assert any(share == size for share, size in zip(shares, sizes, strict=True))
        scale = min(size / weight for size, weight in zip(sizes, weights, strict=True))
        assert np.abs(np.array(shares) - np.array(weights) * scale).max() <= 1 + 1e-6 * max(sizes)

    def test_no_weights_are_the_sizes(self):
        assert shares_by_weight([3, 50], []) == (3, 50)

    def test_the_weights_that_a_reader_would_try(self):
        assert shares_by_weight([3000, 1000], [2, 1]) == (2000, 1000)
        assert shares_by_weight([3000, 1000], [1, 1]) == (1000, 1000)
        assert shares_by_weight([3000, 1000], [0.1, 0.1]) == (1000, 1000)

    def test_a_turn_of_random_order_is_drawn_from_the_whole_file(self):
        samples = order_of([1000], shares=[100]).epoch(0).samples
        assert 400 < samples.mean() < 600 and np.ptp(samples) > 900

    def test_a_turn_of_page_order_leaves_other_pages_unread(self):
        order = order_of([700], shares=[70], window=2)
        assert len(np.unique(order.pages[order.epoch(0).samples])) <= 11

    def test_another_file_leaves_the_turns_of_the_first_as_they_were(self):
        alone = order_of([90], shares=[40]).epoch(2).samples
        both = order_of([90, 50], shares=[40, 20]).epoch(2).samples
        assert both[both < 90].tolist() == alone.tolist()


class TestPages:
    @settings(max_examples=60, deadline=None)
    @given(sizes=SIZES, window=st.integers(1, 9), seed=SEEDS, epoch=st.integers(0, 100))
    def test_a_window_holds_the_samples_of_its_pages(self, sizes, window, seed, epoch):
        order = order_of(sizes, window=window, seed=seed)
        found, begin = order.epoch(epoch), 0
        for pages, stop in zip(found.windows, found.stops, strict=True):
            assert len(pages) <= window
            assert set(order.pages[found.samples[begin:stop]]) == set(pages.tolist())
            begin = stop
        assert begin == sum(sizes)
        assert np.sort(np.concatenate(found.windows)).tolist() == list(range(order.pages[-1] + 1))

    def test_the_order_is_pinned(self):
        """As for ``permutation``."""
        assert order_of([12, 5], window=2, seed=42, per_page=3).epoch(7).samples.tolist() == PINNED_PAGES

    def test_windows_differ_between_epochs(self):
        order = order_of([700], window=4)
        windows = [frozenset(pages.tolist()) for epoch in range(4) for pages in order.epoch(epoch).windows]
        assert len(set(windows)) > 0.9 * len(windows)

    def test_every_page_reaches_every_window(self):
        order, counts = order_of([70], window=2), np.zeros((10, 5))
        for epoch in range(2000):
            for window, pages in enumerate(order.epoch(epoch).windows):
                counts[pages, window] += 1
        assert ((counts - 400) ** 2 / 400).sum() < 98  # 36 degrees of freedom, significance 1e-7

    def test_samples_are_mixed_within_a_window(self):
        order = order_of([700], window=10)
        first = order.epoch(0).samples[:70]
        assert len(np.unique(order.pages[first[:20]])) > 7

    @pytest.mark.parametrize("window", [5, 10])
    def test_every_window_mixes_the_files_alike(self, window):
        order = order_of([3500, 700], window=window)  # 500 and 100 pages
        for pages in order.epoch(1).windows:
            of_second = (pages >= 500).sum()
            assert abs(of_second - window / 6) <= 2

    def test_more_window_than_pages_is_one_shuffle_of_all(self):
        found = order_of([60], window=1000, seed=3).epoch(2)
        assert found.samples.tolist() == permutation(60, 3, 2).tolist() and found.stops == (60,)


PINNED_PAGES = [1, 2, 0, 11, 10, 9, 16, 15, 13, 12, 14, 7, 6, 5, 4, 3, 8]
PINNED = [7, 1, 6, 2, 5, 4, 0, 11, 3, 10, 9, 8]
