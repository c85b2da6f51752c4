"""What two copies of a face have in common.

Both fingerprints are functions of the sample's bytes as they are stored, so they can be had from a ``.beton``, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from frl.errors import ConfigError

HASH_SIDE = 16
"""Frequencies of the perceptual hash in either direction. With the usual 8, two different faces of LFW lie within the
distance of copies; among millions of images such chances would merge thousands."""

BANDS = 8
"""Words of 32 bits of a perceptual hash."""


class Fingerprint(NamedTuple):
    """What tells a face from others.

    Attributes:
        digest: SHA-256 of the bytes, which the file's own digest takes in, too.
        look: (8,) uint32, close in Hamming distance for pictures that look alike, or None.
    """

    digest: bytes
    look: np.ndarray | None = None


class Fingerprints:
    """Takes fingerprints; one a thread.

    Args:
        kind: whether copies are to be known by their bytes, also by their look, or not at all.

    Raises:
        ConfigError: if the library for that is not there.
    """

    def __init__(self, kind: Literal["none", "exact", "near"]) -> None:
        self._kind = kind
        self.needs_pixels = kind == "near"
        self._hash = perceptual_hash() if self.needs_pixels else None

    def __call__(self, data: bytes, grey: np.ndarray | None) -> Fingerprint | None:
        """The fingerprint of a sample, or None if copies are not to be known.

        Args:
            data: its JPEG.
            grey: (H, W) uint8, its luminance; only looked at for its look.
        """
        if self._kind == "none":
            return None
        digest = hashlib.sha256(data).digest()
        if self._hash is None or grey is None:
            return Fingerprint(digest)
        bits = self._hash(Image.fromarray(grey)).reshape(-1, BANDS).T  # each word holds low and high frequencies
        return Fingerprint(digest, np.packbits(bits).view(np.uint32))


def perceptual_hash() -> Callable[[Image.Image], np.ndarray]:
    """ImageHash's pHash: the signs of a picture's lowest 16 x 16 frequencies about their median, 256 bits.

    Raises:
        ConfigError: if the library is not installed.
    """
    try:
        from imagehash import phash
    except ImportError as error:
        raise ConfigError(
            "--dedupe near", f"needs ImageHash ({error})", "Install it: pip install ImageHash."
        ) from error
    return lambda picture: phash(picture, hash_size=HASH_SIDE).hash
