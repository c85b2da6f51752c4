"""Benchmarks become ``.beton`` files: every face with its targets, and points on what they lay on in the image."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_folders import REPLICAS, Replica, draw, face_points, fer2013_pixels, ibug300w, plant, pts
from marks import find_marks
from PIL import Image

from frl.beton import Beton, verify
from frl.errors import SourceError
from frl.tasks.layouts.registry import BENCHMARKS
from frl.tasks.layouts.schemes import IBUG68, SCHEMES
from writers.config import WriteConfig
from writers.curate import CurateConfig
from writers.detect import DetectConfig
from writers.sources import KINDS, open_sources
from writers.sources.addresses import LAYOUTS, Address
from writers.to_beton import main, write


def run(tmp_path: Path, *sources: str, **options: Any) -> Beton:
    """Everything that the sources hold, copies of an image too."""
    out, keep = tmp_path / "out.beton", CurateConfig(dedupe="none")
    write(WriteConfig(sources=sources, out=out, workers=1, overwrite=True, curate=keep, **options))
    assert verify(out, deep=True).ok
    return Beton(out)


@pytest.fixture(params=list(REPLICAS))
def replica(request: pytest.FixtureRequest, tmp_path: Path) -> Replica:
    (tmp_path / "data").mkdir()
    return REPLICAS[request.param](tmp_path / "data")


def by_name(beton: Beton, replica: Replica) -> dict[str, int]:
    """Index of each sample by its name in the benchmark."""
    source = replica.address.partition(":")[2].rpartition("/")[2]
    return {beton.name(i).partition(f"({source}/")[2][:-1]: i for i in range(len(beton))}


def test_every_face_is_written_with_its_targets(replica: Replica, tmp_path: Path) -> None:
    with run(tmp_path, replica.address, size=180) as beton:
        names = by_name(beton, replica)
        assert names.keys() == (replica.points.keys() | replica.known.keys())
        assert beton.manifest and not beton.manifest.rejected
        for name, known in replica.known.items():
            for target, value in known.items():
                stored = beton.target(target, [names[name]])[0]
                np.testing.assert_allclose(stored, np.asarray(value, float), rtol=1e-5, err_msg=f"{target} of {name}")
        people = beton.manifest.identities or ()
        for name, index in names.items():
            who = people[beton.labels[index]].rpartition("/")[2] if beton.labels[index] >= 0 else None
            assert who == replica.subjects.get(name)


def test_discs_are_found_at_the_stored_points(replica: Replica, tmp_path: Path) -> None:
    """The image was cut by the box and shrunk; whatever the benchmark's origin is, the points go with it."""
    with run(tmp_path, replica.address, size=100) as beton:
        names = by_name(beton, replica)
        for name, points in replica.points.items():
            target = "landmarks3d" if points.shape[1] == 3 else "landmarks"
            stored = beton.target(target, [names[name]])[0]
            image = np.asarray(Image.open(io.BytesIO(bytes(beton.encoded(names[name])))).convert("RGB"))
            five = [stored[list(part), :2].mean(axis=0) for part in SCHEMES[len(points)].five]
            if np.ptp(image.reshape(-1, 3), axis=1).max() > 40:  # not of a grey image
                assert np.abs(find_marks(image) - five).max() < 0.5, name
            scale = (stored[1, 0] - stored[0, 0]) / (points[1, 0] - points[0, 0])
            np.testing.assert_allclose(stored - stored[0], (points - points[0]) * scale, atol=1e-3)


@pytest.mark.parametrize("name", ["ibug300w", "wflw", "cofw", "aflw19"])
def test_faces_are_turned_until_their_eyes_are_level(tmp_path: Path, name: str) -> None:
    """The points of every benchmark tell where the eyes are."""
    (tmp_path / "data").mkdir()
    replica = REPLICAS[name](tmp_path / "data")
    with run(tmp_path, replica.address, detect=DetectConfig(align="eyes")) as beton:
        assert len(beton) == len(replica.points)
        for points in beton.target("landmarks", range(len(beton))):
            left, right = (points[list(part)].mean(axis=0) for part in SCHEMES[len(points)].five[:2])
            assert left[1] == pytest.approx(right[1], abs=1e-3) and left[0] < right[0]


def test_the_split_stands_in_the_manifest_and_on_the_card(tmp_path: Path) -> None:
    replica = REPLICAS["wflw"](tmp_path / "WFLW")
    with run(tmp_path, replica.address) as beton:
        assert beton.manifest and beton.manifest.settings["sources"] == {"WFLW@test": replica.address}
        assert [beton.name(i).startswith(f"{i} (WFLW@test/") for i in range(len(beton))]
    assert replica.address in (tmp_path / "out.beton.md").read_text()


def test_two_splits_are_two_sources(tmp_path: Path) -> None:
    REPLICAS["wflw"](tmp_path / "WFLW")
    address = f"wflw:{tmp_path}/WFLW"
    assert set(open_sources([f"{address}@train", f"{address}@test"])) == {"WFLW@train", "WFLW@test"}
    with pytest.raises(SourceError, match="a source is given twice"):
        open_sources([f"{address}@test", f"{address}@test"])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("wflw:{root}@valid", r"WFLW: has no split 'valid'. Its splits are train, test"),
        ("wflw:{root}", r"WFLW: has several splits, and none is named. Its splits are train, test"),
        ("wflw:{root}@test,each=3", r"there is no folder .*test,each=3. Give KIND:FOLDER@SPLIT"),
        ("wflw:{root}x@test", r"there is no folder .*WFLWx"),
        ("cofw:{root}@test", r"holds no COFW_train_color.mat or COFW_test_color.mat"),
    ],
)
def test_a_split_that_is_not_there_is_refused(tmp_path: Path, address: str, message: str) -> None:
    REPLICAS["wflw"](tmp_path / "WFLW")
    with pytest.raises(SourceError, match=message):
        open_sources([address.format(root=tmp_path / "WFLW")])


