"""What each benchmark's layout reads, and what it says of files that are damaged, missing or not as published."""

from __future__ import annotations

import io
import os
import pickle
import re
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pytest
from benchmark_folders import (
    REPLICAS,
    draw,
    encoded,
    face_points,
    fer2013_pixels,
    plant,
)
from PIL import Image
from scipy.io import savemat

from frl.errors import SourceError
from frl.tasks.layouts.bp4d import FERA, SUBJECTS
from frl.tasks.layouts.bp4d import FOLDS as BP4D_FOLDS
from frl.tasks.layouts.disfa import FOLDS as DISFA_FOLDS
from frl.tasks.layouts.disfa import UNITS
from frl.tasks.layouts.files import as_png, files, folders, read_image
from frl.tasks.layouts.folds import numbered_folds
from frl.tasks.layouts.layout import AnnotatedFace, Layout, Published, Remarking
from frl.tasks.layouts.registry import BENCHMARKS
from frl.tasks.layouts.schemes import AFLW19, COFW29, IBUG68, SCHEMES, WFLW98, five_points
from frl.tasks.layouts.w300lp import pose_of
from frl.tasks.metrics.rotation import matrices, to_300wlp


def layout_of(name: str, root: Path) -> tuple[Layout, str]:
    """A replica's layout, and the split of its address."""
    kind, _, address = REPLICAS[name](root).address.partition(":")
    location, _, split = address.rpartition("@")
    return BENCHMARKS[kind](location), split


def read(name: str, root: Path, split: str = "") -> dict[str, AnnotatedFace]:
    layout, usual = layout_of(name, root)
    return {face.name: face for face in layout.faces(split or usual)}


def faults(layout: Layout, split: str) -> list[str]:
    return [face.fault for face in layout.faces(split) if face.fault]


# ---------------------------------------------------------------- points


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: str(scheme.count))
def test_mirrors_lead_back_and_exchange_eyes_and_mouth(scheme) -> None:
    assert len(scheme.mirror) == scheme.count
    assert [scheme.mirror[i] for i in scheme.mirror] == list(range(scheme.count))
    left, right, nose, left_mouth, right_mouth = scheme.five
    assert {scheme.mirror[i] for i in left} == set(right)
    assert {scheme.mirror[i] for i in left_mouth} == set(right_mouth)
    assert scheme.mirror[nose[0]] == nose[0]


def test_the_mirrors_are_those_of_the_published_code() -> None:
    """HRNet's pairs, which count from 1 but for WFLW, at the places that are easily confused."""
    assert {i + 1: AFLW19.mirror[i] + 1 for i in (0, 6, 12, 13, 15)} == {1: 6, 7: 12, 13: 15, 14: 14, 16: 18}
    assert {i + 1: COFW29.mirror[i] + 1 for i in (4, 5, 8, 12, 13, 22, 28)} == {
        5: 7, 6: 8, 9: 10, 13: 15, 14: 16, 23: 24, 29: 29
    }  # fmt: skip
    pairs = {0: 32, 33: 46, 37: 42, 38: 50, 41: 47, 55: 59, 60: 72, 64: 68, 65: 75, 67: 73, 76: 82, 87: 83, 95: 93}
    assert {i: WFLW98.mirror[i] for i in pairs} == pairs


def test_five_points_are_the_means_of_their_parts() -> None:
    points = face_points(IBUG68, 0)
    five = five_points(points)
    assert five is not None
    np.testing.assert_allclose(five[0], points[36:42].mean(axis=0))
    np.testing.assert_allclose(five[2:], points[[30, 48, 54]])
    points[40] = np.nan
    assert five_points(points) is None and five_points(points[:7]) is None


# ---------------------------------------------------------------- all of them


@pytest.fixture(params=list(REPLICAS))
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Layout, str]:
    return layout_of(request.param, tmp_path)


def test_faces_fit_their_specs_and_their_names_differ(layout: tuple[Layout, str]) -> None:
    found, _ = layout
    specs = {spec.name: spec for spec in found.specs}
    for split in found.splits:
        faces = list(islice(found.faces(split), 100))
        assert len({face.name for face in faces}) == len(faces)
        for face in faces:
            for name, value in face.targets.items():
                specs[name].encode(value)


