"""CFP as its authors lay it out, whole and in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frl.errors import SourceError
from frl.tasks.layouts.cfp import five_of_cfp, open_cfp

HALF = "\n".join(f"{10 + i},{20 + i}" for i in range(30))
"""Points of a half whose eye lies left of its nose tip."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six people with two frontal images and one profile each, two folds of ten; images hold their own paths."""
    frontal, profile = [], []
    for person in range(1, 7):
        for kind, count, listed in (("frontal", 2, frontal), ("profile", 1, profile)):
            for number in range(1, count + 1):
                name = f"Data/Images/{person:03}/{kind}/{number:02}.jpg"
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text(name)
                points = (tmp_path / name.replace("Images", "Fiducials")).with_suffix(".txt")
                points.parent.mkdir(parents=True, exist_ok=True)
                points.write_text(HALF)
                listed.append(f"{len(listed) + 1} ../{name}")
    splits = {
        "FF/01": ("1,2\n3,4\n", "1,3\n5,6\n"),
        "FF/02": ("7,8\n", "7,9\n"),
        "FP/01": ("2,1\n", "2,2\n"),
        "FP/02": ("8,4\n", "8,5\n"),
    }
    for name, (same, diff) in splits.items():
        folder = tmp_path / "Protocol" / "Split" / name
        folder.mkdir(parents=True)
        (folder / "same.txt").write_text(same)
        (folder / "diff.txt").write_text(diff)
    # The list names a person who is not there.
    (tmp_path / "Protocol" / "Pair_list_F.txt").write_text(
        "\n".join([*frontal, "13 ../Data/Images/007/frontal/01.jpg"])
    )
    (tmp_path / "Protocol" / "Pair_list_P.txt").write_text("\n".join(profile) + "\n")
    return tmp_path


def test_pairs_name_the_images_of_their_lists(root: Path) -> None:
    faces = open_cfp(root, "FP")
    shown = [[faces.read(row).decode() for row in pair] for pair in faces.index]
    images = "Data/Images"
    assert shown == [
        [f"{images}/001/frontal/02.jpg", f"{images}/001/profile/01.jpg"],
        [f"{images}/001/frontal/02.jpg", f"{images}/002/profile/01.jpg"],
        [f"{images}/004/frontal/02.jpg", f"{images}/004/profile/01.jpg"],
        [f"{images}/004/frontal/02.jpg", f"{images}/005/profile/01.jpg"],
    ]
    assert faces.same.tolist() == [True, False, True, False] and faces.fold.tolist() == [0, 0, 1, 1]
    assert faces.remarks == ("2 of CFP's 10 folds are here (01, 02): not the published protocol",)
    frontal = open_cfp(root, "FF")
    assert frontal.same.tolist() == [True, True, False, False, True, False] and len(frontal.names) == 9


def test_missing_images_cost_their_pairs_and_are_counted(root: Path) -> None:
    (root / "Data/Images/001/profile/01.jpg").unlink()
    faces = open_cfp(root, "FP")
    assert faces.same.tolist() == [False, True, False]
    remark = "1 of 6 images are missing (Data/Images/001/profile/01.jpg): 1 of 4 pairs are left out"
    assert faces.remarks[1:] == (remark,)
    (root / "Data/Images/002/profile/01.jpg").unlink()
    with pytest.raises(SourceError, match=r"no pair is left of 1 of 2 folds \(01\); 1 of 2 folds have pairs"):
        open_cfp(root, "FP")
    for image in (root / "Data/Images").rglob("*.jpg"):
        image.unlink()
    with pytest.raises(SourceError, match="holds none of the 6 images"):
        open_cfp(root, "FP")


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("Split/FP/02/same.txt", "8,4\n8;5\n", "line 2: expected 'i,j', found '8;5'"),
        ("Split/FP/02/same.txt", "8,4,1\n", "line 1: expected 'i,j'"),
        ("Split/FP/02/diff.txt", "8,7\n", "line 1: '8,7' is not in 1 to 13 and 1 to 6"),
        ("Split/FP/02/diff.txt", "0,1\n", "line 1"),
        ("Split/FP/02/diff.txt", "", "lists no pair"),
        ("Split/FF/02/same.txt", "7,7\n", "line 1: pairs an image with itself"),
        ("Pair_list_P.txt", "1 ../Data/a.jpg\n3 ../Data/b.jpg\n", "line 2: expected '2 ../Data/...'"),
        ("Pair_list_P.txt", "1\n", "line 1"),
        ("Pair_list_P.txt", "1 ../../../etc/passwd\n", "line 1"),
    ],
)
def test_broken_lists_are_refused_by_line(root: Path, name: str, content: str, cause: str) -> None:
    (root / "Protocol" / name).write_text(content)
    with pytest.raises(SourceError) as caught:
        open_cfp(root, "FF" if "FF" in name else "FP")
    assert cause in str(caught.value) and name in str(caught.value)


def test_what_is_no_cfp_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Split/FF: cannot be listed.*holds CFP's Protocol and Data"):
        open_cfp(tmp_path, "FF")


def test_a_half_has_three_of_five_points(root: Path) -> None:
    points = np.stack([np.arange(30.0), 2 * np.arange(30.0)], 1)
    left = five_of_cfp(points)
    np.testing.assert_array_equal(left[[0, 2, 3]], [(14.5, 29), (21, 42), (25, 50)])
    assert np.isnan(left[[1, 4]]).all()
    right = five_of_cfp(points * (-1, 1))
    np.testing.assert_array_equal(right[[1, 2, 4]], [(-14.5, 29), (-21, 42), (-25, 50)])
    assert np.isnan(right[[0, 3]]).all()

    (root / "Data/Fiducials/001/profile/01.txt").unlink()
    faces = open_cfp(root, "FP", fiducials=True)
    assert faces.points is not None
    np.testing.assert_array_equal(np.isnan(faces.points[faces.names.index("Data/Images/001/profile/01.jpg")]), True)
    np.testing.assert_array_equal(faces.points[faces.names.index("Data/Images/001/frontal/02.jpg")][0], (24.5, 34.5))
    (root / "Data/Fiducials/002/profile/01.txt").write_text("1,2\n")
    with pytest.raises(SourceError, match=r"002/profile/01\.txt: is not 30 lines"):
        open_cfp(root, "FP", fiducials=True)


def test_points_of_an_image_elsewhere_are_not_guessed(root: Path) -> None:
    (root / "Data/Images/001").rename(root / "Data/Others")
    table = root / "Protocol" / "Pair_list_F.txt"
    table.write_text(table.read_text().replace("Data/Images/001", "Data/Others"))
    assert len(open_cfp(root, "FF").names) == 9
    with pytest.raises(SourceError, match=r"Data/Others/frontal/01\.jpg: is not in Data/Images, so that"):
        open_cfp(root, "FF", fiducials=True)


def test_the_real_folds(real_faces: Path) -> None:
    for protocol in ("FF", "FP"):
        faces = open_cfp(real_faces / "cfp_folds1to5", protocol, fiducials=True)
        assert np.bincount(faces.fold).tolist() == [700] * 5 and faces.same.sum() == 1750
        people = np.array([name.split("/")[2] for name in faces.names])[faces.index]
        assert ((people[:, 0] == people[:, 1]) == faces.same).all()
        assert faces.points is not None and (np.isfinite(faces.points[:, :, 0]).sum(axis=1) == 3).all()
