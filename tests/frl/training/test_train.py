"""The loop: exact resume after SIGKILL (T2), SIGTERM, the collapse alarm (T8), and what a run leaves behind."""

import gzip
import json
import math
import random
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests_support import start, start_ranks
from tiny_run import CONFIG, RandomViews, run, run_in, watchful
from torch import nn

from frl.batch import Batch
from frl.config import RunConfig, SupervisedConfig
from frl.errors import CheckpointError, TrainingError
from frl.evaluate.gallery import Probed
from frl.evaluate.probe import Probe, Schedule
from frl.monitoring.logbook import read_metrics
from frl.runtime import checkpoint
from frl.runtime.distributed import World, world
from frl.runtime.waiting import HostBarrier
from frl.training.build import build, build_step
from frl.training.resume import Progress
from frl.training.train import train

LAST_STEP = 15


def final_state(out: Path) -> dict:
    return checkpoint.load(checkpoint.path_of(out / "checkpoints", LAST_STEP))


def assert_same_state(one: dict, other: dict) -> None:
    assert one["step"] == other["step"]
    for name, tensor in one["model"].items():
        assert torch.equal(tensor, other["model"][name]), name
    assert torch.equal(one["progress"]["queue"], other["progress"]["queue"])
    for index, state in one["optimiser"]["state"].items():
        assert torch.equal(state["momentum_buffer"], other["optimiser"]["state"][index]["momentum_buffer"])


def newest(out: Path) -> Path | None:
    return max(checkpoint.saved(out / "checkpoints"), default=None)


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def run_to_the_end(out: Path) -> int | None:
    process = start(run_in, out, log=out / "log")
    process.join(280)
    return process.exitcode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    assert run_to_the_end(out) == 0
    return out


def test_a_run_leaves_metrics_configuration_and_checkpoints(uninterrupted):
    lines = read_metrics(uninterrupted / "metrics.jsonl")
    assert [line["step"] for line in lines] == sorted({*range(3, 16, 3), *range(2, 16, 2), *range(5, 16, 5)})
    assert all(math.isfinite(line["loss"]) and 0 <= line["data_wait"] <= 1 for line in lines)
    assert lines[0]["epoch"] == 0 and lines[-1]["epoch"] == 2
    assert (uninterrupted / "config.json").exists()
    assert list((uninterrupted / "tensorboard").iterdir())
    assert [path.name for path in checkpoint.saved(uninterrupted / "checkpoints")] == [
        f"step-{step:09d}.pt" for step in (12, 14, 15)
    ]