def test_a_layout_travels_to_workers_and_reads_there(layout: tuple[Layout, str]) -> None:
    found, split = layout
    list(found.faces(split))  # what it has cached goes along, or not
    copy = pickle.loads(pickle.dumps(found))
    for face in found.faces(split):
        data = copy.read(face.place)
        assert data == found.read(face.place) and data.startswith((b"\x89PNG", b"\xff\xd8\xff"))


def test_no_benchmark_is_seen_in_an_empty_folder(tmp_path: Path) -> None:
    for name, make in BENCHMARKS.items():
        with pytest.raises(SourceError, match=r"(holds no|lacks|holds neither).*Give the folder"):
            print(name, make(str(tmp_path)).splits)


def test_the_published_numbers_are_of_published_splits(layout: tuple[Layout, str]) -> None:
    found, _ = layout
    if isinstance(found, Published):
        assert all(isinstance(count, int) and count > 100 for count in found.published.values())


# ---------------------------------------------------------------- landmarks


def test_300w_splits_are_its_folders(tmp_path: Path) -> None:
    found, _ = layout_of("ibug300w", tmp_path)
    assert found.splits == ("train", "common", "challenging", "full")
    names = {split: [face.name for face in found.faces(split)] for split in found.splits}
    assert names["train"] == ["afw/1051618982_1.jpg", "helen/trainset/100032540_1.jpg", "lfpw/trainset/image_0001.png"]
    assert names["common"] == ["helen/testset/296814969_3.jpg", "lfpw/testset/image_0002.png"]
    assert names["challenging"] == ["ibug/image_092 _01.jpg"]
    assert names["full"] == names["common"] + names["challenging"]


def test_a_plain_folder_of_pts_files_is_one_split(tmp_path: Path) -> None:
    """Without the test set's parts; mirrored twins, as dlib's copy has them, are passed over."""
    REPLICAS["ibug300w"](tmp_path)
    folder = tmp_path / "ibug"
    plant(folder / "image_092 _01_mirror.jpg", "twin")
    found = BENCHMARKS["ibug300w"](str(folder))
    assert found.splits == ("all",) and [spec.name for spec in found.specs] == ["landmarks"]
    (face,) = found.faces("all")
    np.testing.assert_allclose(face.targets["landmarks"], face_points(IBUG68, 5), atol=1e-6)


def test_hrnet_lists_are_splits_in_their_usual_order(tmp_path: Path) -> None:
    found, _ = layout_of("hrnet_wflw", tmp_path)
    for split in ("train", "extra", "valid"):
        plant(tmp_path / f"face_landmarks_wflw_{split}.csv", (tmp_path / "face_landmarks_wflw_test.csv").read_bytes())
    assert BENCHMARKS["hrnet"](found.location).splits == ("train", "valid", "test", "test_blur", "extra")


def test_hrnet_boxes_are_squares_about_the_centre(tmp_path: Path) -> None:
    face = read("hrnet_300w", tmp_path / "a")["a/1.jpg"]
    assert face.box == pytest.approx((115 - 60, 105 - 60, 120, 120))
    face = read("hrnet_aflw", tmp_path / "b")["a/1.jpg"]
    assert face.box == pytest.approx((115 - 60, 105 - 60, 120, 120))
    assert face.targets["face_box"].tolist() == [[70, 60], [160, 150]]


def test_hrnet_finds_the_image_with_a_space(tmp_path: Path) -> None:
    REPLICAS["hrnet_300w"](tmp_path)
    path = tmp_path / "face_landmarks_300w_test.csv"
    path.write_text(path.read_text().replace("a/1.jpg", "ibug/image_092_01.jpg"))
    draw(tmp_path / "images" / "ibug" / "image_092 _01.jpg", IBUG68, face_points(IBUG68, 0))
    face = next(iter(BENCHMARKS["hrnet"](str(tmp_path)).faces("test")))
    assert face.name == "ibug/image_092_01.jpg" and face.place == "images/ibug/image_092 _01.jpg"


