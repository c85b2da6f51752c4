"""What is put aside comes back by rank, in little memory, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from writers.spool import BUCKETS, Spool


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.sampled_from([1, 2, BUCKETS - 1, BUCKETS, 1000]), data=st.data())
def test_results_are_taken_by_rank_whatever_the_order_they_came_in(
    tmp_path: Path, count: int, data: st.DataObject
) -> None:
    arriving = data.draw(st.permutations(range(count)))
    taken = sorted(data.draw(st.sets(st.integers(0, count - 1))))
    with Spool(count, tmp_path / "faces.beton") as spool:
        for rank in arriving:
            spool.put(rank, b"%d" % rank)
        assert [spool.take(rank) for rank in taken] == [b"%d" % rank for rank in taken]
        assert list(tmp_path.iterdir()) == []


def test_only_a_small_part_is_in_memory(tmp_path: Path) -> None:
    """64 MB pass through."""
    with Spool(4096, tmp_path / "faces.beton") as spool:
        spool.put(0, b"x")  # whatever is set up once
        tracemalloc.start()
        for rank in range(1, 4096):
            spool.put(rank, bytes(16_000))
        for rank in range(4096):
            spool.take(rank)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4_000_000


FULL = """
import resource, sys
from pathlib import Path
from frl.errors import WriteError
from writers.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with Spool(10, Path(sys.argv[1])) as spool:
        for rank in range(10):
            spool.put(rank, bytes(150_000))
        spool.take(0)
except WriteError as error:
    print(error)
"""


def test_a_full_disk_is_an_error_of_ours(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "faces.beton")],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "faces.beton: samples could not be put aside in its folder (File too large)" in run.stdout
    assert run.stderr == "" and list(tmp_path.iterdir()) == []