@pytest.mark.timeout(300)
def test_killed_at_random_steps_it_ends_bitwise_equal(uninterrupted, tmp_path):
    """Fault T2: SIGKILL again and again at random moments; the run goes on from its newest checkpoint each time."""
    moments = random.Random(0)
    for _ in range(10):
        before = newest(tmp_path)
        process = start(run_in, tmp_path, 0.02, log=tmp_path / "log")
        wait_until(lambda: newest(tmp_path) != before or process.exitcode is not None)  # noqa: B023
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.join(timeout=300)
    assert run_to_the_end(tmp_path) == 0
    assert_same_state(final_state(uninterrupted), final_state(tmp_path))
    steps = [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert steps == sorted(set(steps)), "no step is logged twice"


def test_sigterm_saves_and_the_next_run_goes_on_exactly(uninterrupted, tmp_path):
    process = start(run_in, tmp_path, 1.0, log=tmp_path / "log")
    wait_until(lambda: newest(tmp_path) is not None)
    process.terminate()
    process.join(280)
    assert process.exitcode == 0
    assert checkpoint.load_newest(tmp_path / "checkpoints")["step"] < LAST_STEP
    assert run_to_the_end(tmp_path) == 0
    assert_same_state(final_state(uninterrupted), final_state(tmp_path))


@pytest.mark.parametrize("action", ["warn", "stop"])
def test_identical_images_raise_the_alarm(tmp_path, capsys, action):
    """Fault T8."""
    config = replace(watchful(CONFIG, action), out=tmp_path)
    if action == "stop":
        with pytest.raises(TrainingError, match="collapse"):
            run(config, identical=True)
        assert checkpoint.load_newest(tmp_path / "checkpoints")["step"] < LAST_STEP
    else:
        run(config, identical=True)
        assert "collapse" in capsys.readouterr().out


def test_different_images_do_not(tmp_path, capsys):
    run(replace(watchful(CONFIG, "warn"), out=tmp_path, health=replace(CONFIG.health, patience_steps=6, max_loss=2.0)))
    assert "collapse" not in capsys.readouterr().out


class Poisoned(RandomViews):
    """Holds an infinite pixel in the steps given."""

    def __init__(self, config: RunConfig, bad: Collection[int], **place: int) -> None:
        super().__init__(config, **place)
        self.bad = bad

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(super().epoch(epoch, start), epoch * len(self) + start):
            if step in self.bad:
                batch.views[0][0, 0, 0, 0] = math.inf
            yield batch


def run_poisoned(config: RunConfig, bad: Collection[int], poisoned_rank: int = 0) -> None:
    torch.set_num_threads(1)
    with world("cpu") as place:
        loader = Poisoned(config, bad if place.rank == poisoned_rank else (), rank=place.rank, world_size=place.size)
        train(build(config, loader, place))


def assert_finite(state: dict) -> None:
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert all(entry["momentum_buffer"].isfinite().all() for entry in state["optimiser"]["state"].values())
    assert state["progress"]["queue"].isfinite().all()


def assert_no_trace(before: dict, after: dict) -> None:
    prototypes = [state["model"].pop("prototypes.weight") for state in (before, after)]
    torch.testing.assert_close(*prototypes, rtol=0, atol=1e-7)  # made unit vectors once more
    assert_same_state(before | {"step": after["step"]}, after)


def test_a_step_that_is_not_finite_is_passed_over_and_leaves_no_trace(tmp_path, capsys):
    """Fault T6: the run goes on, and the state after the bad step is that before it."""
    config = replace(CONFIG, out=tmp_path, checkpoint_every_steps=1, keep_checkpoints=15)
    run_poisoned(config, bad={6})
    before, after, end = (checkpoint.load(checkpoint.path_of(tmp_path / "checkpoints", s)) for s in (6, 7, LAST_STEP))
    assert_no_trace(before, after)
    assert_finite(end)
    assert not torch.equal(end["model"]["backbone.conv1.weight"], after["model"]["backbone.conv1.weight"])
    assert "not finite in 1 steps" in capsys.readouterr().out
    assert all(math.isfinite(line["loss"]) for line in read_metrics(tmp_path / "metrics.jsonl"))


def test_too_many_in_a_row_stop_the_run_and_say_how_to_replay_it(tmp_path):
    """Fault T6: three bad steps here and there are passed over, three in a row end the run."""
    config = replace(CONFIG, out=tmp_path, health=replace(CONFIG.health, max_skipped_steps=3))
    with pytest.raises(TrainingError, match="up to step 12: .* 3 of them in a row.* --max-steps 12"):
        run_poisoned(config, bad={1, 3, 4, 9, 10, 11})
    assert_finite(checkpoint.load_newest(tmp_path / "checkpoints"))


def test_all_ranks_pass_over_the_bad_step_of_one(tmp_path):
    """Fault T6: rank 1's loss alone is bad; neither rank moves."""
    config = replace(CONFIG, out=tmp_path, checkpoint_every_steps=1, keep_checkpoints=15)
    ranks = start_ranks(run_poisoned, 2, config, {6}, 1, log=tmp_path / "log")
    for rank in ranks:
        rank.join(280)
    assert [rank.exitcode for rank in ranks] == [0, 0], (tmp_path / "log").read_text()
    before, after, end = (checkpoint.load(checkpoint.path_of(tmp_path / "checkpoints", s)) for s in (6, 7, LAST_STEP))
    assert_no_trace(before, after)
    assert_finite(end)


@pytest.mark.parametrize("change", ["seed", "optim"])
def test_another_configuration_is_refused_with_the_difference(uninterrupted, change):
    changed = replace(CONFIG, seed=1) if change == "seed" else replace(CONFIG, optim=replace(CONFIG.optim, lr=0.25))
    with pytest.raises(CheckpointError, match="seed: 0 -> 1" if change == "seed" else "optim.lr: 0.5 -> 0.25"):
        run(replace(changed, out=uninterrupted))


def test_named_options_may_change(uninterrupted, tmp_path):
    """Fault T12: what is named, and nothing else."""
    shutil.copytree(uninterrupted, tmp_path / "run")
    longer = replace(CONFIG, out=tmp_path / "run", optim=replace(CONFIG.optim, epochs=4, lr=0.25), max_steps=16)
    with pytest.raises(CheckpointError, match=r"differs in optim\.lr: 0\.5 -> 0\.25\. .*--allow-changes"):
        run(replace(longer, allow_changes=("optim.epochs",)))
    run(replace(longer, allow_changes=("optim",)))
    assert checkpoint.load_newest(tmp_path / "run" / "checkpoints")["step"] == 16


def test_what_may_change_is_applied(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted, tmp_path / "run")
    optim = replace(CONFIG.optim, epochs=4, momentum=0.5, weight_decay=0.25, trust=0.02)
    config = replace(CONFIG, out=tmp_path / "run", optim=optim, allow_changes=("optim",))
    with world("cpu") as place:
        step = build_step(config, 5, place)
        Progress(config, RandomViews(config), step, place, HostBarrier(place)).resume()
    (group,) = step.optimiser.param_groups
    assert (group["momentum"], group["weight_decay"], group["trust"]) == (0.5, 0.25, 0.02)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["optim"]["momentum"] == 0.5


def test_what_shapes_the_weights_may_never_change(uninterrupted):
    head = replace(CONFIG.objective, prototypes=24)
    with pytest.raises(CheckpointError, match=r"objective\.prototypes: 12 -> 24, and the weights of one do not fit"):
        run(replace(CONFIG, out=uninterrupted, objective=head, allow_changes=("objective",)))


def test_a_shorter_queue_goes_on_with_the_newest_features(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted, tmp_path / "run")
    head = replace(CONFIG.objective, queue_length=8)
    longer = replace(CONFIG, optim=replace(CONFIG.optim, epochs=4), max_steps=16, allow_changes=("objective", "optim"))
    run(replace(longer, out=tmp_path / "run", objective=head))
    state = checkpoint.load_newest(tmp_path / "run" / "checkpoints")
    assert state["step"] == 16 and state["progress"]["queue"].shape == (2, 1, 8, 16)


def test_another_batch_size_goes_on_after_as_many_epochs_and_not_within_one(uninterrupted, tmp_path):
    config = replace(CONFIG, optim=replace(CONFIG.optim, batch_size=4, epochs=4), allow_changes=("optim", "data"))
    run(replace(CONFIG, out=tmp_path / "within", max_steps=12))
    for out in ("within", "after"):
        config = replace(config, out=tmp_path / out, max_steps=31)
        with world("cpu") as place:
            loader = RandomViews(config, steps=10)
            loader.samples = 40
            if out == "within":
                with pytest.raises(CheckpointError, match=r"the middle of epoch 2.*--max-steps 15"):
                    train(build(config, loader, place))
            else:
                shutil.copytree(uninterrupted, config.out)
                with pytest.warns(UserWarning, match="step 15 counts as 30"):
                    train(build(config, loader, place))
    assert read_metrics(tmp_path / "after" / "metrics.jsonl")[-1]["step"] == 31


class Interrupted(RandomViews):
    """Its process is killed before a step."""

    def __init__(self, config: RunConfig, fault: int, **options: int) -> None:
        super().__init__(config, **options)
        self.fault = fault

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(super().epoch(epoch, start), epoch * len(self) + start):
            if step == self.fault:
                raise KeyboardInterrupt
            yield batch


def run_shorter_epochs(config: RunConfig, fault: int = -1) -> None:
    """Train on two steps an epoch instead of five, as far as ``config`` says, or to a step that never comes."""
    with world("cpu") as place:
        loader = Interrupted(config, fault, steps=2)
        train(build(config, loader, place))


def test_after_a_change_of_steps_per_epoch_the_new_checkpoints_are_the_newest(uninterrupted, tmp_path):
    """Step 15 counts as 6: what the run does from there is kept, gone on from, and what its folder stands for."""
    shutil.copytree(uninterrupted, tmp_path / "run")
    longer = replace(CONFIG.optim, epochs=6)
    config = replace(CONFIG, out=tmp_path / "run", optim=longer, allow_changes=("optim", "data"))
    folder = config.out / "checkpoints"
    for last, expected in ((7, [7]), (9, [7, 8, 9]), (10, [8, 9, 10])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if last == 7 else "error", UserWarning)
            run_shorter_epochs(replace(config, max_steps=last))
        assert [checkpoint.load(path)["step"] for path in checkpoint.saved(folder)] == expected
        assert checkpoint.load(config.out)["step"] == last


def test_after_a_change_of_steps_per_epoch_the_log_goes_on_by_the_new_ones(uninterrupted, tmp_path):
    """No line is lost, and none counted anew twice where the process is killed before its first checkpoint."""
    shutil.copytree(uninterrupted, tmp_path / "run")
    longer = replace(CONFIG.optim, epochs=6)
    config = replace(CONFIG, out=tmp_path / "run", optim=longer, allow_changes=("optim", "data"), log_every_steps=1)
    before = [line["loss"] for line in read_metrics(uninterrupted / "metrics.jsonl")]
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="step 15 counts as 6"):
        run_shorter_epochs(config, 6)
    with pytest.warns(UserWarning, match="step 15 counts as 6"):
        run_shorter_epochs(replace(config, max_steps=8))
    run_shorter_epochs(replace(config, max_steps=9))
    lines = [line for line in read_metrics(config.out / "metrics.jsonl") if "loss" in line]
    assert [line["loss"] for line in lines[: len(before)]] == before
    #                                         2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 15 of five an epoch
    assert [line["step"] for line in lines] == [1, 2, 2, 2, 3, 4, 4, 4, 5, 6, 6, 7, 8, 9]
    assert [line["epoch"] for line in lines[-4:]] == [2, 3, 3, 4]


