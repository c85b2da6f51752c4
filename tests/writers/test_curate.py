"""The laws of leaving out: copies are found, others are not, and nothing depends on the workers or is done twice."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import damaged, encode, picture
from PIL import Image

from frl.beton import Beton, BetonWriter, verify
from frl.beton.manifest import Claim
from frl.errors import ConfigError
from writers.curate import CurateConfig, Duplicates, Fingerprint, Fingerprints, QualityFilter, validate
from writers.curate.near import DISTANCE, NearIndex
from writers.curate.quality import clipped, sharpness
from writers.reject import Reason, Reject
from writers.to_beton import main

words = st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8).map(lambda w: np.array(w, np.uint32))


def flip(look: np.ndarray, bits: list[int]) -> np.ndarray:
    changed = look.copy()
    for bit in bits:
        changed[bit // 32] ^= np.uint32(1 << (bit % 32))
    return changed


@settings(max_examples=60, deadline=None)
@given(st.data(), words)
def test_whatever_is_near_is_found_and_nothing_else(data: st.DataObject, look: np.ndarray) -> None:
    bits = data.draw(st.lists(st.integers(0, 255), unique=True, max_size=DISTANCE + 6))
    index = NearIndex()
    index.add(look)
    assert index.find(flip(look, bits)) == (0 if len(bits) <= DISTANCE else None)


def test_the_index_agrees_with_a_comparison_of_all_with_all() -> None:
    """Clusters, of which some are near and some just not; more than the tables' first size."""
    random = np.random.default_rng(0)
    centres = random.integers(0, 2**32, (200, 8), dtype=np.uint32)
    looks = [flip(centres[i % 200], random.integers(0, 256, random.integers(0, 20)).tolist()) for i in range(3000)]
    index, kept = NearIndex(), np.zeros((3000, 8), np.uint32)
    for look in looks:
        near = np.bitwise_count(kept[: len(index)] ^ look).sum(axis=1) <= DISTANCE
        expected = int(near.argmax()) if near.any() else None
        assert index.find(look) == expected
        if expected is None:
            kept[len(index)] = look
            index.add(look)
    assert 1024 < len(index) < 3000


def test_a_search_does_not_look_at_everything() -> None:
    """5,000 searches among 50,000: a quarter of a billion comparisons, if all were compared."""
    random = np.random.default_rng(1)
    index = NearIndex()
    for look in random.integers(0, 2**32, (50_000, 8), dtype=np.uint32):
        index.add(look)
    assert all(index.find(look) is None for look in random.integers(0, 2**32, (5_000, 8), dtype=np.uint32))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=60))
def test_the_first_of_equal_faces_stays_and_is_named(digests: list[int]) -> None:
    first: dict[int, str] = {}
    with Duplicates() as duplicates:
        for i, digest in enumerate(digests):
            reject = duplicates.refuse(f"face{i}", Fingerprint(bytes([digest]) * 16))
            if digest in first:
                assert reject is not None and reject.reason is Reason.DUPLICATE
                assert str(reject) == f"the same bytes as {first[digest]}"
            else:
                assert reject is None
                first[digest] = f"face{i}"


def test_a_near_copy_names_the_face_that_stayed() -> None:
    look = np.arange(8, dtype=np.uint32)
    with Duplicates() as duplicates:
        assert duplicates.refuse("a", Fingerprint(b"a", look)) is None
        assert duplicates.refuse("b", Fingerprint(b"b", flip(look, list(range(0, 256, 10))))) is None
        reject = duplicates.refuse("c", Fingerprint(b"c", flip(look, [3, 77])))
    assert reject is not None and reject.reason is Reason.NEAR_DUPLICATE and str(reject) == "looks like a"


def test_a_copy_of_which_something_else_is_said_is_told_apart() -> None:
    look = np.arange(8, dtype=np.uint32)
    with Duplicates() as duplicates:
        assert duplicates.refuse("a", Fingerprint(b"a", look), Claim(0, 17)) is None
        for claim, why in (
            (Claim(0, 17), None),
            (Claim(-1, None), None),  # nothing is said of it
            (Claim(1, 17), "another person"),
            (Claim(-1, 18), "other targets"),
        ):
            for digest, words in ((b"a", "the same bytes as a"), (b"b", "looks like a")):
                reject = duplicates.refuse("b", Fingerprint(digest, look), claim)
                assert str(reject) == (f"contradicts the copy a: {why}" if why else words)
                assert reject is not None and (reject.reason is Reason.CONTRADICTION) == (why is not None)


def test_one_image_of_two_people_is_told_to_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    face, other = encode(picture(64, 64)), encode(picture(64, 48))
    plant(tmp_path / "faces" / "anna", {"1.jpg": face, "2.jpg": other})
    plant(tmp_path / "faces" / "bert", {"1.jpg": face})
    out = tmp_path / "faces.beton"
    assert main([str(tmp_path / "faces"), "--out", str(out), "--workers", "1", "--min-side", "32"]) == 0
    assert "\ncopies that contradict their original: 1; one of each two is wrong" in capsys.readouterr().out
    ((left_out, why),) = rejects(out).items()
    (kept,) = {"faces/anna/1.jpg", "faces/bert/1.jpg"} - {left_out}
    assert why == f"contradicts the copy {kept}: another person"


