"""The report shows what it was given: every figure in the text, every image in the pictures."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from frl.errors import ConfigError
from frl.evaluate import KnnResult
from frl.report import (
    INK,
    RIGHT,
    WRONG,
    Gallery,
    Report,
    draw_neighbours,
    draw_training,
    nearest,
    render,
    smoothed,
    write_report,
)


@pytest.fixture
def gallery() -> Gallery:
    """Images on a half circle, 0 to 110 degrees; identities in runs of three, one single, one unknown."""
    angles = torch.arange(0, 120, 10).float().deg2rad()
    images = np.zeros((12, 8, 8, 3), np.uint8)
    images[..., 0] = np.arange(12)[:, None, None]
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, -1, 2])
    return Gallery(images=images, vectors=torch.stack([angles.cos(), angles.sin()], dim=1), labels=labels)


@pytest.fixture
def report(gallery: Gallery) -> Report:
    metrics = [{"step": 10 * i, "loss": 5.0 - i / 10, "lr": 0.1, "images_per_s": 100.0 + i} for i in range(1, 20)]
    metrics.insert(3, {"step": 30, "knn_top1": 0.25})
    crops = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    scores = {"trained": 0.9126, "untrained": 0.401, "raw pixels": 0.377}
    return Report(
        title="Quickstart",
        settings={"command": "frl write a | frl verify b"},
        metrics=metrics,
        crops=crops,
        gallery=gallery,
        accuracy={
            name: KnnResult(accuracy=score, queries=1234, images=1300, identities=56) for name, score in scores.items()
        },
    )


def test_the_page_finds_its_pictures_and_holds_the_figures(report: Report, tmp_path: Path) -> None:
    page = write_report(report, tmp_path / "deep" / "report")
    text = page.read_text()
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert sorted(pictures) == ["crops.png", "neighbours.png", "training.png"]
    for name in pictures:
        with Image.open(page.parent / name) as picture:
            picture.load()
            if name == "crops.png":
                assert np.array_equal(np.asarray(picture), report.crops)
    assert sorted(path.name for path in page.parent.iterdir()) == sorted([*pictures, "report.md"])
    for row in ("| trained | 91.3% |", "| untrained | 40.1% |", "| raw pixels | 37.7% |"):
        assert row in text
    assert "1,234 images of 56 identities" in text
    assert "frl write a \\| frl verify b" in text


def test_a_report_without_settings_has_no_empty_table(report: Report) -> None:
    assert "|  |  |" in render(report)
    assert "|  |  |" not in render(dataclasses.replace(report, settings={}))


def test_the_curves_hold_every_logged_line(report: Report) -> None:
    loss, rate, speed = draw_training(report.metrics).axes
    losses = [line["loss"] for line in report.metrics if "loss" in line]
    assert loss.lines[0].get_ydata().tolist() == losses
    assert loss.lines[0].get_xdata().tolist() == list(range(10, 200, 10))
    assert np.asarray(rate.lines[0].get_ydata()).tolist() == [0.1] * 19
    assert np.asarray(speed.lines[0].get_ydata()).tolist() == [101.0 + i for i in range(19)]


def test_smoothing_keeps_straight_lines_and_averages_noise() -> None:
    line = np.linspace(3.0, 1.0, 101)
    assert smoothed(line)[5:-5] == pytest.approx(line[5:-5])
    assert len(smoothed(np.array([2.0]))) == 1
    noise = np.random.default_rng(0).standard_normal(1000)
    assert smoothed(noise).std() < 0.2


def test_no_loss_is_refused(report: Report, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no loss"):
        write_report(dataclasses.replace(report, metrics=[{"step": 1, "knn_top1": 0.5}]), tmp_path)


def test_neighbours_are_the_nearest_others_of_known_identity(gallery: Gallery) -> None:
    asked, others = nearest(gallery, questions=100, neighbours=2)
    assert asked.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 11]  # not the single 9, nor the unknown 10
    assert others[0].tolist() == [1, 2]
    assert others[-1].tolist() == [9, 8]
    assert all(question not in found for question, found in zip(asked, others, strict=True))
    few, _ = nearest(gallery, questions=3, neighbours=50)
    assert few.tolist() == [0, 4, 11]


def test_frames_tell_right_from_wrong(gallery: Gallery) -> None:
    figure = draw_neighbours(gallery, questions=3, neighbours=5)
    frames = {}
    for axes in (axes for axes in figure.axes if axes.images):
        spine = axes.spines["left"]
        image = int(np.asarray(axes.images[0].get_array())[0, 0, 0])
        frames.setdefault(to_hex(spine.get_edgecolor()), []).append((image, spine.get_linestyle()))
    asked, others = nearest(gallery, questions=3, neighbours=5)
    labels = gallery.labels.numpy()
    pairs = [(q, a) for q, found in zip(asked, others, strict=True) for a in found]
    assert sorted(i for i, _ in frames[INK]) == sorted(asked.tolist())
    assert sorted(frames[RIGHT]) == sorted((a, "solid") for q, a in pairs if labels[q] == labels[a])
    assert sorted(frames[WRONG]) == sorted((a, "dashed") for q, a in pairs if labels[q] != labels[a])


def test_a_gallery_without_pairs_is_refused(gallery: Gallery) -> None:
    with pytest.raises(ConfigError, match="no identity has two images"):
        nearest(dataclasses.replace(gallery, labels=torch.arange(12)), 3, 5)
