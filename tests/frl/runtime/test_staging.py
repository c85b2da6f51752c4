"""A copy on a fast disk: whole or absent, made once, renewed when its source changes."""

import multiprocessing as mp
import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from frl.config import DataConfig
from frl.errors import ConfigError, StagingError
from frl.runtime.staging import stage, staged

SIDECARS = (".json", ".samples.tsv", ".rejects.tsv")


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "shared" / "faces.beton"
    path.parent.mkdir()
    path.write_bytes(os.urandom(300_000))
    for suffix in SIDECARS:
        path.with_name(path.name + suffix).write_text(f"beside: {suffix}")
    return path


def test_the_copy_and_what_lies_beside_it_are_the_source(source, tmp_path):
    copy = stage(source, tmp_path / "fast", 10)
    assert copy.is_relative_to(tmp_path / "fast")
    assert copy.read_bytes() == source.read_bytes()
    for suffix in SIDECARS:
        assert copy.with_name(copy.name + suffix).read_text() == f"beside: {suffix}"


def test_a_link_is_copied_with_what_lies_beside_the_file_it_leads_to(source, tmp_path):
    link = tmp_path / "link.beton"
    link.symlink_to(source)
    copy = stage(link, tmp_path / "fast", 10)
    assert copy.name == "link.beton" and copy.read_bytes() == source.read_bytes()
    for suffix in SIDECARS:
        assert copy.with_name(copy.name + suffix).read_text() == f"beside: {suffix}"


def test_a_sound_copy_is_used_again_and_a_changed_source_copied_anew(source, tmp_path):
    copy = stage(source, tmp_path / "fast", 10)
    first = copy.stat().st_ino
    assert stage(source, tmp_path / "fast", 10).stat().st_ino == first
    source.write_bytes(b"another")
    assert stage(source, tmp_path / "fast", 10).read_bytes() == b"another"


def test_a_copy_of_another_length_is_not_trusted(source, tmp_path):
    copy = stage(source, tmp_path / "fast", 10)
    copy.write_bytes(b"cut")
    assert stage(source, tmp_path / "fast", 10).read_bytes() == source.read_bytes()


def test_files_of_one_name_do_not_meet(source, tmp_path):
    other = tmp_path / "elsewhere" / source.name
    other.parent.mkdir()
    other.write_bytes(b"other")
    assert stage(source, tmp_path / "fast", 10).read_bytes() == source.read_bytes()
    assert stage(other, tmp_path / "fast", 10).read_bytes() == b"other"


def test_a_disk_that_is_too_small_is_named(source, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(StagingError, match="free"):
        stage(source, tmp_path / "fast", 10)
    assert not list((tmp_path / "fast").rglob("*.beton"))


def test_all_files_of_a_run_are_staged_or_none(source, tmp_path):
    data = DataConfig(data=(source, source))
    assert staged(data) == data
    copies = staged(replace(data, stage=tmp_path / "fast")).data
    assert copies[0] == copies[1] != source and copies[0].read_bytes() == source.read_bytes()


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        stage(tmp_path / "none.beton", tmp_path / "fast", 10)


def test_a_copy_that_differs_is_refused(source, tmp_path, monkeypatch):
    import hashlib

    monkeypatch.setattr(hashlib, "file_digest", lambda stream, digest: hashlib.blake2b(b"flipped"))
    with pytest.raises(StagingError, match="differs"):
        stage(source, tmp_path / "fast", 10)
    assert not list((tmp_path / "fast").rglob("*.beton"))


def hold(lock: Path, held, release) -> None:
    import fcntl

    with open(lock, "wb") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        held.set()
        release.wait(60)


def test_waiting_for_another_process_has_an_end_and_a_dead_one_does_not_count(source, tmp_path):
    lock = stage(source, tmp_path / "fast", 10).with_name(f".{source.name}.lock")
    context = mp.get_context("fork")
    held, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(lock, held, release))
    other.start()
    assert held.wait(300)
    with pytest.raises(StagingError, match="another process"):
        stage(source, tmp_path / "fast", 0.3)
    other.kill()
    other.join(timeout=300)
    assert stage(source, tmp_path / "fast", 10).exists()