def test_one_image_with_two_values_of_a_target_is_told_to_the_user(tmp_path: Path) -> None:
    face = encode(picture(64, 64))
    plant(tmp_path / "faces", {"1.jpg": face, "2.jpg": face, "3.jpg": face})
    table = tmp_path / "faces" / "ages.csv"
    table.write_text("path,age\n1.jpg,30\n2.jpg,30\n3.jpg,31\n")
    out = tmp_path / "faces.beton"
    assert main([f"list:{table}", "--targets", "age=age", "--out", str(out), "--workers", "1"]) == 0
    contradictions = [why for why in rejects(out).values() if why.endswith(": other targets")]
    with Beton(out) as beton:
        assert len(beton) == 1 and len(contradictions) == (1 if float(beton.target("age", [0])[0]) == 30 else 2)


def grey(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"))


def copies(picture: Image.Image) -> list[np.ndarray]:
    """Re-encoded, and resized: what the near copies of a collection are."""
    versions = []
    for scale, quality in ((1.0, 50), (1.0, 30), (0.7, 85), (0.5, 75), (1.6, 90)):
        size = round(picture.width * scale), round(picture.height * scale)
        stream = io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=quality)
        versions.append(np.asarray(Image.open(stream).convert("L")))
    return versions


def test_real_faces_match_their_copies_and_no_other_person(real_faces: Path) -> None:
    fingerprint = Fingerprints("near")
    people = sorted((real_faces / "lfw_color150").iterdir())[:400]
    index, taken = NearIndex(), []
    for person in people:
        path = sorted(person.glob("*.jpg"))[0]
        print_ = fingerprint(b"", grey(path))
        assert print_ is not None and print_.look is not None
        assert index.find(print_.look) is None, path
        index.add(print_.look)
        taken.append(path)
    found = [
        index.find(fingerprint(b"", copy).look) == number  # type: ignore[union-attr]
        for number, path in enumerate(taken[:60])
        for copy in copies(Image.open(path))
    ]
    assert np.mean(found) >= 0.99


def test_sharpness_falls_with_blur_and_depends_little_on_size_or_contrast(real_faces: Path) -> None:
    for path in sorted((real_faces / "landmarks68" / "helen_trainset").glob("*.jpg"))[:20]:
        face = grey(path)
        values = [sharpness(cv2.GaussianBlur(face, (0, 0), sigma)) for sigma in (0.5, 2, 4, 8)]
        assert values == sorted(values, reverse=True) and values[0] > 3 * values[-1]
        shrunk = cv2.resize(face, (224, 224), interpolation=cv2.INTER_AREA)
        assert sharpness(shrunk) == pytest.approx(sharpness(face), rel=0.25)
        assert sharpness((face // 2 + 60).astype(np.uint8)) == pytest.approx(sharpness(face), rel=0.15)


def test_a_flat_picture_is_not_sharp_and_clipped_is_a_share() -> None:
    assert sharpness(np.full((50, 50), 128, np.uint8)) == 0
    assert clipped(np.repeat(np.array([0, 4, 5, 128, 250, 251, 255, 100], np.uint8), 4).reshape(4, 8)) == 0.5


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"min_side": 41}, Reason.SMALL),
        ({"min_sharpness": 0.5}, Reason.BLURRED),
        ({"max_clipped": 0.2}, Reason.EXPOSURE),
    ],
)
def test_poor_samples_are_refused_with_their_reason(options: dict[str, float], reason: Reason) -> None:
    dark = np.zeros((40, 40), np.uint8)
    dark[20:] = 200
    with pytest.raises(Reject) as caught:
        QualityFilter(CurateConfig(**options))(dark, 40)
    assert caught.value.reason is reason
    QualityFilter(CurateConfig())(None, 1)


@pytest.mark.parametrize("options", [{"min_side": -1}, {"min_sharpness": -0.1}, {"max_clipped": 1.5}])
def test_options_that_cannot_work_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        validate(CurateConfig(**options))


def plant(root: Path, images: dict[str, bytes]) -> Path:
    for name, data in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def portraits(count: int) -> list[Image.Image]:
    """Pictures that differ as faces do."""
    random = np.random.default_rng(7)
    coarse = [random.integers(0, 256, (40, 40, 3), np.uint8) for _ in range(count)]
    return [Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC) for pixels in coarse]


def rejects(out: Path) -> dict[str, str]:
    return dict(line.split("\t") for line in Path(f"{out}.rejects.tsv").read_text().splitlines())


@pytest.fixture
def collection(tmp_path: Path) -> list[str]:
    """Two sources: twelve pictures, four of them again with the same bytes, four re-encoded, and an empty file."""
    originals = [encode(portrait, quality=95) for portrait in portraits(12)]
    one = plant(tmp_path / "one", {f"{i}.jpg": data for i, data in enumerate(originals)})
    plant(one, {f"same{i}.jpg": originals[i] for i in range(2)})
    again = {f"same{i}.jpg": originals[i] for i in range(2, 4)}
    near = {f"near{i}.jpg": encode(portraits(12)[i], quality=60) for i in range(4, 8)}
    two = plant(tmp_path / "two", {**again, **near, "empty.jpg": damaged("empty")})
    return [f"folder:{one}", f"folder:{two}"]


