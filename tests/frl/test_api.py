"""``import frl``: the commands as functions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import frl
from frl.config import AugmentConfig, CropSpec
from frl.errors import CheckpointError, ConfigError, FrlError, SourceError
from frl.evaluate.images import image_batches
from frl.export import export
from frl.network import Network
from frl.pretrained import load_backbone
from frl.synthetic import write_folder

ROOT = Path(__file__).parents[2]
SMALL = AugmentConfig(crops=(CropSpec(size=24, count=2, scale=(0.3, 1.0)),))


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """A folder with faces/ and faces.beton, which ``frl.write`` has made of it."""
    folder = tmp_path_factory.mktemp("api")
    write_folder(folder / "faces", 4, 6, 40, seed=0, workers=1)
    summary = frl.write(str(folder / "faces"), out=str(folder / "faces.beton"), workers=1)
    assert summary.identities == 4
    return folder


@pytest.fixture(scope="module")
def run(faces) -> Path:
    options = {"optim": {"batch_size": 8, "epochs": 1}, "log_every_steps": 1, "precision": "fp32"}
    return frl.pretrain("cpu", data=str(faces / "faces.beton"), out=str(faces / "run"), max_steps=2, **options)


def test_import_brings_neither_torch_nor_opencv():
    code = "import sys, frl; assert 'load' in dir(frl); sys.exit(bool({'torch', 'cv2', 'tyro'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=300, check=False).returncode == 0


def test_there_is_what_is_said_to_be_there_and_nothing_else():
    assert all(getattr(frl, name) is not None for name in frl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        frl.opne  # noqa: B018


def test_open(faces):
    with frl.open(str(faces / "faces.beton")) as beton:
        assert len(beton) == 24 and len(set(beton.labels.tolist())) == 4


def test_a_loader_runs_through_one_epoch_after_the_other(faces):
    loader = frl.loader(str(faces / "faces.beton"), augment=SMALL, batch_size=8, device="cpu")
    first, second = ([batch for batch in loader] for _ in range(2))
    assert [len(first), len(second), len(loader)] == [3, 3, 3]
    assert first[0].views[0].shape == (16, 3, 24, 24)
    for epoch, batches in enumerate((first, second)):
        for one, other in zip(batches, loader.epoch(epoch), strict=True):
            assert one.samples.equal(other.samples) and one.views[0].equal(other.views[0])
    assert not first[0].samples.equal(second[0].samples)
    loader.close()


def test_a_loader_of_a_folder_is_that_of_the_file(faces):
    loaders = [frl.loader(faces / name, augment=SMALL, batch_size=8, device="cpu") for name in ("faces", "faces.beton")]
    for live, stored in zip(*loaders, strict=True):
        assert live.samples.equal(stored.samples) and live.views[0].equal(stored.views[0])
    with frl.open(str(faces / "faces")) as images:
        assert len(images) == 24


def test_a_loader_of_an_open_file_with_the_crops_of_a_preset(faces):
    with frl.open(faces / "faces.beton") as beton:
        loader = frl.loader(beton, augment="cpu", batch_size=8, device="cpu", engine="torch")
        assert [view.shape[-1] for view in next(iter(loader)).views] == [
            crop.size for crop in frl.api.preset_of("cpu").config.augment.crops
        ]
        loader.close()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"augment": "paper"}, "no such preset"),
        ({"batch_size": 0}, "0 is not a number of at least 1"),
        ({"batch_size": 100}, "a step of 100 images cannot be made"),
        ({"device": "gpu"}, "'gpu' is none"),
        ({"weights": (1, 2)}, "2 weights for 1 files"),
    ],
)
def test_a_loader_that_cannot_work_is_refused(faces, options, words):
    with pytest.raises(ConfigError, match=words):
        frl.loader(faces / "faces.beton", **{"device": "cpu", **options})


def test_a_network_of_a_run_knows_its_images(run, faces):
    network = frl.load(str(run), device="cpu")
    largest = max(crop.size for crop in frl.api.preset_of("cpu").config.augment.crops)
    assert (network.size, network.mean, network.std) == (largest, AugmentConfig().mean, AugmentConfig().std)
    assert not network.training
    path = next((faces / "faces").rglob("*.jpg"))
    (batch,) = image_batches([path], size=largest, augment=AugmentConfig())
    assert network.preprocess(path).equal(batch.views[0])
    backbone, arch = load_backbone(run)
    assert arch == network.arch
    with torch.inference_mode():
        torch.testing.assert_close(network(network.preprocess(str(path))), backbone(batch.views[0]).flatten(1))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_export_keeps_what_the_run_knew(run, tmp_path, suffix):
    weights = export(run, tmp_path / f"resnet18{suffix}")
    network, again = frl.load(run, device="cpu"), frl.load(str(weights), device="cpu")
    assert (network.size, network.mean, network.std) == (again.size, again.mean, again.std)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(network(images), again(images))


def test_weights_that_say_nothing_are_taken_for_imagenets(tmp_path):
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    network = frl.load(tmp_path / "resnet18.pth", device="cpu")
    assert (network.arch, network.size, network.mean) == ("resnet18", 224, AugmentConfig().mean)
    chosen = frl.load(tmp_path / "resnet18.pth", size=64, mean=(0, 0, 0), std=[1, 1, 1], device="cpu")
    assert chosen.preprocess(np.full((9, 9, 3), 255, np.uint8)).equal(torch.ones(1, 3, 64, 64))


def test_images_of_every_kind_are_preprocessed_alike(run, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    network = frl.load(run, device="cpu")
    expected = network.preprocess(str(tmp_path / "a.png"))
    kinds = (tmp_path / "a.png", Image.fromarray(pixels), pixels, torch.from_numpy(pixels).permute(2, 0, 1))
    assert all(network.preprocess(kind).equal(expected) for kind in kinds)
    assert network.preprocess(list(kinds)).equal(expected.expand(4, -1, -1, -1))
    assert network.preprocess(np.stack([pixels] * 2)).equal(expected.expand(2, -1, -1, -1))


def test_an_image_of_pil_is_taken_as_its_file_is(tmp_path):
    """Turned as its Exif says; 16 bits of grey by their high byte."""
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (40, 50), np.uint16)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    rgb = Image.fromarray((np.stack([pixels, pixels[::-1], pixels[:, ::-1]], -1) >> 8).astype(np.uint8))
    rgb.save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    rgb.convert("CMYK").save(tmp_path / "cmyk.tif")
    usual = AugmentConfig()
    network = Network(torch.nn.Linear(1, 1), "none", size=32, mean=usual.mean, std=usual.std)
    for name in ("turned.png", "grey.png", "cmyk.tif"):
        with Image.open(tmp_path / name) as image:
            assert network.preprocess(image).equal(network.preprocess(tmp_path / name)), name
    upright = Image.fromarray(np.asarray(rgb)).transpose(Image.Transpose.ROTATE_270)
    assert network.preprocess(tmp_path / "turned.png").equal(network.preprocess(upright))
    with pytest.raises(ConfigError, match="32 bits"):
        network.preprocess(Image.new("F", (8, 8)))


@pytest.mark.parametrize(
    "images, kind",
    [
        ("absent.jpg", SourceError),
        ([], ConfigError),
        (np.zeros((8, 8, 3), np.float32), ConfigError),
        (np.zeros((8, 8), np.uint8), ConfigError),
        ([3], ConfigError),
    ],
)
def test_what_is_no_image_is_refused(run, images, kind):
    with pytest.raises(kind):
        frl.load(run, device="cpu").preprocess(images)


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        frl.load(str(tmp_path / "absent.pth"))


def test_pretrain_has_the_options_and_the_errors_of_the_command(faces):
    assert (faces / "run" / "config.json").exists()
    with pytest.raises(ConfigError, match="optim.lrr: is no option"):
        frl.pretrain("cpu", optim={"lrr": 1})
    with pytest.raises(ConfigError, match="no such preset"):
        frl.pretrain("gpu")
    with pytest.raises(FrlError, match="absent.beton"):
        frl.pretrain("cpu", data="absent.beton", out=faces / "other")
    assert not (faces / "other").exists()


def test_measure(run, faces, capsys):
    found = frl.measure("knn", str(run), data=str(faces / "faces.beton"), size=24, device="cpu", neighbours=3)
    assert len(found) == 3 and all(result.queries == 24 for result in found.values())
    with pytest.raises(ConfigError, match="none called 'knnn'"):
        frl.measure("knnn", run)
    with pytest.raises(ConfigError, match="data: is not given"):
        frl.measure("knn", run)


def test_a_plain_script_writes_with_several_processes_and_runs_once(faces, tmp_path):
    """Without ``if __name__ == "__main__"``, which nobody writes who has not been told to."""
    script = tmp_path / "mine.py"
    script.write_text(
        "print('here')\n"
        "import frl\n"
        "from frl.synthetic import write_folder\n"
        f"frl.write({str(faces / 'faces')!r}, out='mine.beton', workers=2)\n"
        "write_folder('drawn', 4, 2, 32, seed=0, workers=2)\n"
        "print(__file__, len(frl.open('mine.beton')))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "mine.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("here") == 1 and "mine.py 24" in done.stdout and "Traceback" not in done.stderr
    assert len(list((tmp_path / "drawn").rglob("*.jpg"))) == 8
