"""Every public function on files takes a string where it takes a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from frl.beton import Beton, BetonWriter, verify
from frl.beton.card import leave_card
from frl.beton.extract import extract
from frl.beton.manifest import Manifest, manifest_path
from frl.beton.merge import merge
from frl.beton.split import split_identities
from frl.errors import BetonError, ConfigError
from frl.evaluate import read_pairs
from frl.runtime.staging import stage
from frl.synthetic import write_folder


def write(path: str, shard: str | None, jpeg: bytes) -> str:
    with BetonWriter(path, capacity=4, labels=["Ann", "Bob"], settings={"shard": shard}) as writer:
        for index in range(4):
            writer.append(jpeg, 24, 24, index % 2, f"{index}.jpg")
    return path


@pytest.fixture
def jpeg(tmp_path: Path) -> bytes:
    write_folder(str(tmp_path / "drawn"), 1, 1, size=32, workers=1)
    return next((tmp_path / "drawn").rglob("*.jpg")).read_bytes()


def test_a_beton_from_writing_to_extracting(tmp_path: Path, jpeg: bytes) -> None:
    here = str(tmp_path)
    write(f"{here}/a.beton", "1/1", jpeg)
    assert merge(f"{here}/a.beton", f"{here}/b.beton").samples == 4
    assert leave_card(f"{here}/b.beton") is None and (tmp_path / "b.beton.md").exists()
    assert verify(f"{here}/b.beton", against=f"{here}/a.beton.json").ok
    assert str(manifest_path(f"{here}/a.beton")) == f"{here}/a.beton.json"
    assert Manifest.load(f"{here}/b.beton") == Manifest.read(f"{here}/b.beton.json")
    with Beton(f"{here}/b.beton") as beton:
        train, probe = split_identities(beton, f"{here}/t.beton", f"{here}/p.beton", share=0.5)
        assert (train.samples, probe.samples) == (2, 2)
        assert extract(beton, f"{here}/out") == 4
    assert stage(f"{here}/b.beton", f"{here}/fast", 1.0).read_bytes() == (tmp_path / "b.beton").read_bytes()
    (tmp_path / "pairs.txt").write_text("2\t1\n" + "Ann\t1\t2\nAnn\t1\tBob\t1\n" * 2)
    assert len(read_pairs(f"{here}/pairs.txt")) == 4


def test_what_is_read_is_never_written_over(tmp_path: Path, jpeg: bytes) -> None:
    path = write(f"{tmp_path}/a.beton", "1/1", jpeg)
    before = Path(path).read_bytes()
    with pytest.raises(ConfigError, match="--out: .* is one of the shards"):
        merge([path], path, overwrite=True)
    with Beton(path) as beton, pytest.raises(ConfigError, match="--out-probe: .* is the file that is to be split"):
        split_identities(beton, f"{tmp_path}/t.beton", path, share=0.5, overwrite=True)
    assert Path(path).read_bytes() == before and verify(path).ok


def test_a_beton_named_for_its_manifest_is_told_the_manifest(tmp_path: Path, jpeg: bytes) -> None:
    path = write(f"{tmp_path}/a.beton", None, jpeg)
    with pytest.raises(BetonError, match=r"is not a readable manifest but a \.beton.*Name .*a\.beton\.json"):
        verify(path, against=path)