def test_hrnet_finds_the_faces_of_a_part_however_their_numbers_are_written(tmp_path: Path) -> None:
    REPLICAS["hrnet_wflw"](tmp_path)
    path = tmp_path / "face_landmarks_wflw_test_blur.csv"
    header, row = path.read_text().splitlines()
    image, *cells = row.split(",")
    same = ",".join([image, *(f"{float(cell):.12f}" for cell in cells)])
    path.write_text(f"{header}\n{same}\n")
    plant(tmp_path / "face_landmarks_wflw_test_makeup.csv", f"{header}\n")
    found = BENCHMARKS["hrnet"](str(tmp_path))
    subsets = {face.name: face.targets["subsets"].tolist() for face in found.faces("test")}
    others = dict.fromkeys(("b/2.jpg", "b/2#2.jpg"), [-1, -1, -1, 0, -1, 0])
    assert subsets == {"a/1.jpg": [-1, -1, -1, 0, -1, 1]} | others
    assert isinstance(found, Remarking) and not list(found.remarks())
    other = same.replace("0.6", "0.7")
    path.write_text(f"{header}\n{same}\n{other}\n")
    list(found.faces("test"))
    assert list(found.remarks()) == [f"{path}: 1 of 2 rows are not in face_landmarks_wflw_test.csv"]
    path.write_text(f"{header}\n{other}\n")
    with pytest.raises(SourceError, match=r"test_blur.csv: none of its 1 rows is in face_landmarks_wflw_test.csv"):
        list(found.faces("test"))


def test_hrnet_names_bad_lines_and_refuses_other_lists(tmp_path: Path) -> None:
    found, _ = layout_of("hrnet_300w", tmp_path)
    path = tmp_path / "face_landmarks_300w_test.csv"
    header, first, second, _ = path.read_text().splitlines()
    bad = [first.rpartition(",")[0], first.replace("0.6", "-1"), first.rpartition(",")[0] + ",nan", second + "x"]
    path.write_text("\n".join([header, *bad, second]))
    assert faults(found, "test") == [
        "face_landmarks_300w_test.csv, line 2: 139 cells instead of 140",
        "face_landmarks_300w_test.csv, line 3: a box without an area",
        "face_landmarks_300w_test.csv, line 4: a point that is no finite number",
        f"face_landmarks_300w_test.csv, line 5: {second.rpartition(',')[2] + 'x'!r} is no number",
    ]
    path.write_text("\n".join([header.replace("scale", "size"), first]))
    with pytest.raises(SourceError, match=r"line 1: 140 columns, of which image, size, .* Give a list of HRNet's"):
        list(found.faces("test"))
    plant(tmp_path / "face_landmarks_wflw_train.csv", "")
    with pytest.raises(SourceError, match="holds the lists of several benchmarks, 300w, wflw"):
        _ = BENCHMARKS["hrnet"](str(tmp_path)).splits


def test_wflw_names_bad_lines(tmp_path: Path) -> None:
    found, _ = layout_of("wflw", tmp_path)
    path = next(tmp_path.rglob("list_98pt_rect_attr_test.txt"))
    line = path.read_text().splitlines()[0]
    cells = line.split()
    bad = [
        " ".join(cells[1:]),
        " ".join([*cells[:196], "170", "50", "65", "155", *cells[200:]]),
        " ".join([*cells[:200], "2", *cells[201:]]),
        " ".join(["inf", *cells[1:]]),
        " ".join(["x", *cells[1:]]),
    ]
    path.write_text("\n".join([*bad, line]))
    start = "list_98pt_rect_attr_test.txt, line "
    assert [fault.removeprefix(start) for fault in faults(found, "test")] == [
        "1: 206 columns instead of 207",
        "2: a box without an area",
        "3: a flag that is neither 0 nor 1 among pose, expression, illumination, make-up, occlusion, blur",
        "4: a point that is no finite number",
        "5: 'x' is no number",
    ]


def test_wflw_paths_may_have_spaces_and_boxes_are_corners(tmp_path: Path) -> None:
    found, _ = layout_of("wflw", tmp_path)
    path = next(tmp_path.rglob("list_98pt_rect_attr_test.txt"))
    path.write_text(path.read_text().replace("0--Parade/0_", "0--Parade/a 0_"))
    face = next(iter(found.faces("test")))
    assert face.name == "0--Parade/a 0_Parade_1.jpg" and face.box == (65, 50, 105, 105)


def test_cofw_reads_matlab_transposed_and_from_one(tmp_path: Path) -> None:
    faces = read("cofw", tmp_path)
    found = BENCHMARKS["cofw"](str(tmp_path))
    first, last = faces["test/0001.png"], faces["test/0003.png"]
    assert first.box == (65, 50, 105, 105)
    grey = np.asarray(Image.open(io.BytesIO(found.read(last.place))))
    assert grey.shape == (200, 240)


