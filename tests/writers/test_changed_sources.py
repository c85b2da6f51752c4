"""A source that is a file and was changed since: what was begun with it is not gone on with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pictures import encode, picture
from source_layouts import pack, plant

from frl.errors import SourceError
from writers import to_beton
from writers.in_place import InPlace


def works(monkeypatch: pytest.MonkeyPatch, source: Path, change: Any) -> list[str]:
    """The names of the work of writing a source before and after a change."""
    named: list[str] = []

    class Noted(to_beton.BetonWriter):
        def __init__(self, *of: Any, work: str, **options: Any) -> None:
            named.append(work)
            super().__init__(*of, work=work, **options)

    monkeypatch.setattr(to_beton, "BetonWriter", Noted)
    for turn in range(2):
        out = source.parent / f"{turn}.beton"
        assert to_beton.main([str(source), "--out", str(out), "--workers", "1"]) == 0
        if not turn:
            change()
    return named


@pytest.mark.parametrize("changed", [True, False])
def test_an_archive_that_was_changed_is_other_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    """Its images have the same names: half of one data set and half of the other would be a file without a fault."""
    source = pack(tmp_path / "faces.tar", {f"ann/{i}.jpg": encode(picture(64, 64), quality=80 + i) for i in range(3)})

    def change() -> None:
        if changed:
            found = source.stat()
            os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns + 1))

    first, second = works(monkeypatch, source, change)
    assert (first != second) == changed


def test_a_table_of_which_no_row_fits_is_refused_where_sources_are_read_in_place(tmp_path: Path) -> None:
    plant(tmp_path, {f"n00000{i}/000{j}_01.jpg": encode(picture(64, 64)) for i in (1, 2) for j in (1, 2)})
    (tmp_path / "loose_bb_train.csv").write_text("NAME_ID,X,Y,W,H\nn000009/0009_01,1,1,50,50\n")
    with pytest.raises(SourceError, match="none of its 1 rows"):
        InPlace(str(tmp_path))


def test_what_is_not_used_of_a_source_read_in_place_is_remarked(tmp_path: Path) -> None:
    plant(tmp_path, {f"n00000{i}/000{j}_01.jpg": encode(picture(64, 64)) for i in (1, 2) for j in (1, 2)})
    rows = "".join(f"n00000{i}/000{j}_01,1,1,50,50\n" for i, j in ((1, 1), (1, 2), (9, 9)))
    (tmp_path / "loose_bb_train.csv").write_text(f"NAME_ID,X,Y,W,H\n{rows}")
    images = InPlace(str(tmp_path))
    assert len(images) == 4 and any("loose_bb_train.csv" in remark for remark in images.remarks)
