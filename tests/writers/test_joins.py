"""Tables and labels meet their images, or the user is told which did not: both sides are accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest
from face_tables import LANDMARKS, boxes, write_csv
from hypothesis import given
from hypothesis import strategies as st
from pictures import encode, picture
from source_layouts import pack, plant

from frl.beton import Beton
from frl.beton.manifest import Manifest
from frl.cli import main as frl
from frl.errors import SourceError
from writers.sources import Candidate, Remarking, accounts, open_source, open_sources
from writers.sources.join import DIFFERENCES, likely_reason
from writers.sources.labels import person
from writers.targets import ask
from writers.to_beton import main

KEYS = [f"n{i % 2}/{i:04}_01" for i in range(6)]
FACES = {f"{key}.jpg": encode(picture(60 + i, 60 + i)) for i, key in enumerate(KEYS)}
POINTS = [20, 20, 40, 20, 30, 30, 22, 40, 38, 40]


def beside(root: Path, names: list[str]) -> list[str]:
    """VGGFace2's own table."""
    boxes(plant(root, {f"train/{path}": data for path, data in FACES.items()}) / "loose_bb_train.csv", names)
    return [f"vggface2:{root}"]


def landmarks(root: Path, names: list[str]) -> list[str]:
    plant(root, FACES)
    write_csv(root / "loose_landmark_test.csv", LANDMARKS, *([name, *POINTS] for name in names))
    return [f"vggface2:{root}"]


def beside_a_tar(root: Path, names: list[str]) -> list[str]:
    root.mkdir()
    boxes(root / "loose_bb_train.csv", names)
    return [f"vggface2:{pack(root / 'train.tar.gz', {f'train/{path}': data for path, data in FACES.items()})}"]


def given_for(kind: str):
    def build(root: Path, names: list[str]) -> list[str]:
        return [f"{kind}:{plant(root, FACES)}", "--boxes", str(boxes(root.with_name("own.csv"), names))]

    return build


def sidecars(root: Path, names: list[str]) -> list[str]:
    plant(root, FACES)
    plant(root, {f"{name}.faces.json": b'[{"box": [10, 10, 30, 30]}]' for name in names})
    return [f"flickr:{root}"]


def sidecars_in_a_tar(root: Path, names: list[str]) -> list[str]:
    root.mkdir()
    beside = {f"{name}.faces.json": b'[{"box": [10, 10, 30, 30]}]' for name in names}
    return [f"folder:{pack(root / 'photos.tar', FACES | beside)}"]


def sidecars_among_people(root: Path, names: list[str]) -> list[str]:
    return [sidecars(root, names)[0].replace("flickr:", "vggface2:")]


def shards(root: Path, names: list[str]) -> list[str]:
    root.mkdir()
    members = {f"{name}.cls": b"Ann" for name in names} | FACES
    return [f"webdataset:{pack(root / 'faces.tar', dict(sorted(members.items())))}"]


