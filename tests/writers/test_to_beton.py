"""The command: every image is written or accounted for, the same way every time, and a crash leaves no half file."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import damaged, encode, picture, png_of_zeros
from PIL import Image
from processes import assert_gone, descendants, kill, left_in_shared_memory

from frl.beton import Beton, verify, writer
from frl.errors import ConfigError
from writers.config import WriteConfig
from writers.stop import Stopped
from writers.to_beton import main, write

COMMAND = [sys.executable, str(Path(__file__).resolve().parents[2] / "writers" / "to_beton.py")]


def plant(root: Path, images: dict[str, bytes]) -> Path:
    for path, data in images.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return root


def crowd(root: Path, identities: int, images: int, side: int = 32) -> Path:
    """Identity folders of different JPEGs."""
    faces = {
        f"n{i:06}/{j:04}_01.jpg": encode(picture(side + i, side + i), quality=60 + j % 30)
        for i in range(identities)
        for j in range(images)
    }
    return plant(root, faces)


def run(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=timeout)


def lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def names(beton: Path) -> list[str]:
    return [line[2] for line in lines(Path(f"{beton}.samples.tsv"))]


def assert_nothing_written(out: Path) -> None:
    """Neither the file nor anything temporary."""
    assert list(out.parent.glob(f"*{out.name}*")) == []


def test_every_image_is_found_again_with_its_bytes_and_its_label(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = crowd(tmp_path / "people", identities=5, images=8)
    out = tmp_path / "faces.beton"
    assert main([str(folder), "--out", str(out), "--workers", "2"]) == 0
    assert "read 40 = written 40 + rejected 0" in capsys.readouterr().out
    identities = json.loads(Path(f"{out}.json").read_text())["identities"]
    assert identities == [f"people/n{i:06}" for i in range(5)]
    with Beton(out) as beton:
        assert len(beton) == 40
        for i, name in enumerate(names(out)):
            original = tmp_path / name
            assert beton.encoded(i).tobytes() == original.read_bytes()
            assert identities[beton.labels[i]] == f"people/{original.parent.name}"
            assert (beton.widths[i], beton.heights[i]) == Image.open(original).size
    assert sorted(names(out)) == sorted(str(path.relative_to(tmp_path)) for path in folder.glob("*/*.jpg"))
    assert verify(out, deep=True).ok


BAD = {"empty": "empty file", "html": "not an image", "half": "damaged JPEG", "no end marker": "damaged JPEG"}


def test_bad_images_are_listed_and_the_others_written(tmp_path: Path) -> None:
    folder = crowd(tmp_path / "people", identities=14, images=14)
    plant(folder, {f"n000003/bad {kind}.jpg": damaged(kind) for kind in BAD})
    out = tmp_path / "faces.beton"
    finished = run(folder, "--out", out)
    assert finished.returncode == 0, finished.stderr
    assert "read 200 = written 196 + rejected 4" in finished.stdout
    rejects = dict(lines(Path(f"{out}.rejects.tsv")))
    assert rejects.keys() == {f"people/n000003/bad {kind}.jpg" for kind in BAD}
    for kind, reason in BAD.items():
        assert reason in rejects[f"people/n000003/bad {kind}.jpg"]
    with Beton(out) as beton:
        assert len(beton) == 196
    assert verify(out, deep=True).ok


@pytest.mark.parametrize(("allowed", "status"), [(0, 1), (3, 1), (4, 0)])
def test_rejects_may_be_limited(tmp_path: Path, capsys: pytest.CaptureFixture[str], allowed: int, status: int) -> None:
    folder = plant(crowd(tmp_path / "people", 2, 4), {f"n000001/{kind}.jpg": damaged(kind) for kind in BAD})
    out = tmp_path / "out" / "faces.beton"
    out.parent.mkdir()
    assert main([str(folder), "--out", str(out), "--max-rejects", str(allowed), "--workers", "1"]) == status
    if status:
        assert f"--max-rejects: {allowed}" in capsys.readouterr().err
        assert_nothing_written(out)


def test_when_all_are_bad_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plant(tmp_path / "bad", {"a.jpg": b"<html>", "b.jpg": b""})
    out = tmp_path / "out" / "faces.beton"
    out.parent.mkdir()
    assert main([str(folder), "--out", str(out), "--workers", "1"]) == 1
    assert "rejected" in capsys.readouterr().err
    assert_nothing_written(out)


def test_a_disk_that_fails_ends_the_command(tmp_path: Path) -> None:
    """Nothing is mapped at the beginning of a process's memory, so reading it there is an input/output error."""
    folder = crowd(tmp_path / "people", identities=4, images=10)
    (folder / "n000002" / "0099_01.jpg").symlink_to("/proc/self/mem")
    out = tmp_path / "out" / "faces.beton"
    out.parent.mkdir()
    shared_memory = set(os.listdir("/dev/shm"))
    start = time.monotonic()
    finished = run(folder, "--out", out, timeout=300)
    assert time.monotonic() - start < 240  # not after the five minutes of patience
    assert finished.returncode == 1
    assert "people/n000002/0099_01.jpg: preparing it: the system refused (OSError: [Errno 5]" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert_nothing_written(out)
    assert not left_in_shared_memory(shared_memory)


