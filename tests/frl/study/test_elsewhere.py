"""The steps of a study as jobs of a cluster: a real Slurm, where it is installed."""

import time

import pytest
from slurm_cluster import missing_programs, slurm_cluster

from frl.errors import ConfigError
from frl.runtime.clusters import Outcome, Slurm
from frl.study import elsewhere
from frl.study.elsewhere import LOST, Elsewhere, StepTask
from frl.study.perform import LOG, last_words
from frl.study.steps import Step


def step(*words):
    return Step(stage="evaluate", words=words, options=())


class Fake:
    """A cluster that runs nothing: it answers what it is told to."""

    at_once = None

    def __init__(self, answers):
        self.answers, self.most, self.alive, self.cancelled = answers, 0, set(), []

    def submit(self, task):
        self.alive.add(task.step.words)
        self.most = max(self.most, len(self.alive))
        return task.step.words

    def outcome(self, job):
        answer = self.answers[job]
        if answer is not None:
            self.alive.discard(job)
        return answer

    def cancel(self, job):
        self.cancelled.append(job)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(elsewhere, "LOOK_S", 0)


def test_so_many_at_once_and_how_each_ended(tmp_path, quick):
    engine = Fake(
        {("a",): Outcome(0), ("b",): Outcome(1), ("c",): Outcome(lost="its machine burns"), ("d",): Outcome(143)}
    )
    ended = {}
    Elsewhere(engine, jobs=2)(
        [step(word) for word in "abcd"], tmp_path, lambda s, status: ended.update({s.words: status})
    )
    assert ended == {("a",): 0, ("b",): 1, ("c",): LOST, ("d",): LOST} and engine.most == 2
    assert last_words(step("c").folder(tmp_path) / LOG) == "its machine burns"


def test_after_an_interruption_the_jobs_are_cancelled(tmp_path, quick, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    engine = Fake({("a",): None, ("b",): None})
    with pytest.raises(KeyboardInterrupt):
        Elsewhere(engine, jobs=2)([step("a"), step("b"), step("c")], tmp_path, lambda s, status: None)
    assert engine.cancelled == [("a",), ("b",)]


def test_options_that_slurm_does_not_know(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(ConfigError, match="--on slurm"):
        Slurm("frl-study", tmp_path, 1, {"nonsense": "1"})


@pytest.mark.timeout(400)
def test_steps_are_jobs_of_slurm(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    if missing_programs():
        pytest.skip(f"Slurm is not installed ({', '.join(missing_programs())})")
    fails = Step(stage="evaluate", words=("knn",), options=("--data", "none.beton"))
    ended = {}
    with slurm_cluster() as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        launch = Elsewhere(Slurm("frl-study", tmp_path, 1, {"time": "60"}), jobs=2)
        launch([fails], tmp_path, lambda s, status: ended.update({s: status}))
    assert ended == {fails: 1}, cluster.logs()
    assert "none.beton" in last_words(fails.folder(tmp_path) / LOG) and not fails.is_done(tmp_path)


def test_a_task_runs_where_the_study_was_started(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(elsewhere, "run_step", lambda step, out: seen.append((step, out)) or 0)
    monkeypatch.chdir("/")
    assert StepTask(step("a"), tmp_path, tmp_path)() == 0
    assert seen == [(step("a"), tmp_path)]
