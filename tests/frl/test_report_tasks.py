"""What a report shows of tasks: the figures of ``frl evaluate``, points where they were said, several runs together."""

from __future__ import annotations

import json
import re
import sys
import types
from dataclasses import replace
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from html_page import Page
from labelled_faces import write_faces
from sklearn.decomposition import PCA as ReferencePCA

from frl.cli import main
from frl.cli.evaluate.parts import Part
from frl.cli.report import ReportConfig, _asked
from frl.cli.report_tasks import Trained, _options, faces_of
from frl.config import AugmentConfig, ProbeConfig, RunConfig
from frl.errors import ConfigError
from frl.evaluate.few_labels import Trial
from frl.evaluate.gallery import Gallery
from frl.evaluate.table import Row
from frl.evaluate.truths import encode
from frl.monitoring.logbook import read_metrics
from frl.objectives import Metric
from frl.report import compared, feature_map, judged
from frl.report.charts import Curve, chart
from frl.report.judged import Judged
from frl.tasks.classes import Classes
from frl.tasks.registry import Truth, task_of

TINY = [
    *("--augment.crops.0.size", "24", "--augment.crops.0.count", "2"),
    *("--optim.batch-size", "8", "--optim.reference-batch", "8", "--optim.epochs", "1", "--log-every-steps", "1"),
    *("--objective.prototypes", "12", "--device", "cpu", "--precision", "fp32", "--model.width", "16"),
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("report") / "faces.beton", identities=12)


@pytest.fixture(scope="module")
def runs(faces: Path) -> list[Path]:
    found = []
    for name, seed in (("one", "0"), ("two", "7")):
        out = faces.parent / name
        probe = ["--probe.tasks", "landmarks", "--probe.data", str(faces), "--probe.size", "48"]
        assert main(["pretrain", "cpu", "--data", str(faces), "--out", str(out), *TINY, *probe, "--seed", seed]) == 0
        found.append(out)
    return found


def texts(page: str) -> dict[str, list[str]]:
    """Rows of the tables of figures, by what stands at their head."""
    rows = re.findall(r"<tr[^>]*><th>([^<]*)</th>((?:<td[^>]*>[^<]*</td>)+)</tr>", page)
    return {
        unescape(head): [unescape(cell) for cell in re.findall(r"<td[^>]*>([^<]*)<", cells)] for head, cells in rows
    }


def test_the_page_has_the_figures_of_evaluating_the_run(runs: list[Path], faces: Path) -> None:
    run, found = runs[0], faces.parent / "found.json"
    assert main(["report", str(run), "--tasks", "landmarks", "numbers:affect", "--tasks-data", str(faces)]) == 0
    page = (run / "report" / "report.html").read_text()
    assert Page(page).open == [] and all(link.startswith("data:") for link in Page(page).links)
    command = ["evaluate", "landmarks", "--weights", str(run), "--data", str(faces), "--size", "48", "--seeds", "1"]
    assert main([*command, "--out", str(found), "--overwrite"]) == 0
    shown, compared_rows = texts(page.split("<h2>Task: landmarks")[1].split("</section>")[0]), 0
    markdown = (run / "report" / "report.md").read_text()
    for row in json.loads(found.read_text())["rows"]:
        name = row["network"].replace(row["network"].partition(" (")[0], "trained") if "/" in row["network"] else None
        head = ", ".join(filter(None, [name or row["network"], row["features"]]))
        cells = [value["text"] for score, value in row["scores"].items() if "/" not in score]
        assert shown[head] == cells
        assert f"| {head} | {' | '.join(cells)} |" in markdown
        compared_rows += 1
    assert compared_rows == 7  # trained and untrained in two kinds, raw pixels, HOG, constant
    for words in ("Task: landmarks", "Task: numbers:affect", "Cumulative errors", "landmarks: nme", "lower is better"):
        assert words in Page(page).text, words
    online = [line for line in read_metrics(run / "metrics.jsonl") if "landmarks/pooled/nme" in line][-1]
    assert f"{online['landmarks/pooled/nme']:.1%}" in Page(page).text


