"""Targets come back as they were given, from our reader and from stock ffcv; nothing that happens to them is silent."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from beton_samples import draw_sample
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from frl.beton import Beton, BetonWriter, verify, writer
from frl.beton.card import card_text
from frl.beton.facts import gather
from frl.beton.manifest import ContentHash, Manifest, SampleLines, manifest_path, samples_path
from frl.beton.merge import merge
from frl.beton.samples import stored_samples
from frl.beton.split import split_identities
from frl.beton.targets import MIRRORS, Kind, TargetSpec, unite
from frl.cli.info import describe
from frl.errors import BetonError, ConfigError, WriteError

PAGE_SIZE = 1 << 21
SPECS = (
    TargetSpec(name="landmarks", kind=Kind.POINTS, shape=(5, 2)),
    TargetSpec(name="age", kind=Kind.VECTOR),
    TargetSpec(name="pose", kind=Kind.VECTOR, shape=(3,), names=("yaw", "pitch", "roll")),
    TargetSpec(name="expression", kind=Kind.CLASS, names=("neutral", "happy", "sad")),
    TargetSpec(name="units", kind=Kind.CLASS, shape=(4,)),
    TargetSpec(name="visible", kind=Kind.VISIBILITY, shape=(5,)),
)
Values = dict[str, np.ndarray]
floats = st.one_of(st.just(np.nan), st.floats(-1e6, 1e6, width=32))


@st.composite
def values_of(draw: st.DrawFn, specs: Sequence[TargetSpec] = SPECS) -> Values:
    """What is known of a sample, of some of the targets."""
    values = {}
    for spec in specs:
        if draw(st.booleans()):
            numbers = {
                Kind.POINTS: floats,
                Kind.VECTOR: floats,
                Kind.CLASS: st.integers(-1, len(spec.names) - 1 if spec.names and not spec.shape else 1 << 40),
                Kind.VISIBILITY: st.integers(-1, 1),
            }
            values[spec.name] = draw(hnp.arrays(spec.dtype, spec.shape, elements=numbers[spec.kind]))
    return values


tables = st.lists(values_of(), min_size=1, max_size=6)


def write(path: Path, rows: Sequence[Values], specs: Sequence[TargetSpec] = SPECS, **options: Any) -> Path:
    with BetonWriter(
        path, capacity=len(rows), page_size=PAGE_SIZE, labels=["a", "b"], targets=specs, **options
    ) as file:
        for i, values in enumerate(rows):
            file.append(*draw_sample(i, label=i % 3 - 1).arguments, values)
    return path


def complete(values: Values) -> Values:
    return {spec.name: values.get(spec.name, spec.missing()) for spec in SPECS}


def assert_same(found: Values, expected: Values) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and np.array_equal(
            found[name], value, equal_nan=value.dtype.kind == "f"
        )


def known(i: int) -> Values:
    """Values that differ from sample to sample."""
    return {
        "landmarks": np.arange(10, dtype=np.float32).reshape(5, 2) + i,
        "age": np.float64(20 + i),
        "pose": np.array([i, -i, 0.5], np.float32),
        "expression": np.int64(i % 3),
        "units": np.array([i, 0, -1, 1]),
        "visible": np.array([1, 0, -1, 1, i % 2], np.int8),
    }


# ---------------------------------------------------------------- reading and writing


def test_files_without_targets_are_byte_for_byte_what_they_were(tmp_path: Path) -> None:
    """The digests were recorded before there were targets."""
    path = tmp_path / "gold.beton"
    with BetonWriter(path, capacity=5, page_size=PAGE_SIZE, labels=["a", "b"], settings={"size": 64}) as file:
        for i in range(5):
            file.append(bytes([i]) * (700_000 + i), 40 + i, 50 + i, i % 3 - 1, f"a/{i}\t.jpg")
        file.reject("a/x.jpg", "empty file")
        file.counts["passed"] += 5
    recorded = {
        "gold.beton": "7f0fe1b90c61a25a6aaabfe51e0d0b68bc8f1f98d26ed61f17ef61277a875621",
        "gold.beton.json": "f7983adcabd2d5295fe8b826c1eb95b117979c05b45a87a88d468d44230cd4a3",
        "gold.beton.rejects.tsv": "448f633897d7657aa3437b4059ccb4c0e83e8cfdd5773fc2696cc4bec5a6b3c7",
        "gold.beton.samples.tsv": "dda21bac30ae5f1e61121b81fb732fd6c033a257fe282b2c7b0b59cb9ad74df5",
    }
    assert {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in tmp_path.iterdir()} == recorded


@settings(max_examples=60, deadline=None)
@given(rows=tables)
def test_what_is_written_is_read(rows: list[Values]) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "t.beton", rows)
        assert verify(path, deep=True).ok
        with Beton(path) as beton:
            assert beton.targets == SPECS
            for i, values in enumerate(rows):
                assert_same(beton.target_values(i), complete(values))
                assert beton.encoded(i).tobytes() == draw_sample(i).encoded
            order = list(range(len(rows)))[::-1] * 2
            for spec in SPECS:
                found = beton.target(spec.name, order)
                assert found.shape == (len(order), *spec.shape)
                expected = np.stack([complete(rows[i])[spec.name] for i in order])
                assert np.array_equal(found, expected, equal_nan=spec.dtype.kind == "f")
            for sample, values in zip(stored_samples(beton), rows, strict=True):
                assert_same(sample.targets, complete(values))


def test_stock_ffcv_reads_them_as_fields_of_its_own(ffcv: ModuleType, stock_loader: type, tmp_path: Path) -> None:
    from ffcv.fields import FloatField, IntField, NDArrayField
    from ffcv.fields.basics import FloatDecoder, IntDecoder
    from ffcv.fields.decoders import NDArrayDecoder, SimpleRGBImageDecoder
    from ffcv.loader import OrderOption

    rows = [known(i) for i in range(5)]
    path = tmp_path / "t.beton"
    with BetonWriter(path, capacity=9, page_size=PAGE_SIZE, targets=SPECS) as file:
        for i, values in enumerate(rows):
            file.append(*draw_sample(i, label=i).arguments, values)
    arrays = ("landmarks", "pose", "units", "visible")
    reader = ffcv.reader.Reader(str(path))
    assert reader.field_names == ["image", "label", *(spec.name for spec in SPECS)]
    for name in arrays:
        field = reader.handlers[name]
        assert type(field) is NDArrayField and field.shape == rows[0][name].shape and field.dtype == rows[0][name].dtype
    assert type(reader.handlers["age"]) is FloatField and type(reader.handlers["expression"]) is IntField
    decoders = {name: [NDArrayDecoder()] for name in arrays}
    decoders |= {"age": [FloatDecoder()], "expression": [IntDecoder()], "label": [IntDecoder()]}
    decoders["image"] = [SimpleRGBImageDecoder()]
    loader = stock_loader(str(path), 5, num_workers=1, order=OrderOption.SEQUENTIAL, os_cache=True, pipelines=decoders)
    batch = dict(zip(reader.field_names, next(iter(loader)), strict=True))
    assert batch["label"].reshape(-1).tolist() == list(range(5))
    for name in rows[0]:
        stacked = np.stack([row[name] for row in rows])
        assert np.array_equal(
            np.asarray(batch[name]).reshape(stacked.shape), stacked, equal_nan=stacked.dtype.kind == "f"
        )


def test_fields_of_stock_ffcv_are_targets_by_their_types(
    ffcv: ModuleType, write_stock: Callable, tmp_path: Path
) -> None:
    fields = ffcv.fields
    path = tmp_path / "stock.beton"
    columns = {
        "image": fields.RGBImageField(write_mode="jpg"),
        "label": fields.IntField(),
        "points": fields.NDArrayField(np.dtype("<f4"), (4, 2)),
        "age": fields.FloatField(),
        "kind": fields.IntField(),
        "odd": fields.NDArrayField(np.dtype("<f8"), (2,)),
    }
    image = np.zeros((16, 16, 3), np.uint8)
    rows = [(image, i, np.full((4, 2), i, np.float32), i / 7, 3 * i, np.ones(2)) for i in range(3)]
    write_stock(path, columns, rows)
    with Beton(path) as beton:
        assert [(spec.name, spec.kind, spec.shape) for spec in beton.targets] == [
            ("points", Kind.VECTOR, (4, 2)),
            ("age", Kind.VECTOR, ()),
            ("kind", Kind.CLASS, ()),
        ]
        assert beton.target("points", [2, 0])[:, 3, 1].tolist() == [2, 0]
        assert beton.target("age", [2]).tolist() == [2 / 7] and beton.target("kind", [1]).tolist() == [3]
        assert beton.labels.tolist() == [0, 1, 2]


def test_the_content_hash_is_that_of_its_definition_and_covers_every_number(tmp_path: Path) -> None:
    rows = [known(i) for i in range(3)]
    manifest = Manifest.load(write(tmp_path / "t.beton", rows))
    assert manifest is not None and manifest.known == dict.fromkeys((spec.name for spec in SPECS), 3)
    content = ContentHash(["a", "b"], SPECS)
    for i, line in enumerate(SampleLines(samples_path(tmp_path / "t.beton"))):
        stored = b"".join(rows[i][spec.name].astype(spec.dtype).tobytes() for spec in SPECS)
        assert line.targets_crc32 == zlib.crc32(stored)
        content.add(hashlib.sha256(draw_sample(i).encoded).digest(), line.encode(), stored)
    assert manifest.content_sha256 == content.hexdigest()
    seen = {manifest.content_sha256}
    for number, spec in enumerate(SPECS):
        changed = known(1) | {spec.name: spec.missing()}
        other = Manifest.load(write(tmp_path / f"{number}.beton", [rows[0], changed, rows[2]]))
        assert other is not None and other.known[spec.name] == 2
        seen.add(other.content_sha256)
    assert len(seen) == 1 + len(SPECS)


def test_a_value_that_does_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    wrong = [
        ({"landmarks": np.zeros((5, 3))}, r"landmarks has the shape \(5, 3\), not \(5, 2\)"),
        ({"age": np.inf}, "age holds inf"),
        ({"age": 1e300}, "age holds 1e.300"),
        ({"age": "old"}, "age is no vector"),
        ({"expression": 3}, "expression holds 3"),
        ({"expression": 0.5}, "expression holds 0.5"),
        ({"units": [0, 0, 0, -2]}, "units holds -2"),
        ({"visible": [2, 0, 0, 0, 0]}, "visible holds 2"),
        ({"visible": [257, 0, 0, 0, 0]}, "visible holds 257"),
        ({"landmark": np.zeros((5, 2))}, "no target 'landmark'"),
    ]
    good = draw_sample(0)
    with BetonWriter(tmp_path / "t.beton", capacity=2, targets=SPECS) as file:
        file.append(*good.arguments, known(0))
        for values, cause in wrong:
            with pytest.raises(WriteError, match=f"{good.name}: .*{cause}"):
                file.append(*good.arguments, values)
        file.append(*good.arguments)
    with Beton(tmp_path / "t.beton") as beton:
        assert len(beton) == 2 and np.isnan(beton.target("pose", [1])).all() and beton.target("units", [1]).max() == -1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "image"},
        {"name": "identity"},
        {"name": "seventeen_letters"},
        {"name": "é"},
        {"name": "p", "kind": Kind.POINTS, "shape": (5,)},
        {"name": "p", "kind": Kind.POINTS, "shape": (5, 4)},
        {"name": "p", "kind": Kind.POINTS, "shape": (0, 2)},
        {"name": "p", "kind": Kind.POINTS, "shape": (1 << 40, 2)},
        {"name": "p", "kind": Kind.POINTS, "shape": (3, 2), "mirror": (1, 2, 0)},
        {"name": "p", "kind": Kind.POINTS, "shape": (3, 2), "mirror": (0, 1)},
        {"name": "p", "kind": Kind.POINTS, "shape": (3, 2), "mirror": "300w"},
        {"name": "c", "kind": Kind.CLASS, "shape": (2,), "names": ("a", "b", "c")},
        {"name": "c", "kind": Kind.CLASS, "names": ("a", "a")},
        {"name": "v", "kind": Kind.VISIBILITY},
    ],
)
def test_what_is_no_target(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="target|points"):
        TargetSpec(**{"kind": Kind.VECTOR, **wrong})


def test_two_targets_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="two targets have one name"):
        BetonWriter(tmp_path / "t.beton", capacity=1, targets=(SPECS[0], SPECS[0]))
    with pytest.raises(ValueError, match=r"age of b is class, that of a vector"):
        unite([("a", SPECS), ("b", [TargetSpec(name="age", kind=Kind.CLASS)])])
    assert unite([("a", SPECS[:2]), ("b", SPECS)]) == SPECS


def test_mirrors_lead_back_and_exchange_left_and_right() -> None:
    for table in MIRRORS.values():
        assert [table[i] for i in table] == list(range(len(table)))
    right_eye_corner, left_eye_corner = 36, 45
    assert MIRRORS["300w"][right_eye_corner] == left_eye_corner and MIRRORS["300w"][30] == 30
    assert TargetSpec(name="p", kind=Kind.POINTS, shape=(68, 2)).mirror == "300w"
    assert TargetSpec(name="p", kind=Kind.POINTS, shape=(7, 2)).permutation is None


# ---------------------------------------------------------------- merge, split, resume, info


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(values_of(), min_size=3, max_size=9), total=st.integers(1, 3))
def test_shards_joined_have_the_targets_of_the_whole(rows: list[Values], total: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        whole = Manifest.load(write(folder / "whole.beton", rows))
        parts = []
        for number in range(total):
            first, stop = number * len(rows) // total, (number + 1) * len(rows) // total
            parts.append(folder / f"{number}.beton")
            shard = {"shard": f"{number + 1}/{total}"}
            with BetonWriter(
                parts[-1], capacity=9, page_size=PAGE_SIZE, labels=["a", "b"], settings=shard, targets=SPECS
            ) as file:
                for i in range(first, stop):
                    file.append(*draw_sample(i, label=i % 3 - 1).arguments, rows[i])
        joined = merge(parts, folder / "joined.beton")
        assert whole is not None and (joined.content_sha256, joined.known) == (whole.content_sha256, whole.known)
        assert verify(folder / "joined.beton", deep=True).ok


def test_shards_of_other_targets_are_refused_and_a_changed_target_is_named(tmp_path: Path) -> None:
    first, second = tmp_path / "1.beton", tmp_path / "2.beton"
    write(first, [known(0)], settings={"shard": "1/2"})
    write(second, [{}], SPECS[:1], settings={"shard": "2/2"})
    with pytest.raises(ConfigError, match="2.beton: holds other targets"):
        merge([first, second], tmp_path / "out.beton")
    write(second, [known(1)], settings={"shard": "2/2"}, overwrite=True)
    flip(second, place_of(second, "pose", 0))
    with pytest.raises(BetonError, match=r"2.beton: sample 0 .*its targets .* differ from the checksum"):
        merge([first, second], tmp_path / "out.beton")
    assert not (tmp_path / "out.beton").exists()


def test_both_halves_of_a_split_carry_them(tmp_path: Path) -> None:
    path = write(tmp_path / "t.beton", [known(i) for i in range(9)])
    with Beton(path) as beton:
        split_identities(beton, tmp_path / "train.beton", tmp_path / "probe.beton", share=0.5)
        by_name = {beton.name(i).partition(" (")[2]: beton.target_values(i) for i in range(9)}
    count = 0
    for half in ("train", "probe"):
        with Beton(tmp_path / f"{half}.beton") as part:
            assert part.targets == SPECS and verify(part.path, deep=True).ok
            for i in range(len(part)):
                assert_same(part.target_values(i), by_name[part.name(i).partition(" (")[2]])
                count += 1
    assert count == 9


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(values_of(), min_size=2, max_size=6), stop=st.integers(1, 5))
def test_stopped_and_resumed_gives_the_same_bytes(rows: list[Values], stop: int) -> None:
    class Stopped(Exception):
        pass

    def run(path: Path, until: int) -> None:
        options = {"page_size": PAGE_SIZE, "targets": SPECS, "work": "w"}
        with BetonWriter(path, capacity=9, **options) as file:
            for i in range(file.done, len(rows)):
                if i == until:
                    raise Stopped
                file.append(*draw_sample(i).arguments, rows[i])
                file.commit(i + 1)

    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "COMMIT_SECONDS", 0.0)
        (whole := Path(name) / "whole").mkdir()
        (parts := Path(name) / "parts").mkdir()
        run(whole / "t.beton", len(rows))
        if stop < len(rows):
            with pytest.raises(Stopped):
                run(parts / "t.beton", stop)
        run(parts / "t.beton", len(rows))
        for file in whole.iterdir():
            assert file.read_bytes() == (parts / file.name).read_bytes()


def test_info_and_card_say_what_is_there(tmp_path: Path) -> None:
    with Beton(write(tmp_path / "t.beton", [known(0), {}, known(2)])) as beton:
        facts = gather(beton)
    assert "landmarks: points (5, 2); known of 2 of 3" in describe(facts)
    assert "expression: class of neutral, happy, sad; known of 2 of 3" in describe(facts)
    assert "| pose | vector (3,) of yaw, pitch, roll | known of 2 of 3 |" in card_text(facts)
    with Beton(write(tmp_path / "plain.beton", [{}], ())) as beton:
        assert "target" not in describe(gather(beton)) and "Targets" not in card_text(gather(beton))


# ---------------------------------------------------------------- damage


def place_of(path: Path, name: str, sample: int) -> int:
    """Offset of a target's bytes, found by their layout: behind the image, arrays in the order of the specs."""
    with Beton(path) as beton:
        offset = int(beton.pointers[sample] + beton.nbytes[sample])
        for spec in beton.targets:
            if spec.name == name:
                return offset
            offset += spec.nbytes if spec.shape else 0
    raise KeyError(name)


