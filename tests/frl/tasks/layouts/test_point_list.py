"""Points of faces in a CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frl.errors import SourceError
from frl.tasks.layouts.point_list import read_points

HEADER = "image,x0,y0,x1,y1\n"


def test_points_are_found_by_the_path_without_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"{HEADER}Ann\\1.jpg,1,2,3,4\n\n")
    (found,) = read_points(path).items()
    assert found[0] == "Ann/1"
    np.testing.assert_array_equal(found[1], [[1, 2], [3, 4]])


@pytest.mark.parametrize("row", [",1,2,3,4", "  ,1,2,3,4", ".,1,2,3,4", "/,1,2,3,4", "b.jpg,1,2,3", "b.jpg,1,2,3,nan"])
def test_a_line_that_names_no_image_or_has_other_numbers_is_named(row: str, tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"{HEADER}a.jpg,1,2,3,4\n{row}\n")
    with pytest.raises(SourceError, match=r"points.csv, line 3: is not an image and 4 numbers"):
        read_points(path)
