"""``frl bench report results.json``: what was measured, as a table, in words and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from frl.config.check import require_above, require_file
from frl.files import atomic_write
from pipelines.benchmark.picture import draw
from pipelines.benchmark.report import text
from pipelines.benchmark.results import Results, load


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Say and draw the figures of an earlier run again, without measuring."""

    results: tyro.conf.Positional[Path]
    """Its results.json; table.md and loader.png are written beside it."""
    gpu_images_per_s: float = 1600.0
    """As in the benchmark."""


def main(arguments: list[str] | None = None) -> None:
    """Render the figures of an earlier run.

    Raises:
        ConfigError: if there are none.
    """
    config = tyro.cli(RenderConfig, args=arguments, prog="frl bench report")
    require_above("gpu_images_per_s", config.gpu_images_per_s, 0, "The default is 1600.")
    require_file(config.results, "results")
    render(load(config.results), config.results.parent, config.gpu_images_per_s)


def render(results: Results, folder: Path, gpu_images_per_s: float) -> None:
    """Print the table, and write it and the picture."""
    words = text(results, gpu_images_per_s)
    print(words)
    with atomic_write(folder / "table.md") as stream:
        stream.write(f"{words}\n".encode())
    draw(results, folder / "loader.png")
