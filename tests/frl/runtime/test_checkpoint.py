"""Checkpoints: faults T1 (killed while saving), T9 (disk full), T10 (a flipped byte), T11 (code inside)."""

import os
import pickle
import resource
import signal
import time
from pathlib import Path

import pytest
import torch
from tests_support import start

from frl.errors import CheckpointError
from frl.runtime import checkpoint

STATE = {"step": 3, "model": {"w": torch.arange(20000.0)}, "config": {"lr": 0.1}, "data": {"samples": 5}}


def test_round_trip(tmp_path):
    checkpoint.save(tmp_path / "a.pt", STATE)
    loaded = checkpoint.load(tmp_path / "a.pt")
    assert torch.equal(loaded["model"]["w"], STATE["model"]["w"])
    assert {k: loaded[k] for k in ("step", "config", "data")} == {k: STATE[k] for k in ("step", "config", "data")}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.pt"]


def state_of(step: int) -> dict:
    tensor = torch.full((300_000,), float(step))
    return {"step": step, "model": {"w": tensor}, "queue": tensor * 2}


def assert_of_one_step(state: dict) -> None:
    assert (state["model"]["w"] == state["step"]).all()
    assert (state["queue"] == 2 * state["step"]).all()


def save_for_ever(folder: Path) -> None:
    for step in range(1, 10**6):
        checkpoint.save(checkpoint.path_of(folder, step), state_of(step))
        checkpoint.prune(folder, 2, step)


def test_killed_while_saving_there_is_always_a_sound_one(tmp_path):
    """Fault T1: SIGKILL at ten moments of a saving loop; what remains loads, and all its parts are of one step."""
    folder = tmp_path / "checkpoints"
    checkpoint.save(checkpoint.path_of(folder, 0), state_of(0))
    for attempt in range(10):
        process = start(save_for_ever, folder, log=tmp_path / "log")
        time.sleep(0.05 + 0.017 * attempt)
        process.kill()
        process.join(timeout=300)
        assert_of_one_step(checkpoint.load_newest(folder))


def save_and_die(folder: Path, call: str, when: str) -> None:
    original = getattr(os, call)

    def deadly(*arguments: object) -> object:
        if when == "after":
            original(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, call, deadly)
    checkpoint.save(checkpoint.path_of(folder, 2), state_of(2))


@pytest.mark.parametrize(
    ("call", "when", "left"), [("fsync", "before", 1), ("fsync", "after", 1), ("replace", "after", 2)]
)
def test_killed_after_write_sync_or_rename(tmp_path, call, when, left):
    """Fault T1 at its three places; the next save works, whatever the killed one left."""
    folder = tmp_path / "checkpoints"
    checkpoint.save(checkpoint.path_of(folder, 1), state_of(1))
    process = start(save_and_die, folder, call, when, log=tmp_path / "log")
    process.join(timeout=300)
    assert process.exitcode == -signal.SIGKILL
    newest = checkpoint.load_newest(folder)
    assert newest["step"] == left
    assert_of_one_step(newest)
    checkpoint.save(checkpoint.path_of(folder, 3), state_of(3))
    assert checkpoint.load_newest(folder)["step"] == 3


def test_disk_full_is_an_error_and_leaves_the_earlier_one(tmp_path):
    """Fault T9, through the limit on file size."""
    checkpoint.save(tmp_path / "a.pt", STATE)
    before = (tmp_path / "a.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="cannot be written"):
            checkpoint.save(tmp_path / "a.pt", STATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "a.pt").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "a.pt"]


def test_a_flipped_byte_is_found_and_the_one_before_is_used(tmp_path):
    """Fault T10."""
    for step in (1, 2):
        checkpoint.save(checkpoint.path_of(tmp_path, step), {**STATE, "step": step})
    newest = checkpoint.path_of(tmp_path, 2)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{newest.name}.*checksum"):
        checkpoint.load(newest)
    with pytest.warns(UserWarning, match=newest.name):
        assert checkpoint.load_newest(tmp_path)["step"] == 1


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_truncated_is_refused(tmp_path, keep):
    path = tmp_path / "a.pt"
    checkpoint.save(path, STATE)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="a.pt"):
        checkpoint.load(path)


