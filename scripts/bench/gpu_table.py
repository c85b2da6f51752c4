"""What ``gpu.py`` measured, as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import train_table
from bench_report import in_words, table


def page(result: dict[str, Any]) -> str:
    """The whole result."""
    where = result["about"]
    lines = [f"# {where['device']}", "", in_words(where)]
    if where["device"] == where["processor"]:
        lines += ["", "A run through the script on small inputs, without a GPU: **the figures mean nothing.**"]
    for part, words in PARTS.items():
        if part in result:
            lines += ["", words(result[part], result)]
    return "\n".join(lines) + "\n"


def of_tests(tests: dict[str, Any], _: dict[str, Any]) -> str:
    if "passed" not in tests:
        return f"Tests: skipped ({tests['skipped']})."
    summary = f"Tests: {tests['passed']} passed, {len(tests['failed'])} failed, {tests['skipped']} skipped."
    return "\n".join([summary, *(f"- failed: {name}" for name in tests["failed"])])


def of_peaks(peaks: dict[str, float], _: dict[str, Any]) -> str:
    copied, multiplied = f"{peaks['copy_gb_s']:,.0f} GB/s", f"{peaks['matmul_tflop_s']:,.1f} TFLOP/s"
    return f"Peaks: a copy moves {copied}, a product does {multiplied}."


def of_augmenter(measured: list[dict[str, float]], result: dict[str, Any]) -> str:
    peaks = result["peaks"]
    head = ("augmenter alone, batch", "images/s", "with the plan's copy", "and its drawing", "bytes that must move",
            "products", "memory")  # fmt: skip
    return table(
        head,
        (
            (
                f"{row['batch']}",
                f"{row['images_s']:,.0f}",
                f"{row['images_s_with_copy_of_plan']:,.0f}",
                f"{row['images_s_with_drawing']:,.0f}",
                f"{row['must_move_gb_s'] / peaks['copy_gb_s']:.0%} of peak",
                f"{row['products_tflop_s'] / peaks['matmul_tflop_s']:.0%} of peak",
                f"{row['memory_mb']:,.0f} MB",
            )
            for row in measured
        ),
    )


def of_kernels(measured: list[dict[str, float]] | str, result: dict[str, Any]) -> str:
    """Beside the graph, which made the same views of the same images."""
    if isinstance(measured, str):
        return f"Kernels in Triton: {measured}."
    head = ("kernels in Triton, batch", "images/s", "of the graph's", "with the plan's copy", "memory", "first call")
    return table(
        head,
        (
            (
                f"{row['batch']}",
                f"{row['images_s']:,.0f}",
                f"{row['images_s'] / graph['images_s']:.2f}",
                f"{row['images_s_with_copy_of_plan']:,.0f}",
                f"{row['memory_mb']:,.0f} MB",
                f"{row['first_call_s']:.1f} s",
            )
            for row, graph in zip(measured, result["augmenter"], strict=True)
        ),
    )


def of_normaliser(measured: dict[str, float], _: dict[str, Any]) -> str:
    copied = f"{measured['images_s_copied']:,.0f} images/s are copied to the device ({measured['copy_gb_s']:.1f} GB/s)"
    return f"Crops made while loading: {copied}, {measured['images_s']:,.0f} images/s are normalised there."


def of_loaders(measured: dict[str, Any], _: dict[str, Any]) -> str:
    rows = (
        (engine, row, "") if isinstance(row, str) else
        (engine, f"{row['images_s']:,.0f}", f"{row['first_batch_s']:.1f} s")
        for engine, row in measured.items()
    )  # fmt: skip
    return table(("from the file to views on the device", "images/s", "first batch"), rows)


def of_trainer(measured: Any, _: dict[str, Any]) -> str:
    if isinstance(measured, str):
        return f"Trainer: {measured}."
    what = f"{measured['model']}, crops {measured['crops']}, batch {measured['batch_size']}, {measured['precision']}"
    return f"Trainer: {what}.\n\n{train_table.in_words([train_table.Row(**row) for row in measured['rows']])}"


PARTS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "tests": of_tests,
    "peaks": of_peaks,
    "augmenter": of_augmenter,
    "normaliser": of_normaliser,
    "loaders": of_loaders,
    "trainer": of_trainer,
    "kernels": of_kernels,
}
