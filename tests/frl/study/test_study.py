"""A study is done once, goes on after a failure, and says what came out."""

import csv
import json
import math
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from processes import assert_gone, descendants
from scipy.stats import ttest_rel

from frl.cli import study as command
from frl.cli import study_step
from frl.cli.study import main
from frl.errors import ConfigError
from frl.files import wait_until_free
from frl.study.figures import Difference, Figure, Spread, collect
from frl.study.grid import Cell, parse_study
from frl.study.perform import LOCK, LOG, Here, last_words, perform, steps_of
from frl.study.steps import DONE, Step, mark_finished, writing
from frl.study.table import tabulate, to_csv, to_markdown
from frl.synthetic import write_folder

CONTENT = {
    "title": "What helps?",
    "seeds": 3,
    "axes": {"rate": {"low": {"pretrain.optim.lr": 0.1}, "high": {"pretrain.optim.lr": 0.5}}},
    "pretrain": {"preset": "cpu", "data": "x.beton"},
    "evaluate": {"k-NN": {"task": "knn"}, "points": {"task": "landmarks", "score": "nme"}},
}


def result(step, seed):
    """What such an evaluation writes."""
    rate = 0.2 if "0.5" in step.source[1].options else 0.1
    if step.words == ("knn",):
        return {"runs/x (resnet18)": {"accuracy": rate + seed / 100, "queries": 9}, "raw pixels": {"accuracy": 0.05}}
    rows = [("runs/x (resnet18)", "pooled", 10.0), ("runs/x (resnet18)", "unpooled", None), ("HOG", "", 12.0)]
    return {
        "rows": [
            {
                "network": name,
                "features": features,
                "labels": "100%",
                "scores": {"other": {"mean": 1.0, "higher_is_better": True},
                           "nme": {"mean": value, "higher_is_better": False}},
            }
            for name, features, value in rows
        ]
    }  # fmt: skip


class Recorder:
    """Makes the products of steps without running them, and remembers which; fails those with a rate that is given."""

    def __init__(self, failing=None):
        self.ran, self.failing = [], failing

    def __call__(self, steps, out, tell):
        for step in steps:
            self.ran.append(step.key)
            folder = step.folder(out)
            folder.mkdir(parents=True, exist_ok=True)
            failed = self.failing is not None and step.stage == "pretrain" and self.failing in step.options
            (folder / LOG).write_text("frl pretrain: the disk is full\n" if failed else "")
            if not failed:
                if step.stage == "evaluate":
                    seed = int(step.options[step.options.index("--seed") + 1])
                    step.product(out).write_text(json.dumps(result(step, seed)))
                else:
                    step.product(out).mkdir(exist_ok=True)
                mark_finished(folder / DONE, step.product(out), 1.0)
            tell(step, int(failed))


@pytest.fixture
def study():
    return parse_study(CONTENT, "study.yaml")


def test_steps_that_are_done_are_not_done_again(study, tmp_path):
    first, second = Recorder(), Recorder()
    assert perform(study.cells(), tmp_path, first) == []
    assert len(first.ran) == len(set(first.ran)) == len(steps_of(study.cells())) == 6 + 12
    assert perform(study.cells(), tmp_path, second) == [] and second.ran == []


def test_a_product_that_is_gone_or_cut_is_made_again_where_it_is_needed(study, tmp_path):
    perform(study.cells(), tmp_path, Recorder())
    first, second, *_ = [step for cell in study.cells() for step in cell.evaluations.values()]
    first.product(tmp_path).unlink()
    second.product(tmp_path).write_text('{"rows": [')
    assert len(collect(study, study.cells(), tmp_path)) == 6 * 2 + 6 * 3 - 5
    again = Recorder()
    perform(study.cells(), tmp_path, again)
    assert again.ran == [first.key, second.key]
    # A run that nothing reads any more may be gone; one that is read is made again.
    run = first.source[1]
    run.product(tmp_path).rmdir()
    assert (idle := Recorder()).ran == [] == perform(study.cells(), tmp_path, idle)
    first.product(tmp_path).unlink()
    perform(study.cells(), tmp_path, needed := Recorder())
    assert needed.ran == [run.key, first.key]


