"""The documentation as a site: built strictly, so that a link that leads nowhere or a page in no section fails it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = Path("scripts", "site", "mkdocs.yml")


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", root / CONFIG, "-d", out]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)


def test_it_builds_without_a_warning_and_has_every_page(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix().replace("README", "index")
        assert (tmp_path / name).exists(), name
    assert "make_loader" in (tmp_path / "reference" / "data.html").read_text()
    start = (tmp_path / "index.html").read_text()
    sections = [name for name in re.findall(r'class="md-ellipsis">\s*([^<]+?)\s*<', start) if name.istitle()]
    order = [name for name in sections if name in ("Start", "Data", "Train", "Evaluate", "Extend", "Measure")]
    assert order[:6] == ["Start", "Data", "Train", "Evaluate", "Extend", "Measure"]
    own = re.findall(r'href="((?!https?:|#)[^"#]+)', start)
    assert all((tmp_path / link).exists() for link in own), own


def test_a_stray_page_and_a_broken_link_fail_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder in ("docs", "scripts/site", "examples"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("reference"))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, root)
    config = (root / CONFIG).read_text()
    (root / CONFIG).write_text(config.partition("\nnav:\n")[0] + "\nnav:\n  - index.md\n")
    (root / "docs" / "stray.md").write_text("# Stray\n\n[nowhere](nowhere.md)\n")
    done = build(root, tmp_path / "out")
    assert done.returncode != 0
    assert "stray.md" in done.stderr and "nowhere.md" in done.stderr
