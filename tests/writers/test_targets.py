"""What a source knows of a face arrives with its sample; points lie on what they lay on in the photograph."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import find_marks, marked
from PIL import Image

from frl.beton import Beton, BetonWriter, verify
from frl.beton.extract import extract
from frl.beton.manifest import Manifest
from frl.beton.targets import Kind, TargetSpec
from frl.cli import main
from frl.errors import ConfigError, SourceError
from frl.synthetic.folder import write_folder
from frl.synthetic.truth import EXPRESSIONS, TARGETS
from writers.config import WriteConfig
from writers.detect import Region
from writers.image.crop import CropSpec, FaceCropper, Placement, Square
from writers.reject import Reject
from writers.sources import Box
from writers.sources.listing import ListedFiles, Listing
from writers.sources.targets import Wanted
from writers.targets import Targets
from writers.to_beton import write


def encode(image: np.ndarray, kind: str = "PNG", orientation: int = 1) -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(
        stream, kind, exif=exif, **({"quality": 97, "subsampling": 0} if kind == "JPEG" else {})
    )
    return stream.getvalue()


def stored_as(image: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that a camera stores so that they are shown as ``image``."""
    transpose = {1: image, 2: image[:, ::-1], 3: image[::-1, ::-1], 4: image[::-1]}
    turned = image.swapaxes(0, 1)
    transpose |= {5: turned, 6: turned[::-1], 7: turned[::-1, ::-1], 8: turned[:, ::-1]}
    return np.ascontiguousarray(transpose[orientation])


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB"))


def write_list(folder: Path, rows: Sequence[dict[str, Any]], name: str = "list.csv") -> Path:
    path = folder / name
    if path.suffix == ".csv":
        with open(path, "w", newline="") as stream:
            table = csv.DictWriter(stream, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_columns(points: np.ndarray) -> dict[str, float]:
    axes = "xyz"[: points.shape[1]]
    return {
        f"{axis}{i}": value for i, point in enumerate(points.tolist()) for axis, value in zip(axes, point, strict=True)
    }


def run(folder: Path, *sources: Path | str, **options: Any) -> Beton:
    out = folder / "out.beton"
    write(WriteConfig(sources=tuple(map(str, sources)), out=out, workers=1, overwrite=True, **options))
    assert verify(out, deep=True).ok
    return Beton(out)


def by_name(beton: Beton) -> dict[str, int]:
    """Index of each sample by the last part of its name."""
    return {beton.name(i).partition(" (")[2][:-1].rpartition("/")[2]: i for i in range(len(beton))}


# ---------------------------------------------------------------- points follow the pixels


@pytest.mark.parametrize(("kind", "zoom"), [("PNG", 1), ("JPEG", 1), ("JPEG", 4.1)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_marks_are_found_at_the_stored_points(tmp_path: Path, kind: str, zoom: float, orientation: int) -> None:
    """Drawn into a photograph, cut and shrunk, a large one in the decoder already, in every orientation."""
    rng, width, height = np.random.default_rng(orientation), round(400 * zoom), round(300 * zoom)
    rows, truth = [], {}
    for number, unit in enumerate([(90, 70, 120, 110), (10, 5, 230, 200), None]):
        box = unit and [zoom * value for value in unit]
        left, top, across, down = box or (zoom * 50, zoom * 20, zoom * 300, zoom * 260)
        low, high = (left + 10, top + 10), (left + across - 10, top + down - 10)
        cells = [(0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.2, 0.8), (0.8, 0.8)]
        points = np.array(low) + np.array(cells) * np.subtract(high, low) + rng.uniform(-3, 3, (5, 2))
        name = f"{number}.{kind.lower()}"
        image = marked(width, height, points, 9 * zoom)
        (tmp_path / name).write_bytes(encode(stored_as(image, orientation), kind, orientation))
        sides = dict(zip("xywh", box or ("",) * 4, strict=True))
        rows.append({"path": name, **sides, **as_columns(points)})
        truth[name] = points
    with run(tmp_path, write_list(tmp_path, rows), size=128) as beton:
        assert beton.targets == (TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(5, 2)),)
        for name, i in by_name(beton).items():
            stored = beton.target("landmarks", [i])[0]
            assert beton.widths[i] == 128
            found = find_marks(decode(beton.encoded(i).tobytes()))
            assert np.abs(found - stored).max() < 0.25, name
            assert np.abs(stored - truth[name]).max() > 3  # it was cut


@settings(max_examples=12, deadline=None)
@given(angle=st.floats(-0.7, 0.7), size=st.sampled_from([96, 160, 256]), data=st.randoms(use_true_random=False))
def test_marks_are_found_in_faces_turned_level(angle: float, size: int, data: Any) -> None:
    centre = np.array([data.uniform(170, 230), data.uniform(170, 230)])
    plain = np.array([[-40, -30], [40, -30], [0, 0], [-35, 40], [35, 40]])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = centre + plain @ turn.T
    cropper = FaceCropper(CropSpec(size=size, margin=0.3, quality=95, max_pixels=10**8))
    photo = cropper.open(encode(marked(400, 400, points)))
    face = cropper(photo, Box(*(centre - 70), 140, 140), points[:2].ravel().tolist())
    stored = face.placement(points)
    assert abs(stored[0, 1] - stored[1, 1]) < 1e-6  # level
    assert np.abs(find_marks(decode(face.data)) - stored).max() < 0.3


squares = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 400))


