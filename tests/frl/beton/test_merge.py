"""Shards joined are what one writer would have written; a shard that is damaged, missing or foreign is named."""

from __future__ import annotations

import os
import random
import resource
import struct
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from beton_samples import Sample, draw_sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frl.beton import Beton, BetonWriter, verify
from frl.beton.manifest import Manifest, rejects_path
from frl.beton.merge import merge
from frl.beton.shard import Shard
from frl.errors import BetonError, ConfigError, FrlError, WriteError

PAGE = 1 << 21
LABELS = ["a", "b", "c"]


def write(path: Path, samples: list[Sample], shard: str | None, padding: int = 0, **changed: object) -> Path:
    """A shard; ``padding`` bytes behind each JPEG spread few samples over many pages."""
    kept = {"seed": 0, "shard": shard, **changed}
    with BetonWriter(path, capacity=len(samples) + 3, page_size=PAGE, labels=LABELS, settings=kept) as writer:
        for sample in samples:
            writer.append(sample.encoded + b"\0" * padding, *sample.arguments[1:])
            writer.counts["passed"] += 1
        writer.reject(f"{shard}.jpg", "it is empty")
    return path


def write_shards(folder: Path, samples: list[Sample], total: int, padding: int = 0) -> list[Path]:
    shards = [Shard(number, total) for number in range(1, total + 1)]
    return [write(folder / f"s{shard.number}.beton", list(shard.of(samples)), str(shard), padding) for shard in shards]


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 20),
    total=st.integers(1, 5),
    padding=st.sampled_from([0, PAGE // 3, PAGE // 2]),
    order=st.randoms(use_true_random=False),
)
def test_shards_joined_have_the_content_of_the_whole(
    count: int, total: int, padding: int, order: random.Random
) -> None:
    samples = [draw_sample(i, 8 + i, 9, i % 4 - 1) for i in range(max(count, total))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = write_shards(folder, samples, total, padding)
        order.shuffle(shards)
        merged = merge(shards, folder / "all.beton")
        write(folder / "whole.beton", samples, None, padding)
        whole = Manifest.load(folder / "whole.beton")
        assert whole is not None
        assert (merged.content_sha256, merged.samples_sha256) == (whole.content_sha256, whole.samples_sha256)
        assert (merged.settings, merged.counts, merged.rejected) == (whole.settings, whole.counts, total)
        rejects = [line.split("\t")[0] for line in rejects_path(folder / "all.beton").read_text().splitlines()]
        assert rejects == [f"{i}/{total}.jpg" for i in range(1, total + 1)]
        report = verify(folder / "all.beton", deep=True, against=folder / "whole.beton.json")
        assert report.ok, report.faults
        with Beton(folder / "all.beton") as beton:
            for i, sample in enumerate(samples):
                assert beton.encoded(i).tobytes() == sample.encoded + b"\0" * padding
                assert (beton.heights[i], beton.widths[i], beton.labels[i]) == sample.arguments[1:4]


@settings(max_examples=15, deadline=None)
@given(pictures=st.lists(st.integers(0, 5), min_size=3, max_size=12), total=st.integers(1, 3))
def test_copies_in_different_shards_are_left_out_where_copies_were_not_wanted(pictures: list[int], total: int) -> None:
    """Each shard leaves out its own copies, as frl write does; joined, they are what one run would have kept."""
    rows = [(draw_sample(picture, 8, 9), f"{i}.jpg") for i, picture in enumerate(pictures)]
    unique = {"dedupe": "exact"}

    def kept(part: list) -> list[Sample]:
        firsts = {sample.encoded: Sample(*sample.arguments[:4], name) for sample, name in reversed(part)}
        return [firsts[sample.encoded] for sample, name in part if firsts[sample.encoded].name == name]

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = [Shard(number, total) for number in range(1, total + 1)]
        paths = [
            write(folder / f"s{shard.number}.beton", kept(list(shard.of(rows))), str(shard), curate=unique)
            for shard in shards
        ]
        merged = merge(paths, folder / "all.beton")
        whole = Manifest.load(write(folder / "whole.beton", kept(rows), None, curate=unique))
        assert whole is not None and merged.content_sha256 == whole.content_sha256
        assert verify(folder / "all.beton", deep=True).ok
        dropped = sum(len(kept(list(shard.of(rows)))) for shard in shards) - len(kept(rows))
        assert merged.rejected == total + dropped and merged.counts.get("duplicates", 0) == dropped
        assert rejects_path(folder / "all.beton").read_text().count("the same bytes as") == dropped


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 1)), min_size=2, max_size=12),
    total=st.integers(1, 3),
    mixed=st.booleans(),
)
def test_what_was_counted_of_copies_is_taken_back_or_said_to_be_included(
    rows: list[tuple[int, int]], total: int, mixed: bool
) -> None:
    """Of shards all of whose samples were made alike it is known how the copies were; of others it is not."""
    made = [(draw_sample(picture, 8, 9, label), number) for number, (picture, label) in enumerate(rows)]
    if total > len(made):
        total = len(made)

    def kind(number: int) -> str:
        return "passed" if mixed and number % 2 else "encoded"

    def write_rows(path: Path, part: list, shard: str | None) -> Path:
        firsts = {sample.encoded: number for sample, number in reversed(part)}
        kept = {"shard": shard, "curate": {"dedupe": "exact"}}
        with BetonWriter(path, capacity=len(part), page_size=PAGE, labels=LABELS, settings=kept) as writer:
            for sample, number in part:
                if firsts[sample.encoded] != number:
                    first = next(other.label for other, n in part if n == firsts[sample.encoded])
                    contradicts = first != sample.label and min(first, sample.label) >= 0
                    writer.counts["copies that contradict their original" if contradicts else "duplicates"] += 1
                    continue
                writer.append(*sample.arguments[:3], sample.label, f"{number}.jpg")
                writer.counts[kind(number)] += 1
                if sample.label < 0:
                    writer.counts["of nobody known"] += 1
        return path

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = [Shard(number, total) for number in range(1, total + 1)]
        paths = [write_rows(folder / f"{s.number}.beton", list(s.of(made)), str(s)) for s in shards]
        counts = all_copies(merge(paths, folder / "all.beton").counts)
        manifest = Manifest.load(write_rows(folder / "whole.beton", made, None))
        assert manifest is not None
        whole = all_copies(manifest.counts)
        if not any("included" in key for key in counts):
            assert counts == whole
        else:
            assert mixed and counts.keys() & {"passed", "encoded"} == set()
            for key in ("passed", "encoded"):
                assert counts[f"{key}, copies included"] >= whole.get(key, 0)
            assert {key: counts.get(key) for key in ("duplicates", "of nobody known")} == {
                key: whole.get(key) for key in ("duplicates", "of nobody known")
            }


