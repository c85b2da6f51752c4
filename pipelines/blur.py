"""The Gaussian blur of the paper: OpenCV's, 23 x 23 taps, mirrored at the border without repeating the edge pixel."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipelines.threads import Threads

RADIUS = 11
TAPS = 2 * RADIUS + 1


def gaussian_taps(sigma: Tensor) -> Tensor:
    """Sampled, normalised Gaussians: ``(N,)`` standard deviations in pixels to ``(N, TAPS)``; 0 gives the identity."""
    offset = torch.arange(-RADIUS, RADIUS + 1, device=sigma.device)
    # Below 0.05 every tap but the middle one underflows to zero: the identity, without a division by zero.
    taps = torch.exp(-0.5 * (offset / sigma.clamp(min=0.05)[:, None]) ** 2)
    return taps / taps.sum(dim=1, keepdim=True)


def batch_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image with its own sigma: ``(N, C, H, W)`` float32, sides above ``RADIUS``; sigma 0 changes nothing.

    A sum of shifted images per axis, which a compiler fuses into one kernel per axis.
    """
    taps = gaussian_taps(sigma).to(images.dtype)[:, :, None, None, None]
    height, width = images.shape[2:]
    padded = F.pad(images, (RADIUS, RADIUS, 0, 0), mode="reflect")
    rows = sum((taps[:, t] * padded[..., t : t + width] for t in range(TAPS)), start=torch.zeros_like(images))
    padded = F.pad(rows, (0, 0, RADIUS, RADIUS), mode="reflect")
    out = sum((taps[:, t] * padded[:, :, t : t + height] for t in range(TAPS)), start=torch.zeros_like(images))
    return torch.where(sigma[:, None, None, None] > 0, out, images)


def blur_each(images: Tensor, sigma: NDArray[np.float32], threads: Threads) -> None:
    """``batch_blur`` on the host, in place: OpenCV on those of the contiguous images that have a sigma."""
    planes = images.numpy()

    def blur(n: int) -> None:
        for plane in planes[n]:
            cv2.GaussianBlur(plane, (TAPS, TAPS), float(sigma[n]), dst=plane, borderType=cv2.BORDER_REFLECT_101)

    threads.for_each(blur, np.flatnonzero(sigma).tolist())
