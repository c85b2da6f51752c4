"""Fixtures shared by all tests."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def stock_loader() -> type:
    """Stock ffcv's Loader, such that whatever it compiles stays until the process ends.

    The garbage collector ends numba's functions with an error now and then. pytest formats it, for which Python 3.11
    parses source, and if that was collected while source is parsed, the outer call fails (a SystemError of ast.parse).
    """
    from ffcv.loader import Loader
    from ffcv.pipeline.compiler import Compiler

    def compile_and_keep(code: Callable, signature: Any = None) -> Callable:
        kept.append(compiled := compile_code(code, signature))
        return compiled

    compile_code, kept = Compiler.compile, []
    Compiler.compile, Compiler.kept = compile_and_keep, kept
    return Loader