def resumed_apart(config: RunConfig, notes: Path) -> None:
    """Train in a folder of each rank's own; note where the run begins and what its weights are at the end."""
    torch.set_num_threads(1)
    with world("cpu") as place:
        config = replace(config, out=config.out / str(place.rank))
        built = build(config, RandomViews(config, rank=place.rank, world_size=place.size), place)
        train(built)
        weights = sum(parameter.double().sum().item() for parameter in built.objective.parameters())
        (notes / f"{config.max_steps}.{place.rank}").write_text(f"{built.step.taken} {weights!r}")


def test_ranks_that_see_different_folders_go_on_from_the_same_checkpoint(tmp_path):
    """A local --out, a stale listing, one node's read error: rank 0 chooses, and what it read reaches the others."""
    for steps in (7, 9):
        config = replace(CONFIG, out=tmp_path, max_steps=steps)
        ranks = start_ranks(resumed_apart, 2, config, tmp_path, log=tmp_path / "log")
        for process in ranks:
            process.join(280)
        assert [process.exitcode for process in ranks] == [0, 0], (tmp_path / "log").read_text()
        assert (tmp_path / f"{steps}.0").read_text() == (tmp_path / f"{steps}.1").read_text()
    assert "training from step 7" in (tmp_path / "log").read_text()
    assert not (tmp_path / "1" / "checkpoints").exists()


