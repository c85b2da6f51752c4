"""Fixtures shared by all tests."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two tests run at a time on two cores: with more threads each, these would wait for each other, and spin meanwhile.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Processes that tests start are forked from a server that has imported these once. It has started no threads.
multiprocessing.set_forkserver_preload(["torch", "torch.distributed", "frl.training.train", "pipelines.loader"])

# A shell that starts the tests in the background, or nohup, would have them and all that they start ignore these.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# How long an example takes says how busy the machine is.
settings.register_profile("frl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("frl")


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """The folder of real faces beside a development checkout; tests that want it skip elsewhere."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "faces"
    if not folder.is_dir():
        pytest.skip("the folder of real faces is not here")
    return folder