@settings(max_examples=200, deadline=None)
@given(square=squares, size=st.integers(1, 400), tilt=st.sampled_from([0.0, 0.3, -1.2]), depth=st.booleans())
def test_points_move_as_the_grid_of_pixels(square: tuple[int, int, int], size: int, tilt: float, depth: bool) -> None:
    """Edges of the square become edges of the sample, whatever is between in proportion; then it is turned."""
    left, top, extent = square
    side = min(size, extent)
    place = Placement(Square(*square), side, tilt)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5], [0.25, 0.75]])
    on_sample = corners * side - 0.5
    centre = np.array([left, top]) + extent / 2 - 0.5
    turn = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    in_photo = centre + (corners - 0.5) * extent @ turn.T
    if depth:
        in_photo = np.column_stack([in_photo, np.arange(6) * extent / side])
        on_sample = np.column_stack([on_sample, np.arange(6)])
    assert np.allclose(place(in_photo), on_sample, atol=1e-9 * extent)


def test_an_untouched_sample_keeps_its_points_bit_for_bit(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(0, 64, (68, 2)).astype(np.float32)
    (tmp_path / "a.jpg").write_bytes(encode(np.full((64, 64, 3), 90, np.uint8), "JPEG"))
    with run(tmp_path, write_list(tmp_path, [{"path": "a.jpg", **as_columns(points)}])) as beton:
        assert beton.targets[0].mirror == "300w"
        assert np.array_equal(beton.target("landmarks", [0])[0], points)


# ---------------------------------------------------------------- lists


def picture_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(encode(np.full((40, 40, 3), sum(name.encode()) % 256, np.uint8), "JPEG"))


def test_columns_are_targets_as_the_command_says(tmp_path: Path) -> None:
    picture_files(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = [
        {
            "image": "a.jpg",
            "old": "31.5",
            "yaw": 1,
            "pitch": 2,
            "roll": 3,
            "mood": "sad",
            "v0": 1,
            "v1": 0,
            "note": "x",
        },
        {
            "image": "b.jpg",
            "old": "",
            "yaw": -1,
            "pitch": "",
            "roll": 3,
            "mood": "happy",
            "v0": "",
            "v1": 1,
            "note": "",
        },
        {"image": "c.jpg", "old": "7", "yaw": "", "pitch": "", "roll": "", "mood": "", "v0": "", "v1": "", "note": ""},
    ]
    wanted = ("age=old", "pose=yaw:roll", "mood", "seen:visibility=v0,v1")
    with run(tmp_path, write_list(tmp_path, rows), targets=wanted) as beton:
        specs = {spec.name: spec for spec in beton.targets}
        assert specs["pose"].names == ("yaw", "pitch", "roll") and specs["mood"].names == ("happy", "sad")
        assert [(s.kind, s.shape) for s in specs.values()] == [
            (Kind.VECTOR, ()), (Kind.VECTOR, (3,)), (Kind.CLASS, ()), (Kind.VISIBILITY, (2,))
        ]  # fmt: skip
        names = by_name(beton)
        order = [names["a.jpg"], names["b.jpg"], names["c.jpg"]]
        np.testing.assert_array_equal(beton.target("age", order), [31.5, np.nan, 7])
        np.testing.assert_array_equal(beton.target("pose", order), [[1, 2, 3], [-1, np.nan, 3], [np.nan] * 3])
        assert beton.target("mood", order).tolist() == [1, 0, -1]
        assert beton.target("seen", order).tolist() == [[1, 0], [-1, 1], [-1, -1]]
        assert beton.manifest and beton.manifest.known == {"age": 2, "pose": 2, "mood": 2, "seen": 2}


def test_json_lines_know_shapes_by_themselves(tmp_path: Path) -> None:
    picture_files(tmp_path, "a.jpg", "b.jpg")
    rows = [
        {"path": "b.jpg", "landmarks": None},
        {
            "path": "a.jpg", "landmarks": [[1, 2, 3], [4, 5, 6]], "seen": [True, False],
            "mood": {"smile": 0.5, "frown": 1}, "face": {"yaw": 12, "age": 30}, "units": [0, 1, None],
        },
    ]  # fmt: skip
    wanted = ("seen", "mood", "pose=face.yaw,face.age", "units:class")
    with run(tmp_path, write_list(tmp_path, rows, "list.jsonl"), targets=wanted) as beton:
        a, b = by_name(beton)["a.jpg"], by_name(beton)["b.jpg"]
        assert {spec.name: (spec.kind, spec.shape) for spec in beton.targets} == {
            "seen": (Kind.VISIBILITY, (2,)), "mood": (Kind.VECTOR, (2,)), "pose": (Kind.VECTOR, (2,)),
            "units": (Kind.CLASS, (3,)), "landmarks": (Kind.POINTS, (2, 3)),
        }  # fmt: skip
        assert beton.target("landmarks", [a])[0].tolist() == [[1, 2, 3], [4, 5, 6]]
        assert np.isnan(beton.target("landmarks", [b])).all()
        assert beton.target("mood", [a])[0].tolist() == [1, 0.5]  # frown, smile
        assert beton.target("units", [a])[0].tolist() == [0, 1, -1] and beton.target("pose", [a])[0].tolist() == [
            12,
            30,
        ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"x0": "left"}, "its landmarks 'left' is no points"),
        ({"x0": "inf"}, "its landmarks holds inf"),
        ({"mood": "angry "}, None),
        ({"code": "2.5"}, "its code '2.5' is no class"),
        ({"code": "-3"}, "its code holds -3"),
    ],
)
def test_a_line_whose_target_makes_no_sense_is_rejected(
    tmp_path: Path, row: dict[str, str], reason: str | None
) -> None:
    picture_files(tmp_path, "a.jpg", "b.jpg")
    good = {"path": "a.jpg", "x0": "1", "y0": "2", "mood": "glad", "code": "4"}
    path = write_list(tmp_path, [good, good | {"path": "b.jpg"} | row])
    with run(tmp_path, path, targets=("mood", "code:class")) as beton:
        assert len(beton) == (2 if reason is None else 1)
        rejects = tmp_path / "out.beton.rejects.tsv"
        assert not rejects.exists() if reason is None else reason in rejects.read_text()


