"""The measures are about 1 for uniform batches, and tell how far others are from that."""

import numpy as np
import pytest

from pipelines.sampling.order import Order, permutation
from pipelines.sampling.randomness import measure

N, PER_PAGE, PER_IDENTITY, BATCH = 40_000, 100, 40, 200
PAGES, LABELS = np.arange(N) // PER_PAGE, np.arange(N) // PER_IDENTITY


def test_uniform_batches_measure_one():
    found = measure(permutation(N, 0, 0), LABELS, PAGES, BATCH)
    assert found.same_identity == pytest.approx(1, abs=0.15)
    assert found.same_page == pytest.approx(1, abs=0.15)
    assert found.distance == pytest.approx(1, abs=0.1)


def test_file_order_measures_what_can_be_computed():
    """Five whole identities and two whole pages to a batch, at one place of the file."""
    found = measure(np.arange(N), LABELS, PAGES, BATCH)
    assert found.same_identity == pytest.approx((PER_IDENTITY - 1) / (BATCH - 1) / ((PER_IDENTITY - 1) / (N - 1)))
    assert found.same_page == pytest.approx((PER_PAGE - 1) / (BATCH - 1) / ((PER_PAGE - 1) / (N - 1)))
    assert found.distance > 10


@pytest.mark.parametrize("window", [8, 40])
def test_page_mates_meet_more_often_by_the_number_of_windows(window):
    order = Order(pages=PAGES, starts=np.array([0, N]), shares=(N,), seed=0, window=window)
    found = measure(order.epoch(0).samples, LABELS, PAGES, BATCH)
    assert found.same_page == pytest.approx(N / (window * PER_PAGE), rel=0.1)


def test_shuffled_files_hide_identities_from_page_order():
    order = Order(pages=PAGES, starts=np.array([0, N]), shares=(N,), seed=0, window=8).epoch(0).samples
    assert measure(order, permutation(N, 1, 0) // PER_IDENTITY, PAGES, BATCH).same_identity == pytest.approx(
        1, abs=0.15
    )
    assert measure(order, LABELS, PAGES, BATCH).same_identity > 20