def test_cofw_refuses_other_shapes_and_files(tmp_path: Path) -> None:
    found, _ = layout_of("cofw", tmp_path)
    with h5py.File(tmp_path / "COFW_test_color.mat", "a") as file:
        file["phisT"][58, 1] = 3
        file["phisT"][0, 2] = np.nan
    assert faults(found, "test") == [
        "COFW_test_color.mat, phisT, row 2: a flag of occlusion that is neither 0 nor 1",
        "COFW_test_color.mat, phisT, row 3: a point that is no finite number",
    ]
    with h5py.File(tmp_path / "COFW_test_color.mat", "a") as file:
        del file["phisT"]
        file["phisT"] = np.zeros((58, 3))
    with pytest.raises(SourceError, match=r"its phisT has the shape \(3, 58\), not \(faces, 87\)"):
        list(found.faces("test"))
    plant(tmp_path / "COFW_test_color.mat", "MATLAB 5.0 MAT-file")
    with pytest.raises(SourceError, match=r"is no MATLAB file of version 7.3"):
        list(found.faces("test"))


def test_aflw_tests_what_follows_the_first_20000(tmp_path: Path) -> None:
    found, _ = layout_of("aflw19", tmp_path)
    faces = list(found.faces("test"))
    assert [face.name for face in faces] == ["2/image0.jpg", "2/image1.jpg"]
    assert faces[0].box == (65, 50, 105, 105) and faces[0].place == "data/flickr/2/image0.jpg"
    assert sum(1 for _ in found.faces("train")) == 20_000


def test_aflw_refuses_tables_that_do_not_fit(tmp_path: Path) -> None:
    count = 3
    names = np.empty((count, 1), object)
    names[:, 0] = ["0/a.jpg", "0/b.jpg", "0/c.jpg"]
    good = {
        "bbox": np.tile([0.0, 10, 0, 10], (count, 1)), "data": np.ones((count, 38)), "mask_new": np.ones((count, 19)),
        "nameList": names, "ra": np.arange(1, 4),
    }  # fmt: skip
    for name, value, message in [
        ("data", np.ones((count, 42)), r"its data has the shape \(3, 42\), not \(3, 38\)"),
        ("ra", np.array([1, 2, 2]), "its ra is no order of the 3 faces"),
    ]:
        savemat(tmp_path / "AFLWinfo_release.mat", good | {name: value})
        with pytest.raises(SourceError, match=message):
            list(BENCHMARKS["aflw19"](str(tmp_path)).faces("train"))
    savemat(tmp_path / "AFLWinfo_release.mat", {name: value for name, value in good.items() if name != "ra"})
    with pytest.raises(SourceError, match="holds no ra"):
        list(BENCHMARKS["aflw19"](str(tmp_path)).faces("train"))
    savemat(tmp_path / "AFLWinfo_release.mat", good | {"bbox": np.tile([10.0, 0, 0, 10], (count, 1))})
    found = BENCHMARKS["aflw19"](str(tmp_path))
    assert faults(found, "train")[0] == (
        "AFLWinfo_release.mat, row 1: a box without an area, 10 to 0 across, 0 to 10 down"
    )


# ---------------------------------------------------------------- affect


def test_affectnet_lists_may_lack_their_header(tmp_path: Path) -> None:
    found, _ = layout_of("affectnet", tmp_path)
    assert [face.name for face in found.faces("train")] == [face.name for face in found.faces("val")]


def test_affectnet_names_what_is_no_expression_or_out_of_range(tmp_path: Path) -> None:
    found, _ = layout_of("affectnet", tmp_path)
    path = tmp_path / "Manually_Annotated_file_lists" / "validation.csv"
    header, good, *_ = path.read_text().splitlines()
    cells = good.split(",")
    changes = [(6, "8"), (6, "10"), (6, "12"), (7, "1.5"), (8, "calm"), (5, "1;2;3"), (3, "0"), (5, cells[5] + ";")]
    bad = [",".join([*cells[:i], value, *cells[i + 1 :]]) for i, value in changes]
    path.write_text("\n".join([header, *bad, ",".join(cells[:-1])]))
    assert [fault.removeprefix("validation.csv, line ") for fault in faults(found, "val")] == [
        "2: annotated as 'none' (expression 8)",
        "3: annotated as 'no face' (expression 10)",
        "4: its expression is 12, not one of 0 to 10",
        "5: its valence is 1.5, not between -1 and 1",
        "6: its arousal 'calm' is no number",
        "7: 3 numbers of landmarks instead of 136",
        "8: a face without an area",
        "9: '' is no number",
        "10: 8 cells instead of 9",
    ]
    path.write_text(header.replace("arousal", "excitement"))
    with pytest.raises(SourceError, match="lacks the column arousal"):
        list(found.faces("val"))