class Payload:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("container", ["torch", "torch-legacy", "pickle"])
def test_code_inside_is_refused_and_does_not_run(tmp_path, container):
    """Fault T11."""
    path, marker = tmp_path / "evil.pt", tmp_path / "ran"
    content = {"format": checkpoint.FORMAT, "version": 1, "model": Payload(str(marker))}
    if container == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=container == "torch")
    with pytest.raises(CheckpointError):
        checkpoint.load(path)
    assert not marker.exists()
    torch.load(path, weights_only=False) if container != "pickle" else pickle.loads(path.read_bytes())
    assert marker.exists(), "the payload works where nobody refuses it"


def test_other_files_are_refused_by_name(tmp_path):
    torch.save({"w": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="weights.pt.*not a checkpoint"):
        checkpoint.load(tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.load(tmp_path / "absent.pt")
    assert checkpoint.load_newest(tmp_path) is None


def test_prune_keeps_the_newest(tmp_path):
    for step in (1, 20, 300):
        checkpoint.save(checkpoint.path_of(tmp_path, step), {"step": step})
    checkpoint.prune(tmp_path, 2, 300)
    assert [checkpoint.load(path)["step"] for path in checkpoint.saved(tmp_path)] == [20, 300]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_a_damaged_checkpoint_takes_no_place_of_those_that_the_run_writes_after_it(tmp_path, keep):
    """Fault T10, later on: what the run went on from, and what it wrote since, is there; the damaged one is not."""
    for step in (10, 20):
        checkpoint.save(checkpoint.path_of(tmp_path, step), {"step": step})
    checkpoint.path_of(tmp_path, 20).write_bytes(b"PK\x03\x04")
    for step in (11, 12):
        checkpoint.save(checkpoint.path_of(tmp_path, step), {"step": step})
        checkpoint.prune(tmp_path, keep, step)
    assert [checkpoint.load(path)["step"] for path in checkpoint.saved(tmp_path)] == [10, 11, 12][-keep:]
    assert checkpoint.load_newest(tmp_path)["step"] == checkpoint.load(tmp_path)["step"] == 12


def test_killed_while_pruning_the_run_goes_on_from_where_it_did_or_from_the_new_one(tmp_path, monkeypatch):
    """Steps 2 and 3 of longer epochs, of which the last counts as 1 now: they go, and at no moment is 2 the newest."""
    for step in (2, 3, 1):
        checkpoint.save(checkpoint.path_of(tmp_path, step), {"step": step})
    newest, unlink = [], Path.unlink

    def watched(path: Path) -> None:
        unlink(path)
        newest.append(checkpoint.load_newest(tmp_path)["step"])

    monkeypatch.setattr(Path, "unlink", watched)
    checkpoint.prune(tmp_path, 3, 1)
    assert newest == [3, 1]


def diverged(part: str, value: float = float("nan")) -> dict:
    """The content of a checkpoint of which one value of one part is not finite."""
    state = {**STATE, "queue": torch.zeros(4), "optimiser": {"state": {3: {"momentum_buffer": torch.ones(10)}}}}
    tensor = {
        "model.w": state["model"]["w"].clone(),
        "queue": state["queue"],
        "optimiser.state.3.momentum_buffer": state["optimiser"]["state"][3]["momentum_buffer"],
    }[part]
    tensor[0] = value
    return {**state, "model": {"w": tensor}} if part == "model.w" else state


@pytest.mark.parametrize("part", ["model.w", "queue", "optimiser.state.3.momentum_buffer"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_checkpoint_is_refused_and_the_one_before_is_used(tmp_path, part, value):
    """Fault D1 at the door of going on: weights, queue and momentum; the tensor and the share are named."""
    checkpoint.save(checkpoint.path_of(tmp_path, 1), {**STATE, "step": 1})
    checkpoint.save(checkpoint.path_of(tmp_path, 2), {**diverged(part, value), "step": 2})
    with pytest.raises(CheckpointError, match=rf"NaN or infinite: {part} \(\S+ of its values\)"):
        checkpoint.load(checkpoint.path_of(tmp_path, 2))
    with pytest.warns(UserWarning, match="skipped: .*step-000000002.pt"):
        assert checkpoint.load_newest(tmp_path)["step"] == 1
    checkpoint.path_of(tmp_path, 1).unlink()
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="none of the 1 checkpoints is sound.*NaN"):
        checkpoint.load_newest(tmp_path)


def test_a_learning_rate_that_is_no_number_is_refused_too(tmp_path):
    checkpoint.save(tmp_path / "a.pt", {**STATE, "optimiser": {"param_groups": [{"lr": float("nan")}]}})
    with pytest.raises(CheckpointError, match=r"optimiser\.param_groups\.0\.lr"):
        checkpoint.load(tmp_path / "a.pt")


def test_the_share_of_bad_values_is_told(tmp_path):
    tensor = torch.zeros(3000)
    tensor[:1500] = float("-inf")
    with pytest.raises(CheckpointError, match=r"a \(50\.0% of its values\), b\.0 \(all of its values\)"):
        checkpoint.require_finite({"a": tensor, "b": [torch.full((2,), float("nan"), dtype=torch.bfloat16)]}, "x")
    checkpoint.require_finite({"a": torch.zeros(0), "b": torch.arange(3), "c": [1, "text", None, True]}, "x")


def test_a_run_stands_for_its_newest_checkpoint(tmp_path):
    for step in (1, 20):
        checkpoint.save(checkpoint.path_of(tmp_path / "checkpoints", step), {**STATE, "step": step})
    newest = checkpoint.path_of(tmp_path / "checkpoints", 20)
    assert checkpoint.resolve(str(tmp_path)) == checkpoint.resolve(tmp_path / "checkpoints") == newest
    assert checkpoint.load(str(tmp_path))["step"] == 20
    assert checkpoint.resolve(str(newest)) == newest


def test_copies_under_other_names_are_never_deleted_and_never_taken_for_the_newest(tmp_path):
    names = ["step-000000004-best.pt", "step-000000004 (copy).pt", "step-000000006_mine.pt", "step-7.pt"]
    for step in (2, 4, 6):
        checkpoint.save(checkpoint.path_of(tmp_path, step), state_of(step))
    for name in names:
        checkpoint.save(tmp_path / name, state_of(0))
    (tmp_path / "step-000000009.pt").mkdir()
    assert checkpoint.resolve(tmp_path) == checkpoint.path_of(tmp_path, 6)
    assert checkpoint.load_newest(tmp_path)["step"] == 6
    checkpoint.prune(tmp_path, 1, 6)
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == sorted(
        [*names, "step-000000006.pt", "step-000000009.pt"]
    )


@pytest.mark.parametrize("change", [{"version": "2"}, {"version": None}, {"model": ...}])
def test_what_lacks_a_part_is_refused_and_the_one_before_is_used(tmp_path, change):
    for step in (1, 2):
        checkpoint.save(checkpoint.path_of(tmp_path, step), state_of(step))
    state = {**checkpoint.read_tensors(checkpoint.path_of(tmp_path, 2)), **change}
    torch.save({name: part for name, part in state.items() if part is not ...}, checkpoint.path_of(tmp_path, 2))
    with pytest.warns(UserWarning, match=r"step-000000002\.pt: (lacks model|has the version)"):
        assert checkpoint.load_newest(tmp_path, ("step", "model"))["step"] == 1
