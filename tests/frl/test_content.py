"""What is no checkpoint is told by its first bytes, with the remedy that fits; nobody is accused of holding code."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from frl.beton import Beton, BetonWriter
from frl.cli import main
from frl.content import recognise
from frl.errors import BetonError, CheckpointError
from frl.evaluate import untrained
from frl.pretrained import load_backbone
from frl.runtime import checkpoint

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 102530333\n"


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"), io.BytesIO())
    return stream.getvalue()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3), b=np.zeros(2))
    return stream.getvalue()


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, format="PNG")
    return stream.getvalue()


def scripted() -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), stream)
    return stream.getvalue()


def exported() -> bytes:
    stream = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), stream)
    return stream.getvalue()


def onnx() -> bytes:
    helper = pytest.importorskip("onnx.helper")
    graph = helper.make_graph([], "g", [], [])
    return helper.make_model(graph, producer_name="pytorch").SerializeToString()


def hdf5() -> bytes:
    h5py = pytest.importorskip("h5py")
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["conv1/kernel"] = np.zeros(3)
    return stream.getvalue()


CASES: dict[str, tuple[Callable[[], bytes] | bytes, str, str]] = {
    "lfs pointer": (LFS, "Git LFS pointer", "git lfs pull"),
    "annex pointer": (b"/annex/objects/SHA256E-s102530333--00.pth\n", "git-annex pointer", "git annex get"),
    "dvc pointer": (b"outs:\n- md5: 0123\n  size: 3\n  path: w.pth\n", "DVC pointer", "dvc pull"),
    "web page": (b"<!DOCTYPE html><html><title>Sign in</title></html>", "web page", "Download it again"),
    "page of a drive": (b"\n\n  <html lang=en><head><title>Virus scan</title>", "web page", "Download it again"),
    "page with a mark": (b"\xef\xbb\xbf<html>", "web page", "Download it again"),
    "store's error": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML", "Download it again"),
    "interface's error": (b'{"message": "Not Found"}', "JSON", "Download it again"),
    "index of parts": (b'{"weight_map": {"a": "model-00001.safetensors"}}', "list of a model's parts", "one file"),
    "message": (b"Entry not found", "text file that begins with 'Entry not found'", "Download it again"),
    "text in utf-16": ("Zugriff verweigert".encode("utf-16"), "text file", "Download it again"),
    "long text": ("Überschrift\n".encode() * 2000, "text file", "Download it again"),
    "empty": (b"", "empty", "again"),
    "gzip": (gzip.compress(b"x" * 1000), "gzip", "gunzip -c"),
    "bzip2": (bz2.compress(b"x" * 1000), "bzip2", "bunzip2"),
    "xz": (lzma.compress(b"x" * 1000), "xz", "xz -dc"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(20), "Zstandard", "zstd -dc"),
    "tar": (tarred, "tar archive", "tar -xf"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "7-Zip", "7z x"),
    "rar": (b"Rar!\x1a\x07\x01\0", "RAR", "unrar"),
    "zip of weights": (zipped(weights__pth=b"x", readme__md=b"y"), "zip archive of other files", "unzip"),
    "empty zip": (zipped(), "zip archive of other files", "unzip"),
    "keras": (
        zipped(metadata__json=b"{}", config__json=b"{}", model__weights__h5=b"x"),
        "model of Keras",
        "PyTorch version",
    ),
    "hdf5": (hdf5, "HDF5", "PyTorch version"),
    "npz": (npz, "NumPy", "PyTorch checkpoint"),
    "npy": (npy, "NumPy", "PyTorch checkpoint"),
    "torchscript": (scripted, "TorchScript", "torch.jit.load"),
    "torch.export": (exported, "torch.export", "torch.export.load"),
    "onnx": (onnx, "ONNX", "checkpoint that it was exported from"),
    "saved model": (b"\x08\x01\x12\xc6\x06\x0a" + bytes(50), "TensorFlow", "PyTorch"),
    "tensorflow index": (bytes(40) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "TensorFlow", "PyTorch"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(20), "TensorFlow Lite", "PyTorch"),
    "gguf": (b"GGUF\x03\0\0\0", "GGUF", "PyTorch"),
    "picture": (png, "picture", "another file"),
    "pdf": (b"%PDF-1.7\n", "PDF", "Download it again"),
    "program": (b"\x7fELF\2\1\1" + bytes(20), "program", "another file"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["weights.pth", "model.safetensors"])
def test_what_is_no_checkpoint_is_called_what_it_is(case: str, name: str, tmp_path: Path) -> None:
    made, what, remedy = CASES[case]
    path = tmp_path / name
    path.write_bytes(made if isinstance(made, bytes) else made())
    for door in (load_backbone, checkpoint.load):
        with pytest.raises(CheckpointError) as refusal:
            door(path)
        assert what in refusal.value.cause and "is no checkpoint" in refusal.value.cause
        assert remedy in refusal.value.remedy
        assert "could run code" not in str(refusal.value)


def test_unknown_bytes_are_shown(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"\xde\xad\xbe\xef" * 10)
    with pytest.raises(CheckpointError, match="begins with the bytes de ad be ef"):
        load_backbone(tmp_path / "w.pth")


def test_a_checkpoint_that_is_cut_off_is_called_that(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(10_000)}, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="is cut off"):
        load_backbone(tmp_path / "w.pth")


def test_a_model_saved_whole_names_its_class(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError, match=r"Python objects \(torch\.nn\.modules\.linear\.Linear\), which could run"
    ):
        load_backbone(tmp_path / "w.pth")


def test_safetensors_are_read_whatever_their_name_and_checkpoints_too(tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.torch").save_file
    state = untrained("resnet18").state_dict()
    save(state, tmp_path / "model.bin")
    torch.save(state, tmp_path / "model.safetensors")
    for name in ("model.bin", "model.safetensors"):
        backbone, arch = load_backbone(str(tmp_path / name))
        assert arch == "resnet18" and torch.equal(backbone.state_dict()["conv1.weight"], state["conv1.weight"])


def test_folders_say_what_is_in_them(tmp_path: Path) -> None:
    def refused(name: str, *files: str) -> str:
        for file in files:
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(b"x")
        with pytest.raises(CheckpointError) as refusal:
            load_backbone(tmp_path / name)
        return str(refusal.value)

    assert "it holds pytorch_model.bin" in refused("snapshot", "config.json", "pytorch_model.bin")
    assert "unpacked checkpoint" in refused("archive", "data.pkl", "data/0", "version")
    assert "TensorFlow" in refused("saved", "saved_model.pb")
    assert "holds no checkpoints" in refused("other", "readme.txt")


def test_links_to_nowhere_and_pipes_end(tmp_path: Path) -> None:
    (tmp_path / "link.pth").symlink_to("../blobs/0123")
    with pytest.raises(CheckpointError, match=r"link to \.\./blobs/0123, which is not here"):
        load_backbone(tmp_path / "link.pth")
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(CheckpointError, match="no regular file but a pipe"):
        load_backbone(tmp_path / "pipe.pth")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_the_bytes_the_refusal_is_ours(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        load_backbone(path)


def test_a_beton_and_a_checkpoint_are_not_taken_for_something_else(tmp_path: Path) -> None:
    with BetonWriter(str(tmp_path / "a.beton"), capacity=1) as writer:
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, format="JPEG")
        writer.append(stream.getvalue(), 8, 8, 0, "a.jpg")
    torch.save({"w": torch.zeros(2)}, tmp_path / "a.pth")
    torch.save({"w": torch.zeros(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors")
    for name in ("a.pth", "old.pth", "a.safetensors"):
        assert recognise(tmp_path / name) is None
        with pytest.raises(BetonError, match=r"is no .beton: it is weights of PyTorch or safetensors"):
            Beton(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"is no checkpoint: it is a .beton of images"):
        load_backbone(tmp_path / "a.beton")
    with open(tmp_path / "a.beton", "r+b") as file:
        file.truncate(500)
    with pytest.raises(BetonError, match="truncated"):
        Beton(tmp_path / "a.beton")


WRITE = "frl write FILE --out faces.beton"
GIVE = "the .beton here that frl write made"
REMEDIES = {
    **{name: f"> faces.beton, or make one of a tar: {WRITE}" for name in ("gzip", "bzip2", "xz")},
    **dict.fromkeys(("tar", "hdf5"), f"Make one of its images: {WRITE}"),
    **{
        name: f"Download it again, or make one of a list of images: {WRITE}"
        for name in ("message", "interface's error")
    },
    "zstd": "> faces.beton",
    **dict.fromkeys(("index of parts", "keras", "npz", "npy", "torchscript", "torch.export", "onnx"), GIVE),
    **dict.fromkeys(("saved model", "tensorflow index", "tflite", "gguf"), GIVE),
}
"""Where a .beton was meant, of what has another remedy then."""


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"empty"}))
def test_what_is_no_beton_is_called_what_it_is(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, what, remedy = CASES[case]
    path = tmp_path / "faces.beton"
    path.write_bytes(made if isinstance(made, bytes) else made())
    with pytest.raises(BetonError, match="is no .beton") as refusal:
        Beton(path)
    assert what in refusal.value.cause and REMEDIES.get(case, remedy) in refusal.value.remedy
    assert not any(word in refusal.value.remedy for word in ("weights", "checkpoint", "PyTorch"))
    assert main(["verify", str(path)]) == 1 and what in capsys.readouterr().err


def test_a_folder_in_place_of_a_beton_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BetonError, match=r"is no .beton: it is a folder\. .*frl write FOLDER --out faces.beton"):
        Beton(tmp_path)
