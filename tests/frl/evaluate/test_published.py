"""A test file is a benchmark by its source, its split and its number of faces."""

from __future__ import annotations

import pytest

from frl.evaluate.published import KINDS, benchmark_of
from frl.tasks.layouts.registry import BENCHMARKS as LAYOUTS


@pytest.mark.parametrize(
    ("source", "task", "faces", "expected"),
    [
        ("fer2013:/data/fer@test", "expression", 3589, "fer2013"),
        ("fer2013:/data/fer@val", "expression", 3589, None),
        ("fer2013:/data/fer", "expression", 3589, None),
        ("fer2013:/data/fer@test", "expression", 3588, None),
        ("ibug300w:/data/300W@full", "landmarks", 689, "300w"),
        ("ibug300w:/data/300W", "landmarks", 689, None),
        ("wflw:/data/a@b/WFLW@test", "landmarks", 2500, "wflw"),
        ("wflw:/data/WFLW@test", "points:landmarks", 2500, None),
        ("wflw:/data/WFLW@train,every=3", "landmarks", 2500, None),
        ("aflw2000:/data/AFLW2000", "face3d", 2000, "aflw2000"),
        ("aflw2000:/data/AFLW2000@test", "face3d", 2000, "aflw2000"),
        ("aflw2000:/data/AFLW2000@test-reannotated", "face3d", 2000, None),
        ("/data/faces", "landmarks", 689, None),
    ],
)
def test_a_benchmark_is_told_by_source_split_and_faces(
    source: str, task: str, faces: int, expected: str | None
) -> None:
    assert benchmark_of({"a": source}, task, faces) == expected
    assert benchmark_of({"a": source, "b": source}, task, faces) is None


def test_every_kind_is_one_that_is_written() -> None:
    assert KINDS.keys() <= LAYOUTS.keys()
