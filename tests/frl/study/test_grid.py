"""A study's file becomes commands, each once."""

import json
from pathlib import Path

import pytest

from frl.cli.study import find, ready
from frl.config.pairs import pairs
from frl.errors import ConfigError
from frl.presets import preset
from frl.study import steps
from frl.study.grid import parse_study, read_study
from frl.study.perform import steps_of

CONTENT = {
    "title": "How much?",
    "seeds": 2,
    "axes": {
        "faces": {"few": {"write.limit": 10}, "many": {"write.limit": 100}},
        "rate": {"low": {"pretrain.optim.lr": 0.1}, "high": {"pretrain.optim.lr": 0.5, "evaluate.size": 64}},
    },
    "write": {"sources": ["a", "b"], "size": 96, "merge_identities": True, "overwrite": False},
    "pretrain": {"preset": "cpu", "optim.epochs": 3, "health.patience_steps": None},
    "evaluate": {"k-NN": {"task": "knn", "data": "c.beton", "score": "accuracy"}, "pose": {"task": "pose"}},
}


def study(**changes):
    return parse_study({**CONTENT, **changes}, "study.yaml")


def test_every_combination_is_done_with_every_seed_and_what_is_shared_once():
    cells = list(study().cells())
    assert [tuple(cell.choices.values()) for cell in cells[::2]] == [
        ("few", "low"), ("few", "high"), ("many", "low"), ("many", "high")
    ]  # fmt: skip
    assert [cell.seed for cell in cells] == [0, 1] * 4
    steps = steps_of(cells)
    counts = {stage: sum(step.stage == stage for step in steps) for stage in ("write", "pretrain", "evaluate")}
    assert counts == {"write": 2, "pretrain": 8, "evaluate": 16}
    made = set()
    for step in steps:  # what another reads comes before it
        assert step.source is None or step.source[1].key in made
        made.add(step.key)


def test_commands_are_those_that_one_would_type():
    cell = next(cell for cell in study().cells() if cell.choices == {"faces": "many", "rate": "high"})
    evaluation = cell.evaluations["k-NN"]
    run = evaluation.source[1]
    data = run.source[1]
    out = Path("out")
    assert data.arguments(out)[:-1] == [
        "write", "a", "b", "--size", "96", "--merge-identities", "--no-overwrite", "--limit", "100", "--out"
    ]  # fmt: skip
    assert run.arguments(out) == [
        "pretrain", "cpu", "--optim.epochs", "3", "--seed", "0", "--optim.lr", "0.5",
        "--data", str(data.product(out)), "--out", str(run.product(out)),
    ]  # fmt: skip
    assert evaluation.arguments(out) == [
        "evaluate", "knn", "--seed", "0", "--data", "c.beton", "--size", "64",
        "--weights", str(run.product(out)), "--out", str(evaluation.product(out)),
    ]  # fmt: skip


def test_options_may_be_nested_as_the_file_likes():
    nested = study(
        seeds=1,
        pretrain={"preset": "cpu", "optim": {"batch-size": 8, "epochs": 3}, "augment": {"crops.0": {"size": 32}}},
        axes={"batch": {"small": {"pretrain": {"optim": {"batch_size": 4}}}, "large": {"pretrain.optim.lr": 0.1}}},
    )
    small, large = (step.options for step in steps_of(nested.cells()) if step.stage == "pretrain")
    same = ("--optim.epochs", "3", "--augment.crops.0.size", "32", "--seed", "0")
    assert small == ("--optim.batch-size", "4", *same)
    assert large == ("--optim.batch-size", "8", *same, "--optim.lr", "0.1")


