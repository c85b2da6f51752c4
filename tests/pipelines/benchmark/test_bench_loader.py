"""The benchmark of the loaders measures what it says, and outlives contestants that do not behave."""

import json
import math
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from frl.cli import main
from frl.config import AugmentConfig
from frl.machine import processor, vector_bits
from pipelines.benchmark import report
from pipelines.benchmark.contestants import ENTRIES, Entry
from pipelines.benchmark.measure import BenchConfig, measure, programme
from pipelines.benchmark.picture import picture
from pipelines.benchmark.process import Failed, Process, Round
from pipelines.benchmark.results import CROPS, FULL, Result, Results, load, machine, save
from pipelines.benchmark.task import Task

TASK = Task(data=Path("unused.beton"), preset="vggface2", everything=True, workers=1, batch_size=4)
HERE = "tests.pipelines.benchmark.contestants"


class TestProcess:
    def test_all_of_its_processes_are_measured_stopped_and_ended(self):
        """``two_processes`` does 2 ms of work an image in one of them, and as much as it gets in the other."""
        with Process(f"{HERE}:two_processes", TASK, 60) as process:
            assert len(process._members()) == 2
            turn = process.run(1.0)
            before = process._cpu_seconds()
            time.sleep(0.3)
            assert process._cpu_seconds() == before, "between its turns a contestant stands still"
        assert 0 < process.first_batch_s < 60
        assert 0 < turn.images_per_s <= 505
        assert turn.cpu_ms_per_image > 1.3 * 2
        assert process.peak_mb > 300
        deadline = time.monotonic() + 200
        while process._members() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not process._members()

    def test_waiting_is_no_work_and_words_are_no_answers(self):
        with Process(f"{HERE}:chatters", TASK, 60) as process:
            assert process.run(0.5).cpu_ms_per_image < 5

    def test_a_wait_has_an_end(self):
        with pytest.raises(Failed, match="no first batch within 1 s"):
            Process(f"{HERE}:hangs", TASK, 1)


def result(name: str, recipe: str, rate: float, cpu_ms: float, **more) -> Result:
    rounds = [Round(images_per_s=rate * f, cpu_ms_per_image=cpu_ms / f) for f in (1, 0.5, 2)]
    return Result(name=name, recipe=recipe, first_batch_s=1.25, peak_mb=512, rounds=rounds, **more)


@pytest.fixture
def results() -> Results:
    return Results(
        [
            result("paper", FULL, 80, 20.0),
            result("paper", CROPS, 250, 7.0),
            Result(name="ffcv", recipe=CROPS, skipped="not installed (bash scripts/setup.sh)"),
            result("by-hand", FULL, 300, 5.0),
            result("frl-threads", FULL, 1000, 2.0),
            result("frl-torch", FULL, 500, 4.0),
            result("stage-read", FULL, 20000, 0.05),
        ],
        {**machine(), "load_after": 1.5, "workers": 1, "cores": 2},
    )


class TestReport:
    def test_medians(self, results):
        assert results.all[0].images_per_s == 80 and results.all[0].cpu_ms == 20
        assert math.isnan(results.all[2].images_per_s)

    def test_the_table(self, results):
        lines = report.table(results).splitlines()
        ours = next(line for line in lines if line.startswith("| frl, engine threads"))
        assert [cell.strip() for cell in ours.split("|")[2:6]] == ["1,000", "2.00", "12.5", "1.0"]
        by_hand = next(line for line in lines if line.startswith("| by hand"))
        assert [cell.strip() for cell in by_hand.split("|")[2:6]] == ["300", "5.00", "3.8", "2.5"]
        paper = next(line for line in lines if line.startswith("| the paper"))
        assert [cell.strip() for cell in paper.split("|")[6:9]] == ["250", "1.2 s", "512 MB"]
        assert any("stock ffcv, one decode a crop: not installed (bash scripts/setup.sh)" in line for line in lines)

    def test_the_cores_that_a_gpu_needs(self, results):
        words = report.text(results, 1600)
        assert "frl, engine threads costs 2.00 CPU-ms an image" in words
        assert "1,600 images/s needs 4 cores for the crops; the 2 here feed 1,000." in words
        assert "needs 1 core for" in report.text(results, 300)

    def test_the_best_of_the_others_is_named(self, results):
        words = report.text(results, 1600)
        assert "by hand: simplejpeg, OpenCV AREA and LINEAR, tables, costs 5.00 CPU-ms an image, 2.5 times" in words

    def test_where_and_beside_what_it_was_measured(self, results):
        words = report.text(results, 1600)
        assert (
            processor() in words
            and f"{vector_bits()}-bit vectors" in words
            and "after" in words
            and "1 thread(s)" in words
        )

    def test_saved_figures_are_valid_json_and_say_the_same_again(self, results, tmp_path):
        save(results, tmp_path / "results.json")
        content = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
        assert content["results"][0]["images_per_s"] == 80 and content["results"][2]["images_per_s"] is None
        assert content["machine"]["processor"] == processor()
        assert report.text(load(tmp_path / "results.json"), 1600) == report.text(results, 1600)