def test_a_step_whose_product_was_cut_makes_it_anew(tmp_path, monkeypatch):
    """What is left of it goes first, for commands write over nothing."""
    product, seen = tmp_path / "result.json", []
    monkeypatch.setattr(study_step, "end_with_parent", lambda signal: None)

    def command_of_frl(arguments):
        seen.append(product.exists())
        product.write_text("whole")
        return 0

    monkeypatch.setattr(study_step, "frl", command_of_frl)
    for expected in (1, 1):
        assert study_step.main(tmp_path / LOCK, ["evaluate", "--out", str(product)]) == 0 and len(seen) == expected
    product.write_text("wh")
    assert study_step.main(tmp_path / LOCK, ["evaluate", "--out", str(product)]) == 0
    assert seen == [False, False] and product.read_text() == "whole"


@pytest.mark.parametrize("word", ["faces", "folder:faces", "vggface2:faces", "mine=faces", "wflw:faces@train"])
def test_other_files_in_a_source_are_other_work(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces" / "ann").mkdir(parents=True)
    (tmp_path / "faces" / "ann" / "1.jpg").write_bytes(b"one")
    before = writing({"sources": [word]}).key
    assert writing({"sources": [word]}).key == before
    (tmp_path / "faces" / "ann" / "2.jpg").write_bytes(b"two")
    assert writing({"sources": [word]}).key != before


def test_each_column_has_its_own_baseline():
    """Also where the name of one evaluation is a part of another's."""
    study = parse_study(
        {**CONTENT, "evaluate": {"LFW": {"task": "verification"}, "LFW, whitened": {"task": "verification"}}}, "s"
    )
    figures = [
        Figure(column=name, plain=name, network=network, choices=("low",), seed=0, value=value, higher_is_better=True)
        for name, trained, raw in (("LFW", 0.6, 0.5), ("LFW, whitened", 0.8, 0.7))
        for network, value in (("trained", trained), ("raw pixels", raw))
    ]
    assert "| *raw pixels* | 0.5 | 0.7 |" in to_markdown(tabulate(study, figures)).splitlines()


def test_scores_without_heads_have_their_direction(study, tmp_path):
    found = {"runs/x (resnet18)": {"accuracy": 0.9, "standard_error": 0.01, "eer": 0.1, "tar_at_far": {"0.1": 0.8}}}
    cell = next(study.cells())
    step = cell.evaluations["k-NN"]
    step.folder(tmp_path).mkdir(parents=True)
    step.product(tmp_path).write_text(json.dumps(found))
    mark_finished(step.folder(tmp_path) / DONE, step.product(tmp_path), 1.0)
    for score, higher in (("accuracy", True), ("eer", False), ("tar_at_far/0.1", True)):
        (figure,) = collect(replace(study, scores={"k-NN": score}), [cell], tmp_path)
        assert figure.higher_is_better is higher
    with pytest.raises(ConfigError, match=r"Name one of: accuracy, eer, tar_at_far/0\.1"):
        collect(replace(study, scores={"k-NN": "standard_error"}), [cell], tmp_path)


def test_a_failure_stops_no_other_step_and_is_tried_again(study, tmp_path):
    failures = perform(study.cells(), tmp_path, Recorder(failing="0.5"))
    assert len(failures) == 3 and all("disk is full" in failure.reason for failure in failures)
    found = collect(study, study.cells(), tmp_path)
    assert {figure.choices for figure in found} == {("low",)}
    again = Recorder()
    assert perform(study.cells(), tmp_path, again) == []
    assert len(again.ran) == 3 + 6


def test_the_figures_are_means_over_seeds_beside_the_baselines(study, tmp_path):
    perform(study.cells(), tmp_path, Recorder())
    figures = collect(study, study.cells(), tmp_path)
    table = tabulate(study, figures)
    assert table.columns == ("k-NN", "points, pooled", "points, unpooled")
    low, high = table.trained["low",], table.trained["high",]
    assert low["k-NN"].mean == pytest.approx(0.11) and low["k-NN"].deviation == pytest.approx(0.01)
    assert high["k-NN"].mean == pytest.approx(0.21) and high["k-NN"].count == 3
    assert low["points, unpooled"].count == 0 and str(low["points, unpooled"]) == "-"
    assert table.directions == {"k-NN": True, "points, pooled": False, "points, unpooled": False, "points": False}
    lines = to_markdown(table).splitlines()
    assert lines[0] == "| rate | k-NN ↑ | points, pooled ↓ | points, unpooled ↓ |"
    assert lines[2] == "| low | 0.110 ± 0.010 | 10 ± 0 | - |"
    assert "| *raw pixels* | 0.05 ± 0 |  |  |" in lines and "| *HOG* |  | 12 ± 0 | 12 ± 0 |" in lines
    assert "Less low, seed by seed: mean ± standard error." in lines
    assert lines[-1] == "| high | +0.1 ± 0 | +0 ± 0 | - |"
    rows = list(csv.DictReader(to_csv(study, figures).splitlines()))
    assert len(rows) == len(figures) == 6 * 2 + 6 * 3
    assert {row["network"] for row in rows} == {"trained", "raw pixels", "HOG"}


def of_knn(cell, network, value):
    """A figure of one cell."""
    choices = tuple(cell.choices.values())
    return Figure(
        column="k-NN",
        plain="k-NN",
        network=network,
        choices=choices,
        seed=cell.seed,
        value=value,
        higher_is_better=True,
    )


def test_a_baseline_that_every_cell_measures_again_counts_once_a_seed(study):
    figures = [of_knn(cell, network, float(cell.seed)) for cell in study.cells() for network in ("trained", "HOG")]
    of_hog = tabulate(study, figures).baselines["HOG"]["k-NN"]
    assert of_hog == Spread.of([0.0, 1.0, 2.0]) and of_hog.deviation == 1


def test_baselines_of_different_networks_are_not_averaged(study):
    """A row for each choice, and no line across: no network has the mean of two."""
    figures = [
        of_knn(cell, network, 0.05 if network == "HOG" else 0.1 if cell.choices["rate"] == "low" else 0.3)
        for cell in study.cells()
        for network in ("trained", "untrained", "HOG")
    ]
    table = tabulate(study, figures)
    assert set(table.baselines) == {"HOG"}
    assert {key: found["k-NN"].mean for key, found in table.apart.items()} == {
        ("untrained", "low"): pytest.approx(0.1),
        ("untrained", "high"): pytest.approx(0.3),
    }
    lines = to_markdown(table).splitlines()
    assert "| *untrained: low* | 0.1 ± 0 |" in lines and "| *untrained: high* | 0.3 ± 0 |" in lines


def test_spread_of_one_and_of_none():
    assert str(Spread.of([0.5])) == "0.5" and math.isnan(Spread.of([0.5]).deviation)
    assert Spread.of([math.nan, 1.0, 3.0]).mean == 2 and not Spread.of([math.nan]).count


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=9))
def test_a_difference_is_that_of_a_paired_test(pairs):
    """Its mean over its standard error is the statistic of Student's test of paired samples, as SciPy computes it."""
    values, others = ({seed: pair[i] for seed, pair in enumerate(pairs)} for i in (0, 1))
    found = Difference.of(values, {**others, -1: 3.0}).spread
    assert found.count == len(pairs)
    assert found.mean == pytest.approx(np.mean([a - b for a, b in pairs]))
    assume(found.deviation > 1e-6)
    assert found.mean / found.error == pytest.approx(ttest_rel(*zip(*pairs, strict=True)).statistic, rel=1e-6)


