"""Boxes and landmarks are pixels of their image, or refused: shares and other sizes never get through."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from face_tables import LANDMARKS, boxes, write_csv
from hypothesis import given
from hypothesis import strategies as st
from pictures import encode, picture
from source_layouts import pack, plant

from frl.beton import Beton
from frl.beton.targets import Kind, TargetSpec
from writers.image.crop import refuse_misplaced, share_inside
from writers.in_place import InPlace
from writers.reject import Reject
from writers.sources import Box
from writers.sources.annotations import make_box, parse_face
from writers.targets import Targets
from writers.to_beton import main

SHARES = [0.25, 0.25, 0.5, 0.5]
PHOTOS = {f"{i}.jpg": encode(picture(160 + i, 160)) for i in range(3)}


def write(source: list[str], out: Path) -> int:
    return main([*source, "--out", str(out), "--workers", "1", "--dedupe", "none"])


def table(root: Path, kind: str) -> list[str]:
    plant(root / "in", {f"n/{name}": data for name, data in PHOTOS.items()})
    rows = [[f"n/{i}", 20, 20, 60, 60] for i in range(2)]
    write_csv(root / "own.csv", ["NAME_ID", "X", "Y", "W", "H"], *rows, ["n/2", *SHARES])
    return [f"{kind}:{root}/in", "--boxes", f"{root}/own.csv"]


def landmarks(root: Path) -> list[str]:
    plant(root, {f"n/{name}": data for name, data in PHOTOS.items()})
    write_csv(
        root / "loose_landmark_train.csv", LANDMARKS, ["n/1", *range(20, 30)], ["n/2", *(x / 10 for x in range(10))]
    )
    return [f"vggface2:{root}"]


def csv_list(root: Path) -> list[str]:
    plant(root, PHOTOS)
    rows = [["0.jpg", 20, 20, 60, 60], ["1.jpg", "", "", "", ""], ["2.jpg", *SHARES]]
    return [f"list:{write_csv(root / 'faces.csv', ['path', 'x', 'y', 'w', 'h'], *rows)}"]


def boxes_over_the_border(root: Path) -> list[str]:
    plant(root, PHOTOS)
    rows = [["0.jpg", 20, 20, 60, 60], ["1.jpg", -0.05, -0.02, 1.1, 1.08]]
    return [f"list:{write_csv(root / 'faces.csv', ['path', 'x', 'y', 'w', 'h'], *rows)}"]


def json_list(root: Path) -> list[str]:
    plant(root, PHOTOS)
    lines = [{"path": "0.jpg", "box": [20, 20, 60, 60]}, {"path": "1.jpg"}, {"path": "2.jpg", "box": SHARES}]
    (root / "faces.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    return [f"list:{root}/faces.jsonl"]


def landmarks_of_a_csv(root: Path) -> list[str]:
    plant(root, PHOTOS)
    rows = [["0.jpg", 20, 20, 60, 60], ["1.jpg", "", "", "", ""], ["2.jpg", *SHARES]]
    return [f"list:{write_csv(root / 'faces.csv', ['path', 'x0', 'y0', 'x1', 'y1'], *rows)}"]


def landmarks_of_json(root: Path) -> list[str]:
    plant(root, PHOTOS)
    lines = [{"path": f"{i}.jpg", "landmarks": [[x, x], [2 * x, x]]} for i, x in enumerate([20, 30, 0.3])]
    (root / "faces.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return [f"list:{root}/faces.jsonl"]


@pytest.mark.parametrize(
    ("build", "where"),
    [
        (lambda root: table(root, "vggface2"), "own.csv, line 4"),
        (lambda root: table(root, "folder"), "own.csv, line 4"),
        (lambda root: table(root, "flickr"), "own.csv, line 4"),
        (landmarks, "loose_landmark_train.csv, line 3"),
        (csv_list, "faces.csv, line 4"),
        (boxes_over_the_border, "faces.csv, line 3"),
        (json_list, "faces.jsonl, line 5"),
        (landmarks_of_a_csv, "faces.csv, line 4"),
        (landmarks_of_json, "faces.jsonl, line 3"),
    ],
)
def test_shares_are_refused_with_the_first_line_that_has_them(
    tmp_path: Path, build, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = build(tmp_path)
    before = set(tmp_path.iterdir())
    assert write(source, tmp_path / "faces.beton") == 1
    error = capsys.readouterr().err
    assert where in error and "shares of the image" in error
    assert set(tmp_path.iterdir()) == before


def sidecars(root: Path, said: object) -> list[str]:
    plant(root / "in", PHOTOS)
    plant(root / "in", {"0.faces.json": json.dumps([said]).encode()})
    return [f"flickr:{root}/in"]


def in_order(root: Path, said: object) -> list[str]:
    pack(root / "in.tar", dict(sorted((PHOTOS | {"0.json": json.dumps(said).encode()}).items())))
    return [f"webdataset:{root}/in.tar"]


@pytest.mark.parametrize("build", [sidecars, in_order])
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"box": SHARES}, "in shares of the image"),
        ({"points": [[0.1, 0.2], [0.3, 0.2], [0.2, 0.4]]}, "in shares of the image"),
        ({"box": [20, 20, 60, 60], "points": [[0.1 * i, 0.2] for i in range(5)]}, "points are shares of the image"),
        ({"box": [20, 20, 60, 60], "points": [[0.3 * i - 1, -0.2] for i in range(5)]}, "are shares of the image"),
        ({"box": [20, 20, 1, 1]}, "fewer than 4 pixels wide or high"),
        ({"box": [20, 20, 60, 3.5]}, "fewer than 4 pixels wide or high"),
        ({"box": [-0.05, -0.02, 1.1, 1.08]}, "in shares of the image"),
        ({"box": [80, 80, -40, -40]}, "no area"),
        ({"box": [20, 20, 60, float("nan")]}, "not finite"),
        ({"box": [20, 20, 60, 60], "points": [[float("nan"), 1]] * 5}, "points are not finite"),
        ({"box": [20, 20, 5000, 5000]}, "outside its"),
        ({"box": [1e300, 20, 60, 60]}, "outside its"),
        ({"box": [150, 150, 40, 40]}, "outside its"),
        ({"box": [20, 20, 60, 60], "points": [[400 + i, 400] for i in range(5)]}, "0 of its 5 points lie inside"),
        ({"box": [True, True, True, True]}, "its annotation is none of"),
        ({"box": "2266"}, "its annotation is none of"),
        ({"box": 10**400}, "its annotation is none of"),
        ({"box": [10**400, 1, 2, 3]}, "its annotation is none of"),
    ],
)
def test_nonsense_is_a_reject_that_says_why_and_no_sample(tmp_path: Path, build, said: object, reason: str) -> None:
    out = tmp_path / "faces.beton"
    assert write(build(tmp_path, said), out) == 0
    (line,) = Path(f"{out}.rejects.tsv").read_text().splitlines()
    assert line.split("\t")[0].endswith("0.jpg") and reason in line
    with Beton(out) as beton:
        assert len(beton) == 2 and beton.heights.min() > 100


def test_boxes_over_the_border_are_counted_and_many_are_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Corners given as left, top, width and height reach beyond the image wherever the face is right of its middle."""
    plant(tmp_path / "in", PHOTOS)
    source = [f"folder:{tmp_path}/in", "--boxes", str(boxes(tmp_path / "own.csv", ["1", "2"]))]
    corners = "NAME_ID,X,Y,W,H\n0,60,60,120,120\n1,60,80,120,110\n2,10,10,40,40\n"
    assert write(source, tmp_path / "a.beton") == 0
    assert "over the border" not in capsys.readouterr().out
    (tmp_path / "own.csv").write_text(corners)
    assert write(source, tmp_path / "b.beton") == 0
    assert "reach over the border of their image: 2; are they left, top, width, height?" in capsys.readouterr().out