def test_affectnet_2021_reads_texts_and_no_pickles(tmp_path: Path) -> None:
    found, _ = layout_of("affectnet2021", tmp_path)
    folder = tmp_path / "val_set" / "annotations"
    np.save(folder / "7_exp.npy", np.array({"runs": "code"}, object), allow_pickle=True)
    np.save(folder / "10_val.npy", np.array("2"))
    (folder / "1001_lnd.npy").unlink()
    said = {Path(face.name).stem: face.fault or "" for face in found.faces("val")}
    assert "7_exp.npy cannot be read (Object arrays cannot be loaded" in said["7"]
    assert said["10"] == "its valence is 2, not between -1 and 1"
    assert "1001_lnd.npy cannot be read" in said["1001"]
    assert BENCHMARKS["affectnet"](str(tmp_path / "val_set")).splits == ("all",)


@pytest.mark.parametrize(
    ("name", "image", "fault"),
    [
        ("affectnet2021", "val_set/images/10.jpg", "there is no image of val_set/annotations/10_exp.npy and so on"),
        ("w300lp", "AFW/AFW_1_1_0.jpg", "there is no image beside AFW/AFW_1_1_0.mat"),
        ("aflw2000", "image00004.jpg", "there is no image beside image00004.mat"),
    ],
)
def test_an_annotation_without_an_image_is_a_reject(tmp_path: Path, name: str, image: str, fault: str) -> None:
    found, split = layout_of(name, tmp_path)
    before = len(list(found.faces(split)))
    (tmp_path / image).unlink()
    assert faults(found, split) == [fault]
    assert len(list(found.faces(split))) == before


def test_rafdb_names_lines_that_are_no_label(tmp_path: Path) -> None:
    found, _ = layout_of("rafdb", tmp_path)
    lines = "test_0001.jpg 8\ntest_0002.jpg\nother.jpg 1\ntrain_1.jpg 0\n"
    plant(tmp_path / "EmoLabel" / "list_patition_label.txt", lines)
    assert faults(found, "test") == [
        "list_patition_label.txt, line 1: its expression is 8, not one of 1 to 7",
        "list_patition_label.txt, line 2: 1 columns instead of an image and a label",
        "list_patition_label.txt, line 3: other.jpg begins with neither train_ nor test_",
    ]


def test_fer2013_names_lines_that_are_no_face(tmp_path: Path) -> None:
    found, _ = layout_of("fer2013", tmp_path)
    pixels = " ".join(map(str, fer2013_pixels(0).ravel()))
    rows = [
        f"7,{pixels},PrivateTest", f"1,{pixels} 3,PrivateTest", f"1,{pixels.replace('0', '999')},PrivateTest",
        f"1,{pixels},Secret", f"1,{pixels}", f"6,{pixels},PrivateTest", f"1,{pixels},Training",
    ]  # fmt: skip
    plant(tmp_path / "fer2013.csv", "\n".join(["emotion,pixels,Usage", *rows]))
    assert [fault.removeprefix("fer2013.csv, line ") for fault in faults(found, "test")] == [
        "2: its expression is 7, not one of 0 to 6",
        "3: 2305 grey values instead of 2304",
        "4: a grey value that is not between 0 and 255",
        "5: its Usage 'Secret' is none of 3 known",
        "6: 2 cells instead of 3",
    ]
    plant(tmp_path / "fer2013.csv", "a,b\n")
    with pytest.raises(SourceError, match="line 1: is not emotion,pixels,Usage"):
        list(found.faces("test"))


def test_fer2013_images_in_no_folder_of_an_expression_are_rejected(tmp_path: Path) -> None:
    found, split = layout_of("fer2013_folders", tmp_path)
    draw(tmp_path / split / "stray.png", IBUG68, face_points(IBUG68, 0))
    assert faults(found, split) == ["in no folder of an expression"]


def test_fer2013_folders_need_known_names(tmp_path: Path) -> None:
    found, _ = layout_of("fer2013_folders", tmp_path)
    plant(tmp_path / "test" / "bored" / "1.png", encoded(fer2013_pixels(1)))
    names = "angry, anger, disgust, fear, happy, sad, surprise, neutral"
    assert faults(found, "test") == [f"bored is none of {names}"]
    assert BENCHMARKS["fer2013"](str(tmp_path / "test")).splits == ("all",)


