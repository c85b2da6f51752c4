"""Landmarks in the views: what the plan does to pixels, done to points.

Points are in pixels, and the centre of the first pixel is (0, 0), in the stored image as in a view. A resize maps the
edges of pixels to edges, so centres move by halves: x of a box at ``left`` becomes
``(x + 1/2 - left) * size / width - 1/2``, and in a mirror ``size - 1 - x``. The colours move no point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec, describe
from frl.config import CropSpec
from frl.errors import ConfigError
from pipelines.augment.plan import Plan


def points_in_views(
    points: torch.Tensor, plan: Plan, crops: Sequence[CropSpec], spec: TargetSpec
) -> list[torch.Tensor]:
    """Where the points of a batch lie in each of its views; outside of a view they have coordinates, too.

    Args:
        points: ``(B, n, 2 or 3)`` float, pixels of the stored images; NaN where unknown.
        plan: of the ``(B, V)`` crops.
        crops: sizes and counts, V crops in all.
        spec: says which points are each other's mirror images.

    Returns:
        a tensor per crop size, ``(count * B, n, 2 or 3)`` on the device of ``points``, pixels of the view, crop-major.
        Depth is scaled by the geometric mean of the two axes' scales.

    Raises:
        ConfigError: these are no points, or a view is flipped and nobody knows their mirror images.
    """
    if spec.kind != Kind.POINTS:
        raise ConfigError(f"target {spec.name}", f"is {describe(spec)}, not points", "Name one of kind points.")
    first, views = 0, []
    for crop in crops:
        part = crop_major(plan, first, crop.count)
        repeated = points.repeat(crop.count, 1, 1)
        views.append(mirrored(resized(repeated, part.boxes, crop.size), part.flip, crop.size, spec))
        first += crop.count
    return views


def visibility_in_views(
    seen: torch.Tensor, plan: Plan, crops: Sequence[CropSpec], spec: TargetSpec
) -> list[torch.Tensor]:
    """The ``(B, n)`` visibility of points in each view, ``(count * B, n)``: flips exchange left and right.

    A point that a crop cuts off keeps its visibility; ``points_in_views`` says where it lies. Raises the same.
    """
    if spec.kind != Kind.VISIBILITY:
        raise ConfigError(f"target {spec.name}", f"is {describe(spec)}, not visibility", "Name one of that kind.")
    first, views = 0, []
    for crop in crops:
        part = crop_major(plan, first, crop.count)
        views.append(exchanged(seen.repeat(crop.count, 1), part.flip, spec))
        first += crop.count
    return views


def crop_major(plan: Plan, first: int, count: int) -> Plan:
    """The crops ``first .. first + count`` of a plan as rows ``(count * B, ...)``, all samples of one crop together."""
    parts = (part[:, first : first + count] for part in plan)
    return Plan._make(part.swapaxes(0, 1).reshape(-1, *part.shape[2:]) for part in parts)


def resized(points: torch.Tensor, boxes: NDArray[np.int32], size: int) -> torch.Tensor:
    """Points ``(N, n, 2 or 3)`` of images, in the pixels of their boxes ``(N, 4)`` resized to ``size`` x ``size``."""
    top, left, height, width = torch.from_numpy(boxes.astype(np.float32)).to(points.device).unbind(-1)
    corner, scale = torch.stack([left, top], -1), size / torch.stack([width, height], -1)
    flat = (points[..., :2] + 0.5 - corner[:, None]) * scale[:, None] - 0.5
    depth = points[..., 2:] * scale.prod(-1).sqrt()[:, None, None]
    return torch.cat([flat, depth], -1)


def mirrored(points: torch.Tensor, flip: NDArray[np.bool_], size: int, spec: TargetSpec) -> torch.Tensor:
    """Mirror those of the views ``(N, n, 2 or 3)`` that ``flip`` ``(N,)`` names: the left eye becomes the right one."""
    turned = torch.from_numpy(flip).to(points.device)[:, None]
    x = torch.where(turned, size - 1 - points[..., 0], points[..., 0])
    return exchanged(torch.cat([x[..., None], points[..., 1:]], -1), flip, spec)


def exchanged(values: torch.Tensor, flip: NDArray[np.bool_], spec: TargetSpec) -> torch.Tensor:
    """Give each point of the flipped among ``(N, n, ...)`` the place of its mirror image."""
    if not flip.any():
        return values
    if spec.permutation is None:
        cause = f"is {describe(spec)}, and nobody knows which of these are each other's mirror images"
        raise ConfigError(f"target {spec.name}", cause, "Write the file with a TargetSpec.mirror, or do not flip.")
    order = torch.tensor(spec.permutation, device=values.device)
    turned = torch.from_numpy(flip).to(values.device).view(-1, *[1] * (values.dim() - 1))
    return torch.where(turned, values[:, order], values)
