"""``frl verify faces.beton [--deep] [--against faces.beton.json]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from frl import console
from frl.beton import verify
from frl.config.check import require_least, require_some
from frl.printable import printable


@dataclass(frozen=True)
class VerifyConfig:
    """Check the structure of .beton files; with --deep every image in them too."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The files to check."""
    deep: bool = False
    """Also compare checksums and decode every image."""
    against: Path | None = None
    """A manifest (.json) whose names, labels and images the files should have, whatever their layout."""
    workers: int = 0
    """Threads of a deep check; 0: one per core."""


def main(arguments: list[str]) -> int:
    """Print the findings of each file; exit status 1 if any has a fault."""
    config = tyro.cli(VerifyConfig, args=arguments, prog="frl verify")
    require_some(config.files, "FILES")
    require_least("workers", config.workers, 0, "Use 0 for one per core.")
    reports = [verify(path, deep=config.deep, workers=config.workers, against=config.against) for path in config.files]
    for report in reports:
        verdict = "sound" if report.ok else "FAULTY"
        print(f"{printable(report.path)}: {verdict}, {report.samples:,} images, {report.nbytes:,} bytes")
        for line in report.checked:
            print(f"  checked: {printable(line)}")
        for line in report.unchecked:
            print(f"  not checked: {printable(line)}")
        for fault in report.faults:
            print(f"  fault: {printable(fault)}")
        if report.fault_count > len(report.faults):
            print(f"  and {report.fault_count - len(report.faults):,} more faults")
    sound = all(report.ok for report in reports)
    if sound and config.deep:
        console.suggest(("frl", "pretrain", "--data", *config.files, "--out", "runs/x"))
    elif sound:
        console.suggest(("frl", "verify", *config.files, "--deep"))
    return int(not sound)
