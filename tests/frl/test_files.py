"""Files are whole or absent, and an error of writing one names it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from frl.files import atomic_write


def test_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "a") as stream:
        stream.write(b"new")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize(
    ("number", "named"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)],
    ids=["full", "quota", "other"],
)
def test_a_full_disk_is_named_by_the_file_and_other_errors_may_be_of_another(
    tmp_path: Path, number: int, named: bool
) -> None:
    with pytest.raises(OSError) as failure, atomic_write(tmp_path / "a"):
        raise OSError(number, "no")
    assert failure.value.filename == (str(tmp_path / "a") if named else None)


def test_a_small_limit_is_named_by_the_file(tmp_path: Path) -> None:
    """By the system itself."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large: '.*/a'"), atomic_write(tmp_path / "a") as stream:
            stream.write(bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