def test_options_that_an_older_checkpoint_lacks_have_their_defaults(uninterrupted, tmp_path):
    """A run goes on under a version with more options, unless one of them is set."""
    shutil.copytree(uninterrupted, tmp_path / "run")
    newest = checkpoint.path_of(tmp_path / "run" / "checkpoints", LAST_STEP)
    state = checkpoint.load(newest)
    del state["config"]["augment"]["solarise_p"], state["config"]["augment"]["crops"][0]["colour"]
    checkpoint.save(newest, state)
    run(replace(CONFIG, out=tmp_path / "run"))
    bright = replace(CONFIG, out=tmp_path / "run", augment=replace(CONFIG.augment, solarise_p=0.2))
    with pytest.raises(CheckpointError, match=r"differs in augment\.solarise_p: 0\.0 -> 0\.2\. "):
        run(bright)


def test_another_data_set_is_refused(uninterrupted, tmp_path):
    """Fault T12."""
    shutil.copytree(uninterrupted, tmp_path / "run")
    config = replace(CONFIG, out=tmp_path / "run", max_steps=16, optim=replace(CONFIG.optim, epochs=4))
    other = RandomViews(config)
    other.dataset_fingerprint = "other"
    with pytest.raises(CheckpointError, match=r"data\.fingerprint: random -> other"), world("cpu") as place:
        allowed = replace(config, allow_changes=("optim",))
        train(build(allowed, other, place))


