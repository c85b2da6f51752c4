"""Rows of an evaluation are told apart by the names that the evaluation gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from frl.cli.evaluate.supervised import Landmarks
from frl.evaluate import untrained
from frl.results import baseline_of

ARCH = "resnet18-w8-nopool"


def test_all_that_is_measured_beside_the_weights_is_a_baseline(tmp_path: Path) -> None:
    """The weights are called like one as well as may be."""
    weights = tmp_path / "HOG" / "untrained.pth"
    weights.parent.mkdir()
    torch.save(untrained(ARCH).state_dict(), weights)
    options = Landmarks(weights=weights, imagenet=weights, arch=ARCH, size=32, stage=2, data=Path("any.beton"))
    called = [*options.networks(), "constant"]
    assert [baseline_of(name) for name in called] == [None, "untrained", "raw pixels", "ImageNet", "HOG", "constant"]


@pytest.mark.parametrize("name", ["HOG.pt (resnet50)", "untrained-longer/step-3.pt (resnet50)", "constant (resnet18)",
                                  "ImageNet-first/step-3.pt (resnet18, stage 2)", "raw pixels (resnet18)"])  # fmt: skip
def test_a_network_that_is_called_like_a_baseline_is_none(name: str) -> None:
    assert baseline_of(name) is None