# ---------------------------------------------------------------- action units


def test_nobody_is_on_both_sides_of_a_fold() -> None:
    disfa = [f"SN{number:03}" for number in (*range(1, 14), 16, 17, 18, 21, *range(23, 33))]
    tenths = numbered_folds(SUBJECTS, 10)
    for folds, count, subjects in ((DISFA_FOLDS, 3, disfa), (BP4D_FOLDS, 3, SUBJECTS), (tenths, 10, SUBJECTS)):
        assert all(map(folds.knows, subjects))
        tested = []
        for fold in range(1, count + 1):
            train, test = ({s for s in subjects if folds.has(f"fold{fold}-{part}", s)} for part in ("train", "test"))
            assert not train & test and train | test == set(subjects)
            tested += sorted(test)
        assert sorted(tested) == sorted(subjects), "each is tested once"
    assert len(SUBJECTS) == 41 and len(disfa) == 27
    assert {name: len(part) for name, part in FERA.items()} == {"fera-train": 21, "fera-devel": 20}


def test_disfa_counts_images_from_0_or_from_1(tmp_path: Path) -> None:
    faces = read("disfa", tmp_path / "zero")
    first = faces["images/SN001/0.png"].targets["action_units"]
    REPLICAS["disfa"](tmp_path / "one")
    for subject in ("SN001", "SN002", "SN003"):
        folder = tmp_path / "one" / "images" / subject
        for frame in (3, 2, 1):
            (folder / f"{frame - 1}.png").rename(folder / f"{frame:05}.png")
    found = BENCHMARKS["disfa"](str(tmp_path / "one"))
    face = next(iter(found.faces("all")))
    assert face.name == "images/SN001/00001.png"
    np.testing.assert_array_equal(face.targets["action_units"], first)


def test_disfa_says_what_is_missing_or_out_of_range(tmp_path: Path) -> None:
    found, _ = layout_of("disfa", tmp_path)
    labels = tmp_path / "ActionUnit_Labels"
    plant(labels / "SN001" / "SN001_au4.txt", "1,0\n2,6\n")
    for image in (tmp_path / "images" / "SN002").iterdir():
        image.unlink()
    (labels / "SN003").rename(labels / "SN033")
    draw(tmp_path / "images" / "SN001" / "3.png", IBUG68, face_points(IBUG68, 0))
    assert faults(found, "fold1-test") == [
        "SN001_au4.txt, line 2: an intensity of 6, not between 0 and 5",
        "ActionUnit_Labels/SN001 says nothing of frame 4",
        "there are no images of SN002 in images",
        "the published folds do not know SN033; ActionUnit_Labels has it",
    ]
    assert isinstance(found, Remarking) and not list(found.remarks())
    third = next(face for face in found.faces("all") if face.name.endswith("SN001/2.png"))
    assert np.flatnonzero(np.isnan(third.targets["action_units"])).tolist() == [UNITS.index(4)]
    (labels / "SN001" / "SN001_au26.txt").unlink()
    with pytest.raises(SourceError, match=r"holds no SN001_au26.txt"):
        list(found.faces("all"))
    plant(labels / "SN001" / "SN001_au26.txt", "1 0\n")
    with pytest.raises(SourceError, match=r"SN001_au26.txt, line 1: is '1 0', not frame,intensity"):
        list(found.faces("all"))


def test_disfa_says_how_many_labelled_frames_have_no_image(tmp_path: Path) -> None:
    found, _ = layout_of("disfa", tmp_path)
    for path in ("SN001/1.png", "SN001/2.png", "SN003/2.png"):
        (tmp_path / "images" / path).unlink()
    assert not faults(found, "all") and isinstance(found, Remarking)
    where = tmp_path / "ActionUnit_Labels"
    assert list(found.remarks()) == [f"{where}: 3 labelled frames of 2 subjects have no image in images"]