def test_data_of_more_people_do_not_fit_the_classes_and_change_nothing(tmp_path):
    """The number of people is no option: allowed to be other data, they are refused by what they shape."""
    config = replace(CONFIG, out=tmp_path, objective=SupervisedConfig(embedding_dim=4), max_steps=1)
    run(config)
    before = (tmp_path / "config.json").read_bytes()
    more = RandomViews(config)
    more.identities, more.dataset_fingerprint = 9, "other"
    with (
        pytest.raises(CheckpointError, match=r"\(classes\.weight: \(8, 4\) -> \(9, 4\)\).*people"),
        world("cpu") as place,
    ):
        train(build(replace(config, max_steps=2, allow_changes=("data",)), more, place))
    assert (tmp_path / "config.json").read_bytes() == before


def test_without_resume_an_old_run_is_not_overwritten(uninterrupted):
    with pytest.raises(CheckpointError, match="earlier run"):
        run(replace(CONFIG, out=uninterrupted, resume=False))


def test_max_steps_stops_early_and_on_the_same_schedule(uninterrupted, tmp_path):
    run(replace(CONFIG, out=tmp_path, max_steps=7))
    assert checkpoint.load_newest(tmp_path / "checkpoints")["step"] == 7
    run(replace(CONFIG, out=tmp_path))
    ours, theirs = (read_metrics(out / "metrics.jsonl")[-1] for out in (tmp_path, uninterrupted))
    assert ours["lr"] == theirs["lr"]


def test_two_ranks_train_and_one_goes_on(tmp_path):
    """Fault T3's mechanics: a run of two ranks, queue and all, is resumed by one."""
    ranks = start_ranks(run, 2, replace(CONFIG, out=tmp_path, max_steps=7), log=tmp_path / "log")
    for rank in ranks:
        rank.join(280)
    assert [rank.exitcode for rank in ranks] == [0, 0], (tmp_path / "log").read_text()
    assert checkpoint.load_newest(tmp_path / "checkpoints")["progress"]["queue"].shape == (2, 2, 8, 16)
    run(replace(CONFIG, out=tmp_path))
    assert final_state(tmp_path)["step"] == LAST_STEP


