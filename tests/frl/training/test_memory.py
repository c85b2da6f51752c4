"""The estimated memory against what a real pass allocates, and the search for the largest batch."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frl.config import AugmentConfig, CropSpec, ModelConfig, OptimConfig, RunConfig, SwAVConfig
from frl.errors import ConfigError
from frl.runtime import checkpoint
from frl.runtime.distributed import World
from frl.runtime.precision import autocast_for
from frl.training import memory
from frl.training.memory import alone, blank_view, fits, largest, loss_of, step_memory, with_largest_batch

CPU = torch.device("cpu")
CONFIG = RunConfig(
    augment=AugmentConfig(
        crops=(CropSpec(size=64, count=2, scale=(0.3, 1.0)), CropSpec(size=32, count=2, scale=(0.1, 0.3)))
    ),
    model=ModelConfig(arch="resnet18"),
    objective=SwAVConfig(hidden_dim=64, feature_dim=32, prototypes=300),
)
IMAGES = 8


def allocated(config: RunConfig, precision: str) -> int:
    """Bytes that the allocator gave out and did not get back during a real forward pass, by torch's profiler."""
    objective = alone(config).to(memory_format=torch.channels_last)
    with torch.profiler.profile(profile_memory=True) as profile:
        views = [blank_view(spec, IMAGES, precision == "bf16", CPU) for spec in config.augment.crops]
        loss = loss_of(objective, views, autocast_for(precision, CPU))
    held = sum(event.self_cpu_memory_usage for event in profile.events())
    assert loss.requires_grad
    return held


@pytest.mark.parametrize(("precision", "recompute"), [("fp32", False), ("bf16", False), ("fp32", True)])
def test_estimated_activations_are_those_of_a_real_pass(precision, recompute):
    config = replace(CONFIG, recompute=recompute)
    estimated = step_memory(config, IMAGES, bf16=precision == "bf16")
    assert estimated.activations == pytest.approx(allocated(config, precision), rel=0.1)


@pytest.mark.parametrize("width", [16, 64])
@pytest.mark.parametrize("images", [2, 8, 33])
@pytest.mark.parametrize("bf16", [False, True])
def test_without_torchs_compiler_the_estimate_is_the_same(width, images, bf16):
    """torch's tensors without content, which a GPU's estimate is made of, make BatchNorm's statistics bf16, too."""
    config = replace(CONFIG, model=ModelConfig(arch="resnet18", width=width))
    ours, theirs = (step_memory(config, images, bf16, device=torch.device(device)) for device in ("cpu", "cuda"))
    assert ours.state == theirs.state
    assert ours.activations == (pytest.approx(theirs.activations, abs=50_000) if bf16 else theirs.activations)


def test_an_estimate_leaves_the_random_numbers_as_the_seed_does():
    step_memory(replace(CONFIG, seed=5), IMAGES, bf16=False)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_recomputing_and_fewer_images_need_less():
    whole = step_memory(CONFIG, IMAGES, bf16=False)
    assert step_memory(replace(CONFIG, recompute=True), IMAGES, bf16=False).activations < 0.6 * whole.activations
    assert step_memory(CONFIG, IMAGES // 2, bf16=False).activations == pytest.approx(whole.activations / 2, rel=0.05)


@given(st.integers(0, 5000), st.integers(1, 16), st.integers(1, 4000))
def test_the_largest_that_fits_is_found_in_few_trials(capacity, multiple, limit):
    trials = []

    def fits(size: int) -> bool:
        trials.append(size)
        return size <= capacity

    assert largest(fits, multiple, limit) == min(capacity, limit) // multiple * multiple
    assert len(trials) <= 2 * (limit // multiple + 1).bit_length() + 1
    assert all(0 < size <= limit and size % multiple == 0 for size in trials)


def test_without_a_gpu_the_search_is_refused(tmp_path):
    config = replace(CONFIG, out=tmp_path, optim=OptimConfig(batch_size=0))
    with pytest.raises(ConfigError, match="GPU"):
        with_largest_batch(config, World(rank=0, size=1, local_rank=0, local_size=1, device=CPU))


def test_the_search_leaves_room_for_what_the_loader_holds(monkeypatch):
    """For each image of the step, of which a micro-batch is a part."""
    held, empty = [], torch.empty

    def noted(size, **options):
        held.append((size, options["dtype"]))
        return empty(size, **options)

    for name in ("set_per_process_memory_fraction", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *of: None)
    monkeypatch.setattr(torch, "empty", noted)
    monkeypatch.setattr(memory, "take_two_steps", lambda *of: None)
    assert fits(replace(CONFIG, optim=OptimConfig(accumulate=3)), 8, CPU, beside=5)
    assert held == [(3 * 8 * 5, torch.uint8)]


@pytest.mark.parametrize("left", ["config.json", "the checkpoint alone", "a damaged config.json"])
def test_a_run_that_goes_on_keeps_its_batch(tmp_path, left):
    kept = {"optim": {"batch_size": 24}}
    state = {"step": 7, "config": {} if left == "config.json" else kept}
    checkpoint.save(checkpoint.path_of(tmp_path / "checkpoints", 7), state)
    if left == "config.json":
        (tmp_path / left).write_text(json.dumps(kept))
    elif left == "a damaged config.json":
        (tmp_path / "config.json").write_text("{")
    config = replace(CONFIG, out=tmp_path, optim=OptimConfig(batch_size=0))
    found = with_largest_batch(config, World(rank=0, size=1, local_rank=0, local_size=1, device=CPU))
    assert found.optim.batch_size == 24