def heavy_crowd(root: Path, images: int) -> Path:
    """Images that take long to shrink; one file under many names."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    plant(root, {"n000000/0.png": encode(Image.fromarray(noise), "PNG", compress_level=1)})
    for j in range(1, images):
        os.link(root / "n000000" / "0.png", root / "n000000" / f"{j}.png")
    return root


def workers_of(pid: int) -> list[int]:
    """The workers of a running command: forked from a server that is its child."""
    return [below for child in descendants(pid) for below in descendants(child)]


def test_a_killed_worker_ends_the_command(tmp_path: Path) -> None:
    folder = heavy_crowd(tmp_path / "people", images=1000)
    out = tmp_path / "out" / "faces.beton"
    out.parent.mkdir()
    shared_memory = set(os.listdir("/dev/shm"))
    arguments = [*COMMAND, str(folder), "--out", str(out), "--workers", "2", "--dedupe", "none"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as command:
        partial = out.with_name(f".{out.name}.partial")
        while not (partial.exists() and partial.stat().st_size):  # until the first images are written
            assert command.poll() is None
            time.sleep(0.01)
        workers = workers_of(command.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        _, stderr = command.communicate(timeout=300)
    assert command.returncode == 1
    assert "people/n000000/" in stderr and "its worker process was killed by SIGKILL" in stderr
    assert_gone(workers)
    assert not out.exists()  # what was committed, every ten seconds, is kept to go on from
    assert not left_in_shared_memory(shared_memory)


def test_a_command_killed_at_any_moment_leaves_a_whole_file_or_none(tmp_path: Path) -> None:
    folder = crowd(tmp_path / "people", identities=6, images=10)
    out = tmp_path / "out" / "faces.beton"
    out.parent.mkdir()
    arguments = [*COMMAND, str(folder), "--out", str(out), "--workers", "2", "--overwrite"]
    start = time.monotonic()
    subprocess.run(arguments, check=True, capture_output=True)
    whole = time.monotonic() - start
    out.unlink()
    moments = random.Random(0)
    for attempt in range(20):
        command = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(whole * moments.uniform(0.3, 1.05))
        kill(command, group=attempt % 2 == 1)
        assert not out.exists() or verify(out, deep=True).ok
    subprocess.run(arguments, check=True, capture_output=True)
    assert verify(out, deep=True).ok
    assert {path.name for path in out.parent.iterdir()} == {
        out.name,
        *(f"{out.name}.{kind}" for kind in ("json", "samples.tsv", "md", "png")),
    }


def test_work_that_was_begun_with_other_options_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.0)
    config = WriteConfig(
        sources=(str(crowd(tmp_path / "people", 2, 4)),), out=tmp_path / "faces.beton", workers=1, size=24
    )

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Stopped(signal.SIGINT)

    with pytest.raises(Stopped):
        write(config, progress=stop)
    assert write(replace(config, quality=80)).begun == 0
    assert "faces.beton: of its images, 3 done before are done again: they are of other op" in capsys.readouterr().err


def test_a_bomb_is_listed_and_the_others_written(tmp_path: Path) -> None:
    folder = plant(
        tmp_path / "found", {"bomb.png": png_of_zeros(12_000, 8), "face.png": encode(picture(40, 40), "PNG")}
    )
    out = tmp_path / "faces.beton"
    finished = run(folder, "--out", out)
    assert finished.returncode == 0 and "read 2 = written 1 + rejected 1" in finished.stdout
    assert lines(Path(f"{out}.rejects.tsv")) == [["found/bomb.png", "12000 x 12000 pixels, more than 100 megapixels"]]


def test_the_file_depends_on_the_seed_and_not_on_the_workers(tmp_path: Path) -> None:
    folder = crowd(tmp_path / "people", identities=9, images=9, side=250)  # some pass through, some are shrunk
    outs = {}
    for seed, workers in ((0, 1), (0, 3), (1, 2)):
        out = tmp_path / f"{seed}-{workers}.beton"
        assert main([str(folder), "--out", str(out), "--seed", str(seed), "--workers", str(workers)]) == 0
        outs[seed, workers] = out
    assert outs[0, 1].read_bytes() == outs[0, 3].read_bytes()
    assert names(outs[0, 1]) == names(outs[0, 3])
    assert sorted(names(outs[0, 1])) == sorted(names(outs[1, 2]))
    assert names(outs[0, 1]) != names(outs[1, 2])
    with Beton(outs[0, 1]) as beton:  # shuffled: the labels are in no order
        assert (np.diff(beton.labels) < 0).sum() > 20


def packed(folder: Path, archive: Path) -> Path:
    """The images of a folder in a tar, compressed if its name ends so."""
    with tarfile.open(archive, f"w:{'gz' if archive.suffix == '.gz' else ''}") as tar:
        tar.add(folder, arcname=".")
    return archive


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("limit", [(), ("--limit", "30")])
def test_an_archive_gives_what_its_folder_does(tmp_path: Path, suffix: str, limit: tuple[str, ...]) -> None:
    """The same samples in the same order, although a compressed tar is read from front to back."""
    folder = crowd(tmp_path / "people", identities=9, images=9)
    plant(folder, {"n000003/bad.jpg": damaged("half")})
    (tmp_path / "in").mkdir()
    archive = packed(folder, tmp_path / "in" / f"people{suffix}").rename(tmp_path / "in" / "people")
    others = crowd(tmp_path / "others", identities=2, images=10)
    outs = [tmp_path / "out" / name for name in ("folder.beton", "archive.beton")]
    outs[0].parent.mkdir()
    for source, out in zip((folder, archive), outs, strict=True):
        assert main([f"vggface2:{source}", str(others), "--out", str(out), "--workers", "2", *limit]) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    for sidecar in ("samples.tsv", "rejects.tsv"):
        assert Path(f"{outs[0]}.{sidecar}").read_bytes() == Path(f"{outs[1]}.{sidecar}").read_bytes()
    assert list(outs[0].parent.glob(".*")) == []


def test_a_limit_draws_from_all_and_another_image_moves_no_other(tmp_path: Path) -> None:
    folder = crowd(tmp_path / "people", identities=10, images=10)
    whole, part, more = (tmp_path / f"{name}.beton" for name in ("whole", "part", "more"))
    assert main([str(folder), "--out", str(whole), "--workers", "1"]) == 0
    assert main([str(folder), "--out", str(part), "--workers", "1", "--limit", "30"]) == 0
    assert names(part) == names(whole)[:30]
    assert len({name.split("/")[1] for name in names(part)}) > 5
    plant(folder, {"n000003/new.jpg": encode(picture(32, 32))})
    assert main([str(folder), "--out", str(more), "--workers", "1"]) == 0
    assert [name for name in names(more) if name != "people/n000003/new.jpg"] == names(whole)


def test_smaller_sets_of_people_and_of_their_images_lie_within_larger_ones(tmp_path: Path) -> None:
    folder = crowd(tmp_path / "people", identities=8, images=6)
    crowd_of = {}
    for people, images in ((8, 6), (8, 2), (4, 6), (4, 2), (2, 2)):
        out = tmp_path / f"{people}x{images}.beton"
        options = ["--identities", str(people), "--per-identity", str(images), "--workers", "1"]
        assert main([str(folder), "--out", str(out), *options]) == 0
        crowd_of[people, images] = names(out)
        assert len(names(out)) == people * images == len(set(names(out)))
        assert len({name.split("/")[1] for name in names(out)}) == people
    whole = crowd_of[8, 6]
    for smaller, larger in (((8, 2), (8, 6)), ((4, 6), (8, 6)), ((4, 2), (4, 6)), ((4, 2), (8, 2)), ((2, 2), (4, 2))):
        assert [name for name in crowd_of[larger] if name in crowd_of[smaller]] == crowd_of[smaller]
    assert [name for name in whole if name in crowd_of[2, 2]] == crowd_of[2, 2]


def test_people_are_counted_who_are_on_an_image_of_the_file(tmp_path: Path) -> None:
    """Not all of whom the sources know one: the file may be full before, or none of their images of use."""
    folder = crowd(tmp_path / "people", identities=6, images=2)
    plant(folder, {"n000006/a.jpg": b"", "n000006/b.jpg": b""})
    config = WriteConfig(sources=(str(folder),), out=tmp_path / "a.beton", workers=1)
    assert write(replace(config, dry_run=True)).identities == write(config).identities == 6
    few = replace(config, out=tmp_path / "b.beton", samples=3)
    found = write(few)
    with Beton(few.out) as beton:
        assert found.identities == len(set(beton.labels.tolist())) <= 3
    assert write(replace(few, dry_run=True)).identities == found.identities


def test_people_cannot_be_drawn_where_nobody_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path / "photos", {f"{i}.jpg": encode(picture(32 + i, 32)) for i in range(3)})
    out = tmp_path / "out.beton"
    assert main([f"folder:{tmp_path / 'photos'}", "--out", str(out), "--per-identity", "1"]) == 1
    assert "no image says who is on it" in capsys.readouterr().err and not out.exists()


def test_people_of_two_sources_do_not_merge_and_flat_folders_have_none(tmp_path: Path) -> None:
    faces = [encode(picture(32 + i, 32 + i)) for i in range(5)]
    one = plant(tmp_path / "one", {"Ann/1.jpg": faces[0], "Bob/1.jpg": faces[1]})
    two = plant(tmp_path / "two", {"Ann/1.jpg": faces[2]})
    flat = plant(tmp_path / "flat", {"a/1.jpg": faces[3], "2.jpg": faces[4]})
    out = tmp_path / "faces.beton"
    assert main([str(one), str(two), f"flickr:{flat}", "--out", str(out), "--workers", "1"]) == 0
    assert json.loads(Path(f"{out}.json").read_text())["identities"] == ["one/Ann", "one/Bob", "two/Ann"]
    labels = {name: int(label) for _, label, name in lines(Path(f"{out}.samples.tsv"))}
    assert labels == {
        "one/Ann/1.jpg": 0,
        "one/Bob/1.jpg": 1,
        "two/Ann/1.jpg": 2,
        "flat/a/1.jpg": -1,
        "flat/2.jpg": -1,
    }
    with Beton(out) as beton:
        assert [labels[name] for name in names(out)] == beton.labels.tolist()


def test_boxes_cut_the_faces_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The box is a red square on white: with no margin, nothing but red is left."""
    scene = np.full((300, 400, 3), 255, np.uint8)
    scene[100:220, 60:180] = (255, 0, 0)
    photo = encode(Image.fromarray(scene), subsampling=0, quality=100)
    folder = plant(tmp_path / "vgg", {"train/n000002/0001_01.jpg": photo})
    (folder / "loose_bb_train.csv").write_text('NAME_ID,X,Y,W,H\n"n000002/0001_01",60,100,120,120\n')
    out = tmp_path / "faces.beton"
    assert main([str(folder), "--out", str(out), "--margin", "0", "--workers", "1"]) == 0
    assert "with a face box 1" in capsys.readouterr().out
    assert main([str(folder), "--out", str(tmp_path / "wide.beton"), "--margin", "1", "--workers", "1"]) == 0
    with Beton(out) as beton, Beton(tmp_path / "wide.beton") as wide:
        (tmp_path / "face.jpg").write_bytes(beton.encoded(0).tobytes())
        assert beton.max_side == 120 and wide.max_side == 240
    face = np.asarray(Image.open(tmp_path / "face.jpg")).astype(int)
    assert np.abs(face[4:-4, 4:-4] - (255, 0, 0)).max() < 12