@pytest.mark.parametrize(
    ("given", "names", "stored", "rejected"),
    [
        (["happy", 1, "1", 2.0], ("1", "2", "happy"), [2, 0, 0, 1], None),
        (
            ["happy", True, ["sad", "happy"], "sad"],
            ("happy", "sad"),
            [0, None, None, 1],
            "True is no class of ('happy', 'sad')",
        ),
        (["happy", float("nan"), "None", "n/a"], ("happy",), [0, -1, -1, -1], None),
        (["nan", None, "happy", "-1"], ("happy",), [-1, -1, 0, -1], None),
    ],
)
def test_a_class_is_what_its_line_says_and_no_other(
    tmp_path: Path, given: list[Any], names: tuple[str, ...], stored: list[int | None], rejected: str | None
) -> None:
    """A number among texts is a name like them, and no index into their sorted list."""
    files = [f"{number}.jpg" for number in range(len(given))]
    picture_files(tmp_path, *files)
    rows = [{"path": file, "emotion": value} for file, value in zip(files, given, strict=True)]
    with run(tmp_path, write_list(tmp_path, rows, "list.jsonl"), targets=("emotion",)) as beton:
        assert beton.targets[0].names == names
        found = {name: beton.target("emotion", [i]).item() for name, i in by_name(beton).items()}
    assert found == {file: index for file, index in zip(files, stored, strict=True) if index is not None}
    rejects = tmp_path / "out.beton.rejects.tsv"
    assert (rejected in rejects.read_text()) if rejected else not rejects.exists()


