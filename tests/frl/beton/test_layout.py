"""Our records are ffcv's, byte for byte."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.beton import layout
from frl.beton.layout import Field, FieldType


def offsets(dtype: np.dtype) -> list[tuple[int, np.dtype]]:
    """Where the members lie, whatever their names."""
    assert dtype.fields is not None
    return sorted(((place[1], place[0]) for place in dtype.fields.values()), key=lambda pair: pair[0])


def test_fixed_records_equal_ffcvs(ffcv: ModuleType) -> None:
    for ours, theirs in (
        (layout.HEADER, ffcv.types.HeaderType),
        (layout.FIELD, ffcv.types.FieldDescType),
        (layout.ALLOCATION, ffcv.types.ALLOC_TABLE_TYPE),
    ):
        assert ours.itemsize == theirs.itemsize
        assert [place for place, _ in offsets(ours)] == [place for place, _ in offsets(theirs)]
    assert layout.VERSION == ffcv.types.CURRENT_VERSION
    assert layout.MIN_PAGE_SIZE == ffcv.writer.MIN_PAGE_SIZE
    assert layout.MAX_PAGE_SIZE < ffcv.writer.MAX_PAGE_SIZE == 2 * layout.MAX_PAGE_SIZE


@settings(max_examples=60, deadline=None)
@given(kinds=st.lists(st.sampled_from(list(FieldType)), min_size=1, max_size=6))
def test_metadata_record_equals_ffcvs(ffcv: ModuleType, kinds: list[FieldType]) -> None:
    import torch

    def handler(kind: FieldType) -> object:
        cls = ffcv.types.TYPE_ID_HANDLER[kind]
        if kind == FieldType.ARRAY:
            return cls(np.dtype("<f4"), (3,))
        return cls(torch.float32, (3,)) if kind == FieldType.TENSOR else cls()

    ours = layout.record_dtype([Field(name=str(i), type_id=kind) for i, kind in enumerate(kinds)])
    theirs = ffcv.types.get_metadata_type([handler(kind) for kind in kinds])
    assert ours.itemsize == theirs.itemsize
    assert offsets(ours) == offsets(theirs)


@given(offset=st.integers(0, 1 << 40), page_size=st.sampled_from([1 << 21, 1 << 23, 1 << 31]))
def test_align_up_is_the_next_boundary(offset: int, page_size: int) -> None:
    aligned = layout.align_up(offset, page_size)
    assert aligned % page_size == 0
    assert 0 <= aligned - offset < page_size


@pytest.mark.parametrize("page_size", [0, 1, 1 << 20, 3 << 20, (1 << 21) + 1, 1 << 32])
def test_page_sizes_that_ffcv_refuses(page_size: int) -> None:
    assert not layout.is_page_size(page_size)
    assert layout.is_page_size(1 << 21) and layout.is_page_size(1 << 31)
