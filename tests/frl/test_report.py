"""The report shows what it was given: every figure in the text, every image in the pictures, nothing from elsewhere."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from beton_samples import draw_sample
from html_page import Page
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from PIL import Image
from tiny_run import CONFIG, run, watchful

from frl.beton import Beton, BetonWriter
from frl.cli.report import _health, _seen
from frl.config import DataConfig, RunConfig, SimCLRConfig, SupervisedConfig, SwAVConfig, as_dict
from frl.errors import ConfigError
from frl.evaluate import KnnResult
from frl.evaluate.gallery import Gallery
from frl.monitoring.described import described
from frl.monitoring.logbook import read_metrics
from frl.objectives.swav import SwAV
from frl.report import Report, html, markdown, write_report
from frl.report.charts import MOST_POINTS, Curve, chart, ticks
from frl.report.figures import INK, QUIET, RIGHT, WRONG, draw_neighbours, draw_training, smoothed
from frl.report.neighbours import nearest
from frl.trained_on import is_another


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
    configuration = json.loads(json.dumps(as_dict(dataclasses.replace(RunConfig(), seed=77))))
    return Report(
        title="Quickstart <b>",
        settings={"command": "frl write a | frl verify b"},
        metrics=metrics,
        crops=crops,
        gallery=gallery,
        accuracy={
            name: KnnResult(accuracy=score, queries=1234, images=1300, identities=56) for name, score in scores.items()
        },
        health="No alarm was raised.",
        described=described(SwAV.metrics(SwAVConfig())),
        configuration=configuration,
        defaults=json.loads(json.dumps(as_dict(RunConfig()))),
        starts=[
            {"step": 0, "started": "2026-01-01", "frl": "0.1"},
            {"step": 90, "started": "2026-01-02", "frl": "0.2"},
        ],
    )


def test_the_page_is_whole_and_fetches_nothing(report: Report) -> None:
    source = html.render(report)
    page = Page(source)
    assert page.open == []
    assert page.links and all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert not re.findall(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", source)
    assert "<title>Quickstart &lt;b&gt;</title>" in source


def test_the_page_holds_the_figures_and_the_pictures(report: Report) -> None:
    page = Page(html.render(report))
    for words in ("91.3%", "40.1%", "37.7%", "1,234 images of 56 identities", "3.100", "ln K: 8.006", "No alarm"):
        assert words in page.text, words
    for words in ("frl write a | frl verify b", "objective.epsilon", "0.05", "From step 90, 2026-01-02"):
        assert words in page.text, words
    chosen = re.findall(r"<tr class=chosen><th>(.*?)</th><td>(.*?)</td>", html.render(report))
    assert chosen == [("seed", "77")]
    images = [Image.open(io.BytesIO(base64.b64decode(link.split(",")[1]))) for link in page.links]
    assert images[-1].size == (50, 30)  # the crops
    asked = nearest(report.gallery, html.QUESTIONS, html.ANSWERS)
    assert len(images) == 1 + sum(1 + len(answers) for _, answers in asked)
    shown = [(tag, kind) for tag, kind in page.classes if tag == "img"]
    wanted = [kind for _, answers in asked for kind in ("question", *(a.verdict for a in answers))]
    assert shown == [("img", kind) for kind in wanted]


def test_what_a_run_cannot_tell_is_left_out(report: Report) -> None:
    bare = Report(title="bare", metrics=report.metrics, notes=["No crops to show: <gone>"])
    source = html.render(bare)
    page = Page(source)
    assert page.open == [] and "No crops to show: <gone>" in page.text
    assert re.findall("<h2>(.*?)</h2>", source) == ["Curves"]
    assert "crops.png" not in markdown.render(bare) and "> No crops to show" in markdown.render(bare)


def test_every_chart_is_sound_svg_with_all_its_points(report: Report) -> None:
    charts = re.findall(r"<svg[^>]*data-readings.*?</svg>", html.render(report), re.S)
    assert len(charts) == 4  # loss, k-NN, learning rate, speed
    loss = ElementTree.fromstring(charts[0])
    faint, main = [line.attrib["points"].split() for line in loss.iter("polyline")]
    assert len(faint) == len(main) == 19
    heights = [float(point.split(",")[1]) for point in faint]
    assert heights == sorted(heights), "a falling loss falls on the screen"
    readings = json.loads(loss.attrib["data-readings"])
    assert readings["text"][0][-1].endswith("step 190")


def test_long_curves_are_thinned_to_means_and_gaps_are_survived() -> None:
    curve = Curve(name="x", steps=range(10_000), values=[float(i % 2) for i in range(10_000)]).thinned()
    assert len(curve.steps) <= MOST_POINTS and set(np.round(curve.values, 1)) <= {0.5}
    picture = chart("x", [Curve(name="x", steps=[1, 2, 3], values=[1.0, float("nan"), 2.0])])
    assert "nan" not in re.search('points="(.*?)"', picture)[1]
    assert chart("x", [Curve(name="x", steps=[], values=[])]) == ""


@given(
    st.floats(-1e9, 1e9, allow_nan=False),
    st.floats(0, 1e9, allow_nan=False).filter(lambda x: x == 0 or x > 1e-6),
    st.integers(2, 6),
)
def test_ticks_are_few_and_enclose_the_range(low: float, extent: float, count: int) -> None:
    found = ticks(low, low + extent, count)
    step = found[1] - found[0]
    assert 2 <= len(found) <= count + 3
    assert found[0] <= low + step * 1e-3 and found[-1] >= low + extent - step * 1e-3


def test_the_folder_holds_both_pages_and_the_pictures(report: Report, tmp_path: Path) -> None:
    page = write_report(report, tmp_path / "deep" / "report")
    assert page.name == "report.html" and page.read_text() == html.render(report)
    text = (page.parent / "report.md").read_text()
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert sorted(pictures) == ["crops.png", "neighbours.png", "training.png"]
    for name in pictures:
        with Image.open(page.parent / name) as picture:
            picture.load()
            if name == "crops.png":
                assert np.array_equal(np.asarray(picture), report.crops)
    assert {path.name for path in page.parent.iterdir()} == {*pictures, "report.md", "report.html"}
    for row in ("| trained | 91.3% |", "| untrained | 40.1% |", "| raw pixels | 37.7% |"):
        assert row in text
    assert "1,234 images of 56 identities" in text
    assert "frl write a \\| frl verify b" in text


def test_a_name_that_is_not_utf8_is_on_the_pages_too(report: Report, tmp_path: Path) -> None:
    named = replace(report, settings={"faces": os.fsdecode(b"J\xfcrgen.beton")})
    page = write_report(named, tmp_path)
    assert "J\\udcfcrgen.beton" in page.read_text() and "J\\udcfcrgen.beton" in (tmp_path / "report.md").read_text()


def test_a_report_without_settings_has_no_empty_table(report: Report) -> None:
    assert "|  |  |" in markdown.render(report)
    assert "|  |  |" not in markdown.render(dataclasses.replace(report, settings={}))


def test_the_curves_hold_every_logged_line(report: Report) -> None:
    loss, rate, speed = draw_training(report).axes
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


def test_no_loss_is_refused(report: Report) -> None:
    with pytest.raises(ConfigError, match="no loss"):
        dataclasses.replace(report, metrics=[{"step": 1, "knn_top1": 0.5}])


def test_neighbours_are_the_nearest_others_of_known_identity(gallery: Gallery) -> None:
    found = dict(nearest(gallery, questions=100, neighbours=2))
    assert list(found) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 11]  # not the single 9, nor the unknown 10
    assert [(answer.image, answer.verdict) for answer in found[0]] == [(1, "same"), (2, "same")]
    assert [(answer.image, answer.verdict) for answer in found[11]] == [(9, "other"), (8, "same")]
    assert [answer.similarity for answer in found[0]] == pytest.approx([np.cos(np.pi / 18), np.cos(np.pi / 9)])
    few = nearest(gallery, questions=3, neighbours=50)
    assert [question for question, _ in few] == [0, 4, 11] and len(few[0][1]) == 10


@pytest.mark.parametrize("labels", [torch.full((12,), -1), torch.arange(12)])
def test_without_two_images_of_a_person_every_image_is_asked_and_answers(gallery: Gallery, labels) -> None:
    found = nearest(dataclasses.replace(gallery, labels=labels), questions=100, neighbours=3)
    assert [question for question, _ in found] == list(range(12))
    assert {answer.verdict for _, answers in found for answer in answers} == {"unknown"}
    assert [answer.image for answer in found[0][1]] == [1, 2, 3]


def test_frames_tell_right_from_wrong(gallery: Gallery) -> None:
    figure = draw_neighbours(gallery, questions=3, neighbours=5)
    frames = {}
    for axes in (axes for axes in figure.axes if axes.images):
        spine = axes.spines["left"]
        image = int(np.asarray(axes.images[0].get_array())[0, 0, 0])
        frames.setdefault(to_hex(spine.get_edgecolor()), []).append((image, spine.get_linestyle()))
    found = nearest(gallery, questions=3, neighbours=5)
    pairs = [(answer.image, answer.verdict) for _, answers in found for answer in answers]
    assert sorted(i for i, _ in frames[INK]) == sorted(question for question, _ in found)
    assert sorted(frames[RIGHT]) == sorted((i, "solid") for i, verdict in pairs if verdict == "same")
    assert sorted(frames[WRONG]) == sorted((i, "dashed") for i, verdict in pairs if verdict == "other")
    assert QUIET not in frames


LINES = [{"step": step, "loss": 5.0} for step in (20, 40, 60)]


@pytest.mark.parametrize(
    "noted, good, words",
    [
        ([], True, "No sign of a collapse at step 60, and no alarm before"),
        (
            [{"step": 60, "signs": "features are alike"}],
            False,
            "Step 60: features are alike. The alarm sounds when signs have lasted",
        ),
        ([{"step": 40, "signs": "alike"}], True, "No sign of a collapse at step 60"),
        (
            [{"step": 40, "signs": "alike"}, {"step": 40, "alarm": "alike"}],
            False,
            "No sign of a collapse at step 60, but before it. The alarm was raised once, last at step 40: alike",
        ),
        (
            [{"step": 40, "alarm": "alike"}, {"step": 60, "signs": "all alike"}],
            False,
            "Step 60: all alike. The alarm was raised once, last at step 40",
        ),
        ([{"step": 60, "alarm": "of an older version"}], False, "Step 60: of an older version"),
    ],
)
def test_the_health_box_says_what_the_alarm_found(noted, good, words):
    said, healthy = _health([*LINES, *noted], RunConfig())
    assert healthy is good and said.startswith(words)


def test_the_health_box_of_a_run_agrees_with_its_alarm(tmp_path):
    """On a run whose images are all alike, and on a sound one."""
    for identical in (True, False):
        config = replace(watchful(CONFIG, "warn"), out=tmp_path / str(identical))
        if not identical:  # random pixels teach nothing, and the loss may stay at guessing
            config = replace(config, health=replace(config.health, max_loss=2.0))
        run(config, identical=identical)
        metrics = read_metrics(config.out / "metrics.jsonl")
        alarms = [line for line in metrics if "alarm" in line]
        assert bool(alarms) is identical
        last = [line for line in metrics if "loss" in line][-1]
        assert _health(metrics, config)[1] == (not alarms and "signs" not in last)


def test_what_training_has_seen_of_the_faces_is_told():
    data = DataConfig(data=(Path("faces.beton"),))
    alone, taught = RunConfig(data=data), RunConfig(data=data, objective=SupervisedConfig())
    named = RunConfig(data=data, objective=SimCLRConfig(positives="identity"))
    assert _seen(Path("faces.beton"), alone).endswith("which saw their faces alone")
    assert _seen(Path("others.beton"), alone).endswith("whose labels training has not seen")
    for told in (taught, named):
        assert _seen(Path("faces.beton"), told).endswith("which saw their names, too")
        assert _seen(Path("others.beton"), told) == ", not the data of the training"


def test_another_file_in_the_place_of_the_training_s_is_known(tmp_path):
    """By the content that the checkpoint holds; where nobody can tell, nothing is said."""
    for name, label in (("faces", 0), ("others", 1)):
        with BetonWriter(tmp_path / f"{name}.beton", capacity=1) as writer:
            writer.append(*draw_sample(1, 8, 9, label).arguments)
    with Beton(tmp_path / "faces.beton") as beton:
        saved = {"data": {"fingerprint": f"{beton.fingerprint}/of its targets"}}
    for name, another in (("faces", False), ("others", True), ("gone", False)):
        run_of = RunConfig(data=DataConfig(data=(tmp_path / f"{name}.beton",)))
        assert is_another(run_of, saved) == another
        assert not is_another(run_of, {})