def flip(path: Path, offset: int, mask: int = 0x10) -> None:
    with open(path, "r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)[0]
        os.pwrite(file.fileno(), bytes([byte ^ mask]), offset)


@settings(max_examples=60, deadline=None)
@given(
    sample=st.integers(0, 3),
    target=st.sampled_from([spec for spec in SPECS if spec.shape]),
    share=st.floats(0, 1, exclude_max=True),
    mask=st.integers(1, 255),
)
def test_one_flipped_byte_in_a_target_names_the_sample(
    sample: int, target: TargetSpec, share: float, mask: int
) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "t.beton", [known(i) for i in range(4)])
        flip(path, place_of(path, target.name, sample) + int(share * target.nbytes), mask)
        assert verify(path).ok
        report = verify(path, deep=True)
        assert report.fault_count == 1
        assert report.faults[0].startswith(f"sample {sample} (") and "its targets (landmarks, " in report.faults[0]
        with Beton(path) as beton, pytest.raises(BetonError, match=f"sample {sample} .*its targets"):
            list(stored_samples(beton))


def test_a_line_without_the_checksum_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "t.beton", [known(0)])
    lines = samples_path(path)
    lines.write_bytes(lines.read_bytes().rpartition(b"\t")[0] + b"\n")
    content = json.loads(manifest_path(path).read_text())
    content["samples_sha256"] = hashlib.sha256(lines.read_bytes()).hexdigest()
    manifest_path(path).write_text(json.dumps(content))
    assert "its targets" in verify(path, deep=True).faults[0]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda targets: targets.pop(0), None),  # a field that the manifest does not call a target is none
        (lambda targets: targets.reverse(), "its fields are not the targets"),
        (lambda targets: targets[0].update(shape=[4, 2], mirror=None), "its fields are not the targets"),
        (lambda targets: targets[0].update(shape=[5, 1 << 62]), "not a readable manifest"),
        (lambda targets: targets[1].update(kind="class"), "its fields are not the targets"),
        (lambda targets: targets[1].update(kind="colour"), "not a readable manifest"),
        (lambda targets: targets[1].update(name="label"), "not a readable manifest"),
        (lambda targets: targets.append(targets[0]), "not a readable manifest"),
        (lambda targets: targets.append({"name": "more", "kind": "vector", "shape": []}), "its fields are not"),
        (lambda targets: targets.append(7), "not a readable manifest"),
    ],
)
def test_a_manifest_that_describes_other_targets_is_refused(
    tmp_path: Path, change: Callable, cause: str | None
) -> None:
    path = write(tmp_path / "t.beton", [known(0)])
    content = json.loads(manifest_path(path).read_text())
    change(content["targets"])
    manifest_path(path).write_text(json.dumps(content))
    if cause is None:
        with Beton(path) as beton:
            assert [spec.name for spec in beton.targets] == [spec.name for spec in SPECS[1:]]
    else:
        with pytest.raises(BetonError, match=cause):
            Beton(path)


