"""Weights that come with frl: found by their names wherever weights are asked for, small, and worth something."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from frl import weights
from frl.cli import main
from frl.config import AugmentConfig
from frl.errors import CheckpointError
from frl.evaluate import extract_features, leave_one_out, untrained
from frl.pretrained import load_backbone
from frl.runtime import checkpoint
from frl.synthetic import write_folder
from frl.synthetic.scene import STYLES
from pipelines.whole_images import WholeImages

ROOT = Path(__file__).parents[2]
MOST = 5_000_000  # bytes of a file

pytest.importorskip("safetensors")


@pytest.mark.parametrize("name", weights.names())
def test_released_weights_are_small_and_described(name: str) -> None:
    assert weights.released(name).stat().st_size < MOST
    assert f"## `{weights.PREFIX}{name}`" in (ROOT / "docs" / "released_weights.md").read_text()


def test_a_released_name_stands_for_its_file() -> None:
    assert "synthetic-faces" in weights.names()
    assert checkpoint.resolve("released:synthetic-faces") == weights.released("synthetic-faces")
    backbone, network = load_backbone("released:synthetic-faces")
    assert network == "resnet18-w16-nopool" and backbone(torch.zeros(2, 3, 32, 32)).shape == (2, 128)


def test_any_other_path_stays_as_it_is(tmp_path: Path) -> None:
    for path in (tmp_path / "weights.pth", Path("weights.pth"), Path("~/released")):
        assert weights.file_of(path) == weights.file_of(str(path)) == path


def test_another_name_is_refused_and_all_names_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match="released:real-faces.*There are: .*released:synthetic-faces"):
        load_backbone("released:real-faces")
    assert main(["export", "released:real-faces", "--out", str(tmp_path / "weights.pth")]) == 1
    assert "released:synthetic-faces" in capsys.readouterr().err


def test_they_can_be_exported_to_another_format(tmp_path: Path) -> None:
    assert main(["export", "released:synthetic-faces", "--out", str(tmp_path / "weights.pth")]) == 0
    again, network = load_backbone(tmp_path / "weights.pth")
    expected, _ = load_backbone("released:synthetic-faces")
    assert network == "resnet18-w16-nopool"
    for name, tensor in expected.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_they_tell_strangers_apart_better_than_an_untrained_network(tmp_path: Path) -> None:
    """Twenty people whom no training has seen, in eight portraits each."""
    write_folder(tmp_path / "strangers", 20, 8, 64, 4711, 1, STYLES["studio"])
    assert main(["write", str(tmp_path / "strangers"), "--out", str(tmp_path / "strangers.beton")]) == 0
    accuracies = []
    for backbone in (load_backbone("released:synthetic-faces")[0], untrained("resnet18-w16-nopool", 0)):
        images = WholeImages(
            tmp_path / "strangers.beton", size=32, batch_size=32, device="cpu", augment=AugmentConfig(), workers=1
        )
        try:
            accuracies.append(leave_one_out(*extract_features(backbone, images), neighbours=7).accuracy)
        finally:
            images.close()
    assert accuracies[0] > accuracies[1] + 0.1