def test_numbers_are_told_as_exactly_as_they_are_known():
    for spread, words in (
        (Spread(0.13649, 0.01052, 3), "0.136 ± 0.011"),
        (Spread(12.345, 20.0, 3), "12 ± 20"),
        (Spread(0.127, 0.00397, 3), "0.1270 ± 0.0040"),
        (Spread(1234.5, 123.0, 2), "1234 ± 123"),
        (Spread(0.5, 0.0, 3), "0.5 ± 0"),
    ):
        assert str(spread) == words
    assert str(Difference(Spread(-0.0071, 0.0052, 4))) == "-0.0071 ± 0.0026"
    assert str(Difference.of({0: 1.0}, {1: 2.0})) == "-"


def test_what_was_done_becomes_a_table_and_a_page(study, tmp_path, capsys):
    failures = perform(study.cells(), tmp_path, Recorder(failing="0.5"))
    assert command.write(study, failures, tmp_path) == 1
    page = (tmp_path / "study.html").read_text()
    assert (
        page.count("<svg") == 3
        and "What helps?" in page
        and "Less low, seed by seed" in page
        and "is better)</text>" in page  # words of the charts are words
        and "the disk is full" in page
    )
    assert "src=" not in page  # nothing is fetched
    assert (tmp_path / "study.md").exists() and (tmp_path / "study.csv").exists()
    assert "the disk is full" in capsys.readouterr().err