def test_the_report_the_evaluation_and_the_probe_of_a_run_agree_on_knn(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the same images, at the size, with the mean and the voters of the run, whether or not they are named."""
    run, weights, found = tmp_path / "run", tmp_path / "backbone.pth", tmp_path / "knn.json"
    seen = ["--augment.mean", "0.7", "0.2", "0.4", "--augment.std", "0.1", "0.2", "0.3"]
    probe = ["--knn.data", str(faces), "--knn.size", "24", "--knn.every-epochs", "1"]
    assert main(["pretrain", "cpu", "--data", str(faces), "--out", str(run), *TINY, *seen, *probe]) == 0
    assert main(["export", str(run), "--out", str(weights)]) == 0
    online = [line["knn_top1"] for line in read_metrics(run / "metrics.jsonl") if "knn_top1" in line][-1]
    for source in (run, weights):
        command = ["evaluate", "knn", "--weights", str(source), "--data", str(faces), "--out", str(found)]
        assert main([*command, "--overwrite"]) == 0
        assert "20 neighbours, 24 pixels" in capsys.readouterr().out
        evaluated = json.loads(found.read_text())
        assert main(["report", str(run), "--weights", str(source), "--data", str(faces)]) == 0
        told = capsys.readouterr().out
        rows = dict(re.findall(r"^  (trained|untrained|raw pixels) +([\d.]+%)$", told, re.M))
        figures = [f"{result['accuracy']:.1%}" for result in evaluated.values()]
        assert [rows[name] for name in ("trained", "untrained", "raw pixels")] == figures
        assert next(iter(evaluated.values()))["accuracy"] == pytest.approx(online, abs=1e-9)
        assert "20 neighbours vote" in told and "24 pixels" in told
    main(["evaluate", "knn", "--weights", str(run), "--data", str(faces), "--mean", "0", "0", "0", "--out", str(found),
          "--overwrite", "--limit", "24"])  # fmt: skip
    assert json.loads(found.read_text()) != evaluated  # what is named holds


def test_the_tasks_of_the_probe_are_shown_unasked_and_missing_files_are_a_note(
    runs: list[Path], faces: Path, tmp_path: Path
) -> None:
    run = runs[1]
    assert main(["report", str(run)]) == 0
    assert "Task: landmarks" in (run / "report" / "report.html").read_text()
    options = json.loads((run / "config.json").read_text())
    options["probe"]["data"] = str(tmp_path / "gone.beton")
    (tmp_path / "run").mkdir()
    for entry in run.iterdir():
        (tmp_path / "run" / entry.name).symlink_to(entry) if entry.name not in ("report", "config.json") else None
    (tmp_path / "run" / "config.json").write_text(json.dumps(options))
    assert main(["report", str(tmp_path / "run")]) == 0
    page = (tmp_path / "run" / "report" / "report.html").read_text()
    assert "Task: landmarks" not in page and "No tasks to show" in page and "gone.beton" in page


@pytest.mark.parametrize("split", [True, False], ids=["one file", "two files"])
def test_other_files_are_judged_as_the_probe_of_the_run_judges_its_own(
    split: bool, faces: Path, tmp_path: Path
) -> None:
    """But for what is said of one file alone, or of two."""
    sides = {"data": faces, "test_share": 0.5} if split else {"train": faces, "test": faces, "shared_subjects": True}
    probe = ProbeConfig(tasks=("landmarks",), stage=2, features="unpooled", seed=7, limit=9, **sides)
    run, trained = replace(RunConfig(), probe=probe), Trained("trained", Path("run"), 48, AugmentConfig(), "torch")
    for given in ({"tasks_data": faces}, {"tasks_train": faces, "tasks_test": faces}):
        asked = _asked(ReportConfig(runs=(Path("run"),), tasks=("landmarks",), **given), run)
        options = _options("landmarks", asked, trained, tmp_path, baselines=True)
        options.check()
        assert (options.stage, options.features, options.seed, options.limit) == (2, "unpooled", 7, 9)
        files = {name: path for name in ("data", "train", "test") if (path := getattr(options, name)) is not None}
        assert {f"tasks_{name}": path for name, path in files.items()} == given
        assert options.test_share == (0.5 if split and "data" in files else 0.2)
        assert options.shared_subjects == (not split and "train" in files)


def test_points_are_drawn_where_they_were_said_from_the_best_face_to_the_worst(faces: Path) -> None:
    part = Part.of(faces)
    task = task_of("landmarks", part.truth)
    test = part.known(task)
    shift = np.linspace(0.05, 0.001, len(test.truth))  # the last face is the best
    predicted = encode(task, test.truth).numpy() + shift[:, None]
    found = faces_of(task, predicted, test, count=4)
    errors = [float(face.words.split()[1].rstrip("%")) for face in found]
    assert errors == sorted(errors) and len(found) == 4
    true = test.truth.values["landmarks"]
    assert np.allclose(found[0].true, true[-1]) and np.allclose(found[-1].true, true[0])
    assert np.allclose(found[-1].said, true[0] + shift[0] * test.truth.sides[0], atol=1e-3)
    picture = judged.section(a_judged(faces=found))
    svg = ElementTree.fromstring(re.findall(r"<svg viewBox=\"-0.5.*?</svg>", picture, re.S)[0])
    dots = {kind: [] for kind in ("said", "true")}
    for dot in svg.iter("circle"):
        dots[dot.attrib["class"]].append([float(dot.attrib["cx"]), float(dot.attrib["cy"])])
    assert np.allclose(dots["said"], found[0].said, atol=0.006) and np.allclose(dots["true"], found[0].true, atol=0.006)
    image = next(svg.iter("image"))
    height, width = found[0].image.shape[:2]
    assert svg.attrib["viewBox"] == f"-0.5 -0.5 {width} {height}"
    assert (image.attrib["x"], image.attrib["width"], image.attrib["height"]) == ("-0.5", str(width), str(height))


def a_judged(**changes: object) -> Judged:
    """Three classes, of which the matrix is known."""
    task = Classes(field="mood", classes=("sad", "<glad>", "calm"))
    truth = Truth(
        values={"mood": np.array([0, 0, 0, 1, 1, 2])},
        specs={},
        subjects=np.full(6, -1),
        sides=np.ones((6, 2)),
    )
    said = np.eye(3)[[0, 0, 1, 1, 1, 1]]
    rows = []
    for name, predicted in (("trained (x)", said), ("constant", np.tile([1.0, 0, 0], (6, 1)))):
        trial = Trial(
            seed=0, faces=6, setting="", scores=task.score(predicted, truth), details=task.details(predicted, truth)
        )
        rows.append(Row(network=name, features="", labels="100%", trials=(trial,)))
    given = {"task": "mood", "headline": "accuracy", "sides": "on faces", "rows": rows, "own": 1} | changes
    return Judged(**given)  # type: ignore[arg-type]


def test_the_confusion_matrix_is_that_of_the_predictions() -> None:
    page = judged.section(a_judged())
    matrix = page.split('class="figures confusion"')[1].split("</table>")[0]
    rows = {unescape(head): cells for head, cells in re.findall(r"<tr><th>([^<]*)</th>(<td.*?)</tr>", matrix)}
    counts = {head: re.findall(r">(\d+) <small>(\d+%)</small></td>", cells) for head, cells in rows.items()}
    assert counts == {
        "sad (3)": [("2", "67%"), ("1", "33%"), ("0", "0%")],
        "<glad> (2)": [("0", "0%"), ("2", "100%"), ("0", "0%")],
        "calm (1)": [("0", "0%"), ("1", "100%"), ("0", "0%")],
    }
    right = [[" class=right " in cell for cell in cells.split("<td")[1:]] for cells in rows.values()]
    assert np.array_equal(right, np.eye(3, dtype=bool))
    assert "--share:0.667" in page and "<glad>" not in page
    best = re.findall(r"<td class=best>([^<]*)", page)
    assert best[0] == "66.67%"  # four of six, not the constant's three


def test_the_name_of_a_line_is_within_the_chart() -> None:
    for height in (0.0, 0.5, 1.0):
        picture = chart("x", [Curve(name="x", steps=[1, 2], values=[0.0, 1.0])], line=(height, "bound"))
        (y,) = re.findall(r'y="([\d.]+)" text-anchor="end">bound', picture)
        assert 10 < float(y) < 190


def test_no_row_is_the_best_where_all_are_alike() -> None:
    one = a_judged()
    alike = a_judged(rows=[one.rows[0], one.rows[0]])
    assert "class=best" not in judged.section(alike)


def test_a_figure_that_stays_at_nothing_has_an_axis() -> None:
    picture = chart("x", [Curve(name="x", steps=[1, 2], values=[0.0, 0.0])])
    assert re.findall(r'text-anchor="end">([^<]*)', picture)[::4] == ["0", "1"]
    ends_early = chart("x", [Curve(name="x", steps=[0.0, 0.05, 0.1], values=[0, 0.1, 0.2])], lower=0, upper=1)
    heights = [float(point.split(",")[1]) for point in re.search('points="(.*?)"', ends_early)[1].split()]
    places = [float(point.split(",")[0]) for point in re.search('points="(.*?)"', ends_early)[1].split()]
    assert min(heights) > 100 and places[1] == pytest.approx((places[0] + places[2]) / 2, abs=0.1)


def test_faces_say_the_truth_beside_what_was_said(faces: Path) -> None:
    part = Part.of(faces)
    task = task_of("numbers:affect", part.truth)
    found = faces_of(task, np.zeros((len(part.truth), 2)), part, count=3)
    valence = part.truth.values["affect"][0, 0]
    assert len(found) == 3 and f"(true: {valence:.2f})" in found[0].words


@pytest.fixture
def gallery() -> Gallery:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(30, 5, generator=generator) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.1])
    labels = torch.tensor([0] * 8 + [1] * 6 + list(range(2, 16)) + [-1, -1])
    return Gallery(images=np.zeros((30, 4, 4, 3), np.uint8), vectors=vectors, labels=labels)


def test_the_map_has_the_principal_directions_and_a_colour_for_each_of_the_people(gallery: Gallery) -> None:
    places = feature_map.projected(gallery.vectors, feature_map.PCA)
    reference = ReferencePCA(2).fit_transform(gallery.vectors.double().numpy())
    assert np.allclose(np.abs(places), np.abs(reference), atol=1e-8)
    svg, words = feature_map.drawn(gallery, places)
    dots = list(ElementTree.fromstring(svg).iter("circle"))
    colours = {dot.attrib.get("fill") for dot in dots if dot[0].text == "person 0"}
    assert len(dots) == 30 and colours == {feature_map.COLOURS[0]}
    assert {dot.attrib.get("class") for dot in dots if dot[0].text == "unknown"} == {"others"}
    assert "30 faces" in words and "16 are known" in words
    x = {dot[0].text: float(dot.attrib["cx"]) for dot in dots[-30:] if dot[0].text in ("person 2", "person 3")}
    assert (x["person 2"] < x["person 3"]) == (places[14, 0] < places[15, 0])


def test_points_on_a_line_are_drawn_too(gallery: Gallery) -> None:
    places = np.stack([np.arange(30.0), np.zeros(30)], axis=1)
    svg, _ = feature_map.drawn(gallery, places)
    spots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in ElementTree.fromstring(svg).iter("circle")]
    assert all(0 <= x <= feature_map.WIDTH and 0 <= y <= feature_map.HEIGHT for x, y in spots)


def test_umap_is_used_where_it_is_installed(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    class Reducer:
        def __init__(self, **options: object) -> None:
            given.update(options)

        def fit_transform(self, rows: np.ndarray) -> np.ndarray:
            return rows[:, :2]

    module = types.ModuleType("umap")
    module.UMAP = Reducer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    places = feature_map.projected(gallery.vectors, feature_map.UMAP)
    assert np.allclose(places, gallery.vectors[:, :2]) and given["n_neighbors"] == 15


@pytest.mark.parametrize("count", [3, 5, 60])
@pytest.mark.filterwarnings("error:n_jobs")
def test_umap_itself_keeps_neighbours_together(count: int) -> None:
    """Where it is installed: two far groups of features stay apart, and the same features give the same map."""
    pytest.importorskip("umap")
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(16)[:2].repeat_interleave(count, dim=0)[:: 2 if count < 10 else 1][:count]
    vectors = torch.nn.functional.normalize(centres + 0.05 * torch.randn(count, 16, generator=generator), dim=1)
    places = feature_map.projected(vectors, feature_map.UMAP)
    assert places.shape == (count, 2) and np.isfinite(places).all()
    assert np.array_equal(places, feature_map.projected(vectors, feature_map.UMAP))
    if count > 10:
        groups = centres.argmax(dim=1).numpy()
        middles = np.stack([places[groups == group].mean(axis=0) for group in np.unique(groups)])
        nearest = np.linalg.norm(places[:, None] - middles[None], axis=2).argmin(axis=1)
        assert (nearest == groups).all()


def test_runs_stand_beside_each_other(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "both"), "--tasks", "landmarks"]) == 0
    page = (tmp_path / "both" / "compared.html").read_text()
    assert Page(page).open == [] and all(link.startswith("data:") for link in Page(page).links)
    shown = texts(page)
    logged = [
        [
            line["landmarks/unpooled/nme"]
            for line in read_metrics(run / "metrics.jsonl")
            if "landmarks/unpooled/nme" in line
        ]
        for run in runs
    ]
    assert shown["landmarks: nme, unpooled ↓"] == [f"{values[-1]:.1%}" for values in logged]
    assert shown["seed"] == ["0", "7"] and "out" not in shown
    assert {"one (resnet18-w16-nopool), unpooled", "two (resnet18-w16-nopool), unpooled", "HOG"} <= shown.keys()
    charts = [unescape(each) for each in re.findall(r'data-readings="(.*?)"', page)]
    loss = next(json.loads(each) for each in charts if "step" in each)
    assert [said[-1].split()[0] for said in loss["text"]] == ["one", "two"]
    assert "landmarks: nme, unpooled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ("{one} {one}", "named twice"),
        ("{one} {two} --weights {one}", "several are compared"),
        ("{one} {two} --neighbours 3", "several runs are compared"),
        ("{one} {two} --limit 9", "several runs are compared without tasks"),
        ("{one} --tasks-data {faces}", "no task is asked for"),
        ("{one} --tasks pose --tasks-data {faces}", "needs the target 'pose'"),
        ("{one} --tasks pose", "needs the target 'pose'"),
        ("{one} --tasks landmarks --tasks-data no.beton", "no such file"),
        ("{one} --tasks landmarks --tasks-train {faces}", "what is given is train"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    options: str, cause: str, runs: list[Path], faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *options.format(one=runs[0], two=runs[1], faces=faces).split()]) == 1
    assert cause in capsys.readouterr().err


def test_the_best_of_the_last_figures_is_marked_and_seven_runs_are_too_many() -> None:
    def run(name: str, value: float) -> compared.Compared:
        metric = Metric(name="knn_top1", title="Online k-NN", percent=True, higher_is_better=True)
        lines = [{"step": 1, "loss": 2.0}, {"step": 2, "knn_top1": 0.9}, {"step": 3, "knn_top1": value}]
        return compared.Compared(name=name, settings={}, metrics=lines, described=[metric])

    page = compared.render([run("a", 0.25), run("b", 0.5)])
    assert re.findall(r"<td class=best>([^<]*)", page) == ["50.0%"]
    with pytest.raises(ConfigError, match="7 runs"):
        compared.render([run(str(index), 0.5) for index in range(7)])
