"""Nobody is on two sides, and fewer labels are a part of more."""

from __future__ import annotations

import numpy as np
import pytest

from frl.beton.targets import Kind, TargetSpec
from frl.errors import ConfigError
from frl.evaluate.few_labels import Answer, Trial, spread, trials
from frl.evaluate.splits import (
    Labels,
    cross_validation,
    folds,
    labelled,
    namesakes,
    require_no_shared_subject,
    split_by_subject,
)
from frl.evaluate.table import Row, scores_table
from frl.tasks.registry import Score, Truth, task_of
from frl.tasks.scores import score

SUBJECTS = np.repeat(np.arange(50), np.random.default_rng(0).integers(1, 9, 50))
NOBODY = np.full(200, -1)


@pytest.mark.parametrize("subjects", [SUBJECTS, NOBODY], ids=["subjects", "nobody"])
@pytest.mark.parametrize("seed", [0, 7])
def test_fewer_labels_are_a_part_of_more_and_subjects_are_whole(subjects, seed):
    smaller: set[int] = set()
    for count in (2, 10, 50, len(subjects)):
        rows = labelled(subjects, count, seed)
        assert count <= len(rows) < count + 9
        assert smaller <= set(rows.tolist())
        smaller = set(rows.tolist())
        if subjects is SUBJECTS:
            assert np.isin(subjects, subjects[rows]).sum() == len(rows)
    assert len(labelled(NOBODY, 10, seed)) == 10


def test_another_seed_draws_others():
    assert set(labelled(SUBJECTS, 20, 0)) != set(labelled(SUBJECTS, 20, 1))


@pytest.mark.parametrize("count", [200, 5000])
def test_held_out_faces_are_of_held_out_subjects(count):
    subjects = np.random.default_rng(1).integers(0, 30, count)
    parts = list(folds(subjects))
    assert len(parts) == (1 if count >= 1000 else 5)
    for train, held in parts:
        assert not set(subjects[train]) & set(subjects[held])
        assert len(train) + len(held) == count and len(train) and len(held)
    if count < 1000:
        assert sorted(np.concatenate([held for _, held in parts])) == list(range(count))


def test_one_subject_alone_is_held_out_by_face():
    assert all(len(train) and len(held) for train, held in folds(np.zeros(7, int)))
    assert [len(held) for _, held in folds(np.array([-1, -1]))] == [1, 1]


def test_a_file_is_split_by_subject():
    train, test = split_by_subject(SUBJECTS, 0.2, seed=0)
    assert not set(SUBJECTS[train]) & set(SUBJECTS[test]) and len(train) + len(test) == len(SUBJECTS)
    assert 0.2 <= len(test) / len(SUBJECTS) < 0.3
    with pytest.raises(ConfigError, match="one subject"):
        split_by_subject(np.zeros(9, int), 0.2, seed=0)


@pytest.mark.parametrize("subjects", [SUBJECTS, NOBODY], ids=["subjects", "nobody"])
@pytest.mark.parametrize("count", [2, 5])
def test_each_face_is_tested_on_once_by_heads_that_never_saw_its_subject(subjects, count):
    parts = list(cross_validation(subjects, count, seed=3))
    assert sorted(np.concatenate([test for _, test in parts])) == list(range(len(subjects)))
    for train, test in parts:
        assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(subjects)))
        assert subjects is NOBODY or not set(subjects[train]) & set(subjects[test])
    sizes = [len(test) for _, test in parts]
    assert len(sizes) == count and max(sizes) - min(sizes) <= 1
    others = [test for _, test in cross_validation(subjects, count, seed=4)]
    assert {tuple(test) for _, test in parts} != {tuple(test) for test in others}


def test_more_folds_than_subjects_are_refused():
    with pytest.raises(ConfigError, match=r"--folds: 4 parts of whole subjects cannot be made of 3"):
        next(cross_validation(np.array([0, 0, 1, 2, 2]), 4, seed=0))


def test_a_subject_in_both_files_is_refused():
    require_no_shared_subject(["a", "b"], ["c"])
    with pytest.raises(ConfigError, match="1 subjects are in both files, such as 'b'"):
        require_no_shared_subject(["a", "b"], ["b", "c"])