def test_the_end_is_said_and_how_to_go_on_longer(tmp_path, capsys):
    config = replace(CONFIG, out=tmp_path, max_steps=2)
    run(config)
    assert "finished: 2 steps" in (said := capsys.readouterr().out) and "--max-steps ended it" in said
    run(replace(config, max_steps=-1))
    said = capsys.readouterr().out
    assert f"finished: {LAST_STEP} steps, {CONFIG.optim.epochs} epochs" in said
    assert f"--optim.epochs {2 * CONFIG.optim.epochs} --allow-changes optim.epochs" in said
    run(replace(config, max_steps=-1))  # once more: nothing is left to do
    said = capsys.readouterr().out
    assert f"finished: {LAST_STEP} steps" in said and "training from" not in said
    longer = replace(CONFIG.optim, epochs=2 * CONFIG.optim.epochs)
    run(replace(config, max_steps=LAST_STEP + 1, optim=longer, allow_changes=("optim.epochs",)))
    assert f"finished: {LAST_STEP + 1} steps" in capsys.readouterr().out


class Looks(Probe):
    """Counts how often it looks; the process is killed within the look that is given."""

    def __init__(self, fatal: int = 0) -> None:
        self.looks = 0
        self.fatal = fatal

    def look(self, backbone: nn.Module) -> None:
        self.looks += 1
        if self.looks == self.fatal:
            raise KeyboardInterrupt

    def gather(self, world: World) -> None:
        pass

    def judge(self) -> Probed:
        return Probed(scores={"knn_top1": 0.5})


class Terminated(RandomViews):
    """Somebody asks its process to stop within the last step of the first epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(super().epoch(epoch, start), start):
            if epoch == 0 and step == self.steps - 1:
                signal.raise_signal(signal.SIGTERM)
            yield batch


def probed(loader: RandomViews, probe: Looks, every: int = 1) -> list[int]:
    """Train with a probe after every epoch, or every few; the steps after which the log has its scores."""
    torch.set_num_threads(1)
    with world("cpu") as place, suppress(KeyboardInterrupt):
        train(build(loader.config, loader, place), probes=Schedule([(probe, every)]))
    return [line["step"] for line in read_metrics(loader.config.out / "metrics.jsonl") if "knn_top1" in line]


def test_a_probe_within_which_the_process_is_killed_is_made_by_the_next(tmp_path, capsys):
    """The last one too, for which no step is left; and each once."""
    loader = RandomViews(replace(CONFIG, out=tmp_path, max_steps=10))
    assert probed(loader, Looks(fatal=2)) == [5]
    assert checkpoint.load(tmp_path)["step"] == 10 and "training from" in capsys.readouterr().out
    for looks in (1, 0):
        probe = Looks()
        assert probed(loader, probe) == [5, 10] and probe.looks == looks
        assert (said := capsys.readouterr().out).count("finished: 10 steps") == 1 and "training from" not in said


def test_a_probe_before_which_the_run_is_stopped_is_made_by_the_next(tmp_path):
    """One that is due; after an epoch without any, and in the middle of one, nothing is to be made up for."""
    config = replace(CONFIG, out=tmp_path / "due", max_steps=7)
    assert probed(Terminated(config), Looks()) == []
    assert checkpoint.load(config.out)["step"] == 5
    for _ in range(2):  # the second goes on in the middle of an epoch
        probe = Looks()
        assert probed(RandomViews(config), probe) == [5]
    assert probe.looks == 0
    config = replace(config, out=tmp_path / "other")
    assert probed(Terminated(config), Looks(), every=2) == []
    assert probed(RandomViews(config), Looks(), every=2) == []


def test_a_trace_of_some_steps(tmp_path, capsys):
    run(replace(CONFIG, out=tmp_path, profile=2))
    assert "trace of 2 steps" in capsys.readouterr().out
    events = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]
    assert any("conv" in str(event.get("name")) for event in events)


def test_a_run_that_is_too_short_for_a_trace_says_so(tmp_path, capsys):
    run(replace(CONFIG, out=tmp_path, profile=2, max_steps=3))
    assert "no trace: it begins after 5 steps, and this process has taken 3" in capsys.readouterr().out
    run(replace(CONFIG, out=tmp_path, profile=20, max_steps=10))
    assert "trace of 2 steps" in capsys.readouterr().out  # those that were left