def test_every_benchmark_has_a_line_of_help() -> None:
    assert LAYOUTS.keys() == BENCHMARKS.keys() and LAYOUTS.keys() <= KINDS.keys()


def test_an_address_names_folder_split_and_frames(tmp_path: Path) -> None:
    assert Address.parse("/data/x@fold1-train,every=10") == ("/data/x", "fold1-train", 10)
    assert Address.parse("/data/x") == ("/data/x", "", 1)
    (tmp_path / "me@home").mkdir()
    assert Address.parse(str(tmp_path / "me@home")) == (str(tmp_path / "me@home"), "", 1)
    assert Address.parse(f"{tmp_path}/me@home@all") == (f"{tmp_path}/me@home", "all", 1)


def test_every_kth_frame_of_each_video(tmp_path: Path) -> None:
    REPLICAS["disfa"](tmp_path / "DISFA")
    with run(tmp_path, f"disfa:{tmp_path}/DISFA@all,every=2") as beton:
        names = sorted(beton.name(i).rpartition("images/")[2][:-1] for i in range(len(beton)))
        assert names == [f"SN00{s}/{frame}.png" for s in (1, 2, 3) for frame in (0, 2)]


def test_missing_faces_and_empty_classes_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replica = REPLICAS["affectnet2021"](tmp_path / "AffectNet")
    with run(tmp_path, replica.address):
        pass
    said = capsys.readouterr().err
    assert "AffectNet@val: 3 faces, of 3,999 that were published" in said
    assert "no face whose expression is happy or sad or fear or disgust or anger" in said


def test_what_is_wrong_with_a_face_is_a_reject(tmp_path: Path) -> None:
    """Its own file or line, a missing image, points outside of the image, shares: the other faces are written."""
    ibug300w(tmp_path / "300w")
    helen = tmp_path / "300w" / "helen" / "testset"
    broken = {
        "short": "version: 1\nn_points: 68\n{\n1 2\n}\n",
        "nan": pts(np.vstack([face_points(IBUG68, 1)[:67], [[np.nan, 3]]])),
        "words": "version: 1\nn_points: 68\n{\nleft eye\n}\n",
        "bare": "version: 1\n",
        "outside": pts(face_points(IBUG68, 1) + 1000),
        "shares": pts(face_points(IBUG68, 1) / 1000 - 1),
    }
    for name, text in broken.items():
        draw(helen / f"{name}.jpg", IBUG68, face_points(IBUG68, 1))
        plant(helen / f"{name}.pts", text)
    plant(helen / "lonely.pts", "")
    draw(helen / "unknown.jpg", IBUG68, face_points(IBUG68, 1))
    plant(helen / "html.jpg", "<html>")
    plant(helen / "html.pts", pts(face_points(IBUG68, 1)))
    with run(tmp_path, f"ibug300w:{tmp_path}/300w@common") as beton:
        assert len(beton) == 2
    rejects = dict(line.split("\t") for line in (tmp_path / "out.beton.rejects.tsv").read_text().splitlines())
    said = {Path(name).stem: reason for name, reason in rejects.items()}
    assert "short.pts has 1 points, not 68" in said["short"]
    assert "nan.pts has a point that is no finite number" in said["nan"]
    assert "words.pts, line 4: 'left' is no number" in said["words"]
    assert "bare.pts has no points between braces" in said["bare"]
    assert "only 0 of its 5 points lie inside its 240 x 200 pixels" in said["outside"]
    assert "is in shares of the image" in said["shares"]
    assert "there is no image beside" in said["lonely"]
    assert "there is no unknown.pts beside it" in said["unknown"]
    assert "not an image" in said["html"]


def test_fer2013_is_stored_without_loss_until_it_is_encoded(tmp_path: Path) -> None:
    replica = REPLICAS["fer2013"](tmp_path / "fer")
    (source,) = open_sources([replica.address]).values()
    for number, candidate in enumerate(source.candidates(), 2):
        pixels = np.asarray(Image.open(io.BytesIO(source.store.read(candidate.place))))
        np.testing.assert_array_equal(pixels, fer2013_pixels(number))


def test_the_command_tells_how_to_name_a_split(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    REPLICAS["wflw"](tmp_path / "WFLW")
    assert main([f"wflw:{tmp_path}/WFLW", "--out", str(tmp_path / "o.beton")]) == 1
    assert "Its splits are train, test" in capsys.readouterr().err


def test_copies_are_dropped_only_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test set is what its authors published: two faces of one photograph, and copies."""
    REPLICAS["disfa"](tmp_path / "DISFA")
    command = [f"disfa:{tmp_path}/DISFA@all", "--out", str(tmp_path / "o.beton"), "--workers", "1", "--overwrite"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "read 9 = written 3 + rejected 6" in printed.out and "--dedupe none" in printed.err
    assert main([*command, "--dedupe", "none"]) == 0
    printed = capsys.readouterr()
    assert "written 9 + rejected 0" in printed.out and "--dedupe none" not in printed.err
