"""Small replicas of benchmarks, in the very formats that their authors publish: discs mark the eyes, nose and mouth."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from marks import marked
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from frl.tasks.layouts.schemes import AFLW19, COFW29, IBUG68, WFLW98, Scheme

WIDTH, HEIGHT = 240, 200


@dataclass(frozen=True)
class Replica:
    """A benchmark on disk.

    Attributes:
        address: as on the command line.
        points: by the name of each face, what should be read of its points, counted from 0.
        known: by the name of each face, other targets.
        subjects: by the name of each face, who it is; empty where nobody is known.
    """

    address: str
    points: Mapping[str, np.ndarray] = field(default_factory=dict)
    known: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    subjects: Mapping[str, str] = field(default_factory=dict)


def face_points(scheme: Scheme, number: int) -> np.ndarray:
    """Points of a face (n, 2), counted from 0, with a quarter of a pixel of precision."""
    rng = np.random.default_rng(number)
    five = np.array([[85, 70], [145, 72], [115, 100], [92, 135], [140, 133]]) + rng.integers(-12, 13, (5, 2)) / 4
    points = np.round(rng.uniform((70, 55), (165, 150), (scheme.count, 2)) * 4) / 4
    for part, place in zip(scheme.five, five, strict=True):
        around = rng.integers(-8, 9, (len(part), 2)) / 4
        around[-1] -= around.sum(axis=0)  # so that their mean is the place
        points[list(part)] = place + around
    return points


def five_of(scheme: Scheme, points: np.ndarray) -> np.ndarray:
    return np.array([points[list(part), :2].mean(axis=0) for part in scheme.five])


def picture(scheme: Scheme, points: np.ndarray) -> np.ndarray:
    return marked(WIDTH, HEIGHT, five_of(scheme, points), radius=7)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"quality": 97, "subsampling": 0} if kind == "JPEG" else {}))
    return stream.getvalue()


def plant(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def draw(path: Path, scheme: Scheme, points: np.ndarray) -> Path:
    return plant(path, encoded(picture(scheme, points), "PNG" if path.suffix == ".png" else "JPEG"))


def pts(points: np.ndarray) -> str:
    lines = "\n".join(f"{x + 1:.6f} {y + 1:.6f}" for x, y in points)
    return f"version: 1\nn_points:  {len(points)}\n{{\n{lines}\n}}\n"


def ibug300w(root: Path) -> Replica:
    files = [
        *("afw/1051618982_1.jpg", "helen/trainset/100032540_1.jpg", "helen/testset/296814969_3.jpg"),
        *("lfpw/trainset/image_0001.png", "lfpw/testset/image_0002.png", "ibug/image_092 _01.jpg"),
    ]
    found = {file: face_points(IBUG68, number) for number, file in enumerate(files)}
    for file, points in found.items():
        draw(root / file, IBUG68, points)
        plant((root / file).with_suffix(".pts"), pts(points))
    full = {file: points for file, points in found.items() if "train" not in file and "afw" not in file}
    known = {file: {"subsets": [int("ibug" not in file), int("ibug" in file)]} for file in full}
    return Replica(f"ibug300w:{root}@full", full, known)


def hrnet(root: Path, name: str, scheme: Scheme, origin: int) -> dict[str, np.ndarray]:
    """The list ``face_landmarks_NAME_test.csv`` of three faces, the last two of one photograph."""
    boxed = ["box_size"] if name == "aflw" else []
    header = ["image", "scale", *boxed, "center_w", "center_h"]
    lines = [",".join([*header, *(f"original_{i}_{axis}" for i in range(scheme.count) for axis in "xy")])]
    found = {}
    for number, file in enumerate(["a/1.jpg", "b/2.jpg", "b/2.jpg"]):
        points = face_points(scheme, number if number < 2 else 1)
        draw(root / "images" / file, scheme, points)
        cells = [file, "0.6", *(["90"] if boxed else []), f"{115 + origin}", f"{105 + origin}"]
        lines.append(",".join([*cells, *map(str, (points + origin).ravel())]))
        found[file if number < 2 else "b/2#2.jpg"] = points
    plant(root / f"face_landmarks_{name}_test.csv", "\n".join(lines) + "\n")
    return found


def hrnet_300w(root: Path) -> Replica:
    return Replica(f"hrnet:{root}@test", hrnet(root, "300w", IBUG68, 1))


def hrnet_wflw(root: Path) -> Replica:
    """With the list of the blurred faces, of which the first is one."""
    found = hrnet(root, "wflw", WFLW98, 0)
    lines = (root / "face_landmarks_wflw_test.csv").read_text().splitlines()
    plant(root / "face_landmarks_wflw_test_blur.csv", "\n".join(lines[:2]) + "\n")
    known = {name: {"subsets": [-1, -1, -1, -1, -1, int(name == "a/1.jpg")]} for name in found}
    return Replica(f"hrnet:{root}@test", found, known)


def hrnet_aflw(root: Path) -> Replica:
    found = hrnet(root, "aflw", AFLW19, 0)
    return Replica(f"hrnet:{root}@test", found)


def wflw(root: Path) -> Replica:
    found, known, lines = {}, {}, []
    for number, file in enumerate(["0--Parade/0_Parade_1.jpg", "9--Press/9_Press_2.jpg"]):
        points = face_points(WFLW98, number)
        draw(root / "WFLW_images" / file, WFLW98, points)
        flags = [number, 0, 1, 0, number, 0]
        lines.append(" ".join(map(str, [*points.ravel(), 65, 50, 170, 155, *flags, file])))
        found[file], known[file] = points, {"subsets": flags}
    folder = root / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    plant(folder / "list_98pt_rect_attr_test.txt", "\n".join(lines) + "\n")
    plant(folder / "list_98pt_rect_attr_train.txt", lines[0] + "\n")
    return Replica(f"wflw:{root}@test", found, known)


def cofw(root: Path) -> Replica:
    """As MATLAB writes version 7.3: transposed, cells as references."""
    found, known = {}, {}
    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "COFW_test_color.mat", "w") as file:
        cells = file.create_dataset("IsT", (1, 3), dtype=h5py.ref_dtype)
        rows, boxes = [], []
        for number in range(3):
            points, hidden = face_points(COFW29, number), np.arange(29) % (number + 2) == 1
            pixels = picture(COFW29, points)
            stored = pixels[..., 0] if number == 2 else pixels
            name = f"#refs#/{number}"
            file[name] = stored.T
            cells[0, number] = file[name].ref
            rows.append([*(points[:, 0] + 1), *(points[:, 1] + 1), *hidden])
            boxes.append([66, 51, 105, 105])
            found[f"test/{number + 1:04}.png"] = points
            known[f"test/{number + 1:04}.png"] = {"visible": (~hidden).astype(int).tolist()}
        file["phisT"], file["bboxesT"] = np.array(rows, float).T, np.array(boxes, float).T
    return Replica(f"cofw:{root}@test", found, known)


def aflw19(root: Path) -> Replica:
    """Of 20,002 faces, two are for testing; the images of the others are not there."""
    count = 20_002
    points = face_points(AFLW19, 0), face_points(AFLW19, 1)
    order = np.roll(np.arange(1, count + 1), 2)  # rows 20,001 and 20,002 come first
    tested = order[-2:] - 1
    data = np.tile(points[0].T.ravel(), (count, 1))
    seen, found, known = np.ones((count, 19)), {}, {}
    names = np.empty((count, 1), object)
    names[:, 0] = [f"0/image{i:05}.jpg" for i in range(count)]
    for number, row in enumerate(tested):
        data[row], file = points[number].T.ravel(), f"2/image{number}.jpg"
        names[row, 0], seen[row, 3] = file, 1 - number
        draw(root / "data" / "flickr" / file, AFLW19, points[number])
        found[file] = points[number]
        known[file] = {"subsets": [1 - number], "visible": seen[row].astype(int).tolist()}
    box = np.tile([65.0, 170.0, 50.0, 155.0], (count, 1))
    info = {"bbox": box, "data": data, "mask_new": seen, "nameList": names, "ra": order[None]}
    savemat(root / "AFLWinfo_release.mat", info)
    return Replica(f"aflw19:{root}@test", found, known)


def affectnet(root: Path) -> Replica:
    header = (
        *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"),
        *("expression", "valence", "arousal"),
    )
    lines, found, known = [",".join(header)], {}, {}
    for number, (expression, valence, arousal) in enumerate([(1, 0.5, 0.25), (6, -0.5, 0.75), (7, -2, -2)]):
        file, points = f"{number}/ab{number}.jpg", face_points(IBUG68, number)
        draw(root / "Manually_Annotated_Images" / file, IBUG68, points)
        cells = [file, 65, 50, 105, 105, ";".join(map(str, points.ravel())), expression, valence, arousal]
        lines.append(",".join(map(str, cells)))
        found[file] = points
        unknown = [np.nan if value == -2 else value for value in (valence, arousal)]
        known[file] = {"expression": expression, "affect": unknown}
    plant(root / "Manually_Annotated_file_lists" / "validation.csv", "\n".join(lines))
    plant(root / "Manually_Annotated_file_lists" / "training.csv", "\n".join(lines[1:]))  # may lack its header
    return Replica(f"affectnet:{root}@val", found, known)


def affectnet2021(root: Path) -> Replica:
    found, known = {}, {}
    for number, expression in zip((7, 10, 1001), (0, 3, 7), strict=True):
        points, folder = face_points(IBUG68, number), root / "val_set"
        draw(folder / "images" / f"{number}.jpg", IBUG68, points)
        texts = {"exp": np.array(str(expression)), "val": np.array("-0.25"), "aro": np.array("0.5")}
        stored = {**texts, "lnd": points.ravel()}
        (folder / "annotations").mkdir(exist_ok=True)
        for name, value in stored.items():
            np.save(folder / "annotations" / f"{number}_{name}.npy", value)
        found[f"val_set/images/{number}.jpg"] = points
        known[f"val_set/images/{number}.jpg"] = {"expression": expression, "affect": [-0.25, 0.5]}
    return Replica(f"affectnet:{root}@val", found, known)


def rafdb(root: Path) -> Replica:
    labels = {"train_00001.jpg": 5, "test_0001.jpg": 1, "test_0002.jpg": 7}
    plant(root / "EmoLabel" / "list_patition_label.txt", "".join(f"{name} {label}\n" for name, label in labels.items()))
    for name in labels:
        draw(root / "Image" / "aligned" / name.replace(".", "_aligned."), IBUG68, face_points(IBUG68, 0))
    return Replica(f"rafdb:{root}@test", {}, {name: {"expression": labels[name] - 1} for name in list(labels)[1:]})


def fer2013_pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (48, 48), dtype=np.uint8)


def fer2013(root: Path) -> Replica:
    usages = ["Training", "PublicTest", "PrivateTest", "PrivateTest"]
    lines = ["emotion,pixels,Usage"]
    for number, usage in enumerate(usages):
        lines.append(f"{number + 3},{' '.join(map(str, fer2013_pixels(number).ravel()))},{usage}")
    plant(root / "fer2013.csv", "\n".join(lines) + "\n")
    return Replica(f"fer2013:{root}@test", {}, {"00004.png": {"expression": 5}, "00005.png": {"expression": 6}})


def fer2013_folders(root: Path) -> Replica:
    known = {}
    for number, (folder, label) in enumerate({"angry": 0, "happy": 3, "neutral": 6}.items()):
        plant(root / "test" / folder / f"{number}.png", encoded(fer2013_pixels(number)))
        known[f"test/{folder}/{number}.png"] = {"expression": label}
    return Replica(f"fer2013:{root}@test", {}, known)


def disfa(root: Path) -> Replica:
    """Of SN001 and SN002, whom the first fold tests, and SN003; the images count from 0."""
    units, known, subjects = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26), {}, {}
    for subject in ("SN001", "SN002", "SN003"):
        for unit in units:
            lines = "".join(f"{frame},{(frame + unit) % 6}\n" for frame in (1, 2, 3))
            plant(root / "ActionUnit_Labels" / subject / f"{subject}_au{unit}.txt", lines)
        for frame in (1, 2, 3):
            name = f"images/{subject}/{frame - 1}.png"
            draw(root / name, IBUG68, face_points(IBUG68, frame))
            if subject != "SN003":
                known[name] = {"action_units": [(frame + unit) % 6 for unit in units]}
                subjects[name] = subject
    return Replica(f"disfa:{root}@fold1-test", {}, known, subjects)


BP4D_COLUMNS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 27, 28)


def bp4d(root: Path) -> Replica:
    """Frames 5 and 6 of F001, whom the first fold tests, and of M002; of frame 6, AU 17 and AU 2 are not coded."""
    detected, graded, known, subjects = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24), (6, 10, 12, 14, 17), {}, {}
    for subject in ("F001", "M002"):
        lines = [",".join(["0", *map(str, BP4D_COLUMNS)])]
        for frame in (5, 6):
            present = {unit: 9 if (unit, frame) == (2, 6) else (unit + frame) % 2 for unit in BP4D_COLUMNS}
            lines.append(",".join(map(str, [frame, *present.values()])))
            name = f"images/{subject}/T1/{frame:04}.jpg"
            draw(root / name, IBUG68, face_points(IBUG68, frame))
            if subject == "F001":
                known[name] = {
                    "au_present": [-1 if present[unit] == 9 else present[unit] for unit in detected],
                    "action_units": [np.nan if (u, frame) == (17, 6) else (u + frame) % 6 for u in graded],
                }
                subjects[name] = subject
        plant(root / "AUCoding" / "AU_OCC" / f"{subject}_T1.csv", "\n".join(lines) + "\n")
        for unit in graded:
            rows = "".join(f"{f},{9 if (unit, f) == (17, 6) else (unit + f) % 6}\n" for f in (5, 6))
            plant(root / "AUCoding" / "AU_INT" / f"AU{unit:02}" / f"{subject}_T1_AU{unit:02}.csv", rows)
    return Replica(f"bp4d:{root}@fold1-test", {}, known, subjects)


def ckplus(root: Path) -> Replica:
    """Two peaks, of which one has an expression and points."""
    stems, found, known, subjects = ("S005/001/S005_001_00000011", "S010/002/S010_002_00000014"), {}, {}, {}
    units = (
        *(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 23, 24, 25, 26, 27, 28, 29),
        *(31, 34, 38, 39, 43),
    )
    for number, stem in enumerate(stems):
        points, name = face_points(IBUG68, number), f"cohn-kanade-images/{stem}.png"
        draw(root / name, IBUG68, points)
        lines = ("   9.0000000e+00   4.0000000e+00", "   1.7000000e+01   0.0000000e+00")
        plant(root / "FACS" / f"{stem}_facs.txt", "\n".join(lines) + "\n")
        strength = {9: 4.0, 17: np.nan}
        known[name] = {
            "action_units": [strength.get(unit, 0.0) for unit in units],
            "au_present": [int(unit in strength) for unit in units],
            "expression": 3 if number == 0 else -1,
        }
        subjects[name] = stem[:4]
        if number == 0:
            plant(root / "Emotion" / f"{stem}_emotion.txt", "   3.0000000e+00\n")
            plant(root / "Landmarks" / f"{stem}_landmarks.txt", "".join(f"   {x:e}   {y:e}\n" for x, y in points))
            found[name] = points
    return Replica(f"ckplus:{root}@all", found, known, subjects)


def own_order(angles: Sequence[float] | np.ndarray) -> list[float]:
    """Yaw, pitch and roll in degrees, from 300W-LP's order of the turns to that of ``frl.tasks.metrics.rotation``."""
    yaw, pitch, roll = angles
    turn = Rotation.from_euler("XYZ", [pitch, yaw, roll], degrees=True)
    return turn.as_euler("ZXY", degrees=True)[::-1].tolist()


