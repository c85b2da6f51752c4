"""Mend what is odd about a JPEG but harms no pixel, so that whatever a decoder still complains of is damage.

Phones and editors write headers that decoders put right by themselves, with a warning: the pixels are those of a clean
file. A decoder that takes warnings for errors, as libffcv's does, refuses them all the same. Here the bytes themselves
are put right, as libjpeg reads them (jdmarker.c, jdapimin.c, jdinput.c of libjpeg-turbo), and the coded image is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from frl.images.markers import EOI, SOS, START_OF_FRAME, START_OF_IMAGE, Segment, frame, segments

APP0, APP14 = 0xE0, 0xEE
SEQUENTIAL = (0xC0, 0xC1, 0xC9)
"""Frames whose scans hold all coefficients: 0 to 63, of full precision."""

ADOBE_TRANSFORMS = {3: ((0, 1), 1), 4: ((0, 2), 2)}
"""By the number of colours: the transforms that Adobe defined, and the one that decoders assume in place of others."""

AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The marker that ends entropy-coded data."""

ZEROS_OF_THE_SCAN = (0, 1, 2)
"""Of zeros at the end of a scan the first few may be its own. Were more, they would be a hole in the file."""


def mendings(data: bytes) -> Iterator[bytes]:
    """The JPEG with all that is odd but harmless put right: its likely readings, most likely first.

    The zeros between a scan and the next marker are filling, but for the first few, which may be the scan's; so there
    are several readings of a file that has such. None is yielded of a JPEG in which nothing is odd. What follows the
    image's end is left out.
    """
    tried: list[bytes] = []
    for zeros in ZEROS_OF_THE_SCAN:
        mended = _mend(data, zeros)
        if mended is not None and mended not in tried and not data.startswith(mended):
            tried.append(mended)
            yield mended


def _mend(data: bytes, zeros: int) -> bytes | None:
    """One reading, or None of what has no frame or no end."""
    try:
        channels = frame(data).channels
    except ValueError:
        return None
    parts, at, frame_code = [START_OF_IMAGE], 2, 0
    while True:
        segment = None
        for segment in segments(data, at):
            frame_code = segment.code if segment.code in START_OF_FRAME else frame_code
            parts.append(_put_right(segment, data[segment.start : segment.stop], frame_code, channels))
        if segment is None or segment.code not in (EOI, SOS):
            return None
        if segment.code == EOI:
            return b"".join(parts)
        end = AFTER_SCAN.search(data, segment.stop)
        if end is None:
            return None
        parts.append(_without_filling(data[segment.stop : end.start()], zeros))
        at = end.start()


def _put_right(segment: Segment, body: bytes, frame_code: int, channels: int) -> bytes:
    """The bytes of a segment as the standards want them."""
    if segment.code == APP0 and body[4:9] == b"JFIF\0" and len(body) > 9:
        return body[:9] + b"\1" + body[10:]  # there is no JFIF but 1.x
    if segment.code == APP14 and body[4:9] == b"Adobe" and len(body) >= 16 and channels in ADOBE_TRANSFORMS:
        known, assumed = ADOBE_TRANSFORMS[channels]
        return body if body[15] in known else body[:15] + bytes([assumed]) + body[16:]
    if segment.code == SOS and frame_code in SEQUENTIAL and len(body) > 7:
        return body[:-3] + b"\0\x3f\0"
    return body


def _without_filling(scan: bytes, zeros: int) -> bytes:
    """Entropy-coded data without the zeros at their end, but for so many; one behind 0xFF belongs to it."""
    own = scan.rstrip(b"\0")
    own = scan[: len(own) + own.endswith(b"\xff")]
    return scan[: len(own) + zeros]
