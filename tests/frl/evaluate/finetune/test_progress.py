"""What fine-tuning leaves for its next process."""

from __future__ import annotations

from pathlib import Path

import pytest

from frl.evaluate.finetune.loop import ALONE
from frl.evaluate.finetune.progress import Progress
from frl.runtime import checkpoint

IDENTITY = {"task": "landmarks"}
STATE = {"network": {}, "average": {}, "optimiser": {}}
DATA = {"identity": IDENTITY, "history": "[]"}


def test_what_was_written_after_a_damaged_checkpoint_is_what_is_gone_on_from(tmp_path: Path) -> None:
    """Killed between writing the second and deleting the first, and then a byte of the second flips."""
    state = {"step": 10, **STATE, "best": {}, "best_step": 0, "data": DATA}
    checkpoint.save(checkpoint.path_of(tmp_path, 10), state)
    checkpoint.path_of(tmp_path, 20).write_bytes(b"PK\x03\x04")
    with pytest.warns(UserWarning, match="skipped: .*step-000000020"):
        progress = Progress.resume(tmp_path, IDENTITY, ALONE)
    assert progress.state is not None and progress.state["step"] == 10
    progress.save({"step": 11, **STATE})
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000011.pt"]
    again = Progress.resume(tmp_path, IDENTITY, ALONE)
    assert again.state is not None and again.state["step"] == 11
