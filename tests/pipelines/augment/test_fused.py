"""The kernels written in Triton without a GPU: their results under the interpreter, their machine code for an H100.

No speed is measured here, and none is known.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="no Triton here")

ROOT = Path(__file__).parents[3]
CHECKS = ROOT / "tests" / "gpu" / "test_kernels.py"


def interpreted(chosen: str) -> subprocess.CompletedProcess:
    """Tests in a process of their own: Triton decides when it is imported whether it interprets."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CHECKS), "-k", f"cpu and {chosen}"]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.parametrize(
    "part", ["TestViews", "TestJitter", "TestBlur", "not TestViews and not TestJitter and not TestBlur"]
)
def test_under_the_interpreter_they_do_what_the_graph_does(part):
    done = interpreted(part)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) >= 3


@pytest.fixture
def registers(tmp_path, monkeypatch):
    """The script that compiles ahead; what it compiles is not taken from an earlier run."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("what is interpreted is not compiled")
    module = pytest.importorskip("registers", exc_type=ImportError)
    missing = [name for name in ("ptxas", "cuobjdump") if not (module.TOOLS / name).exists()]
    if missing:
        pytest.skip(f"this Triton comes without {missing}")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    return module


def test_an_h100_s_machine_code_spills_no_register(registers):
    found = {one.kernel: one for one in registers.resources(90)}
    assert set(found) == {"sum_luma", "colour", "blur_tile"}
    for one in found.values():
        assert one.spilled == 0
        assert 16 <= one.registers <= 255
        assert one.shared <= 48 << 10  # what a program gets without asking for more


def test_the_page_shows_what_the_assembler_says(registers):
    page = registers.in_words([registers.Resources("colour", 64, 0, 2048, 128)])
    assert "| `colour` | 64 | 0 B | 2,048 B | 8 of 128 threads |" in page


def test_every_argument_of_a_kernel_has_a_type(registers):
    """A new one would be taken for a constant."""
    for kernel, constants in (("sum_luma", {"SIDE"}), ("colour", {"SIDE", "PARTS"}), ("blur_tile", {"AROUND"})):
        names = set(getattr(registers.kernels, kernel).arg_names)
        assert names - set(registers.ARGUMENTS) == constants
