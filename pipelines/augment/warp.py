"""A warp carried out on the training device: one affine resampling of each image, and the same done to its targets.

Points are in pixels, the centre of the first pixel being (0, 0), as in ``pipelines.augment.points``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frl.beton.mirror import angle_of, entries_of, exchanged_entries, signs_of
from frl.beton.targets import Kind, TargetSpec, describe
from frl.config.finetune import WarpConfig
from frl.errors import ConfigError
from pipelines.augment.affine import Warp
from pipelines.augment.gpu.blur import batch_blur
from pipelines.augment.gpu.colour import ADJUST, Planes, batch_grey, batch_solarise
from pipelines.augment.gpu.ladder import OPERATIONS, Operation
from pipelines.augment.gpu.multicrop import require_room_for_blur
from pipelines.augment.gpu.packed import COLUMNS, pack, unpack
from pipelines.augment.normalise import Normalise

MATRIX = 6  # columns of a packed warp: the affine map, then the hidden rectangle, then the colours
HIDDEN = 4


class WarpImages(nn.Module):
    """Images as the plan of a batch says: warped, coloured, normalised, in part hidden. Nothing waits for the device.

    Beyond the border of an image its outermost pixels are repeated. The hidden rectangle has the mean colour.

    Args:
        config: the colours and the normalisation; operations of which it has none are left out.
        size: side of the images.
        dtype: of the views; all arithmetic is float32.

    Raises:
        ConfigError: if the images are too small for the blur's mirrored border.
    """

    def __init__(self, config: WarpConfig, size: int, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        whole = config.whole(size)
        require_room_for_blur(whole)
        self.config = config
        self.normalise = Normalise(whole, dtype)
        strengths = {
            Operation.BRIGHTNESS: config.brightness,
            Operation.CONTRAST: config.contrast,
            Operation.SATURATION: config.saturation,
            Operation.HUE: config.hue,
        }
        self.operations = {name for name, strength in strengths.items() if strength > 0 and config.jitter_p > 0}

    def forward(self, images: Tensor, packed: Tensor) -> Tensor:
        """Make the views.

        Args:
            images: ``(B, size, size, 3)`` uint8.
            packed: ``(B, columns)`` float32, from ``packed_warp``, on the same device.

        Returns:
            ``(B, 3, size, size)``, channels-last.
        """
        size = images.shape[1]
        matrix, hidden, colours = packed.split([MATRIX, HIDDEN, packed.shape[1] - MATRIX - HIDDEN], dim=1)
        levels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        grid = F.affine_grid(matrix.view(-1, 2, 3), list(levels.shape), align_corners=False)
        warped = F.grid_sample(levels, grid, mode="bilinear", padding_mode="border", align_corners=False)
        views = self.normalise(self.coloured((warped / 255).clamp(0, 1), colours))
        return views.masked_fill(inside(hidden, size)[:, None], 0) if self.config.erase_p > 0 else views

    def coloured(self, images: Tensor, colours: Tensor) -> Tensor:
        """``(B, 3, size, size)`` in [0, 1] with the colours of the plan."""
        config = self.config
        if not (self.operations or config.grey_p or config.blur_p or config.solarise_p):
            return images
        plan = unpack(colours)
        planes = Planes(*images.unbind(1))
        for operation, factor in zip(OPERATIONS, plan["rungs"][:, :, None, None].unbind(dim=1), strict=True):
            if operation in self.operations:
                planes = ADJUST[operation](planes, factor)
        if config.grey_p > 0:
            planes = batch_grey(planes, plan["grey"])
        if config.blur_p > 0:
            across = Planes(*(plane.transpose(1, 2) for plane in planes))  # the blur takes columns first
            planes = batch_blur(across, plan["blur_sigma"], torch.float32)
        if config.solarise_p > 0:
            planes = batch_solarise(planes, plan["solarise"])
        return torch.stack(list(planes), dim=1)


def packed_warp(warp: Warp) -> np.ndarray:
    """All that the device needs of a warp side by side: ``(B, columns)`` float32, for one copy."""
    colours = pack(warp.colours)[:, 0]
    return np.concatenate([warp.backward.reshape(-1, MATRIX), warp.hidden.astype(np.float32), colours], axis=1)


PACKED = MATRIX + HIDDEN + COLUMNS.width
"""Columns of a packed warp."""


def inside(hidden: Tensor, size: int) -> Tensor:
    """The pixels whose centres lie in the rectangles ``(B, 4)``: ``(B, size, size)`` bool."""
    centres = (torch.arange(size, device=hidden.device) + 0.5) / size
    left, top, right, bottom = hidden[:, :, None].unbind(1)
    across, down = (centres >= left) & (centres < right), (centres >= top) & (centres < bottom)
    return down[:, :, None] & across[:, None, :]


def carried(
    targets: Mapping[str, Tensor], specs: Sequence[TargetSpec], sides: Tensor, warp: Warp, size: int
) -> dict[str, Tensor]:
    """What is to be said of the views of some faces, given what is known of the stored images.

    Points follow the warp. A mirror exchanges left and right: points and their visibility, and the numbers and classes
    whose names say a side; it changes the signs of yaw and roll, and a turn adds to the roll, in degrees. Everything
    else is the same of a face and of its warped image.

    Args:
        targets: by name, ``(B, *shape)``; points in pixels of the stored images.
        specs: of each of them.
        sides: ``(B, 2)`` float32, width and height of the stored images.
        warp: of the batch.
        size: side of the views.
    """
    return {spec.name: _carried(targets[spec.name], spec, sides, warp, size) for spec in specs}


def _carried(values: Tensor, spec: TargetSpec, sides: Tensor, warp: Warp, size: int) -> Tensor:
    if spec.kind == Kind.POINTS:
        values = _moved(values, sides, warp, size)
    exchanged = _exchanged(values, spec, warp)
    return _turned(exchanged, spec, warp) if spec.kind == Kind.VECTOR else exchanged


def _turned(values: Tensor, spec: TargetSpec, warp: Warp) -> Tensor:
    """Numbers ``(B, *shape)`` of which yaw and roll, by their names, are those of the mirrored and turned images."""
    entries = entries_of(spec)
    mirrored, rolls = np.array(signs_of(entries)), np.array([angle_of(entry) == "roll" for entry in entries])
    if (mirrored > 0).all():  # a roll is among those that a mirror changes
        return values
    signs = np.where(warp.flip[:, None], mirrored, 1.0).reshape(values.shape)
    turn = np.outer(np.degrees(warp.angle), rolls).reshape(values.shape)
    return values * values.new_tensor(signs) + values.new_tensor(turn)


def _moved(points: Tensor, sides: Tensor, warp: Warp, size: int) -> Tensor:
    """Points ``(B, n, 2 or 3)`` of stored images in pixels of the views; depth grows with the face."""
    scale = size / sides
    matrix = torch.from_numpy(warp.forward).to(points.device)
    turn, shift = matrix[:, :, :2], matrix[:, None, :, 2]
    central = (points[..., :2] + 0.5) / sides[:, None] - 0.5
    flat = (central @ turn.transpose(1, 2) + shift + 0.5) * size - 0.5
    grown = torch.from_numpy(warp.scale.astype(np.float32)).to(points.device)
    depth = points[..., 2:] * (scale.prod(1).sqrt() * grown)[:, None, None]
    return torch.cat([flat, depth], dim=2)


def _exchanged(values: Tensor, spec: TargetSpec, warp: Warp) -> Tensor:
    """Of the mirrored among ``(B, *shape)`` give each point, number and class the place of its mirror image."""
    if not warp.flip.any():
        return values
    places = require_mirror(spec)
    if places == tuple(range(len(places))):
        return values
    order = torch.tensor(places, device=values.device)
    flip = torch.from_numpy(warp.flip).to(values.device).view(-1, *[1] * (values.dim() - 1))
    of_one = spec.kind == Kind.CLASS and not spec.shape  # an index into the classes; -1 where unknown
    mirrored = torch.where(values < 0, values, order[values.clamp(min=0)]) if of_one else values[:, order]
    return torch.where(flip, mirrored, values)


def require_mirror(spec: TargetSpec) -> tuple[int, ...]:
    """For each point, number or class of a target the index of the one that takes its place in a mirror.

    Raises:
        ConfigError: nobody knows, where images are to be mirrored; it names the target and the remedy.
    """
    if spec.kind in (Kind.POINTS, Kind.VISIBILITY):
        places, unknown = spec.permutation, "which of these are each other's mirror images"
        remedy = "Write the file with a TargetSpec.mirror"
    else:
        places, unknown = exchanged_entries(spec.name, entries_of(spec)), "what a mirror shows: a side lacks the other"
        remedy = "Write the file with names for both sides, such as left_eye and right_eye"
    if places is None:
        cause = f"is {describe(spec)}, and nobody knows {unknown}"
        raise ConfigError(f"target {spec.name}", cause, f"{remedy}, or set --finetune.augment.flip-p 0.")
    return places
