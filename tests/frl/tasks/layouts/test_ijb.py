"""IJB-B and IJB-C in insightface's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frl.errors import SourceError
from frl.tasks.layouts.ijb import open_ijb, read_columns

FACES = ["1.jpg 1 2 3 4 5 6 7 8 9 10 0.5", "2.jpg 1 2 3 4 5 6 7 8 9 10 0.9", "3.jpg 1 2 3 4 5 6 7 8 9 10 1",
         "4.jpg 1 2 3 4 5 6 7 8 9 11 1"]  # fmt: skip
MEMBERS = ["1.jpg 100 7", "2.jpg 100 7", "3.jpg 100 8", "4.jpg 30 7"]
PAIRS = ["100 30 0", "100 100 1", "30 30 1"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    for name, lines in (("name_5pts_score", FACES), ("face_tid_mid", MEMBERS), ("template_pair_label", PAIRS)):
        (tmp_path / "meta" / f"ijbc_{name}.txt").write_text("\n".join(lines) + "\n")
    for number in range(1, 5):
        (tmp_path / "loose_crop" / f"{number}.jpg").write_bytes(b"%d" % number)
    return tmp_path


def test_lists_become_rows(root: Path) -> None:
    found = open_ijb(root)
    assert found.names == ("1.jpg", "2.jpg", "3.jpg", "4.jpg") and found.read(2) == b"3"
    assert found.points[3].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 11]]
    assert found.weights.tolist() == [0.5, 0.9, 1, 1]
    # Template 30 is the first, 100 the second; images 1 and 2 share media 7, which is another than that of template 30.
    assert found.template.tolist() == [1, 1, 1, 0] and found.shares.tolist() == [0.5, 0.5, 1, 1]
    assert found.pairs.tolist() == [[1, 0], [1, 1], [0, 0]] and found.same.tolist() == [False, True, True]
    assert found.remarks == ()


def test_missing_images_leave_their_templates_smaller_or_empty(root: Path) -> None:
    (root / "loose_crop" / "2.jpg").unlink()
    found = open_ijb(root)
    assert found.shares.tolist() == [1, 1, 1] and len(found.same) == 3
    (remark,) = found.remarks
    assert remark.startswith("1 of 4 images are missing (2.jpg): 0 of 3 pairs are left out")
    (root / "loose_crop" / "4.jpg").unlink()
    with pytest.raises(SourceError, match=r"of 1 pairs that are left all are of one kind"):
        open_ijb(root)
    for image in (root / "loose_crop").iterdir():
        image.unlink()
    with pytest.raises(SourceError, match="holds none of the 4 images"):
        open_ijb(root)


@pytest.mark.parametrize(
    ("name", "line", "cause"),
    [
        ("name_5pts_score", "2.jpg 1 2 3", "line 2: expected 11 numbers"),
        ("name_5pts_score", FACES[1].replace("0.9", "nan"), "line 2"),
        ("face_tid_mid", "2.jpg 100", "line 2: expected 2 numbers, found '100'"),
        ("face_tid_mid", "2.jpg a 7", "line 2"),
        ("face_tid_mid", "", "line 2"),
        ("template_pair_label", "100 100", "line 2: expected 3 numbers"),
        ("template_pair_label", "100 100 2", "line 2: its label is 2"),
        ("template_pair_label", "100 31 1", "line 2: names a template (100 or 31)"),
    ],
)
def test_a_broken_line_is_named(root: Path, name: str, line: str, cause: str) -> None:
    path = root / "meta" / f"ijbc_{name}.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[2:]]))
    with pytest.raises(SourceError) as caught:
        open_ijb(root)
    assert cause in str(caught.value) and path.name in str(caught.value)


def test_lists_of_two_benchmarks_or_of_none_are_refused(root: Path) -> None:
    (root / "meta" / "ijbb_face_tid_mid.txt").write_text("1.jpg 1 1")
    with pytest.raises(SourceError, match="holds 2 files"):
        open_ijb(root)
    for path in (root / "meta").iterdir():
        path.unlink()
    with pytest.raises(SourceError, match="holds 0 files"):
        open_ijb(root)


def test_long_lists_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frl.tasks.layouts.ijb.LINES", 7)
    numbers = np.arange(60).reshape(20, 3)
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(" ".join(map(str, row)) for row in numbers))
    assert read_columns(path, 3, dtype=np.int32).numbers.tolist() == numbers.tolist()
    path.write_text(path.read_text().replace("45 46 47", "45 46"))
    with pytest.raises(SourceError, match="line 16: expected 3 numbers, found '45 46'"):
        read_columns(path, 3, dtype=np.int32)
