"""Facts about the machine have one place, and are what the system says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from frl import machine
from frl.runtime import environment

ROOT = Path(__file__).parents[2]
ASKS_THE_MACHINE = re.compile(
    r"cpuinfo|meminfo|SC_PHYS_PAGES|sched_getaffinity|cpu_count\(|importlib\.metadata|^import platform|"
    r"platform\.(processor|machine|platform|python_version)|get_device_name|get_device_properties",
    re.M,
)
MAY = {"frl/machine.py", "frl/runtime/environment.py"}


def test_nobody_else_asks_the_machine():
    folders = ("frl", "pipelines", "writers", "scripts")
    asking = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if ASKS_THE_MACHINE.search(path.read_text())
    }
    assert asking <= MAY


def test_cores_are_those_that_this_process_may_use():
    command = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from frl import machine; print(machine.cores())"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("text", "name", "bits"),
    [
        ("processor\t: 0\nmodel name\t: A: B 7\nflags\t\t: sse2 avx2 avx512bw\n\nmodel name\t: C", "A: B 7", 512),
        ("model name : X\nflags : fpu sse2 avx avx2\n", "X", 256),
        ("model name : X\nflags : sse2 avx512f_not\n", "X", 128),
        ("processor : 0\nFeatures : fp asimd\n", None, 128),
        ("", None, 0),
    ],
)
def test_the_processor_is_read_off_what_the_kernel_says(tmp_path, monkeypatch, text, name, bits):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    assert machine.vector_bits() == bits
    assert machine.processor() == name or (name is None and machine.processor())
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "absent")
    assert machine.processor() and machine.vector_bits() == 0


@pytest.mark.parametrize(("text", "expected"), [("max", None), ("123456789", 123456789)])
def test_a_containers_limit_counts(tmp_path, monkeypatch, text, expected):
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < machine.memory_bytes() <= physical
    (tmp_path / "memory.max").write_text(text + "\n")
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (str(tmp_path / "memory.max"), str(tmp_path / "absent")))
    assert machine.memory_bytes() == (expected or physical)


def test_versions_are_those_of_what_is_installed():
    assert torch.__version__.startswith(machine.versions()["torch"].partition("+")[0])
    assert machine.version("no-distribution-of-this-name") is None
    assert set(machine.versions()) <= set(machine.PACKAGES)


def test_the_facts_of_a_figure_are_plain_and_name_no_place():
    facts = environment.facts(torch.device("cpu"))
    assert facts["device"] == machine.processor() and facts["cores"] == machine.cores()
    assert str(ROOT) not in json.dumps(facts)