@pytest.mark.parametrize(("names", "known"), [(["sad", "glad"], True), (["1", "2"], False)])
def test_a_number_is_an_index_only_where_no_class_is_called_by_one(
    tmp_path: Path, names: list[str], known: bool
) -> None:
    rows: list[dict[str, Any]] = [{"path": "a.jpg", "mood": names[0]}, {"path": "b.jpg", "mood": 0}]
    path = write_list(tmp_path, rows, "list.jsonl")
    stated = [{"name": "mood", "kind": "class", "shape": [], "names": names}]
    (tmp_path / "list.targets.json").write_text(json.dumps(stated))
    first, second = Listing(ListedFiles(str(path))).candidates()
    assert first.targets and list(first.targets["mood"]) == [0]
    assert (second.targets is not None and list(second.targets["mood"]) == [0]) if known else second.fault


def test_what_is_taken_for_no_class_is_said_unless_a_description_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture_files(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = [
        {"path": f"{name}.jpg", "glasses": kind} for name, kind in zip("abc", ("none", "dark", "none"), strict=True)
    ]
    path = write_list(tmp_path, rows)
    with run(tmp_path, path, targets=("glasses",)) as beton:
        assert beton.manifest and beton.manifest.known == {"glasses": 1}
    assert (
        "none (2) of glasses taken as unknown; if it is a class, name it in list.targets.json"
        in capsys.readouterr().err
    )
    stated = [{"name": "glasses", "kind": "class", "shape": [], "names": ["dark", "none"]}]
    (tmp_path / "list.targets.json").write_text(json.dumps(stated))
    with run(tmp_path, path) as beton:
        assert beton.manifest and beton.manifest.known == {"glasses": 3}


def test_a_dry_run_estimates_the_size_with_targets(tmp_path: Path) -> None:
    """Those that lie in the metadata, and arrays that lie behind the images and need entries of their own."""
    points = np.arange(136.0).reshape(68, 2) % 40
    picture_files(tmp_path, "a.jpg", "b.jpg")
    rows = [{"path": name, "age": 3, "mood": "glad", **as_columns(points)} for name in ("a.jpg", "b.jpg")]
    source, out = str(write_list(tmp_path, rows)), tmp_path / "out.beton"
    config = WriteConfig(sources=(source,), out=out, workers=1, targets=("age", "mood"))
    estimated = write(replace(config, dry_run=True)).nbytes
    assert not out.exists()
    assert estimated == write(config).nbytes == out.stat().st_size


def test_a_list_in_a_pipe_is_refused(tmp_path: Path) -> None:
    """It would give its first lines to the search for targets, and keep the next reader waiting for ever."""
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(SourceError, match="list.csv: is no regular file"):
        run(tmp_path, tmp_path / "list.csv")


def test_what_nobody_can_read_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    picture_files(tmp_path, "a.jpg")
    path = write_list(tmp_path, [{"path": "a.jpg", "x0": 1, "y0": 2, "age": 3}])
    for wanted, error, cause in [
        ((), SourceError, "its columns are path,x0,y0,age.*--targets"),
        (("age", "size=width"), SourceError, "--targets size: no list among the sources has width"),
        (("pose=age,yaw",), SourceError, "of the columns of pose it lacks yaw"),
        (("age:colour",), ConfigError, "'age:colour' names no target.*the kinds are points, vector, class, visibility"),
        (("label=age",), ConfigError, "'label' names no target"),
        (("a:points=x0,y0,age",), SourceError, "its a is no points"),
    ]:
        with pytest.raises(error, match=cause):
            run(tmp_path, path, targets=wanted)
    with pytest.raises(SourceError, match="no list among the sources"):
        run(tmp_path, f"folder:{tmp_path}", targets=("age",))
    (tmp_path / "list.targets.json").write_text('[{"name": "age", "kind": "colour", "shape": []}]')
    with pytest.raises(SourceError, match="list.targets.json: does not describe targets"):
        run(tmp_path, path)
    assert not (tmp_path / "out.beton").exists()


def test_columns_that_nobody_asked_for_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture_files(tmp_path, "a.jpg")
    run(tmp_path, write_list(tmp_path, [{"path": "a.jpg", "age": 3, "note": "x"}]), targets=("age",)).close()
    assert "not used: the columns note" in capsys.readouterr().err


def test_landmarks_of_a_list_tell_where_the_eyes_are(tmp_path: Path) -> None:
    points = np.array([[10, 20], [30, 20], [20, 30], [12, 36], [28, 36]])
    path = write_list(tmp_path, [{"path": "a.jpg", **as_columns(points)}])
    (candidate,) = Listing(ListedFiles(str(path))).candidates()
    assert candidate.points is not None and list(candidate.points) == points.ravel().tolist()


def test_sources_without_a_target_leave_it_unknown_and_two_meanings_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        picture_files(tmp_path / name, f"{name}.jpg")
    one = write_list(tmp_path / "one", [{"path": "one.jpg", "x0": 1, "y0": 2}], "one.csv")
    with run(tmp_path, one, f"folder:{tmp_path / 'two'}") as beton:
        names = by_name(beton)
        assert beton.target("landmarks", [names["one.jpg"]]).tolist() == [[[1, 2]]]
        assert np.isnan(beton.target("landmarks", [names["two.jpg"]])).all()
    two = write_list(tmp_path / "two", [{"path": "two.jpg", "x0": 1, "y0": 2, "x1": 3, "y1": 4}], "two.csv")
    with pytest.raises(SourceError, match=r"landmarks of two.csv is points \(2, 2\), that of one.csv points \(1, 2\)"):
        run(tmp_path, one, two)


# ---------------------------------------------------------------- several faces


def test_targets_belong_to_the_face_that_their_points_lie_on() -> None:
    targets = Targets(
        [TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(2, 2)), TargetSpec(name="age", kind=Kind.VECTOR)]
    )
    known = {"landmarks": np.array([120.0, 20, 130, 30]), "age": np.array([30.0])}
    left, right, refused = Region(Box(0, 0, 50, 50)), Region(Box(100, 0, 50, 50)), Reject("too small")
    assert targets.share(known, [left, right]) == [None, known]
    assert targets.share(known, [right]) == [known]
    assert targets.share(known, [left, refused]) == [None, None]
    assert targets.share({"age": known["age"]}, [left]) == [{"age": known["age"]}]
    assert targets.share(None, [left, right]) == [None, None]
    for faces in ([left, right], [left, refused]):
        with pytest.raises(Reject, match="2 faces were found on it, and its targets do not say whose they are"):
            targets.share({"age": known["age"]}, faces)
    with pytest.raises(Reject, match="1 face was found on it, not at its points"):
        targets.share(known, [left])