def w300lp(root: Path) -> Replica:
    """Two views of one photograph, and the second one in a mirror."""
    found, known, subjects, pose = {}, {}, {}, own_order([20, 10, 5])
    for number, file in enumerate(["AFW/AFW_1_1_0.jpg", "AFW/AFW_1_1_1.jpg", "AFW_Flip/AFW_1_1_1.jpg"]):
        points = face_points(IBUG68, number)
        draw(root / file, IBUG68, points)
        angles = np.radians([10, -20, 5])
        stored = {"pt2d": (points + 1).T, "Pose_Para": np.array([[*angles, 1, 2, 0, 0.001]], np.float32)}
        savemat((root / file).with_suffix(".mat"), stored)
        found[file], known[file], subjects[file] = points, {"pose": pose}, "AFW_1_1"
    return Replica(f"300wlp:{root}@train", found, known, subjects)


def aflw2000(root: Path) -> Replica:
    found, known = {}, {}
    for number in (2, 4):
        file, points = f"image{number:05}.jpg", face_points(IBUG68, number)
        draw(root / file, IBUG68, points)
        depth = np.arange(68) * 0.5
        stored = {"pt3d_68": np.vstack([(points + 1).T, depth]), "Pose_Para": [[0.5, -0.25, 0.1, 0, 0, 0, 0.001]]}
        savemat((root / file).with_suffix(".mat"), stored)
        found[file] = np.column_stack([points, depth])
        known[file] = {"pose": own_order(np.degrees([0.25, 0.5, 0.1]))}
    again = np.array([points[:, :2].T + 0.5 for points in found.values()], np.float32)
    np.save(root / "AFLW2000-3D-Reannotated.pts68.npy", again)
    return Replica(f"aflw2000:{root}@test", found, known)


REPLICAS: dict[str, Callable[[Path], Replica]] = {
    builder.__name__: builder
    for builder in (
        *(ibug300w, hrnet_300w, hrnet_wflw, hrnet_aflw, wflw, cofw, aflw19, affectnet, affectnet2021),
        *(rafdb, fer2013, fer2013_folders, disfa, bp4d, ckplus, w300lp, aflw2000),
    )
}
