"""``frl verify faces.beton [--deep] [--against faces.beton.json]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from frl import console
from frl.beton import verify
from frl.beton.manifest import Manifest
from frl.config.check import require_least, require_some
from frl.errors import BetonError
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
    if config.against is not None:
        Manifest.read(config.against)  # one that is none is the command's fault, and no file's
    sound = all([_is_sound(path, config) for path in config.files])
    if sound and config.deep:
        console.suggest(("frl", "pretrain", "--data", *config.files, "--out", "runs/x"))
    elif sound:
        console.suggest(("frl", "verify", *config.files, "--deep"))
    return int(not sound)


def _is_sound(path: Path, config: VerifyConfig) -> bool:
    """Check a file and print what was found, at once: a deep check takes long, and the next may be interrupted."""
    try:
        report = verify(path, deep=config.deep, workers=config.workers, against=config.against)
    except BetonError as error:
        print(f"{printable(path)}: FAULTY, cannot be read as a .beton", flush=True)
        console.complain("frl verify", error)
        return False
    verdict = "sound" if report.ok else "FAULTY"
    lines = [f"{report.path}: {verdict}, {report.samples:,} images, {report.nbytes:,} bytes"]
    lines += [f"  checked: {line}" for line in report.checked]
    lines += [f"  not checked: {line}" for line in report.unchecked]
    lines += [f"  fault: {fault}" for fault in report.faults]
    if report.fault_count > len(report.faults):
        lines.append(f"  and {report.fault_count - len(report.faults):,} more faults")
    print("\n".join(map(printable, lines)), flush=True)
    return report.ok