def test_each_line_of_a_photograph_has_targets_of_its_own(tmp_path: Path) -> None:
    picture = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None], (100, 200, 3))
    (tmp_path / "a.png").write_bytes(encode(picture))
    rows = [
        {"path": "a.png", "x": 0, "y": 0, "w": 50, "h": 50, "x0": 25, "y0": 25, "age": 1},
        {"path": "a.png", "x": 140, "y": 40, "w": 50, "h": 50, "x0": 165, "y0": 65, "age": 2},
    ]
    with run(tmp_path, write_list(tmp_path, rows), targets=("age",), margin=0.0) as beton:
        names = by_name(beton)
        order = [names["a.png"], names["a#2.png"]]
        assert beton.target("age", order).tolist() == [1, 2]
        assert beton.target("landmarks", order).reshape(2, 2).tolist() == [[25, 25], [25, 25]]


# ---------------------------------------------------------------- other sources


def test_synthetic_faces_bring_their_truth(tmp_path: Path) -> None:
    write_folder(tmp_path / "faces", 2, 3, size=64, workers=1)
    truth = {}
    for line in (tmp_path / "faces" / "truth.jsonl").read_text().splitlines():
        record = json.loads(line)
        truth[record["path"]] = record
    with run(tmp_path, tmp_path / "faces") as beton:
        assert beton.targets == TARGETS
        assert beton.manifest and beton.manifest.identities == ("faces/n000001", "faces/n000002")
        assert set(beton.manifest.known.values()) == {6}
        for i in range(6):
            record, values = truth[beton.name(i).partition("faces/")[2][:-1]], beton.target_values(i)
            np.testing.assert_allclose(values["landmarks"], record["landmarks"], atol=1e-4)
            np.testing.assert_allclose(values["landmarks3d"], record["landmarks3d"], atol=1e-4)
            assert values["visible"].tolist() == record["visible"]
            assert EXPRESSIONS[values["expression"]] == record["expression"]
            for spec in beton.targets:
                if spec.kind == Kind.VECTOR:
                    by_name = dict(zip(spec.names, values[spec.name].tolist(), strict=True))
                    assert by_name == pytest.approx(record[spec.name], abs=1e-5)
    with run(tmp_path, tmp_path / "faces" / "truth.jsonl") as beton:  # the same, read as a list
        assert beton.targets == TARGETS and set(beton.manifest.known.values()) == {6}
    with run(tmp_path, f"vggface2:{tmp_path / 'faces'}") as beton:
        assert beton.targets == ()
    (tmp_path / "faces" / "truth.jsonl").write_text('{"landmarks": [[1, 2]]}\n')
    with pytest.raises(SourceError, match=r"truth.jsonl: is damaged.*vggface2:"):
        run(tmp_path, tmp_path / "faces")


