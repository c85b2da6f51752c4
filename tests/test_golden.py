"""The golden runs: bit for bit where they were recorded, closely elsewhere."""

import json

import golden_runs
import pytest

RECORDED = json.loads(golden_runs.RECORD.read_text())
EARLY = 5  # steps within which two processors' roundings have not yet been amplified


@pytest.mark.parametrize("name", golden_runs.RUNS)
def test_a_golden_run_ends_as_recorded(name, tmp_path):
    found = golden_runs.perform(golden_runs.RUNS[name], tmp_path / "run")
    ours = RECORDED.get(golden_runs.processor())
    if ours is not None:
        assert found == ours[name]
    theirs = next(iter(RECORDED.values()))[name]
    assert [line["step"] for line in found["metrics"]] == [line["step"] for line in theirs["metrics"]]
    for one, other in zip(found["metrics"], theirs["metrics"], strict=True):
        if one["step"] <= EARLY:
            assert one == pytest.approx(other, rel=0.02)


def test_a_resumed_run_ends_as_the_uninterrupted_one():
    for of_kind in RECORDED.values():
        for pair in (("queue", "queue, resumed"), ("two ranks", "two ranks, resumed")):
            uninterrupted, resumed = (of_kind[name] for name in pair)
            for part in ("weights", "momentum", "queue"):
                assert uninterrupted[part] == resumed[part]
