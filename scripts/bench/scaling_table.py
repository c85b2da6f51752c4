"""What ``scaling.py`` counted and modelled, in words."""

from __future__ import annotations

from collections.abc import Mapping

from bench_report import table
from exchange import Exchange, Machine

MODELLED = (1, 8, 64, 512)  # GPUs


def counted(exchanges: Mapping[int, Exchange]) -> str:
    """By number of processes: all-reduces and bytes of one of them in a step."""
    head = ("processes", "gradients", "MB", "Sinkhorn", "MB", "BatchNorm", "MB")
    rows = (
        (
            f"{processes}",
            f"{found.buckets}",
            f"{found.gradients / 1e6:.3f}",
            f"{found.sums}",
            f"{found.masses / 1e6:.3f}",
            f"{found.layers}",
            f"{found.statistics / 1e6:.3f}",
        )
        for processes, found in exchanges.items()
    )
    return f"Counted, of one process and step: all-reduces and their megabytes.\n\n{table(head, rows)}"


def modelled(exchange: Exchange, machine: Machine) -> str:
    """Milliseconds of a step, and the share of them that computes."""
    seconds = {gpus: machine.step(gpus, exchange) if gpus > 1 else machine.compute for gpus in MODELLED}
    rows = [(f"{n}", f"{1e3 * s:.2f}", f"{machine.compute / s:.1%}") for n, s in seconds.items()]
    title = f"\nModelled, not measured, from the last line and {machine}:"
    return f"{title}\n\n{table(('GPUs', 'ms a step', 'efficiency'), rows)}"