def test_folders_drawn_before_their_truth_was_described_are_read(tmp_path: Path) -> None:
    write_folder(tmp_path / "faces", 1, 2, size=64, workers=1)
    (tmp_path / "faces" / "truth.targets.json").unlink()
    lines = [json.loads(line) for line in (tmp_path / "faces" / "truth.jsonl").read_text().splitlines()]
    old = [{key: line[key] for key in ("path", "identity", "landmarks", "visible")} for line in lines]
    old = [{**new, **line["pose"], "expression": line["intensities"]} for new, line in zip(old, lines, strict=True)]
    (tmp_path / "faces" / "truth.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    with run(tmp_path, tmp_path / "faces") as beton:
        assert [spec.name for spec in beton.targets] == ["landmarks", "visible", "pose", "expression"]
        assert beton.targets[3].kind == Kind.VECTOR and beton.targets[3].shape == (5,)
        assert set(beton.manifest.known.values()) == {2}


def make_beton(path: Path) -> Path:
    specs = (
        TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(2, 2), mirror=(1, 0)),
        TargetSpec(name="age", kind=Kind.VECTOR),
        TargetSpec(name="mood", kind=Kind.CLASS, names=("sad", "glad")),  # not in the order of the alphabet
        TargetSpec(name="pose", kind=Kind.VECTOR, shape=(3,), names=("yaw", "pitch", "roll")),
        TargetSpec(name="cube", kind=Kind.VECTOR, shape=(1, 2, 2)),
    )
    rng = np.random.default_rng(5)
    with BetonWriter(path, capacity=6, labels=["p/a", "p/b"], targets=specs) as file:
        for i in range(6):
            known = {
                "landmarks": rng.uniform(-9, 99, (2, 2)), "age": rng.uniform(0, 99), "mood": i % 3 - 1,
                "pose": rng.normal(size=3), "cube": rng.normal(size=(1, 2, 2)),
            }  # fmt: skip
            image = np.full((100 if i else 60, 100, 3), 20 * i, np.uint8)
            file.append(encode(image, "JPEG"), *image.shape[:2], i % 3 - 1, f"p/{i}.jpg", known if i < 5 else {})
    return path


def contents(beton: Beton) -> dict[str, tuple]:
    def plain(value: np.ndarray) -> list:
        return np.nan_to_num(value.astype(float), nan=-12345).ravel().tolist()

    return {
        name: tuple(plain(beton.target(spec.name, [i])[0]) for spec in beton.targets)
        for name, i in by_name(beton).items()
    }