def test_bp4d_says_what_is_missing_or_out_of_range(tmp_path: Path) -> None:
    found, _ = layout_of("bp4d", tmp_path)
    codes = tmp_path / "AUCoding"
    table = codes / "AU_OCC" / "F001_T1.csv"
    header, fifth, sixth = table.read_text().splitlines()
    plant(table, "\n".join([header, "4" + fifth[1:], "5,2" + fifth[3:], sixth]))
    plant(codes / "AU_INT" / "AU06" / "F001_T1_AU06.csv", "5,0\n6,7\n")
    assert faults(found, "fold1-test") == [
        "there is no image of frame 4 in images/F001/T1",
        "F001_T1.csv, line 3: an occurrence of 2, neither 0 nor 1",
        "F001_T1_AU06.csv, line 2: an intensity of 7, not between 0 and 5",
    ]
    plant(table, "\n".join([header.replace(",12,", ",99,"), fifth]))
    with pytest.raises(SourceError, match="F001_T1.csv, line 1: has no column of AU 12"):
        list(found.faces("all"))
    plant(table, "\n".join([header, fifth + ",1"]))
    with pytest.raises(SourceError, match="line 2: has 25 cells and begins with '5'"):
        list(found.faces("all"))


@pytest.mark.parametrize(
    ("name", "folder", "number"), [("disfa", "images/SN001", "2"), ("bp4d", "images/F001/T1", "6")]
)
def test_images_of_no_frame_or_of_one_frame_are_rejected(tmp_path: Path, name: str, folder: str, number: str) -> None:
    found, split = layout_of(name, tmp_path)
    (image,) = (path.name for path in (tmp_path / folder).iterdir() if path.stem.lstrip("0") == number)
    for other in ("cover.png", f"left_{number}.png"):
        draw(tmp_path / folder / other, IBUG68, face_points(IBUG68, 0))
    said = {face.name: face.fault for face in found.faces(split) if face.fault}
    twice = f"frame {number} has 2 images: {image}, left_{number}.png"
    assert said == {
        f"{folder}/cover.png": "its name does not end in the number of a frame",
        f"{folder}/{image}": twice,
        f"{folder}/left_{number}.png": twice,
    }


def test_ckplus_names_bad_lines(tmp_path: Path) -> None:
    found, _ = layout_of("ckplus", tmp_path)
    stem = "S005/001/S005_001_00000011"
    plant(tmp_path / "FACS" / f"{stem}_facs.txt", "9 4\n12\n")
    assert faults(found, "all") == [f"FACS/{stem}_facs.txt, line 2: 1 numbers instead of a unit and its intensity"]
    plant(tmp_path / "FACS" / f"{stem}_facs.txt", "9 4\n")
    plant(tmp_path / "Emotion" / f"{stem}_emotion.txt", "9\n")
    assert faults(found, "all") == ["its expression is 9, not one of 0 to 7"]
    plant(tmp_path / "Emotion" / f"{stem}_emotion.txt", "")
    plant(tmp_path / "Landmarks" / f"{stem}_landmarks.txt", "1 2\n3 4\n")
    assert faults(found, "all") == ["S005_001_00000011_landmarks.txt is no list of 68 points"]


# ---------------------------------------------------------------- three dimensions


def rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """3DDFA's matrix of Pose_Para, in its frame: x to the right, y up, z towards the camera."""
    (cx, cy, cz), (sx, sy, sz) = (f([pitch, yaw, roll]) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


@pytest.mark.parametrize("number", range(3))
def test_signs_of_the_pose_are_those_of_the_nose(number: int) -> None:
    """One angle at a time: positive yaw moves the nose right, pitch lifts it, roll turns the head clockwise."""
    angles = np.zeros(7)
    angles[number] = 0.4
    yaw, pitch, roll = pose_of({"Pose_Para": angles[None]})
    nose = rotation(*angles[:3]) @ [0, 0, 1] * [1, -1, 1]  # in the image, whose y points down
    across = rotation(*angles[:3]) @ [1, 0, 0] * [1, -1, 1]
    assert np.sign(np.round(nose[0], 9)) == np.sign(yaw)
    assert np.sign(np.round(-nose[1], 9)) == np.sign(pitch)
    assert np.sign(np.round(across[1], 9)) == np.sign(roll)
    assert max(abs(yaw), abs(pitch), abs(roll)) == pytest.approx(np.degrees(0.4))


@pytest.mark.parametrize("seed", range(5))
def test_the_pose_is_that_of_the_head_in_our_order_of_turns(seed: int) -> None:
    """3DDFA's matrix, its y turned downwards, is ours of the angles that are stored; and the way leads back."""
    pitch, yaw, roll = np.radians(np.random.default_rng(seed).uniform([-60, -95, -60], [60, 95, 60]))
    stored = pose_of({"Pose_Para": np.array([[pitch, yaw, roll, 0, 0, 0, 0]])})[None]
    down = np.diag([1, -1, 1])
    np.testing.assert_allclose(matrices(stored)[0], down @ rotation(pitch, yaw, roll) @ down, atol=1e-12)
    np.testing.assert_allclose(to_300wlp(stored)[0], np.degrees([-yaw, pitch, roll]), atol=1e-9)


def test_300wlp_has_views_of_a_photograph_and_their_mirror_images(tmp_path: Path) -> None:
    found, _ = layout_of("w300lp", tmp_path)
    assert [face.name for face in found.faces("train-unflipped")] == ["AFW/AFW_1_1_0.jpg", "AFW/AFW_1_1_1.jpg"]
    points = face_points(IBUG68, 9)
    (tmp_path / "landmarks" / "AFW").mkdir(parents=True)
    savemat(tmp_path / "landmarks" / "AFW" / "AFW_1_1_0_pts.mat", {"pts_2d": points, "pts_3d": points + 1})
    first, second, *_ = found.faces("train")
    np.testing.assert_allclose(first.targets["landmarks3d"][:, :2], points)
    assert np.isnan(first.targets["landmarks3d"][:, 2]).all() and "landmarks3d" not in second.targets


def test_300wlp_hidden_points_are_unknown(tmp_path: Path) -> None:
    found, _ = layout_of("w300lp", tmp_path)
    points = (face_points(IBUG68, 0) + 1).T
    points[:, :5] = -1
    savemat(tmp_path / "AFW" / "AFW_1_1_0.mat", {"pt2d": points, "Pose_Para": np.zeros((1, 7))})
    face = next(iter(found.faces("train")))
    assert np.isnan(face.targets["landmarks"][:5]).all() and np.isfinite(face.targets["landmarks"][5:]).all()
    assert face.box is not None and face.box.left > 0


def test_aflw2000_gives_either_annotation(tmp_path: Path) -> None:
    found, _ = layout_of("aflw2000", tmp_path)
    assert found.splits == ("test", "test-reannotated")
    original, again = (list(found.faces(split)) for split in found.splits)
    for one, other in zip(original, again, strict=True):
        difference = other.targets["landmarks3d"][:, :2] - one.targets["landmarks3d"][:, :2]
        np.testing.assert_allclose(difference, 0.5, atol=1e-4)
        assert np.isnan(other.targets["landmarks3d"][:, 2]).all()
    (tmp_path / "image00004.jpg").unlink()
    with pytest.raises(SourceError, match="has the shape .2, 2, 68., where 1 images lie"):
        list(found.faces("test-reannotated"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pt3d_68": np.ones((2, 68))}, r"its pt3d_68 has the shape \(2, 68\), not \(3, 68\)"),
        ({"pt3d_68": np.full((3, 68), np.nan)}, "its pt3d_68 has a number that is not finite"),
        ({"Pose_Para": np.ones((1, 3))}, "not seven finite numbers"),
        ({"Pose_Para": np.full((1, 7), 30.0)}, "which are no radians"),
    ],
)
def test_aflw2000_names_bad_files(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    found, _ = layout_of("aflw2000", tmp_path)
    good = {"pt3d_68": np.ones((3, 68)), "Pose_Para": np.zeros((1, 7))}
    savemat(tmp_path / "image00002.mat", good | change)
    plant(tmp_path / "image00004.mat", "MATLAB")
    first, second = faults(found, "test")
    assert first.startswith("image00002.mat: ") and re.search(message, first)
    assert "image00004.mat: is no readable MATLAB file" in second


# ---------------------------------------------------------------- files


def test_links_that_lead_nowhere_are_listed_and_those_to_themselves_end_nothing(tmp_path: Path) -> None:
    for name in ("round.jpg", "round"):
        (tmp_path / name).symlink_to(name)
    (tmp_path / "dead.jpg").symlink_to("gone.jpg")
    (tmp_path / "folder").mkdir()
    assert files(tmp_path) == ["dead.jpg", "round.jpg"]
    assert folders(tmp_path) == ["folder"]


def test_images_are_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="no regular file"):
        read_image(tmp_path / "pipe.jpg")
    with pytest.raises(OSError):
        read_image(tmp_path / "absent.jpg")


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint16), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_pixels_of_other_kinds_are_no_png(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels of type"):
        as_png(pixels)
