"""Nobody is in both halves, and nothing is lost or changed."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from beton_samples import draw_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from frl.beton import Beton, BetonWriter, verify
from frl.beton.samples import stored_samples
from frl.beton.split import hold_out, split_identities
from frl.errors import BetonError, ConfigError, WriteError


def write(path: Path, labels: list[int], names: list[str] | None) -> Path:
    with BetonWriter(path, capacity=len(labels), page_size=1 << 21, labels=names, settings={"seed": 0}) as writer:
        for i, label in enumerate(labels):
            sample = draw_sample(i % 6, 8, 9)
            writer.append(sample.encoded, 8, 9, label, f"{i}.jpg")
    return path


def contents(path: Path) -> list[tuple[str, str | None, bytes]]:
    with Beton(path) as beton:
        return [(sample.name, sample.identity, sample.encoded.tobytes()) for sample in stored_samples(beton)]


@settings(max_examples=40, deadline=None)
@given(
    labels=st.lists(st.integers(-1, 6), min_size=2, max_size=20).filter(lambda labels: len({*labels} - {-1}) > 1),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
    named=st.booleans(),
)
def test_the_halves_are_disjoint_and_complete(labels: list[int], share: float, seed: int, named: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        whole = write(Path(name) / "a.beton", labels, [f"people/{c}" for c in "gfedcba"] if named else None)
        train, probe = Path(name) / "train.beton", Path(name) / "probe.beton"
        with Beton(whole) as beton:
            halves = split_identities(beton, train, probe, share=share, seed=seed)
        kept, held = contents(train), contents(probe)
        assert {who for _, who, _ in kept} & {who for _, who, _ in held} == set()
        assert None not in {who for _, who, _ in held}
        if named:  # else they are known by their labels, which are counted anew
            assert Counter(kept) + Counter(held) == Counter(contents(whole))
        assert [half.samples for half in halves] == [len(kept), len(held)]
        for path in (train, probe):
            assert verify(path, deep=True).ok
            with Beton(path) as beton:  # labels without gaps
                assert np.unique(beton.labels[beton.labels >= 0]).tolist() == list(
                    range(len(beton.manifest.identities))
                )
        people = len({*labels} - {-1})
        assert len({who for _, who, _ in held}) == min(max(1, round(share * people)), people - 1)


def test_another_image_moves_nobody_and_another_seed_does(tmp_path: Path) -> None:
    names = [f"n{i:03}" for i in range(100)]
    drawn = {name for name, out in zip(names, hold_out(names, 0.2, 0), strict=True) if out}
    assert len(drawn) == 20
    fewer = names[:60]
    again = {name for name, out in zip(fewer, hold_out(fewer, 0.2, 0), strict=True) if out}
    assert again & drawn == again if len(again) <= len(drawn & set(fewer)) else drawn & set(fewer) <= again
    assert drawn != {name for name, out in zip(names, hold_out(names, 0.2, 1), strict=True) if out}


def test_after_a_kill_between_the_halves_the_same_command_writes_the_other(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.beton", [0, 1, 2, 0, -1], ["x", "y", "z"])
    train, probe = tmp_path / "train.beton", tmp_path / "probe.beton"
    with Beton(whole) as beton:
        split_identities(beton, train, probe, share=0.3)
        before = train.stat().st_mtime_ns, contents(train), contents(probe)
        probe.unlink()
        split_identities(beton, train, probe, share=0.3)
        assert (train.stat().st_mtime_ns, contents(train), contents(probe)) == before
        with pytest.raises(WriteError, match="exists already"):
            split_identities(beton, train, probe, share=0.7)


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    train, probe = tmp_path / "train.beton", tmp_path / "probe.beton"
    with (
        Beton(write(tmp_path / "one.beton", [0, 0, -1], ["x"])) as beton,
        pytest.raises(ConfigError, match="1 identities"),
    ):
        split_identities(beton, train, probe, share=0.5)
    two = write(tmp_path / "two.beton", [0, 1], ["x", "y"])
    with Beton(two) as beton:
        for share in (0, 1, -0.5, float("nan")):
            with pytest.raises(ConfigError, match="--share"):
                split_identities(beton, train, probe, share=share)
        with pytest.raises(ConfigError, match="also --out-train"):
            split_identities(beton, train, train, share=0.5)
        place = int(beton.pointers[1]) + 60
    with open(two, "r+b") as file:
        file.seek(place)
        file.write(b"\xff\xfe\xfd")
    with Beton(two) as beton, pytest.raises(BetonError, match=r"two.beton: sample 1 \(1.jpg\)"):
        split_identities(beton, train, probe, share=0.5)
    assert not train.exists() and not probe.exists()