def test_a_real_study_runs_fails_where_it_must_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "faces", identities=6, images_per_identity=6, size=48)
    (tmp_path / "study.yaml").write_text("""
title: A try
axes:
  crops: {small: {}, none: {pretrain.augment.crops: nonsense}}
write: {sources: [$faces], per_identity: 5, size: 48}
pretrain: {preset: simclr-cpu, optim.batch_size: 8, max_steps: 1}
evaluate:
  k-NN: {task: knn, data: $faces.beton, size: 32}
""")
    assert main_of_write("faces", "faces.beton") == 0
    given = ["study.yaml", "--set", "faces=faces", "--out", "done"]
    assert main(given) == 1
    said = capsys.readouterr()
    assert "nonsense" in said.err and "| small | 0." in said.out and "*untrained*" in said.out
    assert main(given) == 1
    assert "pretrain: 1 of 2 to do" in capsys.readouterr().out  # that which fails; nothing else is done again


STUDY = """
from pathlib import Path
from frl.study.perform import Here, perform
from frl.study.grid import read_study
perform(read_study(Path("study.yaml"), {}).cells(), Path("done"), Here())
"""


def test_a_step_ends_with_a_study_that_is_killed_and_goes_on_in_the_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "faces", identities=6, images_per_identity=6, size=48)
    assert main_of_write("faces", "faces.beton") == 0
    content = {
        "title": "Long",
        "seeds": 1,
        "pretrain": {"preset": "simclr-cpu", "data": "faces.beton", "optim.batch_size": 8, "optim.epochs": 10**5},
        "evaluate": {"k-NN": {"task": "knn", "data": "faces.beton", "size": 32}},
    }
    Path("study.yaml").write_text(json.dumps(content))
    killed = subprocess.Popen([sys.executable, "-c", STUDY])
    while not list(tmp_path.glob("done/steps/pretrain-*/run/metrics.jsonl")):
        time.sleep(0.1)
        assert killed.poll() is None
    (step,) = tmp_path.glob("done/steps/pretrain-*")
    below = descendants(killed.pid)
    assert below and not wait_until_free(step / LOCK, 0)
    killed.kill()
    killed.wait()
    assert wait_until_free(step / LOCK, 600)
    assert_gone(below)
    assert list(step.glob("run/checkpoints/*.pt")) and not (step / DONE).exists()


HOLD = """
import sys
from frl.files import try_lock
lock = open(sys.argv[1], "wb")
assert try_lock(lock.fileno())
print("held", flush=True)
sys.stdin.read()
"""


def test_a_step_that_another_study_is_at_stops_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("frl.study.perform.PATIENCE_S", 0)
    held, free = (Step(stage="evaluate", words=(f"no-task-{name}",), options=()) for name in "ab")
    lock = held.folder(tmp_path) / LOCK
    lock.parent.mkdir(parents=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], **pipes) as holder:
        assert holder.stdout.readline() == b"held\n"
        cells = [Cell(choices={}, seed=0, evaluations={"a": held, "b": free})]
        failures = {failure.step: failure.reason for failure in perform(cells, tmp_path, Here())}
        holder.stdin.close()
    assert "another process works on it" in failures[held] and "no-task-b" in failures[free]
    assert "2/2" in capsys.readouterr().out


def test_what_another_study_has_done_meanwhile_is_not_done_again(tmp_path, monkeypatch):
    began = []
    monkeypatch.setattr(study_step, "end_with_parent", lambda signal: None)
    monkeypatch.setattr(study_step, "frl", lambda arguments: began.append(arguments) or len(began) % 2)
    statuses = [study_step.main(tmp_path / LOCK, ["evaluate", "--out", str(tmp_path)]) for _ in range(3)]
    assert statuses == [1, 0, 0] and len(began) == 2 and (tmp_path / DONE).exists()


def main_of_write(source, out):
    from writers.to_beton import main as write

    return write([source, "--out", out])


def test_an_interrupted_step_is_passed_on_and_nothing_more_is_begun(study, tmp_path, monkeypatch):
    """What began before the interruption was noticed is asked to end."""
    began = []

    class Process:
        def __init__(self):
            self.asked = threading.Event()

        def terminate(self):
            self.asked.set()

    def run(step, out, started):
        process = Process()
        started(process)
        began.append(process)
        if len(began) == 1:
            return 130
        assert process.asked.wait(280)
        return 143

    monkeypatch.setattr("frl.study.perform.run_step", run)
    with pytest.raises(KeyboardInterrupt):
        perform(study.cells(), tmp_path, Here(jobs=1))
    assert len(began) <= 2 and all(process.asked.is_set() for process in began)


def test_the_end_of_a_log(tmp_path):
    lines = [f"line {i}" for i in range(20)]
    (tmp_path / "log").write_text("\n\n".join([*lines, "│ boxed │", "╰───────╯"]) + "\n")
    assert last_words(tmp_path / "log").splitlines() == [*lines[9:], "boxed"]
