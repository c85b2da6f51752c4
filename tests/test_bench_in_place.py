"""The benchmark of images where they are runs on little, and prints a row for each kind and way."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_it_prints_its_rows():
    command = [sys.executable, ROOT / "scripts" / "bench" / "in_place.py", "--images", "32", "--rounds", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert len(rows) == 6 and all(float(cell) > 0 for row in rows for cell in row[-2:])
