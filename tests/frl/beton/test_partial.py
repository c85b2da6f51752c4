"""What is written piece by piece is gathered, and read, cut and published as if it had not been."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.beton import partial
from frl.beton.partial import PartialFile

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.binary(max_size=40)),
        st.tuples(st.just("write_at"), st.tuples(st.binary(max_size=40), st.integers(0, 99))),
        st.tuples(st.just("read_at"), st.tuples(st.integers(0, 99), st.integers(0, 99))),
        st.tuples(st.just("truncate"), st.integers(0, 99)),
        st.tuples(st.sampled_from(["flush", "sync"]), st.none()),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(steps=STEPS, view=st.booleans())
def test_it_is_the_file_that_unbuffered_writes_would_make(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]], view: bool
) -> None:
    path, content = tmp_path_factory.mktemp("partial") / "a", bytearray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial, "GATHERED_BYTES", 32)  # some pieces are larger
        patch.setattr(partial, "GATHERED_PIECES", 4)
        file = PartialFile(path)
        for step, given in steps:
            if step in ("append", "write_at"):
                data, at = (given, len(content)) if step == "append" else given  # type: ignore[misc]
                content.extend(bytes(max(0, at - len(content))) if data else b"")
                content[at : at + len(data)] = data
                file.write_at(memoryview(data) if view else data, at)
            elif step == "read_at":
                nbytes, at = given  # type: ignore[misc]
                assert file.read_at(nbytes, at) == content[at : at + nbytes]
            elif step == "truncate":
                file.truncate(given)  # type: ignore[arg-type]
                content = bytearray(bytes(content[:given]).ljust(given, b"\0"))  # type: ignore[misc, arg-type]
            else:
                getattr(file, step)()
        assert os.fstat(file.fileno()).st_size == len(content)
        file.publish()
    assert path.read_bytes() == content


def test_what_the_disk_takes_in_parts_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, pieces = os.pwritev, [bytes([i]) * 100 for i in range(50)]
    monkeypatch.setattr(os, "pwritev", lambda file, data, at: write(file, [b"".join(data)[:777]], at))
    file = PartialFile(tmp_path / "a")
    for piece in pieces:
        file.append(piece)
    file.publish()
    assert (tmp_path / "a").read_bytes() == b"".join(pieces)
