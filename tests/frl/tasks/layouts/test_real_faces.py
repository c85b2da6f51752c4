"""The layouts on real files, where they are at hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from benchmark_folders import plant
from PIL import Image
from scipy.io import savemat

from frl.tasks.layouts.registry import BENCHMARKS
from frl.tasks.layouts.schemes import five_points


def test_helen_points_lie_on_their_faces(real_faces: Path) -> None:
    """One fewer than the files say, and eyes above the mouth."""
    found = BENCHMARKS["ibug300w"](str(real_faces / "landmarks68" / "helen_trainset"))
    faces = list(found.faces("all"))
    assert found.splits == ("all",) and len(faces) == 870 and not any(face.fault for face in faces)
    for face in faces[::29]:
        points = face.targets["landmarks"]
        lines = (real_faces / "landmarks68" / "helen_trainset" / face.name).with_suffix(".pts").read_text().splitlines()
        np.testing.assert_allclose(points, np.loadtxt(lines[3:71]) - 1)
        five = five_points(points)
        assert five is not None and max(five[:2, 1]) < min(five[3:, 1])
        with Image.open(real_faces / "landmarks68" / "helen_trainset" / face.place) as image:
            assert (five > 0).all() and (five < image.size).all()


def test_half_of_affectnets_validation_set(real_faces: Path) -> None:
    """Numbers that were counted before: about 250 faces a class, and the moments of valence and arousal."""
    folder = real_faces / "affectnet_val_half"
    found = BENCHMARKS["affectnet"](str(folder))
    faces = list(found.faces("all"))
    assert len(faces) == 2005 and not any(face.fault for face in faces)
    counts = Counter(int(face.targets["expression"]) for face in faces)
    assert sorted(counts) == list(range(8)) and min(counts.values()) > 220
    affect = np.array([face.targets["affect"] for face in faces])
    np.testing.assert_allclose(affect.mean(axis=0), [-0.192, 0.354], atol=0.02)  # of the whole set
    np.testing.assert_allclose(affect.std(axis=0), [0.466, 0.379], atol=0.02)
    first = faces[0]
    stem = Path(first.name).stem
    np.testing.assert_array_equal(
        first.targets["landmarks"].ravel(), np.load(folder / "annotations" / f"{stem}_lnd.npy", allow_pickle=False)
    )
    assert float(np.load(folder / "annotations" / f"{stem}_val.npy", allow_pickle=False)) == first.targets["affect"][0]


def test_fer2013_folders(real_faces: Path) -> None:
    found = BENCHMARKS["fer2013"](str(real_faces / "fer2013_48"))
    faces = list(found.faces("all"))
    assert found.splits == ("all",) and len(faces) == 2105 and not any(face.fault for face in faces)
    assert {int(face.targets["expression"]) for face in faces} == set(range(7))


@pytest.mark.parametrize("number", range(0, 2000, 250))
def test_the_nose_points_where_the_yaw_says(real_faces: Path, tmp_path: Path, number: int) -> None:
    """Real points and yaws of AFLW2000-3D, in the form of its files, whose images are not here."""
    folder = real_faces / "aflw2000_3d_points"
    points, yaw = np.load(folder / "AFLW2000-3D.pts68.npy"), np.load(folder / "AFLW2000-3D.pose.npy")
    index = number + int(np.argmin(np.abs(np.abs(yaw[number : number + 250]) - 45)))
    angles = [[0, np.radians(yaw[index]), 0, 1, 1, 1, 1]]
    savemat(tmp_path / "image00002.mat", {"pt3d_68": points[index], "Pose_Para": angles})
    plant(tmp_path / "image00002.jpg", "")
    (face,) = BENCHMARKS["aflw2000"](str(tmp_path)).faces("test")
    space = face.targets["landmarks3d"]
    nose = space[30, 0] - space[[36, 45], 0].mean()
    assert np.sign(nose) == np.sign(face.targets["pose"][0]) and abs(face.targets["pose"][0]) > 30
    assert space[30, 2] > space[[0, 16], 2].mean(), "depth is towards the camera"