def test_a_changed_file_or_option_is_other_work(tmp_path):
    faces = tmp_path / "faces.beton"
    faces.write_bytes(b"1")

    def key(**options):
        pretrain = {"preset": "cpu", "data": str(faces), **options}
        (cell,) = study(axes={}, seeds=1, write=None, pretrain=pretrain).cells()
        return cell.evaluations["k-NN"].key

    before = key()
    assert key() == before and key(epochs=2) != before
    faces.write_bytes(b"22")
    assert key() != before


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"axis": {}}, "unknown key 'axis'"),
        ({"title": ""}, "no 'title'"),
        ({"seeds": []}, "seeds"),
        ({"seeds": ["a"]}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"seeds": True}, "seeds"),
        ({"axes": ["faces"]}, "axes: is no mapping"),
        ({"axes": {"faces": {1: {}, "1": {}}}}, "has a key twice"),
        ({"axes": {"faces": {}}}, "no choices"),
        ({"axes": {"faces": {"few": {"limit": 3}}}}, "'limit' of 'few' is of no stage"),
        ({"axes": {"faces": {"few": 3}}}, "'few'"),
        ({"axes": {"a": {"b": {"pretrain.seed": 3}}}}, "axis 'a': 'pretrain.seed' is the study's"),
        ({"axes": {a: {"b": {"write.limit": 3}} for a in "ac"}}, "axis 'c': 'write.limit' is on the axis 'a', too"),
        ({"evaluate": {"k-NN": {"data": "x"}}}, "names no 'task'"),
        ({"evaluate": ["knn"]}, "evaluate: is no mapping"),
        ({"evaluate": {"k-NN": "knn"}}, "'k-NN': is no mapping"),
        ({"write": {"size": 3}}, "names no sources"),
        ({"write": "faces"}, "write: is no mapping"),
        ({"write": None, "axes": {}}, "names no data"),
        ({"write": None}, "axis 'faces': 'write.limit' changes nothing"),
        ({"pretrain": "cpu"}, "pretrain: is no mapping"),
        ({"pretrain": {"preset": "cpu", "seed": 3}}, "'seed' is the study's"),
        ({"pretrain": {"preset": "cpu", "optim.lr": 1, "optim": {"lr": 2}}}, "has 'optim.lr' twice"),
        ({"pretrain": {"preset": "cpu", "augment": {"crops": [{"size": 32}]}}}, r"as augment.crops.0.size"),
        ({"pretrain": {"preset": "cpu", "data": "x"}}, "names data besides"),
        ({"pretrain": {"optim.lr": 1}}, "names no preset"),
        ({"pretrain": {"preset": "cpu", "out": "x"}}, "pretrain.out"),
    ],
)
def test_what_is_wrong_is_named(changes, names):
    with pytest.raises(ConfigError, match=names):
        list(study(**changes).cells())


def test_variables_are_filled_in_and_none_is_ignored(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps({**CONTENT, "write": {"sources": ["$faces"]}}))
    (data,) = {s.words for s in steps_of(read_study(path, {"faces": "f"}).cells()) if s.stage == "write"}
    assert data == ("f",)
    with pytest.raises(ConfigError, match="needs faces"):
        read_study(path, {})
    with pytest.raises(ConfigError, match="has no .strangers"):
        read_study(path, {"faces": "f", "strangers": "s"})


@pytest.mark.parametrize("value", ["my faces, all.beton", "faces #2.beton", "0123", "off", "{a}.beton", "a: b", "it's"])
def test_a_variable_stands_for_what_it_holds(tmp_path, value):
    """Whatever it would be in YAML."""
    path = tmp_path / "study.yaml"
    path.write_text(
        "title: $$ and $5\nseeds: $n\npretrain: {preset: cpu, data: $faces}\nevaluate: {$faces: {task: knn}}\n"
    )
    found = read_study(path, {"faces": value, "n": "2"})
    assert found.pretrain["data"] == value and list(found.evaluate) == [value]
    assert found.title == "$ and $5" and found.seeds == (0, 1)


def test_a_file_that_says_two_things_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    for text, cause in (
        ("title: [", "cannot be read"),
        ("title: a\ntitle: b", "a key is there twice"),
        ("title: a\npretrain: {optim.lr: 0.1, optim.lr: 0.2}", "a key is there twice"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=cause):
            read_study(path, {})
    path.write_text("{$a: 1, $b: 2}")
    with pytest.raises(ConfigError, match=r"two of the keys \$a, \$b the same"):
        read_study(path, {"a": "x", "b": "x"})


def test_the_studies_that_come_with_frl_are_sound():
    assert len(ready()) >= 5
    values = {"faces": "f.beton", "strangers": "s.beton", "count": "100"}
    for name, title in ready().items():
        path = find(name)
        needed = {key: value for key, value in values.items() if f"${key}" in path.read_text()}
        found = read_study(path, needed)
        assert found.title == title and len(steps_of(found.cells())) > 6
    with pytest.raises(ConfigError, match="no study"):
        find("nothing")


def test_sets_of_different_sizes_are_trained_on_for_as_many_steps():
    study = read_study(find("how-much-data"), {"faces": "f", "strangers": "s.beton"})
    batch = preset(study.pretrain["preset"]).config.optim.batch_size
    steps = {
        options["write.limit"] // batch * options["pretrain.optim.epochs"] for options in study.axes["faces"].values()
    }
    assert len(steps) == 1


def test_pairs():
    assert pairs(("a=1", "b=c=d"), "--set", "a=1") == {"a": "1", "b": "c=d"}
    for wrong in ("a", "=1", "a=", "a-b=1"):
        with pytest.raises(ConfigError, match=f"--set: '{wrong}' is not NAME=VALUE"):
            pairs((wrong,), "--set", "a=1")
    with pytest.raises(ConfigError, match=r"--set: a is given twice \(1, 2\)"):
        pairs(("a=1", "a=2"), "--set", "a=1")


def test_an_objective_s_own_file_counts_by_its_size_and_time(tmp_path, monkeypatch):
    """As any file that an option names: a study would take what an earlier loss gave for what the new one gives."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("class Mine: ...")
    assert steps._path_in("mine.py:Mine") == "mine.py"
    before = steps._stamp("mine.py:Mine")
    Path("mine.py").write_text("class Mine: weight = 2")
    assert before is not None and steps._stamp("mine.py:Mine") != before
