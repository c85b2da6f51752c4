"""Line charts as inline SVG that follow the page's colours, light or dark."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 190  # of the drawing, in its own units
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 24  # margins for the axes
MOST_POINTS = 400  # drawn of a curve; longer ones are averaged in runs

STYLES = ("main", "second", "third", "fourth", "fifth", "sixth")
"""Of curves beside each other, as the style sheet knows them."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: in the legend.
        steps, values: of equal length.
        style: class in the style sheet: one of `STYLES`, or ``faint``.
    """

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    style: str = "main"

    def thinned(self) -> Curve:
        """At most `MOST_POINTS` points, each the mean of a run."""
        run = -(-len(self.steps) // MOST_POINTS)
        if run <= 1:
            return self
        starts = range(0, len(self.steps), run)
        steps = [round(_mean(self.steps[i : i + run])) for i in starts]
        values = [_mean(self.values[i : i + run]) for i in starts]
        return Curve(name=self.name, steps=steps, values=values, style=self.style)


def chart(
    title: str,
    curves: Sequence[Curve],
    *,
    note: str = "",
    form: str = "{:.3g}",
    lower: float | None = None,
    upper: float | None = None,
    line: tuple[float, str] | None = None,
    along: str = "step {:,}",
) -> str:
    """A figure with one or more curves over the steps, or over something else.

    Args:
        title: above the chart.
        curves: those without a point are left out; without any the chart is empty text.
        note: what the quantity means, under the title.
        form: how a value is written.
        lower, upper: values that the axis must include.
        line: height and name of a dashed horizontal line.
        along: how a place on the horizontal axis is written.
    """
    curves = [curve.thinned() for curve in curves if curve.steps]
    if not curves:
        return ""
    heights = [value for curve in curves for value in curve.values if math.isfinite(value)]
    heights += [bound for bound in (lower, upper) if bound is not None]
    heights += [line[0]] if line else []
    heights += [] if any(heights) else [0.0, 1.0]  # a figure that stays at 0 needs some axis
    ticks_y = ticks(min(heights), max(heights), 4)
    last = max(max(curve.steps) for curve in curves)
    first = min(min(curve.steps) for curve in curves)
    low, high = min(ticks_y[0], *heights), max(ticks_y[-1], *heights)

    def x(step: float) -> float:
        return round(LEFT + (step - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM), 1)

    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t)}" y2="{y(t)}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y(t) + 3.5}" text-anchor="end">{_number(t)}</text>'
        for t in ticks_y
    ]
    parts += [
        f'<text class="tick" x="{x(t)}" y="{HEIGHT - 6}" text-anchor="middle">{_number(t)}</text>'
        for t in ticks(first, last, 4)
        if first <= t <= last
    ]
    if line:
        named_at = y(line[0]) - 4 if y(line[0]) > TOP + 12 else y(line[0]) + 12  # below a line at the upper edge
        parts.append(
            f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(line[0])}" y2="{y(line[0])}"/>'
            f'<text class="tick" x="{WIDTH - RIGHT}" y="{named_at:g}" text-anchor="end">{escape(line[1])}</text>'
        )
    for curve in curves:
        points = " ".join(f"{x(s)},{y(v)}" for s, v in zip(curve.steps, curve.values, strict=True) if math.isfinite(v))
        parts.append(f'<polyline class="curve {curve.style}" points="{points}"/>')
        if len(curve.steps) == 1:
            parts.append(
                f'<circle class="dot {curve.style}" r="3" cx="{x(curve.steps[0])}" cy="{y(curve.values[0])}"/>'
            )
    shown = [curve for curve in curves if curve.style != "faint"]
    readings = json.dumps(
        {
            "x": [[x(s) for s in curve.steps] for curve in shown],
            "y": [[y(v) for v in curve.values] for curve in shown],
            "text": [
                [
                    f"{curve.name} {form.format(v)} · {along.format(s)}"
                    for s, v in zip(curve.steps, curve.values, strict=True)
                ]
                for curve in shown
            ],
        }
    )
    legend = " ".join(
        f'<span class="key {curve.style}">{escape(curve.name)} <b>{form.format(curve.values[-1])}</b></span>'
        for curve in shown
    )
    description = f"{title}: " + ", ".join(f"{curve.name} ends at {form.format(curve.values[-1])}" for curve in shown)
    return (
        f'<figure class="chart"><figcaption><strong>{escape(title)}</strong><small>{escape(note)}</small></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}" '
        f'data-readings="{escape(readings)}">{"".join(parts)}</svg><div class="legend">{legend}</div></figure>'
    )


def ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers around [low, high]."""
    if high <= low:
        low, high = low - abs(low) * 0.1 - 1e-12, high + abs(high) * 0.1 + 1e-12
    rough = (high - low) / count
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(magnitude * m for m in (1, 2, 2.5, 5, 10) if magnitude * m >= rough)
    return [i * step for i in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def _number(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