HEADER_BYTES, FIELD_BYTES, ENTRY_BYTES = 24, 1041, 24
FIELDS = 2 + len(SPECS)
RECORDS = HEADER_BYTES + FIELDS * FIELD_BYTES
RECORD_BYTES = 16 + 8 * (1 + len(SPECS))


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, int, bytes]:
    """A region, a share of it in 1/65536, and bytes to put there: random, or numbers near what a parser trips over."""
    odd = st.sampled_from(
        [0, 1, 2, 5, 32, 0x7F, 0xFF, 1 << 21, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63, (1 << 64) - 1]
    )
    number = st.tuples(odd, st.integers(-2, 2), st.sampled_from([1, 2, 4, 8])).map(
        lambda t: ((t[0] + t[1]) % (1 << 8 * t[2])).to_bytes(t[2], "little")
    )
    region = draw(st.sampled_from(["header", "fields", "arguments", "metadata", "table"]))
    return region, draw(st.integers(0, 65535)), draw(st.one_of(st.binary(min_size=1, max_size=8), number))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(mutations(), min_size=1, max_size=3))
@example(changes=[("arguments", 0, (1 << 40).to_bytes(8, "little"))])
def test_mutations_are_refused_or_read_as_they_stand(two_gigabytes: None, tmp_path: Path, changes: list) -> None:
    path = tmp_path / "t.beton"
    if not path.exists():
        write(path, [known(i) for i in range(4)])
        for sidecar in tmp_path.glob("t.beton.*"):
            sidecar.unlink()
    whole = path.read_bytes()
    count, start = struct.unpack_from("<QQ", whole, 8)
    regions = {
        "header": (0, HEADER_BYTES),
        "fields": (HEADER_BYTES, FIELDS * FIELD_BYTES),
        "arguments": (HEADER_BYTES + 2 * FIELD_BYTES + 17, 280),
        "metadata": (RECORDS, count * RECORD_BYTES),
        "table": (start, len(whole) - start),
    }
    mutated = bytearray(whole)
    for region, share, data in changes:
        first, length = regions[region]
        offset = first + share * length // 65536
        mutated[offset : offset + len(data)] = data
    path.write_bytes(mutated[: len(whole)])
    try:
        beton = Beton(path)
    except BetonError as error:
        event("refused")
        assert error.subject == str(path)
    else:
        event("read")
        with beton:
            for spec in beton.targets:
                column = next(i for i, field in enumerate(beton.fields) if field.name == spec.name)
                for i in range(len(beton)):
                    cell = RECORDS + i * RECORD_BYTES + 16 + 8 * (column - 1)
                    place = struct.unpack_from("<Q", mutated, cell)[0] if spec.shape else cell
                    assert beton.target(spec.name, [i]).tobytes() == bytes(mutated[place : place + spec.nbytes])
    finally:
        path.write_bytes(whole)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_every_truncation_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "t.beton"
    write(path, [known(i) for i in range(3)], overwrite=True)
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(BetonError, match="truncated"):
        Beton(path)


def test_there_is_no_such_sample_or_target(tmp_path: Path) -> None:
    with Beton(write(tmp_path / "t.beton", [known(0)])) as beton:
        for index in (-1, 1):
            with pytest.raises(IndexError, match=f"no sample {index}"):
                beton.target("age", [index])
        with pytest.raises(KeyError, match="no target 'ages'"):
            beton.target("ages", [0])
    with pytest.raises(ValueError, match="closed"):
        beton.target("age", [0])
