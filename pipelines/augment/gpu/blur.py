"""The Gaussian blur of the paper: OpenCV's, 23 x 23 taps, mirrored at the border without repeating the edge pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from pipelines.augment.gpu.colour import Planes

RADIUS = 11
TAPS = 2 * RADIUS + 1


def blur_matrix(sigma: Tensor, size: int) -> Tensor:
    """The blur of one axis as a matrix: ``(N,)`` standard deviations in pixels to ``(N, size, size)``, rows sum to 1.

    Row i holds the taps around pixel i, those beyond the first or last pixel mirrored back. Sigma 0 gives the identity.
    """
    pixel = torch.arange(size, device=sigma.device, dtype=torch.float32)
    # Below 0.05 every tap but the middle one underflows to zero: the identity, without a division by zero.
    sigma = sigma.clamp(min=0.05)[:, None, None]

    def gaussian(distance: Tensor) -> Tensor:
        return torch.exp(-0.5 * (distance / sigma) ** 2) * (distance.abs() <= RADIUS)

    output, beyond = pixel[:, None], 2 * (size - 1) - pixel
    taps = gaussian(pixel - output)
    taps = taps + gaussian(-pixel - output) * (pixel > 0) + gaussian(beyond - output) * (pixel < size - 1)
    return taps / taps.sum(dim=-1, keepdim=True)


def batch_blur(images: Planes, sigma: Tensor, operand: torch.dtype) -> Planes:
    """Blur each image with its own sigma, and swap its axes; sigma 0 only swaps them.

    Two batched matrix products a plane. On matrix units they cost a tenth of 2 x 23 shifted multiplications and
    additions, and they swap the axes on their way for nothing.

    Args:
        images: square, with sides above ``RADIUS``.
        sigma: ``(N,)`` standard deviations in pixels.
        operand: dtype of the products, which sum in float32.
    """
    matrix = blur_matrix(sigma, images.red.shape[1]).to(operand)
    half = (torch.bmm(plane.to(operand).transpose(1, 2), matrix.transpose(1, 2)) for plane in images)
    return Planes(*(torch.bmm(matrix, plane).float() for plane in half))