def truth(root: Path, names: list[str]) -> list[str]:
    plant(root, FACES)
    lines = ({"path": f"{name}.jpg", "landmarks": [[10, 10], [30, 12], [20, 20]]} for name in names)
    (root / "truth.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return [f"synthetic:{root}"]


TABLES = {
    "loose_bb": beside,
    "loose_landmark": landmarks,
    "loose_bb beside a tar.gz": beside_a_tar,
    "--boxes, vggface2": given_for("vggface2"),
    "--boxes, folder": given_for("folder"),
    "--boxes, flickr": given_for("flickr"),
    "*.faces.json": sidecars,
    "*.faces.json in a tar": sidecars_in_a_tar,
    "*.faces.json of people": sidecars_among_people,
    "*.cls": shards,
    "truth.jsonl": truth,
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_of_which_no_row_fits_is_refused_before_anything_is_made(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = TABLES[kind](tmp_path / "in", ["elsewhere/1", "elsewhere/2"])
    out = tmp_path / "out" / "faces.beton"
    out.parent.mkdir()
    assert main([*source, "--out", str(out), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert "none of its 2 rows" in error and "elsewhere/1" in error and KEYS[0] in error
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("kind", TABLES)
def test_what_fits_in_part_is_told_at_the_start_at_the_end_and_in_the_manifest(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = TABLES[kind](tmp_path / "in", [*KEYS[:4], "elsewhere/1"])
    out = tmp_path / "faces.beton"
    assert main([*source, "--out", str(out), "--workers", "1"]) == 0
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert "4 of 5 rows used, not elsewhere/1" in text and "2 of 6 images without a row" in text
        assert KEYS[4] in text
    manifest = Manifest.load(out)
    assert manifest is not None
    (join,) = manifest.joins
    assert [join[name] for name in ("rows", "used", "images", "without")] == [5, 4, 6, 2]
    assert frl(["info", str(out)]) == 0
    assert "4 of 5 rows used; 2 of 6 images without a row" in capsys.readouterr().out
    assert "4 of 5 rows used" in Path(f"{out}.md").read_text()


@pytest.mark.parametrize("kind", TABLES)
def test_what_fits_entirely_is_a_line_of_the_summary_alone(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TABLES[kind](tmp_path / "in", KEYS), "--out", str(tmp_path / "f.beton"), "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert "6 of 6 rows used; 0 of 6 images without a row\n" in printed.out and "rows used" not in printed.err


def test_a_table_without_rows_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*beside(tmp_path / "in", []), "--out", str(tmp_path / "f.beton"), "--workers", "1"]) == 1
    assert "loose_bb_train.csv: holds no row" in capsys.readouterr().err


def test_a_table_is_one_for_all_sources_that_use_it(tmp_path: Path) -> None:
    """Both parts of VGGFace2 lie beside both tables; half of the rows are for the other part."""
    for part in ("train", "test"):
        pack(tmp_path / f"{part}.tar", {f"{part}/{part}/1.jpg": b"x"})
        boxes(tmp_path / f"loose_bb_{part}.csv", [f"{part}/1"])
    alone = open_sources([f"vggface2:{tmp_path}/train.tar"])
    both = open_sources([f"vggface2:{tmp_path}/train.tar", f"vggface2:{tmp_path}/test.tar"])
    for sources, used in ((alone, 1), (both, 2)):
        for source in sources.values():
            assert all(candidate.box for candidate in source.candidates())
        (account,) = accounts(sources.values())
        assert (account.rows, account.used, account.without) == (2, used, 0)


def test_listing_a_source_again_counts_nothing_twice(tmp_path: Path) -> None:
    source = open_source(beside(tmp_path / "in", KEYS[:3])[0])
    assert list(source.candidates()) == list(source.candidates())
    (account,) = accounts([source])
    assert (account.rows, account.used, account.images, account.without) == (3, 3, 6, 3)


@pytest.mark.parametrize("paths", [("one/1.jpg", "one/1.png"), ("one/1.jpg", "two/1.jpg")])
def test_a_row_that_fits_two_images_is_refused(tmp_path: Path, paths: tuple[str, str]) -> None:
    plant(tmp_path, dict.fromkeys(paths, b""))
    sources = open_sources(
        [f"folder:{tmp_path}/{folder}" for folder in {path.split("/")[0]: 0 for path in paths}],
        boxes(tmp_path / "own.csv", ["1"]),
    )
    with pytest.raises(SourceError, match=r"own.csv: its row 1 fits two images, .*one/1\.jpg and .*1\.(png|jpg)"):
        for source in sources.values():
            list(source.candidates())


def test_tables_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    plant(tmp_path, FACES)
    write_csv(tmp_path / "loose_landmark_train.csv", LANDMARKS, [KEYS[0], *POINTS], [KEYS[0], *POINTS])
    list(open_source(f"vggface2:{tmp_path}").candidates())  # twice the same
    write_csv(tmp_path / "loose_landmark_train.csv", LANDMARKS, [KEYS[0], *POINTS], [KEYS[0], *POINTS[:9], 41])
    with pytest.raises(SourceError, match=rf"loose_landmark_train.csv, line 3: says otherwise of {KEYS[0]}"):
        open_source(f"vggface2:{tmp_path}")
    (tmp_path / "loose_landmark_train.csv").unlink()
    boxes(tmp_path / "loose_bb_train.csv", KEYS)
    write_csv(tmp_path / "loose_bb_test.csv", ["NAME_ID", "X", "Y", "W", "H"], [KEYS[0], 10, 10, 30, 31])
    with pytest.raises(SourceError, match="says otherwise of"):
        open_source(f"vggface2:{tmp_path}")


MISFITS = {
    "n0/1.jpg": ("n0/1", "its suffix"),
    "n0\\1": ("n0/1", "backslashes"),
    "./n0/1": ("n0/1", "the folder in front"),
    "/n0/1": ("n0/1", "the folder in front"),
    "train/n0/1": ("n0/1", "the folder in front"),
    "1": ("n0/1", "the folder that is missing in front"),
    "N0/1": ("n0/1", "capitals"),
    " n0/1": ("n0/1", "spaces or quotes around it"),
    "Ande\u0301/1": ("And\u00e9/1", "another way to write accents"),
    "train\\n0\\1.JPG": ("n0/1", "backslashes and its suffix and the folder in front"),
}


@pytest.mark.parametrize("row", MISFITS)
def test_the_likely_reason_is_found_and_shown_by_a_pair(row: str) -> None:
    image, why = MISFITS[row]
    assert likely_reason(["other/7", row], ["more/8", image]) == f"{row} would fit {image} but for {why}"


NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(NAME, max_size=6), st.lists(NAME, max_size=6))
def test_a_reason_is_only_claimed_of_names_that_meet_when_it_is_undone(rows: list[str], images: list[str]) -> None:
    said = likely_reason(rows, images)
    plain = []
    for names in (rows, images):
        for difference in DIFFERENCES:
            names = [difference.undo(name) for name in names]
        plain.append(names)
    tails = [{name[i:] for name in names for i in range(len(name)) if i == 0 or name[i - 1] == "/"} for names in plain]
    assert said is None or set(plain[0]) & tails[1] or set(plain[1]) & tails[0] or "" in plain[0] + plain[1]


# labels


@pytest.mark.parametrize("said", [None, "", " ", "-1", -1, -1.0, "None", "none", "nan", "NaN", float("nan"), "NULL"])
def test_nobody_is_nobody(said: object) -> None:
    assert person(said) is None


@pytest.mark.parametrize("said", [["Ann"], {"name": "Ann"}, True, False, 3.5, [], b"\xff\xfe"])
def test_what_can_be_no_name_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match="neither a name nor a number"):
        person(said)


def test_numbers_and_text_are_names() -> None:
    said = [3, 3.0, "3", b"3", np.int64(3), np.float32(3), " Ann", "n000002", "Null\u00e9", 0]
    assert [person(one) for one in said] == ["3"] * 6 + ["Ann", "n000002", "Null\u00e9", "0"]


@pytest.mark.parametrize("name", ["faces.csv", "faces.tsv", "faces.tar"])
def test_3_and_3_0_are_one_person_in_text_too(tmp_path: Path, name: str) -> None:
    """As pandas writes a column of numbers of which one is missing; what only looks like it stays as it is."""
    said = {"3": "3", "3.0": "3", "3.00": "3", "-1.0": None, "03.0": "03", "3.5": "3.5", "3.": "3.", "v3.0": "v3.0"}
    if name.endswith(".tar"):
        members = {f"{i}.{suffix}": who.encode() for i, who in enumerate(said) for suffix in ("jpg", "cls")}
        source = f"webdataset:{pack(tmp_path / name, members)}"
    else:
        rows = [["path", "identity"], *([f"{i}.jpg", who] for i, who in enumerate(said))]
        (tmp_path / name).write_text("".join("\t,"[name.endswith("csv")].join(row) + "\n" for row in rows))
        source = f"list:{tmp_path / name}"
    assert [candidate.identity for candidate in open_source(source).candidates()] == list(said.values())


ODD = {"0": "Ann", "1": "-1", "2": "None", "3": "nan", "4": ""}


def labelled(kind: str, root: Path) -> str:
    """Images of which only the first has a name of a person."""
    images = {number: encode(picture(40 + int(number), 40)) for number in ODD}
    if kind == "csv":
        plant(root, {f"{number}.jpg": data for number, data in images.items()})
        rows = ([f"{number}.jpg", who] for number, who in ODD.items())
        return f"list:{write_csv(root / 'faces.csv', ['path', 'identity'], *rows)}"
    if kind == "json lines":
        plant(root, {f"{number}.jpg": data for number, data in images.items()})
        said = ["Ann", -1, None, "nan", ""]
        lines = [json.dumps({"path": f"{i}.jpg", "identity": who}) for i, who in enumerate(said)]
        (root / "faces.jsonl").write_text("\n".join(lines))
        return f"list:{root}/faces.jsonl"
    if kind == "hdf5":
        with h5py.File(root / "faces.h5", "w") as file:
            rows = file.create_dataset("images", (len(images),), h5py.vlen_dtype(np.uint8))
            for i, data in enumerate(images.values()):
                rows[i] = np.frombuffer(data, np.uint8)
            file["foldernames"] = list(ODD.values())
        return str(root / "faces.h5")
    if kind == "webdataset":
        members: dict[str, bytes] = {}
        for number, who in ODD.items():
            members |= {f"{number}.jpg": images[number], f"{number}.cls": who.encode()}
        return f"webdataset:{pack(root / 'faces.tar', members)}"
    people = {f"{who}/{who}_000{number}.jpg": images[number] for number, who in ODD.items() if who}
    return f"{kind}:{plant(root / 'people', people)}"


@pytest.mark.parametrize("kind", ["csv", "json lines", "hdf5", "webdataset", "vggface2", "lfw"])
def test_no_person_is_made_of_what_stands_for_nobody(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = labelled(kind, tmp_path), tmp_path / "faces.beton"
    assert main([source, "--out", str(out), "--workers", "1", "--merge-identities"]) == 0
    manifest = Manifest.load(out)
    assert manifest is not None and manifest.identities == ("Ann",)
    assert "of 1 identities, " in capsys.readouterr().out
    with Beton(out) as beton:
        assert (beton.labels == -1).sum() == len(beton) - 1


def test_labels_that_are_none_reject_their_images(tmp_path: Path) -> None:
    plant(tmp_path, {f"{i}.jpg": b"" for i in range(4)})
    said = ["Ann", ["Ann", "Bob"], True, {"name": "Ann"}]
    lines = [json.dumps({"path": f"{i}.jpg", "identity": who}) for i, who in enumerate(said)]
    (tmp_path / "faces.jsonl").write_text("\n".join([*lines, '{"path": "0.jpg", "identity": "a", "identity": "b"}']))
    first, *others, twice = open_source(f"list:{tmp_path}/faces.jsonl").candidates()
    assert first == Candidate("0.jpg", "0.jpg", "Ann")
    assert all("neither a name nor a number" in (candidate.fault or "") for candidate in others)
    assert twice.fault == "it says 'identity' twice"


def test_a_list_that_says_two_things_of_one_face_keeps_the_first_alone(tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "faces.csv",
        ["path", "identity", "x", "y", "w", "h"],
        ["1.jpg", "Ann", "", "", "", ""],
        ["./1.jpg", "Bob", "", "", "", ""],
        ["1.jpg", "Bob", 1, 2, 5, 6],
        ["1.jpg", "Cleo", 1, 2, 5, 6],
        ["1.jpg", "Cleo", 5, 2, 5, 6],
    )
    listed = list(open_source(f"list:{source}").candidates())
    assert [candidate.identity for candidate in listed] == ["Ann", None, "Bob", None, "Cleo"]
    assert [candidate.fault for candidate in listed if candidate.fault] == [
        "a line before says otherwise of the same face: Ann, this one Bob",
        "a line before says otherwise of the same face: Bob, this one Cleo",
    ]


def test_a_list_that_says_two_things_of_a_target_keeps_the_first_alone(tmp_path: Path) -> None:
    """Also where one line knows nothing; a number that is written otherwise is the same."""
    rows = [
        {"path": "1.jpg", "emotion": "happy", "age": "3", "x0": "5", "y0": "5"},
        {"path": "./1.jpg", "emotion": "sad", "age": "3.0", "x0": "5", "y0": "5"},
        {"path": "1.jpg", "emotion": "happy", "age": "3.0", "x0": "5", "y0": "5"},
        {"path": "1.jpg", "emotion": "sad", "age": "", "x0": "5", "y0": "6"},
        {"path": "2.jpg", "emotion": "sad", "age": "", "x0": "7", "y0": "5"},
    ]
    table = write_csv(tmp_path / "faces.csv", list(rows[0]), *(list(row.values()) for row in rows))
    lines = tmp_path / "faces.jsonl"
    lines.write_text("".join(json.dumps({key: row[key] for key in ("path", "emotion")}) + "\n" for row in rows))
    before = "a line before says otherwise of the same face: "
    for source, wanted, found in [
        (table, ["emotion:classes", "age:numbers"], ["emotion", "", "emotion, age, landmarks"]),
        (lines, ["emotion:classes"], ["emotion", "", "emotion"]),
    ]:
        (listing,) = ask({"": open_source(f"list:{source}")}, wanted).values()
        listed = list(listing.candidates())
        faults = [fault and f"{before}{fault}" for fault in ["", *found, ""]]
        assert [candidate.fault or "" for candidate in listed] == faults
        assert all((candidate.targets is None) == bool(candidate.fault) for candidate in listed)


def test_the_label_of_a_photograph_is_no_label_of_several_faces_on_it(tmp_path: Path) -> None:
    plant(tmp_path, {"Ann/1.jpg": b"", "Ann/2.jpg": b"", "Ann/3.jpg": b""})
    table = boxes(tmp_path / "own.csv", ["Ann/1", "Ann/2", "Ann/2"])
    who = {c.name: c.identity for c in open_source(f"vggface2:{tmp_path}", table).candidates()}
    assert who == {"Ann/1.jpg": "Ann", "Ann/2.jpg": None, "Ann/2#2.jpg": None, "Ann/3.jpg": "Ann"}


def test_an_annotation_that_contradicts_the_folder_rejects_the_face(tmp_path: Path) -> None:
    said = json.dumps([{"identity": "Bob"}]).encode()
    plant(tmp_path, {"Ann/1.jpg": b"", "Ann/1.faces.json": said, "Bob/1.jpg": b"", "Bob/1.faces.json": said})
    ann, bob = open_source(f"vggface2:{tmp_path}").candidates()
    assert ann.fault == "its labels contradict each other: Ann and Bob" and bob.identity == "Bob"


def test_a_manifest_without_joins_is_what_older_software_reads(tmp_path: Path) -> None:
    out = tmp_path / "f.beton"
    assert main([str(plant(tmp_path / "in", FACES)), "--out", str(out), "--workers", "1"]) == 0
    assert "joins" not in json.loads(Path(f"{out}.json").read_text())


# WebDataset


def who_is_on(tmp_path: Path, members: dict[str, bytes]) -> dict[str, str | None]:
    """The identity of each image, or its fault."""
    source = open_source(f"webdataset:{pack(tmp_path / 'faces.tar', members)}")
    return {candidate.name: candidate.fault or candidate.identity for candidate in source.candidates()}


def says(who: str) -> bytes:
    return json.dumps({"identity": who}).encode()


@pytest.mark.parametrize("grouped", [True, False])
def test_a_dotted_name_has_its_own_label(tmp_path: Path, grouped: bool) -> None:
    images = {f"photo.{i:03}.jpg": b"x" for i in range(4)}
    labels = {f"photo.{i:03}.json": says(f"p{i}") for i in range(3)}
    members = labels | images if not grouped else dict(sorted((images | labels).items()))
    expected = {f"photo.{i:03}.jpg": f"p{i}" for i in range(3)} | {"photo.003.jpg": None}
    assert who_is_on(tmp_path, members) == expected


def test_a_label_of_a_whole_sample_is_of_all_its_images(tmp_path: Path) -> None:
    members = {"1.left.jpg": b"x", "1.right.jpg": b"x", "1.cls": b"Ann", "2.jpg": b"x", "2.meta.json": says("Bob")}
    assert who_is_on(tmp_path, members) == {"1.left.jpg": "Ann", "1.right.jpg": "Ann", "2.jpg": "Bob"}


def test_no_label_goes_to_a_neighbour(tmp_path: Path) -> None:
    """Where an image or a label is missing, the others keep theirs."""
    members = {
        "a.1.jpg": b"x",
        "a.2.json": says("Bob"),
        "a.3.jpg": b"x",
        "a.3.json": says("Cleo"),
        "a.jpg": b"x",
        "a.json": says("Ann"),
    }
    assert who_is_on(tmp_path, members) == {"a.1.jpg": None, "a.3.jpg": "Cleo", "a.jpg": "Ann"}


@pytest.mark.parametrize(
    "labels",
    [
        {"1.cls": b"Ann", "1.json": says("Bob")},
        {"1.json": says("Bob"), "1.cls": b"Ann"},
        {"1.json": says("Bob"), "1.meta.json": says("Ann")},
    ],
)
def test_labels_that_contradict_each_other_reject_the_image(tmp_path: Path, labels: dict[str, bytes]) -> None:
    found = who_is_on(tmp_path, {"1.jpg": b"x", **labels, "2.jpg": b"x", "2.cls": b"Bob", "2.json": says("Bob")})
    assert "its labels contradict each other" in (found["1.jpg"] or "") and found["2.jpg"] == "Bob"


def test_labels_of_a_face_with_points_and_a_name(tmp_path: Path) -> None:
    points = json.dumps({"points": [[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]]}).encode()
    source = open_source(f"webdataset:{pack(tmp_path / 'f.tar', {'1.jpg': b'x', '1.cls': b'Ann', '1.json': points})}")
    (candidate,) = source.candidates()
    assert candidate.identity == "Ann" and candidate.box and candidate.points is not None


# what is not read is told of


def test_what_is_there_but_not_read_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face = encode(picture(40, 40))
    plant(tmp_path, {"1.jpg": face, "photos/1.jpg": face, "photos/1.faces.json": b'[{"bbox": [1, 2, 30, 30]}]'})
    (tmp_path / "faces.jsonl").write_text('{"path": "1.jpg", "label": "Ann"}\n')
    with h5py.File(tmp_path / "faces.h5", "w") as file:
        file.create_dataset("images", (1,), h5py.vlen_dtype(np.uint8))[0] = np.frombuffer(face, np.uint8)
        file["labels"] = [3]
        file["attributes/age"] = 30
    pack(tmp_path / "faces.tar", {"1.jpg": face, "1.json": b'{"person": "Ann"}'})
    for source, unread in [
        ("faces.jsonl", "label (1) not read"),
        ("faces.h5", "labels not read"),
        ("webdataset:faces.tar", "person (1) not read"),
        ("flickr:photos", "bbox (1) not read"),
    ]:
        kind, _, place = source.rpartition(":")
        address = f"{kind}:{tmp_path}/{place}" if kind else str(tmp_path / place)
        assert main([address, "--out", str(tmp_path / f"{place}.beton"), "--workers", "1"]) == 0
        assert unread in capsys.readouterr().err


def test_a_source_that_does_not_use_the_table_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(tmp_path / "faces.tar", {"1.jpg": encode(picture(40, 40))})
    source = given_for("folder")(tmp_path / "in", KEYS)
    assert (
        main([f"webdataset:{tmp_path}/faces.tar", *source, "--out", str(tmp_path / "f.beton"), "--workers", "1"]) == 0
    )
    assert "own.csv is not used for it" in capsys.readouterr().err


def test_an_empty_licence_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(plant(tmp_path / "in", FACES))
    for text in ("", f"{source}="):
        assert main([source, "--out", str(tmp_path / "f.beton"), f"--licence={text}"]) == 1
        assert "states none" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["folder", "store"])
def test_folders_of_people_with_an_image_beside_them_are_told_of(place: str, tmp_path: Path) -> None:
    """One stray image makes photographs of identity folders, unless their kind is named."""
    files = {"ann/1.jpg": b"", "bob/1.jpg": b"", "cid/1.jpg": b"", "overview.jpg": b""}
    where = str(plant(tmp_path / "ids", files))
    if place == "store":
        fsspec.filesystem("memory").put(f"{where}/", "/ids", recursive=True)
        where = "memory://ids"
    try:
        said = {}
        for text in (where, f"folder:{where}", f"vggface2:{where}"):
            source = open_source(text)
            people = {candidate.identity for candidate in source.candidates()}
            said[text] = people, list(source.remarks()) if isinstance(source, Remarking) else []
    finally:
        fsspec.filesystem("memory").store.clear()
    people, (remark,) = said[where]
    assert people == {None} and "3 folders of images are not taken for people, for overview.jpg lies beside" in remark
    assert f"give vggface2:{where}" in remark
    assert said[f"folder:{where}"] == ({None}, [])
    assert said[f"vggface2:{where}"] == ({"ann", "bob", "cid", None}, [])