def test_a_beton_written_again_keeps_them(tmp_path: Path) -> None:
    with Beton(make_beton(tmp_path / "in.beton")) as before, run(tmp_path, tmp_path / "in.beton", size=100) as after:
        assert after.targets == before.targets
        found, expected = contents(after), contents(before)
        cut = expected["0.jpg"][0]  # its central square begins at x = 20
        expected["0.jpg"] = ([cut[0] - 20, cut[1], cut[2] - 20, cut[3]], *expected["0.jpg"][1:])
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(
                np.concatenate(list(map(np.ravel, found[name]))), np.concatenate(list(map(np.ravel, values))), rtol=1e-6
            )
    with run(tmp_path, tmp_path / "in.beton", size=50) as halved:
        x = contents(halved)["1.jpg"][0][0]
        assert x == pytest.approx((expected["1.jpg"][0][0] + 0.5) / 2 - 0.5, abs=1e-4)


def test_a_target_changed_in_a_beton_is_rejected(tmp_path: Path) -> None:
    path = make_beton(tmp_path / "in.beton")
    with Beton(path) as beton:
        place = int(beton.pointers[3] + beton.nbytes[3])
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    with run(tmp_path, path) as beton:
        assert (
            len(beton) == 5
            and "its targets differ from the checksum" in (tmp_path / "out.beton.rejects.tsv").read_text()
        )


def test_an_extracted_folder_is_read_back_with_all_targets(tmp_path: Path) -> None:
    with Beton(make_beton(tmp_path / "in.beton")) as before:
        extract(before, tmp_path / "folder")
        expected = contents(before)
        with run(tmp_path, tmp_path / "folder" / "faces.csv") as after:
            assert after.targets == before.targets
            found = contents(after)
            for name in expected.keys() - {"0.jpg"}:  # that one is cut to a square
                assert found[name] == expected[name]
            assert after.manifest and after.manifest.identities == ("faces.csv/a", "faces.csv/b")
            assert {n: int(after.labels[i]) for n, i in by_name(after).items()} == {
                n: int(before.labels[i]) for n, i in by_name(before).items()
            }
    with BetonWriter(tmp_path / "plain.beton", capacity=1) as file:
        file.append(encode(np.zeros((9, 9, 3), np.uint8), "JPEG"), 9, 9, -1, "a.jpg")
    with Beton(tmp_path / "plain.beton") as plain:
        extract(plain, tmp_path / "plain")
    assert [path.name for path in (tmp_path / "plain").iterdir()] == ["a.jpg"]


def test_the_manifest_notes_what_was_asked_only_where_it_was(tmp_path: Path) -> None:
    picture_files(tmp_path, "a.jpg")
    run(tmp_path, write_list(tmp_path, [{"path": "a.jpg"}])).close()
    plain = Manifest.load(tmp_path / "out.beton")
    assert plain is not None and "targets" not in plain.settings and '"targets"' not in plain.to_json()
    run(tmp_path, write_list(tmp_path, [{"path": "a.jpg", "age": 1}]), targets=("age",)).close()
    asked = Manifest.load(tmp_path / "out.beton")
    assert asked is not None and asked.settings["targets"] == ["age"]


@pytest.mark.parametrize("text", ["age", "pose:vector=yaw,pitch,roll", "landmarks=x0:y67", "mood:class=face.mood"])
def test_what_the_command_line_can_say(text: str) -> None:
    wanted = Wanted.parse(text)
    assert wanted.name == text.partition("=")[0].partition(":")[0]
    assert ",".join(wanted.columns) == (text.partition("=")[2] or wanted.name)


def test_a_target_named_twice_is_refused(tmp_path: Path) -> None:
    lines = write_list(tmp_path, [{"path": "a.jpg", "age": 1, "who": "ann", "name": "bob"}])
    for targets, named in ((("age", "age:classes"), "age"), (("identity=who", "identity=name"), "identity")):
        with pytest.raises(ConfigError, match=f"{named} is named twice"):
            run(tmp_path, lines, targets=targets)