def all_copies(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts in which copies that contradict are duplicates, too: what they contradict is the first of their shard."""
    joined = Counter({"duplicates" if "contradict" in name else name: 0 for name in counts})
    for name, count in counts.items():
        joined["duplicates" if "contradict" in name else name] += count
    return dict(joined)


def test_copies_in_different_shards_that_contradict_each_other_are_told_apart(tmp_path: Path) -> None:
    unique, paths = {"dedupe": "exact"}, []
    for number, label in enumerate((0, 0, 1, -1), 1):
        sample = Sample(*draw_sample(1, 8, 9, label).arguments[:4], f"{number}.jpg")
        paths.append(write(tmp_path / f"{number}.beton", [sample], f"{number}/4", curate=unique))
    merged = merge(paths, tmp_path / "all.beton")
    assert (merged.counts["duplicates"], merged.counts["copies that contradict their original"]) == (2, 1)
    said = rejects_path(tmp_path / "all.beton").read_text()
    assert "3.jpg\tcontradicts the copy 1.jpg: another person\n" in said
    assert all(f"{number}.jpg\tthe same bytes as 1.jpg\n" in said for number in (2, 4))


def test_a_shard_of_which_nothing_was_good_enough_is_joined(tmp_path: Path) -> None:
    samples = [draw_sample(i, 8 + i, 9, i % 4 - 1) for i in range(6)]
    shards = write_shards(tmp_path, samples, 3)

    def write_empty(path: Path, shard: str) -> Path:
        with BetonWriter(
            path, capacity=3, page_size=PAGE, labels=LABELS, settings={"seed": 0, "shard": shard}, empty=True
        ) as writer:
            writer.reject("bad.jpg", "it is empty")
            writer.counts["unusable"] += 1
        return path

    for number in (1, 3):
        parts = shards.copy()
        parts[number - 1] = write_empty(tmp_path / f"e{number}.beton", f"{number}/3")
        merged = merge(parts, tmp_path / f"all{number}.beton")
        assert (merged.samples, merged.rejected, merged.counts) == (4, 3, {"passed": 4, "unusable": 1})
        assert verify(tmp_path / f"all{number}.beton", deep=True).ok
    with pytest.raises(BetonError, match="e1.beton: it holds no samples"):
        Beton(tmp_path / "e1.beton")
    empty = [write_empty(tmp_path / f"n{i}.beton", f"{i}/3") for i in (1, 2, 3)]
    with pytest.raises(WriteError, match=r"no image was good enough.*First of 3 rejected: bad.jpg: it is empty"):
        merge(empty, tmp_path / "none.beton")
    with open(tmp_path / "e1.beton", "r+b") as file:
        file.write(b"x")
    with pytest.raises(BetonError, match=r"e1.beton: it differs from e1.beton.json"):
        merge([tmp_path / "e1.beton", *shards[1:]], tmp_path / "none.beton")
    with pytest.raises(ConfigError, match="n1.beton: was written with seed = 0, .*o2.beton with 1"):
        others = [write(tmp_path / f"o{i}.beton", samples, f"{i}/3", seed=1) for i in (2, 3)]
        merge([empty[0], *others], tmp_path / "none.beton")


def test_stock_ffcv_reads_a_joined_file(ffcv: ModuleType, tmp_path: Path) -> None:
    samples = [draw_sample(i, 24, 32, i % 3) for i in range(10)]
    merge(write_shards(tmp_path, samples, 3, padding=PAGE // 2), tmp_path / "all.beton")
    reader = ffcv.reader.Reader(str(tmp_path / "all.beton"))
    data = np.fromfile(tmp_path / "all.beton", np.uint8)
    assert (reader.num_samples, reader.page_size) == (10, PAGE)
    for i, sample in enumerate(samples):
        image, label = reader.metadata[i]
        entry = reader.alloc_table[i]
        assert (entry["sample_id"], entry["ptr"], label) == (i, image["data_ptr"], sample.label)
        assert data[entry["ptr"] :][: entry["size"]].tobytes().startswith(sample.encoded)


def test_pages_are_copied_and_memory_stays_flat(tmp_path: Path) -> None:
    samples = [draw_sample(i, 24, 32, 0) for i in range(24)]
    shards = write_shards(tmp_path, samples, 2, padding=PAGE - 4096)  # a page each, 24 MB a shard
    merged = merge(shards, tmp_path / "all.beton")
    with Beton(tmp_path / "all.beton") as all_, Beton(shards[1]) as second:
        assert (all_.pointers % PAGE)[12:].tolist() == (second.pointers % PAGE).tolist()
    assert merged.bytes < 26 * PAGE


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_shard_is_named_or_means_nothing(tmp_path: Path, data: st.DataObject) -> None:
    """Any byte of any file of a shard flipped, or any end cut off."""
    samples = [draw_sample(i, 24, 32, i % 3) for i in range(6)]
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        shards = write_shards(Path(name), samples, 2)
        suffix = data.draw(st.sampled_from(["", ".json", ".samples.tsv", ".rejects.tsv"]))
        victim = shards[1].with_name(shards[1].name + suffix)
        whole = bytearray(victim.read_bytes())
        if data.draw(st.booleans(), label="cut"):
            os.truncate(victim, data.draw(st.integers(0, len(whole) - 1)))
        else:
            regions = [(0, len(whole))] if suffix else [(0, 2200), (PAGE, len(whole))]
            start, stop = data.draw(st.sampled_from(regions))
            whole[data.draw(st.integers(start, stop - 1))] ^= data.draw(st.integers(1, 255))
            victim.write_bytes(whole)
        try:
            merged = merge(shards, Path(name) / "all.beton")
        except FrlError as error:
            # A manifest that changed into another valid one makes the shards differ: either may be the odd one.
            assert "s2.beton" in str(error)
            assert not list(Path(name).glob("*all.beton*"))
        else:
            assert suffix in ("", ".json", ".rejects.tsv")
            assert verify(Path(name) / "all.beton", deep=True).ok
            with Beton(Path(name) / "all.beton") as beton:
                assert [beton.encoded(i).tobytes() for i in range(6)] == [sample.encoded for sample in samples]
            assert merged.samples == 6


def test_links_to_shards_are_joined_with_what_lies_beside_the_shards(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [draw_sample(i) for i in range(4)], 2)
    links = [tmp_path / f"link{number}.beton" for number in (1, 2)]
    for link, shard in zip(links, shards, strict=True):
        link.symlink_to(shard)
    merged = merge(links, tmp_path / "all.beton")
    assert (merged.samples, merged.rejected, merged.identities) == (4, 2, tuple(LABELS))


def test_one_flipped_byte_names_shard_and_sample(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [draw_sample(i) for i in range(6)], 2)
    with Beton(shards[1]) as beton:
        place = int(beton.pointers[1]) + 200
    with open(shards[1], "r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(BetonError, match=r"s2.beton: sample 1 \(n-00001/0004.jpg\): its bytes differ"):
        merge(shards, tmp_path / "all.beton")
    assert not (tmp_path / "all.beton").exists()


def test_what_is_no_set_of_shards_is_refused(tmp_path: Path) -> None:
    samples = [draw_sample(i) for i in range(9)]
    one, two, three = write_shards(tmp_path, samples, 3)
    out = tmp_path / "all.beton"
    with pytest.raises(ConfigError, match="of 3 shards these are missing: 2"):
        merge([one, three], out)
    with pytest.raises(ConfigError, match="s1.beton: is shard 1/3, as .*s1.beton is"):
        merge([one, two, three, one], out)
    with pytest.raises(ConfigError, match="no shard was given"):
        merge([], out)
    with pytest.raises(ConfigError, match="whole.beton: is no shard"):
        merge([one, two, write(tmp_path / "whole.beton", samples, None)], out)
    with pytest.raises(ConfigError, match="other.beton: was written with seed = 1, .*s1.beton with 0"):
        merge([one, two, write(tmp_path / "other.beton", samples, "3/3", seed=1)], out)
    with pytest.raises(ConfigError, match="four.beton: was written with shards = 4"):
        merge([one, two, three, write(tmp_path / "four.beton", samples, "4/4")], out)
    (tmp_path / "s2.beton.json").unlink()
    with pytest.raises(BetonError, match="s2.beton: there is no s2.beton.json"):
        merge([one, two, three], out)
    assert not out.exists()


def test_shards_of_other_sources_are_refused_and_those_of_older_versions_joined(tmp_path: Path) -> None:
    def shard(number: int, listed: str | None) -> Path:
        path = tmp_path / f"{number}{listed}.beton"
        kept = {"shard": f"{number}/2"}
        with BetonWriter(path, capacity=1, page_size=PAGE, labels=LABELS, settings=kept, listed=listed) as writer:
            writer.append(*draw_sample(number).arguments)
        return path

    with pytest.raises(ConfigError, match=r"2b.beton: was written from other sources or tables than .*1a.beton"):
        merge([shard(1, "a"), shard(2, "b")], tmp_path / "all.beton")
    assert merge([tmp_path / "1a.beton", shard(2, "a")], tmp_path / "same.beton").listed is None
    merge([tmp_path / "1a.beton", shard(2, None)], tmp_path / "half.beton")
    assert '"listed"' not in (tmp_path / "half.beton.json").read_text()  # older software reads what is no shard


def test_a_full_disk_leaves_nothing_and_an_existing_file_stays(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [draw_sample(i) for i in range(9)], 3, padding=PAGE // 2)
    before = set(os.listdir(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * PAGE, limits[1]))
    try:
        with pytest.raises(WriteError, match="all.beton.*File too large"):
            merge(shards, tmp_path / "all.beton")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert set(os.listdir(tmp_path)) == before
    (tmp_path / "all.beton").write_text("precious")
    with pytest.raises(WriteError, match="exists already"):
        merge(shards, tmp_path / "all.beton")
    merge(shards, tmp_path / "all.beton", overwrite=True)
    assert verify(tmp_path / "all.beton", deep=True).ok


@given(count=st.integers(0, 1000), total=st.integers(1, 50))
def test_shards_in_a_row_are_the_whole(count: int, total: int) -> None:
    parts = [Shard(number, total).of(range(count)) for number in range(1, total + 1)]
    assert [thing for part in parts for thing in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", ""])
def test_impossible_shards(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard"):
        Shard.parse(text)


def test_the_table_of_a_joined_file_is_in_order(tmp_path: Path) -> None:
    merge(write_shards(tmp_path, [draw_sample(i) for i in range(7)], 3), tmp_path / "all.beton")
    data = (tmp_path / "all.beton").read_bytes()
    table = struct.unpack_from("<Q", data, 16)[0]
    entries = [struct.unpack_from("<QQQ", data, at) for at in range(table, len(data), 24)]
    assert [entry[0] for entry in entries] == list(range(7))
    assert [entry[1] for entry in entries] == sorted(entry[1] for entry in entries)