class TestTask:
    def test_it_survives_the_way_to_another_process(self):
        assert Task.from_json(TASK.to_json()) == TASK
        assert TASK.recipe == AugmentConfig()

    def test_crops_and_flips_alone(self):
        bare = Task(**{**vars(TASK), "everything": False}).recipe
        assert (bare.jitter_p, bare.grey_p, bare.blur_p, bare.flip_p) == (0, 0, 0, 0.5)
        assert bare.crops == AugmentConfig().crops


class TestProgramme:
    def test_what_is_missing_is_said(self, monkeypatch):
        absent = Entry(label="x", kind="peer", function="m:f", needs="no_such_package.part", install="pip install x")
        monkeypatch.setitem(ENTRIES, "absent", absent)
        skipped = {r.skipped for r in programme(BenchConfig(data=Path("x"))) if r.name == "absent"}
        assert skipped == {"not installed (pip install x)"}

    def test_a_quick_look_leaves_slow_starters_out(self):
        found = programme(BenchConfig(data=Path("x"), quick=True, only=("ffcv", "paper")))
        assert [r.recipe for r in found if r.name == "paper"] == [FULL]
        assert all(r.skipped for r in found if r.name == "ffcv")


def test_a_contestant_that_fails_does_not_stop_the_others(monkeypatch, many_faces):
    monkeypatch.setitem(ENTRIES, "raises", Entry(label="r", kind="peer", function=f"{HERE}:raises", crops_only=False))
    monkeypatch.setitem(ENTRIES, "dies", Entry(label="d", kind="peer", function=f"{HERE}:dies", crops_only=False))
    monkeypatch.setitem(ENTRIES, "busy", Entry(label="b", kind="peer", function=f"{HERE}:busy", crops_only=False))
    config = BenchConfig(data=many_faces, only=("raises", "dies", "busy"), batch_size=4, seconds=0.1, rounds=1)
    kept: list[Results] = []
    raised, died, good = measure(config, kept.append).all
    assert [r.name for r in kept[0].all] == ["raises", "dies", "busy"]
    assert "no such operator" in raised.skipped and "status 3" in died.skipped
    assert len(good.rounds) == 1 and not good.skipped


class TestCommand:
    def test_a_table_and_a_picture(self, many_faces, tmp_path, capsys):
        options = ["--preset", "quickstart", "--batch-size", "4", "--seconds", "0.2", "--rounds", "1", "--workers", "1"]
        out = ["--out", str(tmp_path / "out"), "--only", "floor-resize", "by-hand", "frl-torch"]
        assert main(["bench", "loader", "--data", str(many_faces), *options, *out]) == 0
        printed = capsys.readouterr().out
        assert "| floor: decode + resize |" in printed and "needs" in printed and "core" in printed
        assert (tmp_path / "out" / "loader.png").stat().st_size > 5000
        rates = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
        assert all(row["images_per_s"] > 0 for row in rates)
        (tmp_path / "out" / "loader.png").unlink()
        assert main(["bench", "report", str(tmp_path / "out" / "results.json")]) == 0
        assert capsys.readouterr().out.strip() in printed and (tmp_path / "out" / "loader.png").exists()

    def test_a_report_of_something_else(self, tmp_path, capsys):
        (tmp_path / "x.json").write_text("[]")
        assert main(["bench", "report", str(tmp_path / "x.json")]) == 1
        assert "x.json: it holds no figures of this benchmark" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--only", "nobody"], "no contestant 'nobody'"),
            (["--batch-size", "64"], "fewer than two batches"),
            (["--preset", "nothing"], "no such preset"),
        ],
    )
    def test_bad_input(self, many_faces, options, words, capsys):
        assert main(["bench", "loader", "--data", str(many_faces), *options]) == 1
        assert words in capsys.readouterr().err

    def test_a_missing_file(self, tmp_path, capsys):
        assert main(["bench", "loader", "--data", str(tmp_path / "no.beton")]) == 1
        assert "no.beton" in capsys.readouterr().err

    def test_an_unknown_benchmark(self, capsys):
        assert main(["bench", "nothing"]) == 1
        assert "no benchmark 'nothing'. Known are" in capsys.readouterr().err


def test_no_title_and_no_figure_of_the_picture_is_cut_off():
    found = [
        Result(name=name, recipe=recipe, rounds=[Round(images_per_s=1234.5, cpu_ms_per_image=number / 5)])
        for recipe in (FULL, CROPS)
        for number, name in enumerate(ENTRIES)
        if recipe == FULL or not name.startswith("stage-")
    ]
    figure = picture(Results(found, machine={}))
    figure.canvas.draw()
    assert len(figure.axes) == 3
    for axes in figure.axes:
        for text in (axes.title, *axes.texts):
            extent = text.get_window_extent()
            assert extent.x0 >= 0 and extent.x1 <= figure.bbox.x1 and extent.y1 <= figure.bbox.y1, text
    plt.close(figure)
