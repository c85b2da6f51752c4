"""Points of faces in a CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frl.errors import SourceError
from frl.tasks.layouts.point_list import read_points, unused_rows

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


@pytest.mark.parametrize("row", ["0.3,0.4,0.7,0.4", "-0.5,-0.2,0.5,-0.2", "-0.02,0.4,1.1,0.4"])
def test_points_in_shares_are_refused_by_their_line(row: str, tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"{HEADER}a.jpg,30,40,70,40\nb.jpg,{row}\n")
    with pytest.raises(SourceError, match=r"points.csv, line 3: its points are shares of the image, not pixels"):
        read_points(path)


def test_rows_that_no_image_uses_are_counted() -> None:
    points = {name: np.zeros((5, 2)) for name in ("Ann/1", "Bob/1", "Bob/2")}
    assert unused_rows(points, ["Ann/1.jpg", "Bob/1.png", "Bob/2.jpg"], "p.csv") == []
    (said,) = unused_rows(points, ["Ann/1.jpg", "Cy/1.jpg"], "p.csv")
    assert said == "p.csv: 2 of 3 rows fit no image that is compared, such as Bob/1"