@pytest.mark.parametrize("text, total, count", [("100%", 70, 70), ("10%", 70, 7), ("50", 70, 50), ("2.5%", 1000, 25)])
def test_shares_and_numbers(text, total, count):
    assert Labels.parse(text).of(total) == count and str(Labels.parse(text)) == text


@pytest.mark.parametrize("text", ["0%", "101%", "nan%", "-1%", "1", "0", "many", "%", "", "1.5"])
def test_labels_that_make_no_sense_are_refused(text):
    with pytest.raises(ConfigError, match="--labels"):
        Labels.parse(text)


@pytest.mark.parametrize("text, total", [("1%", 70), ("71", 70)])
def test_labels_that_are_not_there_are_refused(text, total):
    with pytest.raises(ConfigError, match="training faces are"):
        Labels.parse(text).of(total)


def test_a_score_that_a_trial_lacks_costs_no_table():
    """After hours of training, what is not there is n/a."""
    scores = {name: score(0.5, "{:.1f}", higher_is_better=True) for name in ("a", "b")}
    rows = [
        Row(network=network, features="", labels="100%", trials=[trial_of(found)])
        for network, found in (("whole", scores), ("part", {"a": scores["a"]}))
    ]
    assert scores_table(rows).splitlines()[2].split() == ["part", "100%", "9", "0.5", "n/a"]


@pytest.mark.parametrize(
    ("values", "text", "mean"),
    [
        ([np.nan, np.nan, 0.5], "0.500 (1 of 3)", 0.5),
        ([np.nan, 0.4, 0.5], "0.450 +- 0.071 (2 of 3)", 0.45),
        ([np.nan, np.nan], "n/a", np.nan),
        ([0.4, 0.5], "0.450 +- 0.071", 0.45),
    ],
)
def test_a_figure_that_some_seeds_do_not_define_says_of_how_many_it_is(values, text, mean):
    of_seeds = [trial_of({"icc": score(value, "{:.3f}", higher_is_better=True)}, i) for i, value in enumerate(values)]
    found = spread(of_seeds, "icc")
    assert found.text == text and found.mean == pytest.approx(mean, nan_ok=True)
    assert found.trials == np.isfinite(values).sum()


def trial_of(scores: dict[str, Score], seed: int = 0) -> Trial:
    return Trial(seed=seed, faces=9, setting="", scores=scores, details={})


def test_trials_are_summed_up():
    spec = TargetSpec(name="age", kind=Kind.VECTOR)
    values = np.arange(20.0)
    known = Truth(values={"age": values}, specs={"age": spec}, subjects=np.full(20, -1), sides=np.full((20, 2), 9.0))
    task = task_of("numbers:age", known)

    def answer(rows: np.ndarray, seed: int) -> Answer:
        off = (values + seed + 1 - np.mean(values)) / np.std(values)
        return Answer(off[:, None], f"{len(rows)}")

    few = list(trials(task, answer, known, known, Labels(count=5), [0, 1, 2]))
    assert [trial.faces for trial in few] == [5, 5, 5] and [trial.setting for trial in few] == ["5"] * 3
    found = spread(few, "mae")
    assert (found.mean, found.deviation, found.trials) == pytest.approx((2, 1, 3))
    assert found.error == pytest.approx(1 / 3**0.5) and found.text == "2 +- 1"
    alone = list(trials(task, answer, known, known, Labels(share=1.0), [0, 1, 2]))
    assert len(alone) == 1 and np.isnan(spread(alone, "mae").deviation) and spread(alone, "mae").text == "1"
    assert len(list(trials(task, answer, known, known, Labels(share=1.0), [0, 1], random=True))) == 2


def test_people_of_one_name_in_two_sources_are_remarked_upon():
    """Who they are nobody knows: the same people, or others whom both sources number from 1."""
    assert namesakes(["train.csv/p0", "train.csv/p1"], ["test.csv/p2"]) is None
    remark = namesakes(["train.csv/p0", "set@train/n/p1"], ["test.csv/p1", "test.csv/p0"])
    assert remark is not None and remark.startswith("2 subjects have the same names in both files, such as 'p0'")
