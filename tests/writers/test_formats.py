"""What lists, HDF5, WebDataset, annotated photographs, LFW and other .beton files say, and where they are wrong."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import encode, picture
from source_layouts import LAYOUTS, pack, plant

from frl.beton import Beton, BetonWriter
from frl.errors import FrlError, SourceError
from writers.items import label_identities, list_items
from writers.sources import Box, Candidate, Remarking, Stream, open_source, open_sources
from writers.sources.annotations import Face, five_points, parse_face
from writers.sources.patterns import expand_braces
from writers.to_beton import main

IN_FOLDER = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def listed(text: str, table: Path | None = None) -> list[Candidate]:
    return list(open_source(text, table).candidates())


def faults(text: str) -> dict[str, str]:
    return {candidate.name: candidate.fault for candidate in listed(text) if candidate.fault}


# JSON annotations

NUMBER = st.floats(-1e4, 1e4)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["box", "points", "identity"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_face_or_a_fault(record: object) -> None:
    face = parse_face(record)
    if face.box is not None:
        assert face.fault is None and all(map(math.isfinite, face.box)) and face.box.width > 0 and face.box.height > 0
    assert face.points is None or len(face.points) == 10


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=68, max_size=68))
def test_the_box_of_points_holds_them_all_and_touches_them(points: list[tuple[float, float]]) -> None:
    face = parse_face([list(point) for point in points])
    x, y = np.array(points).T
    if face.fault:
        assert np.ptp(x) < 4 or np.ptp(y) < 4
        return
    assert face.box == pytest.approx((x.min(), y.min(), np.ptp(x), np.ptp(y)))
    assert face.points is not None
    expected = [np.mean(x[36:42]), np.mean(y[36:42]), np.mean(x[42:48]), np.mean(y[42:48])]
    expected += [x[30], y[30], x[48], y[48], x[54], y[54]]
    np.testing.assert_allclose(face.points, expected, rtol=1e-5, atol=1e-3)


def test_what_a_face_may_say() -> None:
    assert parse_face({"identity": 7, "box": [1, 2, 5, 6], "age": 30}) == Face("7", Box(1, 2, 5, 6))
    assert parse_face({}) == Face()
    assert "no area" in (parse_face({"box": [1, 2, 0, 4]}).fault or "")
    assert "not finite" in (parse_face({"box": [1, 2, math.nan, 4]}).fault or "")
    for wrong in ({"box": [1, 2, 3]}, {"box": "near"}, {"points": [[1]]}, "face", 3, None):
        assert "its annotation is none of" in (parse_face(wrong).fault or "")
    assert five_points([(1, 2)] * 5) is not None and five_points([(1, 2)] * 6) is None


# lists


def write_csv(path: Path, *rows: tuple[object, ...]) -> str:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return str(path)


def test_a_csv_lists_paths_people_and_boxes(tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "faces.csv",
        ("identity", "path", "x", "y", "w", "h"),
        ("Ann", "a/1.jpg", 1, 2, 5.5, 6),
        ("Bob", "a/1.jpg", 5, 6, 7, 8),
        ("", "/far/2.jpg", "", "", "", ""),
        ("Cleo", "3.jpg", 1, 2, 0, 4),
        ("Dan", "4.jpg", "one", 2, 3, 4),
        ("Eve", "5.jpg"),
        ("Fay", "", 1, 2, 5, 6),
    )
    assert listed(source)[:3] == [
        Candidate("a/1.jpg", "a/1.jpg", "Ann", Box(1, 2, 5.5, 6)),
        Candidate("a/1#2.jpg", "a/1.jpg", "Bob", Box(5, 6, 7, 8)),
        Candidate("/far/2.jpg", "/far/2.jpg"),
    ]
    assert faults(source) == {
        "3.jpg": "its box (1.0, 2.0, 0.0, 4.0) has no area",
        "4.jpg": "its annotation is none of identity, box [x, y, w, h] and points [[x, y], ...]",
        "5.jpg": "2 cells instead of 6",
        "(line 7)": "it names no file",
    }


@pytest.mark.parametrize("header", [("file",), ("path", "x", "y"), ("path", "who"), ()])
def test_a_csv_of_other_columns_is_refused(tmp_path: Path, header: tuple[str, ...]) -> None:
    with pytest.raises(SourceError, match=r"faces.csv: its columns are"):
        listed(write_csv(tmp_path / "faces.csv", header, ("1.jpg",)))


@pytest.mark.parametrize("separator", [",", ";", "\t", "; "], ids=repr)
@pytest.mark.parametrize("name", ["faces.csv", "faces.tsv", "faces.txt"])
def test_a_table_may_have_any_usual_separator(tmp_path: Path, separator: str, name: str) -> None:
    """As spreadsheets write it where a comma is the decimal point, with the mark of UTF-8 and the ends of Windows."""
    rows = (
        ("path", "identity", "x", "y", "w", "h"),
        ("a,b.jpg", "Ann", "1", "2", "5", "6"),
        ("c.jpg", "Bob, Jr.", *"    "),
    )
    lines = [separator.join(f'"{cell}"' if "," in cell else cell.strip() for cell in row) for row in rows]
    (tmp_path / name).write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    assert listed(f"list:{tmp_path / name}") == [
        Candidate("a,b.jpg", "a,b.jpg", "Ann", Box(1, 2, 5, 6)),
        Candidate("c.jpg", "c.jpg", "Bob, Jr."),
    ]


def test_a_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faces.csv").write_text("path\na.jpg\n", encoding="utf-16")
    with pytest.raises(SourceError, match=r"faces.csv: cannot be read \(.*UTF-8"):
        listed(str(tmp_path / "faces.csv"))


def test_files_that_a_list_names_but_that_are_not_there_are_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, {"1.jpg": encode(picture(32, 32)), "folder.jpg/x": b""})
    source = write_csv(tmp_path / "faces.csv", ("path",), ("1.jpg",), ("gone.jpg",), ("folder.jpg",))
    assert main([source, "--out", str(tmp_path / "faces.beton"), "--workers", "1"]) == 0
    assert "read 3 = written 1 + rejected 2" in capsys.readouterr().out
    rejects = (tmp_path / "faces.beton.rejects.tsv").read_text()
    assert "faces.csv/gone.jpg\tcannot be read: No such file or directory\n" in rejects
    assert "faces.csv/folder.jpg\tcannot be read: Is a directory\n" in rejects


@IN_FOLDER
@given(st.lists(st.text(max_size=30) | st.builds(json.dumps, JSON), max_size=6))
def test_any_lines_are_listed_or_faulty(tmp_path: Path, lines: list[str]) -> None:
    """Each line that is not blank is accounted for."""
    path = tmp_path / "faces.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    try:
        candidates = listed(str(path))
    except SourceError as error:
        assert str(path) in str(error)
    else:
        text = path.read_text(encoding="utf-8-sig")
        assert len(candidates) == sum(bool(line.strip()) for line in io.StringIO(text, newline=None))


# HDF5


def write_hdf5(path: Path, rows: list[bytes], **others: object) -> str:
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (len(rows),), h5py.vlen_dtype(np.uint8))
        for i, row in enumerate(rows):
            images[i] = np.frombuffer(row, np.uint8)
        for name, value in others.items():
            file[name] = value
    return str(path)


@settings(IN_FOLDER, max_examples=25)
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=6))
def test_rows_of_hdf5_are_read_as_they_were_written(tmp_path: Path, rows: list[bytes]) -> None:
    source = pickle.loads(pickle.dumps(open_source(write_hdf5(tmp_path / "faces.h5", rows))))
    assert [source.store.read(candidate.place) for candidate in source.candidates()] == rows


def test_hdf5_may_say_who_is_on_an_image(tmp_path: Path) -> None:
    source = write_hdf5(tmp_path / "faces.hdf5", [b"x", b"y", b"z"], foldernames=["Ann", "Bjørn", "Ann"])
    assert [candidate.identity for candidate in listed(source)] == ["Ann", "Bjørn", "Ann"]


def test_hdf5_may_hold_links_that_lead_nowhere(tmp_path: Path) -> None:
    others = {"age": [1, 2], "gone": h5py.SoftLink("/nowhere"), "more/age": [1, 2]}
    source = open_source(write_hdf5(tmp_path / "faces.h5", [b"x", b"y"], **others))
    assert [candidate.identity for candidate in source.candidates()] == [None, None]
    assert isinstance(source, Remarking)
    assert list(source.remarks()) == [f"{tmp_path}/faces.h5: age not read; who is on an image is read from foldernames"]


def test_hdf5_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.h5"
    for content, cause in [
        ({"faces": np.zeros(3)}, "has no data set 'images', only \\['faces'\\]"),
        ({"images": np.zeros((3, 8, 8, 3), np.uint8)}, "its 'images' are uint8 of shape \\(3, 8, 8, 3\\)"),
        ({"images": ["text"]}, "its 'images' are object"),
        ({"images/deeper": np.zeros(3)}, "has no data set 'images'"),
    ]:
        with h5py.File(path, "w") as file:
            for name, value in content.items():
                file[name] = value
        with pytest.raises(SourceError, match=f"{path}: {cause}"):
            listed(str(path))
    with pytest.raises(SourceError, match="foldernames of shape"):
        listed(write_hdf5(path, [b"x", b"y"], foldernames=["Ann"]))
    for other in ({"foldernames/deeper": np.zeros(2)}, {"foldernames": h5py.SoftLink("/gone")}):
        with pytest.raises(SourceError, match="has 2 images, but foldernames that are no data set"):
            listed(write_hdf5(path, [b"x", b"y"], **other))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SourceError, match="cannot be opened as HDF5"):
        listed(str(path))


# WebDataset


def test_samples_of_shards_say_who_and_where(tmp_path: Path) -> None:
    box = json.dumps({"identity": "Bob", "box": [1, 2, 5, 6], "caption": "a man"}).encode()
    (tmp_path / "more").mkdir()
    pack(
        tmp_path / "s-1.tar",
        {"k/1.jpg": b"1", "k/1.cls": b"Ann\n", "k/2.json": box, "k/2.seg.png": b"2", "k/2.txt": b"hi"},
    )
    pack(tmp_path / "more" / "s-2.tar", {"1.json": b"{", "1.jpg": b"1", "2.jpg": b"2", "2.cls": b"7", "2.json": b"{}"})
    assert [c._replace(place=None) for c in listed(f"webdataset:{tmp_path}/{{s-1,more/s-2}}.tar")] == [
        Candidate("s-1.tar/k/1.jpg", None, "Ann"),
        Candidate("s-1.tar/k/2.seg.png", None, "Bob", Box(1, 2, 5, 6)),
        Candidate("more/s-2.tar/1.jpg", fault="its .json cannot be read"),
        Candidate("more/s-2.tar/2.jpg", None, "7"),
    ]


def test_shards_are_found_by_folder_glob_or_range_and_a_missing_one_is_named(tmp_path: Path) -> None:
    for i in range(9, 12):
        pack(tmp_path / f"s-{i:03}.tar", {f"{i}.jpg": b"x"})
    expected = ["s-009.tar/9.jpg", "s-010.tar/10.jpg", "s-011.tar/11.jpg"]
    for pattern in ("", "/s-*.tar", "/s-{009..011}.tar", "/s-0{09,10,11}.tar"):
        assert [candidate.name for candidate in listed(f"webdataset:{tmp_path}{pattern}")] == expected
    assert [candidate.name for candidate in listed(f"{tmp_path}/s-{{009..011}}.tar")] == expected
    with pytest.raises(SourceError, match=r"s-012.tar: is not there"):
        listed(f"webdataset:{tmp_path}/s-{{009..012}}.tar")
    with pytest.raises(SourceError, match="no tar is there"):
        listed(f"webdataset:{tmp_path}/t-*.tar")


def test_compressed_shards_are_a_stream(tmp_path: Path) -> None:
    for i in range(2):
        pack(tmp_path / f"s-{i}.tar.gz", {f"{i}.jpg": b"x%d" % i, f"{i}.cls": b"Ann"})
    source = open_source(f"webdataset:{tmp_path}")
    assert isinstance(source.store, Stream)
    places = [candidate.place for candidate in source.candidates()]
    assert list(source.store.contents()) == [(places[0], b"x0"), (places[1], b"x1")]


@given(st.integers(0, 120), st.integers(0, 120), st.booleans())
def test_ranges_expand_as_in_the_shell(first: int, last: int, padded: bool) -> None:
    low, high = (f"{first:04}", f"{last:04}") if padded else (str(first), str(last))
    step = 1 if first <= last else -1
    assert list(expand_braces(f"a{{{low}..{high}}}{{x,y}}")) == [
        f"a{number:04}{end}" if padded else f"a{number}{end}"
        for number in range(first, last + step, step)
        for end in "xy"
    ]


def test_a_range_without_end_is_refused() -> None:
    with pytest.raises(SourceError, match="more than"):
        list(expand_braces("{0..99999999999}"))


# photographs


def test_each_annotated_face_of_a_photograph_is_a_candidate(tmp_path: Path) -> None:
    square = [[10 + 5 * (i % 9), 20 + 5 * (i // 9)] for i in range(68)]
    faces = [square, {"box": [1, 2, 5, 6], "identity": "Ann"}, {"box": [1, 2, 0, 0]}]
    plant(
        tmp_path,
        {"a/1.jpg": b"", "2.jpg": b"", "3.jpg": b"", "4.jpg": b"", "a/1.faces.json": json.dumps(faces).encode()},
    )
    plant(tmp_path, {"2.faces.json": b"[]", "3.faces.json": b"[[["})
    first, second, third, whole, *three = sorted(listed(f"flickr:{tmp_path}"), key=lambda c: c.name.startswith("a/"))
    assert (second.name, second.fault) == ("3.jpg", second.fault) and "3.faces.json cannot be read" in (
        second.fault or ""
    )
    assert first.fault == "2.faces.json says that no face is on it"
    assert third == Candidate("4.jpg", "4.jpg")
    assert [(c.name, c.place, c.identity, c.box) for c in [whole, *three][:2]] == [
        ("a/1.jpg", "a/1.jpg", None, Box(10, 20, 40, 35)),
        ("a/1#2.jpg", "a/1.jpg", "Ann", Box(1, 2, 5, 6)),
    ]
    assert "no area" in (three[-1].fault or "")


def test_a_box_outside_its_photograph_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faces = [{"box": [100, 0, 10, 10]}, {"box": [-20, -20, 10, 10]}, {"box": [-5, 5, 20, 20]}]
    plant(tmp_path / "photos", {"1.jpg": encode(picture(64, 64)), "1.faces.json": json.dumps(faces).encode()})
    assert main([f"flickr:{tmp_path / 'photos'}", "--out", str(tmp_path / "faces.beton"), "--workers", "1"]) == 0
    assert "read 3 = written 1 + rejected 2" in capsys.readouterr().out
    rejects = (tmp_path / "faces.beton.rejects.tsv").read_text()
    assert rejects.count("lies outside its 64 x 64 pixels") == 2
    with Beton(tmp_path / "faces.beton") as beton:
        assert (beton.heights[0], beton.widths[0]) == (26, 26)


def test_faces_of_a_photograph_in_a_stream_are_cut_from_one_reading(tmp_path: Path) -> None:
    photo = encode(picture(64, 64), "PNG")
    pack(tmp_path / "photos.tar.gz", {"a.png": photo, "b.png": photo})
    rows = [f"{name},{x},{y},20,20" for name in "ba" for x, y in ((0, 0), (30, 5), (40, 40))]
    (tmp_path / "boxes.csv").write_text("\n".join(["NAME_ID,X,Y,W,H", *rows]))
    (tmp_path / "plain").mkdir()
    plant(tmp_path / "plain" / "photos.tar.gz", {"a.png": photo, "b.png": photo})
    written = []
    for source in (tmp_path / "photos.tar.gz", tmp_path / "plain" / "photos.tar.gz"):
        out = source.parent / "faces.beton"
        options = ["--boxes", str(tmp_path / "boxes.csv"), "--workers", "2", "--out", str(out), "--dedupe", "none"]
        assert main([f"flickr:{source}", *options]) == 0
        written.append(out.read_bytes())
    with Beton(tmp_path / "faces.beton") as beton:
        assert len(beton) == 6
    assert written[0] == written[1]


def test_real_photographs(real_faces: Path) -> None:
    photos = real_faces / "flickr_uncropped800"
    candidates = listed(f"flickr:{photos}")
    annotations = [json.loads(path.read_bytes()) for path in photos.glob("*.faces.json")]
    assert len(candidates) == sum(map(len, annotations)) and not any(candidate.fault for candidate in candidates)
    assert all(candidate.box and candidate.points for candidate in candidates)


# LFW


def test_lfw_says_in_the_names_of_the_files_who_is_on_them(tmp_path: Path) -> None:
    paths = ["Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0002.jpg", "Bob_0001.jpg", "Cleo/portrait.jpg", "loose.jpg"]
    plant(tmp_path / "lfw", dict.fromkeys(paths, b""))
    people = {candidate.name: candidate.identity for candidate in listed(f"lfw:{tmp_path / 'lfw'}")}
    assert people == dict(zip(paths, ["Ann_Lee", "Ann_Lee", "Bob", "Cleo", None], strict=True))


def test_real_lfw(real_faces: Path) -> None:
    folder = real_faces / "lfw_color150"
    people = [candidate.identity for candidate in listed(f"lfw:{folder}")]
    assert len(people) == 3811 and set(people) == {path.name for path in folder.iterdir()}


# other .beton files


def test_a_beton_keeps_bytes_names_and_labels(tmp_path: Path) -> None:
    images = {f"{who}/{i}.jpg": encode(picture(20 + i, 20 + i)) for who in ("Ann", "Bob") for i in range(20)}
    folder = plant(tmp_path / "people", images)
    first, second, joint = (tmp_path / f"{name}.beton" for name in ("first", "second", "joint"))
    alone = ("--workers", "1", "--dedupe", "none")
    assert main([str(folder), "--out", str(first), *alone]) == 0
    assert main([str(first), "--out", str(second), *alone, "--seed", "1"]) == 0
    assert content(first) == content(second)
    assert {name: image for name, (image, _) in content(first).items()} == {f"people/{p}": d for p, d in images.items()}
    assert main([str(first), str(second), "--out", str(joint), *alone, "--limit", "50"]) == 0
    assert {name.split("/")[0] for name in content(joint)} == {"first.beton", "second.beton"}


def content(path: Path) -> dict[str, tuple[bytes, str]]:
    """Image and identity by name."""
    with Beton(path) as beton:
        assert beton.manifest is not None and beton.manifest.identities is not None
        lines = (line.split("\t") for line in Path(f"{path}.samples.tsv").read_text().splitlines())
        return {
            name: (beton.encoded(i).tobytes(), beton.manifest.identities[int(label)])
            for i, (_, label, name) in enumerate(lines)
        }


def test_a_beton_without_a_manifest_goes_by_numbers(tmp_path: Path) -> None:
    ten, nine = f"{10:019}", f"{9:019}"
    candidates = [Candidate("00000000", 0, ten), Candidate("00000001", 1, nine), Candidate("00000002", 2)]
    assert listed(nameless(tmp_path / "faces.beton", [10, 9, -1])) == candidates
    big = nameless(tmp_path / "big.beton", [2**63 - 1, 10])
    assert sorted(filter(None, (c.identity for c in listed(big)))) == [ten, str(2**63 - 1)]


def nameless(path: Path, labels: list[int]) -> str:
    """A file as stock ffcv writes it, with nothing beside."""
    with BetonWriter(path, capacity=len(labels)) as file:
        for label in labels:
            file.append(encode(picture(20, 20)), 20, 20, label, "n")
    for sidecar in path.parent.glob(f"{path.name}.*"):
        sidecar.unlink()
    return str(path)


def test_a_link_to_a_beton_gives_its_names_and_people(tmp_path: Path) -> None:
    LAYOUTS["beton"].build(tmp_path, {"Ann/1.jpg": encode(picture(20, 20))})
    link = tmp_path / "links" / "other.beton"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "faces.beton")
    assert listed(str(link)) == listed(str(tmp_path / "faces.beton"))
    assert listed(str(link))[0].identity is not None


def test_people_of_files_without_a_manifest_are_merged_by_their_numbers(tmp_path: Path) -> None:
    """Whatever the largest number of each file is."""
    sources = open_sources([nameless(tmp_path / "a.beton", list(range(12))), nameless(tmp_path / "b.beton", [0, 7, 4])])
    people = label_identities(list(list_items(sources, merge=True)))
    assert list(people.values()) == [int(name) for name in people] == list(range(12))


def test_a_damaged_beton_is_refused(tmp_path: Path) -> None:
    LAYOUTS["beton"].build(tmp_path, {"Ann/1.jpg": encode(picture(20, 20))})
    path = tmp_path / "faces.beton"
    Path(f"{path}.samples.tsv").write_text("")
    with pytest.raises(SourceError, match=r"samples.tsv: does not fit the file"):
        listed(str(path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FrlError, match=r"faces.beton"):
        listed(str(path))


# several sources


def test_people_of_one_name_are_one_only_when_asked(tmp_path: Path) -> None:
    face = encode(picture(32, 32))
    sources = [str(plant(tmp_path / name, {"Ann/1.jpg": face, f"{name}/1.jpg": face})) for name in ("one", "two")]
    for options, people in (
        ([], ["one/Ann", "one/one", "two/Ann", "two/two"]),
        (["--merge-identities"], ["Ann", "one", "two"]),
    ):
        out = tmp_path / f"{len(people)}.beton"
        assert main([*sources, *options, "--out", str(out), "--workers", "1"]) == 0
        assert json.loads(Path(f"{out}.json").read_text())["identities"] == people


def test_a_table_of_boxes_that_no_source_can_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no source here uses a table of boxes"):
        open_sources([write_hdf5(tmp_path / "faces.h5", [b"x"])], tmp_path / "boxes.csv")


@pytest.mark.parametrize("kind", ["vggface2", "lfw", "flickr", "folder", "webdataset", "hdf5", "beton"])
def test_a_place_that_is_none_of_the_kind_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "wrong").write_bytes(b"nothing of the kind")
    with pytest.raises(FrlError, match=str(tmp_path)):
        listed(f"{kind}:{tmp_path}/gone")
    with pytest.raises(FrlError, match="wrong"):
        listed(f"{kind}:{tmp_path}/wrong")
    with pytest.raises(SourceError, match="gone: is not there"):
        listed(f"list:{tmp_path}/gone")
    with pytest.raises(SourceError, match="wrong: its columns are nothing of the kind"):
        listed(f"list:{tmp_path}/wrong")