def test_real_faces_keep_their_landmarks(tmp_path: Path, real_faces: Path) -> None:
    """All 68 points of a list as people have them; on frames that are squares already they stay where they were."""
    lines = (real_faces / "ytf_landmarks68.csv").read_text().splitlines()
    table = tmp_path / "some.csv"
    with open(table, "w", newline="") as stream:
        rows = list(csv.reader(lines))
        root = real_faces / "ytf_frames192" if not (real_faces / rows[1][0]).exists() else real_faces
        csv.writer(stream).writerows([rows[0], *([str(root / row[0]), *row[1:]] for row in rows[1::200])])
    expected = {Path(row[0]).name: np.array(row[1:], float).reshape(68, 2) for row in rows[1::200]}
    with run(tmp_path, table) as beton:
        assert len(beton) == len(rows[1::200])
        for i in range(len(beton)):
            name = Path(beton.name(i).partition(" (")[2][:-1]).name
            height, width = (int(v) for v in (beton.heights[i], beton.widths[i]))
            original = Image.open(next(root / row[0] for row in rows[1::200] if Path(row[0]).name == name)).size
            if original == (width, height):
                np.testing.assert_allclose(beton.target("landmarks", [i])[0], expected[name], atol=1e-3)


ROWS = """path,person,emotion,age,yaw,pitch,left_x,left_y,right_x,right_y
1.jpg,ann,glad,31,4.5,-2,10.5,21,29,20.5
2.jpg,bob,sad,,0,1.5,8,24.5,30,23
"""


def documented_options() -> list[str]:
    """The labels of the example in docs/sources.md."""
    text = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    command = text[text.index("frl write faces.csv --out faces.beton --label-column") :].partition("frl info")[0]
    return command.replace("\\\n", " ").partition("--label-column")[2].split()


def test_labels_of_ones_own_by_the_words_of_the_documentation(tmp_path):
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(encode(np.full((40, 40, 3), int(name[0]) * 40, np.uint8), "JPEG"))
    (tmp_path / "faces.csv").write_text(ROWS)
    out = tmp_path / "faces.beton"
    command = ["write", str(tmp_path / "faces.csv"), "--out", str(out), "--workers", "1"]
    assert main([*command, "--label-column", *documented_options()]) == 0
    with Beton(out) as beton:
        order = [next(i for i in range(2) if f"{n}.jpg" in beton.name(i)) for n in (1, 2)]
        kinds = {spec.name: (spec.kind, spec.shape, spec.names) for spec in beton.targets}
        assert kinds["emotion"] == (Kind.CLASS, (), ("glad", "sad"))
        assert kinds["age"][:2] == (Kind.VECTOR, ()) and kinds["pose"] == (Kind.VECTOR, (2,), ("yaw", "pitch"))
        assert kinds["eyes"][:2] == (Kind.POINTS, (2, 2))
        assert beton.labels[order].tolist() == [0, 1]
        assert beton.target("emotion", order).tolist() == [0, 1]
        np.testing.assert_array_equal(beton.target("age", order), np.float32([31, np.nan]))
        assert beton.target("pose", order).tolist() == [[4.5, -2.0], [0.0, 1.5]]
        assert beton.target("eyes", order).tolist() == [[[10.5, 21], [29, 20.5]], [[8, 24.5], [30, 23]]]


def test_who_is_on_the_images_of_json_lines_under_another_key(tmp_path):
    (tmp_path / "1.jpg").write_bytes(encode(np.full((40, 40, 3), 90, np.uint8), "JPEG"))
    write_list(tmp_path, [{"path": "1.jpg", "who": "ann"}], "faces.jsonl")
    options = {"sources": (str(tmp_path / "faces.jsonl"),), "workers": 1}
    assert write(WriteConfig(out=tmp_path / "a.beton", targets=("identity=who",), **options)).identities == 1
    with pytest.raises(SourceError, match="no list among the sources has person"):
        write(WriteConfig(out=tmp_path / "b.beton", targets=("identity=person",), **options))


@pytest.mark.parametrize("text", ["identity:classes=who", "identity=first,last", "label", "mood:feeling"])
def test_labels_that_name_nothing(text):
    with pytest.raises(ConfigError, match="--targets"):
        Wanted.parse(text)