def test_a_file_that_exists_is_kept_unless_it_may_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = crowd(tmp_path / "people", identities=2, images=3)
    out = tmp_path / "faces.beton"
    out.write_text("precious")
    assert main([str(folder), "--out", str(out), "--workers", "1"]) == 1
    said = capsys.readouterr().err
    assert "exists" in said and "--overwrite" in said and out.read_text() == "precious"
    assert main([str(folder), "--out", str(out), "--workers", "1", "--overwrite"]) == 0
    assert verify(out, deep=True).ok


def test_what_is_read_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source under its own and other names, one of many tars, an image of a folder, a table; here and elsewhere."""
    folder = crowd(tmp_path / "people", identities=1, images=4)
    write(WriteConfig(sources=(str(folder),), out=tmp_path / "a.beton", workers=1))
    (tmp_path / "link.beton").symlink_to(tmp_path / "a.beton")
    (tmp_path / "faces.json").write_text('{"path": "people/n000000/0000_01.jpg"}')
    for name in ("s-0.tar", "s-1.tar", "boxes.csv"):
        (tmp_path / name).write_bytes(b"x")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.chdir(tmp_path)
    for source, out, cause in (
        ("a.beton", "a.beton", "a.beton is read as a source"),
        ("beton:a.beton", str(tmp_path / "people" / ".." / "a.beton"), "a.beton is read as a source"),
        ("link.beton", "a.beton", "a.beton is read as a source"),
        ("s-{0..1}.tar", "s-1.tar", "s-1.tar is read as a source"),
        ("webdataset:s-*.tar", "s-0.tar", "s-0.tar is read as a source"),
        ("list:faces.json", "faces", "faces.json is read as a source"),
        ("people", "people/n000000/0000_01.jpg", "is a file of the source people"),
        ("people", "boxes.csv", "boxes.csv is read as --boxes"),
        ("s3://faces/a.beton", "s3://faces/a.beton", "s3://faces/a.beton is read as a source"),
    ):
        config = WriteConfig(
            sources=(source,), out=Path(out), boxes=Path("boxes.csv"), limit=2, workers=1, overwrite=True
        )
        for on, shards in ((None, None), ("local", 2)):
            with pytest.raises(ConfigError, match=f"--out: .*{re.escape(cause)}"):
                write(replace(config, on=on, shards=shards))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    write(WriteConfig(sources=("people",), out=Path("people/a.beton"), workers=1))
    again = WriteConfig(sources=("people",), out=Path("people/a.beton"), workers=1, limit=2, overwrite=True)
    assert write(again).written == 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--size", "0"], "--size"),
        (["--quality", "101"], "--quality"),
        (["--margin", "-0.1"], "--margin"),
        (["--limit", "0"], "--limit"),
        (["--identities", "0"], "--identities"),
        (["--per-identity", "0"], "--per-identity"),
        (["--workers", "-1"], "--workers"),
        (["--max-rejects", "-1"], "--max-rejects"),
        (["--min-side", "65", "--size", "64"], "--min-side: no sample has 65 pixels a side where --size is 64"),
        (["--max-megapixels", "0"], "--max-megapixels"),
        (["--boxes", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    folder = crowd(tmp_path / "people", identities=1, images=1)
    assert main([str(folder), "--out", str(tmp_path / "out.beton"), *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("frl write: ") and complaint in error
    assert_nothing_written(tmp_path / "out.beton")


@pytest.mark.parametrize("sources", [[], ["empty"]])
def test_no_image_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sources: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plant(tmp_path / "empty", {"readme.txt": b"nothing here", "list.csv": b"1,2"})
    assert main([*sources, "--out", "faces.beton"]) == 1
    assert "no image found" in capsys.readouterr().err


def test_names_that_are_no_text_are_escaped_in_the_sidecars(tmp_path: Path) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    with open(os.fsencode(folder) + b"/caf\xe9\t1.jpg", "wb") as stream:
        stream.write(encode(picture(16, 16)))
    out = tmp_path / "faces.beton"
    assert main([str(folder), "--out", str(out), "--workers", "1"]) == 0
    with Beton(out) as beton:
        assert "caf\\xe9" in beton.name(0)
    assert verify(out, deep=True).ok


def test_an_unknown_flag_is_refused_and_the_help_names_the_options(tmp_path: Path) -> None:
    assert run(tmp_path, "--out", tmp_path / "x.beton", "--sise", "3").returncode == 2
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert shown.returncode == 0 and "--max-rejects" in shown.stdout and "SOURCE" in shown.stdout


def test_real_faces(tmp_path: Path, real_faces: Path) -> None:
    out = tmp_path / "faces.beton"
    sources = [
        str(real_faces / "lfw_color150"),
        str(real_faces / "ytf_frames192"),
        f"flickr:{real_faces / 'utkface200'}",
    ]
    assert main([*sources, "--out", str(out), "--limit", "100"]) == 0
    assert verify(out, deep=True).ok
    with Beton(out) as beton:
        assert len(beton) == 100
        for i, name in enumerate(names(out)):
            original = (real_faces / name).read_bytes()
            assert beton.encoded(i).tobytes() == original  # all of them are square JPEGs of at most 200 pixels
            assert (beton.labels[i] == -1) == name.startswith("utkface200")


def test_whole_photographs_that_nobody_searches_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = plant(tmp_path / "photos", {f"{i}.jpg": encode(picture(90, 60 + i)) for i in range(3)})
    plant(photos, {"2.faces.json": b'[{"box": [10, 10, 30, 30]}]'})
    out = tmp_path / "faces.beton"
    assert main([f"flickr:{photos}", "--out", str(out), "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert "photos: without --detect, a photograph without annotated faces becomes its central square" in printed.err
    assert "central squares of photographs: 2; --detect dlib" in printed.out
    assert json.loads(Path(f"{out}.json").read_text())["counts"]["central squares of photographs"] == 2
    assert main([f"folder:{photos}", "--out", str(out), "--workers", "1", "--overwrite"]) == 0
    again = capsys.readouterr()
    assert "photos: without --detect, a photograph" in again.err
    assert "central squares of photographs: 2; --detect dlib" in again.out


def test_central_squares_of_any_source_are_told_of_and_squares_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plant(tmp_path / "n", {"a/1.jpg": encode(picture(90, 60)), "a/2.jpg": encode(picture(60, 60))})
    out = tmp_path / "faces.beton"
    assert main([f"vggface2:{folder}", "--out", str(out), "--workers", "1"]) == 0
    assert "central squares of photographs: 1;" in capsys.readouterr().out


def test_a_dry_run_of_a_stream_says_where_it_puts_samples_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = packed(crowd(tmp_path / "people", 2, 10), tmp_path / "people.tar.gz")
    out = tmp_path / "out" / "faces.beton"
    out.parent.mkdir()
    assert main([f"vggface2:{archive}", "--out", str(out), "--workers", "1", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert f"put aside in nameless files in {out.parent}" in printed.err
    assert "written 20" in printed.out
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("images", [1, 40])
def test_a_dry_run_estimates_the_size_of_the_file_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], images: int
) -> None:
    """With its pages, of which a small file fills little, and whose ends stay empty."""
    noise = np.random.default_rng(0).integers(0, 256, (images, 900, 900, 3), np.uint8)
    faces = {f"{i}.jpg": encode(Image.fromarray(image), quality=95) for i, image in enumerate(noise)}
    folder = plant(tmp_path / "faces", faces)
    sizes = []
    for options in (["--dry-run"], []):
        out = tmp_path / "faces.beton"
        config = WriteConfig(sources=(f"folder:{folder}",), out=out, workers=1, size=900, dry_run=bool(options))
        sizes.append(write(config).nbytes)
    assert sizes[0] == sizes[1] == (tmp_path / "faces.beton").stat().st_size
    assert images == 1 or sizes[1] > sum(map(len, faces.values())) + (1 << 20)


def test_without_rejects_there_is_no_list_of_them(tmp_path: Path) -> None:
    folder = crowd(tmp_path / "people", identities=1, images=2)
    plant(folder, {"n000000/bad.jpg": damaged("half")})
    out = tmp_path / "faces.beton"
    rejects = Path(f"{out}.rejects.tsv")
    assert main([str(folder), "--out", str(out), "--workers", "1"]) == 0 and rejects.exists()
    (folder / "n000000" / "bad.jpg").unlink()
    assert main([str(folder), "--out", str(out), "--workers", "1", "--overwrite"]) == 0 and not rejects.exists()