@pytest.mark.parametrize(("kind", "written"), [("none", 20), ("exact", 16), ("near", 12)])
def test_copies_are_dropped_across_sources(
    tmp_path: Path, collection: list[str], capsys: pytest.CaptureFixture[str], kind: str, written: int
) -> None:
    outs = [tmp_path / f"{workers}.beton" for workers in (1, 2)]
    for workers, out in enumerate(outs, 1):
        assert main([*collection, "--out", str(out), "--dedupe", kind, "--workers", str(workers)]) == 0
    said = capsys.readouterr().out
    assert f"read 21 = written {written} + rejected {21 - written}" in said and "1 unusable" in said
    assert outs[0].read_bytes() == outs[1].read_bytes() and rejects(outs[0]) == rejects(outs[1])
    assert verify(outs[0], deep=True).ok
    with Beton(outs[0]) as beton:
        kept = {line.split("\t")[2] for line in Path(f"{outs[0]}.samples.tsv").read_text().splitlines()}
        if kind != "none":
            assert len({beton.encoded(i).tobytes() for i in range(len(beton))}) == written
    dropped = {name: why for name, why in rejects(outs[0]).items() if "empty" not in name}
    for name, why in dropped.items():
        named = why.removeprefix("the same bytes as ").removeprefix("looks like ")
        assert named in kept and name not in kept
        number = [int("".join(filter(str.isdigit, Path(n).stem))) for n in (name, named)]
        assert number[0] == number[1]


def test_nothing_is_dropped_twice(tmp_path: Path, collection: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What was kept has no copies left in it."""
    first, second = tmp_path / "first.beton", tmp_path / "second.beton"
    assert main([*collection, "--out", str(first), "--dedupe", "near", "--workers", "1"]) == 0
    with Beton(first) as beton:
        kept = plant(tmp_path / "kept", {f"{i}.jpg": beton.encoded(i).tobytes() for i in range(len(beton))})
    assert main([f"folder:{kept}", "--out", str(second), "--dedupe", "near", "--workers", "1"]) == 0
    assert "read 12 = written 12 + rejected 0" in capsys.readouterr().out


def test_near_copies_are_not_promised_for_a_shard(
    tmp_path: Path, collection: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*collection, "--out", str(tmp_path / "a.beton"), "--shard", "1/2", "--dedupe", "near"]
    assert main(arguments) == 1
    assert "a shard does not see what faces in the others look like" in capsys.readouterr().err


def test_copies_do_not_count_as_rejects_that_fail_the_command(tmp_path: Path) -> None:
    face = encode(picture(64, 64))
    folder = plant(tmp_path / "a", {f"{i}.jpg": face for i in range(3)})
    assert main([str(folder), "--out", str(tmp_path / "a.beton"), "--max-rejects", "0", "--workers", "1"]) == 0


def test_a_dry_run_counts_the_same_and_writes_nothing(
    tmp_path: Path, collection: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "faces.beton"
    assert main([*collection, "--out", str(out), "--min-side", "97", "--workers", "1", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "read 21 = written 0 + rejected 21" in said and "20 too small" in said and "nothing was written" in said
    assert main([*collection, "--out", str(out), "--workers", "1", "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert not out.parent.exists()
    out.parent.mkdir()
    assert main([*collection, "--out", str(out), "--workers", "1"]) == 0
    wet = capsys.readouterr().out
    for line in (1, 2, 3):
        assert dry.splitlines()[line].split(" (why")[0] == wet.splitlines()[line].split(" (why")[0]


def test_copies_of_what_an_earlier_run_wrote_are_known(tmp_path: Path) -> None:
    """The index after a restart is the one before it."""
    data = [encode(portrait, quality=95) for portrait in portraits(4)]
    out = tmp_path / "faces.beton"
    with pytest.raises(KeyboardInterrupt), BetonWriter(out, capacity=9, work="w") as file:
        for i in range(3):
            file.append(data[i], 96, 96, -1, f"a/{i}")
        file._committed_at = -60.0
        file.commit(3)
        raise KeyboardInterrupt
    fingerprint = Fingerprints("near")
    with BetonWriter(out, capacity=9, work="w") as file, Duplicates() as duplicates:
        assert file.done == 3
        assert [(data, line.name) for data, line in file.stored()] == [(data[i], f"a/{i}") for i in range(3)]
        duplicates.restore("near", file.stored())
        again = encode(portraits(4)[2], quality=80)
        for image, expected in ((data[1], "the same bytes as a/1"), (again, "looks like a/2"), (data[3], "None")):
            found = fingerprint(image, np.asarray(Image.open(io.BytesIO(image)).convert("L")))
            assert found is not None
            assert str(duplicates.refuse("b", found)) == expected
