"""Files of object stores, through a network that drops connections, answers 503 and cuts bodies short."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hub_server import Fault, model_hub
from object_store import Proxy, Trouble, faulty_s3
from pictures import encode
from PIL import Image

from frl import store
from frl.beton import Beton, BetonWriter
from frl.cli import main
from frl.config import DataConfig
from frl.errors import BetonError, ConfigError, StoreError
from frl.runtime import checkpoint
from frl.runtime.staging import from_stores, readable, stage


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with faulty_s3(monkeypatch) as proxy:
        yield proxy


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PART", 1 << 16)


def put(where: str, data: bytes) -> None:
    fsspec.filesystem("s3").pipe_file(where, data)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("s3://a/b", "s3://a/b"),
        (Path("s3://a/b"), "s3://a/b"),
        (Path("https://h:80/b?c"), "https://h:80/b?c"),
        ("memory://a", "memory://a"),
        ("/a/b", None),
        ("a:b", None),
        ("C:/a", None),
        ("hdf5:/a", None),
        ("s3://", None),
    ],
)
def test_addresses_are_told_from_paths(path: object, meant: str | None) -> None:
    assert store.address(path) == meant


def test_a_download_in_parts_is_the_file_whatever_fails(s3: Proxy, small_parts: None, tmp_path: Path) -> None:
    data = os.urandom(20 * (1 << 16) + 17)
    put("faces/a", data)
    s3.trouble = Trouble(every=3)
    store.download("s3://faces/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == data
    assert set(s3.failed) == {"drop", "busy", "cut"} and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_killed_download_goes_on_and_a_changed_file_begins_anew(
    s3: Proxy, small_parts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "WAITS_S", ())
    data = os.urandom(32 << 16)
    put("faces/a", data)
    s3.trouble = Trouble(every=9, ways=("drop",) * 99, methods=("GET",))
    monkeypatch.setattr(type(s3), "way", _dead_after(12))
    with pytest.raises(StoreError, match="s3://faces/a: cannot be read"):
        store.download("s3://faces/a", tmp_path / "a")
    assert not (tmp_path / "a").exists()
    kept = len((tmp_path / ".a.download.parts").read_text().splitlines()) - 1
    assert kept > 0
    monkeypatch.setattr(type(s3), "way", lambda self, method: None)
    s3.requests.clear()
    store.download("s3://faces/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == data
    assert sum("bytes=" in request for request in s3.requests) == 32 - kept

    monkeypatch.setattr(type(s3), "way", _dead_after(12))
    with pytest.raises(StoreError):
        store.download("s3://faces/a", tmp_path / "b")
    monkeypatch.setattr(type(s3), "way", lambda self, method: None)
    put("faces/a", data[::-1])
    store.download("s3://faces/a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == data[::-1]


def _dead_after(count: int):
    """A proxy that lets so many requests for parts through, and then none of any kind."""

    def way(self: Proxy, method: str) -> str | None:
        parts = sum("bytes=" in request for request in self.requests)
        return "drop" if parts > count else None

    return way


def test_a_file_that_changes_meanwhile_is_refused(s3: Proxy, tmp_path: Path, monkeypatch) -> None:
    put("faces/a", b"x" * 1000)
    plain = store.read

    def read(*arguments, **options):
        data = plain(*arguments, **options)
        put("faces/a", b"y" * 1000)
        return data

    monkeypatch.setattr(store, "read", read)
    with pytest.raises(StoreError, match="has changed while it was read"):
        store.download("s3://faces/a", tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_reader_reads_as_files_do(s3: Proxy, small_parts: None) -> None:
    data = os.urandom(300_000)
    put("faces/a", data)
    s3.trouble = Trouble(every=4)
    with store.Reader("s3://faces/a") as reader:
        assert reader.read(10) == data[:10]
        reader.seek(-100_001, os.SEEK_END)
        assert reader.read() == data[-100_001:]
        reader.seek(5)
        assert hashlib.sha256(reader.read()).digest() == hashlib.sha256(data[5:]).digest()
        assert reader.read(1) == b""


def test_what_is_not_there_or_not_allowed_is_said_at_once(s3: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="s3://faces/none: is not there"):
        store.state("s3://faces/none")
    with pytest.raises(FileNotFoundError):
        store.read("s3://faces/none")
    assert len(s3.requests) < 12, "nothing is tried again that cannot help"
    with pytest.raises(StoreError, match="is no kind of store"):
        store.state("nosuch://a/b")


@pytest.fixture
def beton(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "faces.beton"
    path.parent.mkdir()
    rng = np.random.default_rng(0)
    with BetonWriter(path, capacity=24, page_size=1 << 21) as writer:
        for index in range(24):
            noise = Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
            writer.append(encode(noise), 96, 96, -1, f"{index}.jpg")
    return path


def upload_all(beton: Path) -> None:
    for path in beton.parent.iterdir():
        store.upload(path, f"s3://faces/set/{path.name}")


def test_a_file_of_a_store_is_staged_once_and_checked(s3: Proxy, beton: Path, small_parts: None, tmp_path) -> None:
    upload_all(beton)
    s3.trouble = Trouble(every=4)
    copy = stage(Path("s3://faces/set/faces.beton"), tmp_path / "fast", 60)
    assert copy.read_bytes() == beton.read_bytes() and s3.failed
    for path in beton.parent.iterdir():
        assert copy.with_name(path.name).read_bytes() == path.read_bytes()
    s3.trouble = None
    s3.requests.clear()
    assert stage("s3://faces/set/faces.beton", tmp_path / "fast", 60) == copy
    assert not [request for request in s3.requests if request.startswith("GET") and "list-type" not in request]

    config = DataConfig(data=(Path("s3://faces/set/faces.beton"),), stage=tmp_path / "fast")
    assert from_stores(config).data == (copy,)
    with pytest.raises(ConfigError, match=r"data: .*lies in an object store.*--stage"):
        DataConfig(data=(Path("s3://faces/set/faces.beton"),)).check()
    assert readable(DataConfig(data=(beton,))).data == (beton,)


def test_the_store_is_asked_no_more_than_twice_what_a_file_is(
    s3: Proxy, beton: Path, tmp_path: Path, monkeypatch
) -> None:
    """Before it is copied and after; when it is here already, once."""
    upload_all(beton)
    monkeypatch.chdir(tmp_path)

    def asked(path: str) -> int:
        count = sum(request.split()[:2] == ["HEAD", f"/faces/set/{path}"] for request in s3.requests)
        s3.requests.clear()
        return count

    s3.requests.clear()
    stage("s3://faces/set/faces.beton", tmp_path / "fast", 60)
    assert asked("faces.beton") == 2
    stage("s3://faces/set/faces.beton", tmp_path / "fast", 60)
    assert asked("faces.beton") == 1
    assert main(["pull", "s3://faces/set/faces.beton"]) == 0
    assert asked("faces.beton") == 2


def test_a_beton_is_pulled_with_what_lies_beside_it(
    s3: Proxy, beton: Path, small_parts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    upload_all(beton)
    s3.trouble = Trouble(every=4)
    monkeypatch.chdir(tmp_path)
    assert main(["pull", "s3://faces/set/faces.beton"]) == 0 and s3.failed
    s3.trouble = None
    for path in beton.parent.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert main(["verify", "faces.beton", "--deep"]) == 0
    assert main(["pull", "s3://faces/set/faces.beton"]) == 1 and "exists already" in capsys.readouterr().err
    Path("other.beton.md").write_text("of another file")
    assert main(["pull", "s3://faces/set/faces.beton", "--out", "other.beton"]) == 0
    assert "of another file" not in Path("other.beton.md").read_text()
    with Beton("other.beton") as opened:
        assert opened.manifest is not None and (tmp_path / "other.beton.samples.tsv").is_file()
    assert main(["pull", "s3://faces/set/a.h5"]) == 1 and "is no .beton" in capsys.readouterr().err
    assert main(["pull", "s3://faces/none.beton", "--out", "none.beton"]) == 1
    assert "is not there" in capsys.readouterr().err and not (tmp_path / "none.beton").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["info", "s3://faces/set/faces.beton"],
        ["verify", "s3://faces/set/faces.beton", "--deep"],
        ["extract", "s3://faces/set/faces.beton", "--out", "new"],
        ["preview", "s3://faces/set/faces.beton", "--preset", "quickstart", "--out", "new.png"],
        ["split", "s3://faces/set/faces.beton", "--out-train", "new.beton", "--out-probe", "p.beton"],
        ["embed", "released:synthetic-faces", "s3://faces/set/faces.beton", "--out", "new.npz"],
        ["evaluate", "knn", "--data", "s3://faces/set/faces.beton", "--arch", "resnet18", "--size", "32"],
        ["evaluate", "pose", "--data", "s3://faces/set/faces.beton", "--arch", "resnet18", "--size", "32"],
    ],
)
def test_what_reads_from_a_disk_says_how_to_get_it_there(
    s3: Proxy, beton: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, command: list[str]
) -> None:
    upload_all(beton)
    monkeypatch.chdir(tmp_path)
    assert main(command) == 1
    assert "frl pull s3://faces/set/faces.beton" in capsys.readouterr().err
    assert not list(tmp_path.glob("new*"))


def test_a_copy_whose_bytes_are_wrong_is_refused(s3: Proxy, beton: Path, tmp_path: Path) -> None:
    """The right size, the right name, and one bit of one image."""
    data = bytearray(beton.read_bytes())
    with Beton(beton) as opened:
        data[int(opened.pointers[7]) + 500] ^= 1
    upload_all(beton)
    put("faces/set/faces.beton", bytes(data))
    with pytest.raises(BetonError, match=r"faces\.beton"):
        stage("s3://faces/set/faces.beton", tmp_path / "fast", 60)
    assert not list((tmp_path / "fast").rglob("faces.beton"))


def test_a_run_trains_on_a_file_of_a_store(
    s3: Proxy, beton: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """By the command, and once more, without another copy; a store that is gone is an error before anything is made."""
    upload_all(beton)
    options = ["--data", "s3://faces/set/faces.beton", "--stage", str(tmp_path / "fast"), "--device", "cpu"]
    options += ["--augment.crops.0.size", "24", "--augment.crops.0.count", "2"]
    options += ["--optim.batch-size", "8", "--optim.reference-batch", "8"]
    options += ["--objective.prototypes", "12", "--max-steps", "2", "--model.width", "4"]
    options += ["--precision", "fp32", "--compile", "off", "--augment", "cpu", "--engine", "torch", "--workers", "1"]
    assert main(["pretrain", "cpu", *options, "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    assert checkpoint.load(tmp_path / "run")["step"] == 2
    gone = [option.replace("faces.beton", "gone.beton") for option in options]
    assert main(["pretrain", "cpu", *gone, "--out", str(tmp_path / "other")]) == 1
    assert "s3://faces/set/gone.beton: is not there" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_web_servers_are_read_by_ranges(small_parts: None, tmp_path: Path) -> None:
    """The stand-in for a model hub serves files and ranges as web servers do."""
    data = os.urandom(5 * (1 << 16) + 3)
    with model_hub() as server:
        server.commit("a/b", {"faces.beton": data})
        where = f"{server.url}/a/b/resolve/main/faces.beton"
        server.faults = [Fault("GET ", "cut", 2), Fault("GET ", 503)]
        store.download(where, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data and all(fault.times == 0 for fault in server.faults)
        with pytest.raises(StoreError, match="is not there"):
            store.state(f"{server.url}/a/b/resolve/main/nothing")


def test_a_web_server_that_does_not_answer_is_asked_again_and_no_file_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec calls a file absent whose server is busy, refuses, or is gone."""
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(store, "WAITS_S", (0.01, 0.01))
    with model_hub() as server:
        server.commit("a/b", {"faces.beton": b"data"})
        where = f"{server.url}/a/b/resolve/main/faces.beton"
        server.faults += [Fault(pattern="^HEAD .*faces", action=503), Fault(pattern="^GET .*faces", action=503)]
        assert store.state(where).size == 4 and all(fault.times == 0 for fault in server.faults)
        server.faults[:] = [Fault(pattern="faces", action=503, times=1000)]
        with pytest.raises(StoreError, match=r"cannot be looked at \(it answers 503\).*tried 3 times"):
            store.is_file(where)
        server.faults[:] = [Fault(pattern="faces", action=403, times=1000)]
        with pytest.raises(StoreError, match=r"may not be looked at \(it answers 403\)"):
            store.state(where)
        server.faults.clear()
        assert store.is_file(where) and not store.is_file(f"{server.url}/a/b/resolve/main/nothing")
    with pytest.raises(StoreError, match="cannot be looked at"):
        store.state(where)  # nobody listens there any more