def points_list(root: Path, lines: list[list[float]]) -> list[str]:
    """A list of images of 160 pixels with the points of each line."""
    plant(root, {f"{i}.jpg": encode(picture(160, 160)) for i in range(len(lines))})
    header = ["path", *(f"{axis}{i}" for i in range(len(lines[0]) // 2) for axis in "xy")]
    rows = [[f"{i}.jpg", *line] for i, line in enumerate(lines)]
    return [f"list:{write_csv(root / 'faces.csv', header, *rows)}"]


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([[0, 0] * 10, [-0.75, 0.25] * 10, [0.5, 1.25] * 10], 3),  # from -1 to 1, as torch's grid
        ([[0.4, 0.5], [0.6, 0.5]], 2),  # a point alone
    ],
)
def test_units_are_seen_by_all_lines_of_a_list(
    tmp_path: Path, lines: list[list[float]], line: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write(points_list(tmp_path, lines), tmp_path / "faces.beton") == 1
    error = capsys.readouterr().err
    assert f"faces.csv, line {line}" in error and "landmarks are shares of the image" in error
    assert "multiply" in error


def test_points_near_a_corner_are_pixels_where_any_line_has_others(tmp_path: Path) -> None:
    out = tmp_path / "faces.beton"
    assert write(points_list(tmp_path, [[0.5, 1.25], [80, 90], ["", ""]]), out) == 0
    with Beton(out) as beton:
        assert len(beton) == 3


@pytest.mark.parametrize("count", [1, 2, 3, 10, 19, 29, 98])
def test_points_of_another_size_of_the_image_are_rejects(tmp_path: Path, count: int) -> None:
    out = tmp_path / "faces.beton"
    lines = [[300 + i for i in range(2 * count)], [50 + i % 30 for i in range(2 * count)]]
    assert write(points_list(tmp_path, lines), out) == 0
    (line,) = Path(f"{out}.rejects.tsv").read_text().splitlines()
    assert "/0.jpg\t" in line and f"only 0 of its {count} landmarks lie inside its 160 x 160 pixels" in line


def test_a_folder_in_place_leaves_out_the_same_points(tmp_path: Path) -> None:
    (source,) = points_list(tmp_path, [[300, 300] * 10, [50, 60] * 10])
    with InPlace(source) as images:
        assert list(images.rejects) == ["faces.csv/0.jpg"] and len(images) == 1


POINTS = TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(4, 2))
SEEN = TargetSpec(name="visible", kind=Kind.VISIBILITY, shape=(4,))
CORNERS = TargetSpec(name="face_box", kind=Kind.POINTS, shape=(2, 2))


@pytest.mark.parametrize(
    "known",
    [
        {"landmarks": [-5, 20, -2, 40, 10, 20, 10, 30]},  # a profile at the border
        {"landmarks": [np.nan] * 6 + [10, 30]},
        {"landmarks": [np.nan] * 8},
        {"landmarks": [-1, -1, -1, -1, -1, -1, 10, 30], "visible": [0, 0, 0, 1]},
        {"face_box": [-5, -5, 104, 110]},  # of a face that is larger than its image
    ],
)
def test_points_that_sound_data_have_are_left_alone(known: dict[str, list[float]]) -> None:
    Targets([POINTS, SEEN, CORNERS]).refuse_misplaced(100, 100, {name: np.array(v) for name, v in known.items()})


def test_hidden_points_vouch_for_no_others() -> None:
    known = {"landmarks": np.array([10, 10, 300, 20, 300, 10, 10, 300.0]), "visible": np.array([0, 1, 1, 1])}
    with pytest.raises(Reject, match="only 0 of its 3 landmarks"):
        Targets([POINTS, SEEN]).refuse_misplaced(100, 100, known)


NUMBER = st.floats(-500, 500)
SIDE = st.floats(1.5, 500)


@given(left=NUMBER, top=NUMBER, width=SIDE, height=SIDE)
def test_the_share_inside_is_that_of_the_areas(left: float, top: float, width: float, height: float) -> None:
    box = Box(left, top, width, height)
    across = max(0.0, min(left + width, 200) - max(left, 0))
    down = max(0.0, min(top + height, 100) - max(top, 0))
    assert share_inside(200, 100, box) == pytest.approx(across * down / (width * height))


@given(x=st.floats(-1, 1), y=st.floats(-1, 1), w=st.floats(0.01, 1.99), h=st.floats(0.01, 1.99))
def test_no_share_becomes_a_box_of_pixels_even_over_the_border(x: float, y: float, w: float, h: float) -> None:
    box, fault = make_box([x, y, w, h])
    assert box is None and fault and ("shares of the image" in fault or {x, y, w, h} <= {-1.0, 0.0, 1.0})


@given(x=st.floats(0, 0.7), y=st.floats(0, 0.7), w=st.floats(0.01, 0.3), h=st.floats(0.01, 0.3))
def test_no_share_becomes_points_of_pixels(x: float, y: float, w: float, h: float) -> None:
    assert "shares" in (parse_face([[x, y], [x + w, y], [x, y + h]]).fault or "")


@given(left=st.floats(0, 140), top=st.floats(0, 140), width=st.floats(4, 60), height=st.floats(4, 60))
def test_a_box_within_its_image_is_never_misplaced(left: float, top: float, width: float, height: float) -> None:
    assert make_box([left, top, width, height]) == (Box(left, top, width, height), None)
    refuse_misplaced(200, 200, Box(left, top, width, height), None)


def test_a_box_that_is_mostly_elsewhere_is_refused() -> None:
    with pytest.raises(Reject, match="lies to 60% outside"):
        refuse_misplaced(100, 100, Box(60, 0, 100, 50), None)
    refuse_misplaced(100, 100, Box(-20, -20, 100, 100), None)  # truncated at a corner: 64 % of it are there
