"""Many workers, many jobs, many kills: the content is that of one quiet run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pictures import damaged, encode, picture
from processes import assert_gone, descendants

from frl.beton import Beton, verify
from frl.beton.manifest import Manifest
from frl.cli.merge import main as merge
from frl.errors import ConfigError
from writers.to_beton import main

QUICK_COMMITS = """
import sys, time
from frl.beton import writer
from writers.to_beton import main

keep = writer.BetonWriter.keep
writer.COMMIT_SECONDS = 0
writer.BetonWriter.keep = lambda self: (keep(self), time.sleep(0.01))
sys.exit(main())
"""
"""The command, except that it commits after every image, and takes its time, so that it is killed before it ends."""


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Eight people, some images that pass through, some that are shrunk, and two that are bad."""
    folder = tmp_path / "people"
    for i in range(8):
        (folder / f"n{i:06}").mkdir(parents=True)
        for j in range(9):
            face = encode(picture(30 + 40 * (j % 3), 30 + 40 * (j % 3)), quality=70 + i)
            (folder / f"n{i:06}" / f"{j:04}.jpg").write_bytes(face)
    (folder / "n000003" / "empty.jpg").write_bytes(damaged("empty"))
    (folder / "n000005" / "half.jpg").write_bytes(damaged("half"))
    return folder


ALL = ("--dedupe", "none")
"""Copies in different shards are a matter of frl merge."""


def written(people: Path, out: Path, *options: str) -> Manifest:
    assert main([str(people), "--out", str(out), "--size", "96", *options]) == 0
    manifest = Manifest.load(out)
    assert manifest is not None
    return manifest


def test_shards_joined_are_the_content_of_one_run_whatever_the_workers(people: Path, tmp_path: Path) -> None:
    one = written(people, tmp_path / "one.beton", "--workers", "1", *ALL)
    four = written(people, tmp_path / "four.beton", "--workers", "4", *ALL)
    assert one.content_sha256 == four.content_sha256
    for i in (1, 2, 3):
        shard = written(people, tmp_path / f"shard{i}.beton", "--workers", str(1 + i % 2), "--shard", f"{i}/3", *ALL)
        assert shard.identities == one.identities
    merge([*(str(tmp_path / f"shard{i}.beton") for i in (3, 1, 2)), "--out", str(tmp_path / "all.beton")])
    joined = Manifest.load(tmp_path / "all.beton")
    assert joined is not None
    assert joined.content_sha256 == one.content_sha256
    assert (joined.settings, joined.counts, joined.rejected) == (one.settings, one.counts, 2)
    assert verify(tmp_path / "all.beton", deep=True, against=tmp_path / "one.beton.json").ok
    with Beton(tmp_path / "all.beton") as all_, Beton(tmp_path / "one.beton") as whole:
        assert all_.labels.tolist() == whole.labels.tolist()


def test_shards_joined_leave_out_the_copies_that_one_run_leaves_out(people: Path, tmp_path: Path) -> None:
    one = written(people, tmp_path / "one.beton")
    for i in (1, 2, 3):
        written(people, tmp_path / f"shard{i}.beton", "--shard", f"{i}/3")
    merge([*(str(tmp_path / f"shard{i}.beton") for i in (1, 2, 3)), "--out", str(tmp_path / "all.beton")])
    joined = Manifest.load(tmp_path / "all.beton")
    assert joined is not None and joined.content_sha256 == one.content_sha256
    assert one.counts["duplicates"] == joined.counts["duplicates"] > 0
    assert joined.rejected == one.rejected


