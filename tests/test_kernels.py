"""How many operations a step takes: a loop over parameters or buffers would show as hundreds."""

from pathlib import Path

import pytest

from frl.presets import preset


@pytest.fixture
def kernels(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts" / "bench"))
    import kernels

    return kernels


def test_the_step_of_the_paper_s_network_loops_over_no_buffers(kernels):
    counts = kernels.count(preset("vggface2").config)
    assert counts["forward"]["convolution"] == counts["backward"]["convolution_backward"] == 2 * 53
    assert counts["guard of the buffers"].total() <= 12
    assert counts["the rest"].total() <= 8