@pytest.mark.parametrize("changed", ["sources", "tables"])
def test_shards_of_sources_that_have_changed_in_between_are_not_joined(
    people: Path, tmp_path: Path, changed: str
) -> None:
    """Each would be a part of another whole, and images that lie in neither would be lost without a word."""
    boxes = tmp_path / "boxes.csv"
    boxes.write_text('NAME_ID,X,Y,W,H\n"n000000/0000",1,1,20,20\n')
    written(people, tmp_path / "1.beton", "--boxes", str(boxes), "--shard", "1/2")
    if changed == "sources":
        (people / "n000000" / "new.jpg").write_bytes(encode(picture(40, 40)))
    else:
        boxes.write_text('NAME_ID,X,Y,W,H\n"n000000/0000",5,5,20,20\n')
    written(people, tmp_path / "2.beton", "--boxes", str(boxes), "--shard", "2/2")
    shards = [str(tmp_path / f"{number}.beton") for number in (1, 2)]
    with pytest.raises(ConfigError, match=r"2.beton: was written from other sources or tables than .*1.beton"):
        merge([*shards, "--out", str(tmp_path / "all.beton")])
    assert not (tmp_path / "all.beton").exists()
    written(people, tmp_path / "1.beton", "--boxes", str(boxes), "--shard", "1/2", "--overwrite")
    merge([*shards, "--out", str(tmp_path / "all.beton")])
    assert verify(tmp_path / "all.beton").ok


def test_the_hash_notices_another_label_name_image_or_order(people: Path, tmp_path: Path) -> None:
    hashes = {
        written(people, tmp_path / "a.beton").content_sha256,
        written(people, tmp_path / "b.beton", "--seed", "1").content_sha256,
    }
    hashes.add(written(people, tmp_path / "c.beton", "--quality", "80").content_sha256)
    (people / "n000001").rename(people / "n000011")
    hashes.add(written(people, tmp_path / "d.beton").content_sha256)
    assert len(hashes) == 4


def test_an_empty_shard_is_refused(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(people), "--out", str(tmp_path / "x.beton"), "--limit", "2", "--shard", "1/3"]) == 1
    assert "shard 1/3: none of the 2 images" in capsys.readouterr().err
    assert main([str(people), "--out", str(tmp_path / "x.beton"), "--shard", "4/3"]) == 1


@pytest.mark.parametrize("kilobytes", [4, 8192 + 8])
def test_a_full_disk_ends_the_command_and_leaves_nothing(people: Path, tmp_path: Path, kilobytes: int) -> None:
    """Full at the first byte of an image, or after some of them (images begin at 8 MiB)."""
    out = tmp_path / "out" / "faces.beton"
    out.parent.mkdir()
    command = [sys.executable, "-c", QUICK_COMMITS, str(people), "--out", str(out), "--workers", "1"]
    limited = ["bash", "-c", f'ulimit -f {kilobytes} && exec "$@"', "bash", *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert f"frl write: {out}: could not be written (File too large). Free space" in done.stderr
    assert list(out.parent.iterdir()) == []


def test_killed_again_and_again_it_comes_to_the_same_content(people: Path, tmp_path: Path) -> None:
    quiet = written(people, tmp_path / "quiet.beton", "--workers", "2")
    out, moments = tmp_path / "out" / "faces.beton", random.Random(0)
    out.parent.mkdir()
    command = [sys.executable, "-c", QUICK_COMMITS, str(people), "--out", str(out), "--size", "96", "--workers", "2"]
    journal = out.with_name(f".{out.name}.journal.partial")
    resumed = 0
    for _ in range(8):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
            assert run.stderr is not None
            before = journal.stat().st_size if journal.exists() else 0
            while run.poll() is None and (not journal.exists() or journal.stat().st_size <= before):
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.05))
            below = descendants(run.pid)
            run.send_signal(signal.SIGKILL)
            resumed += "going on after" in run.stderr.read()
        assert_gone(below)
        if out.exists():
            break
    assert resumed
    last = subprocess.run([*command, "--overwrite"], capture_output=True, text=True, timeout=300)
    assert last.returncode == 0, last.stderr
    manifest = Manifest.load(out)
    assert manifest is not None and manifest.content_sha256 == quiet.content_sha256
    assert manifest.counts == quiet.counts
    assert len(list(out.parent.iterdir())) == 6
