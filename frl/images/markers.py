"""The markers of a JPEG, without decoding it (ITU-T T.81, annex B)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

MAX_SCANS = 256
"""A progressive JPEG of a few bytes per scan could otherwise keep a decoder busy for hours."""

START_OF_IMAGE = b"\xff\xd8"
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the three are tables and an extension
WITHOUT_LENGTH = frozenset(range(0xD0, 0xD8)) | {0x01}
EOI, SOS = 0xD9, 0xDA
JFIF_START = b"\xff\xd8\xff\xe0"
COMMON_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Sequential and progressive frames with Huffman's code."""
TABLES_AND_COMMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xFE})


class Segment(NamedTuple):
    """A marker and what belongs to it.

    Attributes:
        code: the marker's second byte.
        start: offset of its first byte, 0xFF.
        stop: offset of the first byte behind it and its parameters.
    """

    code: int
    start: int
    stop: int


class Frame(NamedTuple):
    """What a frame header says: pixels, and colour channels: 1 grey, 3 colour, 4 for print."""

    height: int
    width: int
    channels: int


def segments(data: bytes | memoryview, at: int = 2) -> Iterator[Segment]:
    """The segments from ``at`` on up to the next scan or the image's end, including it; fewer if the data end first.

    As decoders do, it skips bytes between two segments that belong to neither.
    """
    last = len(data) - 1
    while at < last:
        code = data[at + 1]
        if data[at] != 0xFF or code in (0x00, 0xFF):
            at += 1
            continue
        if code == EOI or code in WITHOUT_LENGTH:
            stop = at + 2
        elif at + 4 <= len(data):
            stop = at + 2 + (data[at + 2] << 8 | data[at + 3])
        else:
            return
        yield Segment(code, at, stop)
        if code in (EOI, SOS):
            return
        at = max(stop, at + 2)


def frame(data: bytes | memoryview) -> Frame:
    """The frame header.

    Raises:
        ValueError: if the bytes are not a JPEG's or end before the frame header, in words.
    """
    if bytes(data[:2]) != START_OF_IMAGE:
        raise ValueError("it is not a JPEG")
    for code, start, _ in segments(data):
        if code in START_OF_FRAME and start + 10 <= len(data):
            size = data[start + 5 : start + 9]
            return Frame(size[0] << 8 | size[1], size[2] << 8 | size[3], data[start + 9])
    raise ValueError("its JPEG has no frame header")


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG whose header says that it is one upright picture in luma and chroma.

    That is certain of a header that holds JFIF's segment, tables, comments and a frame of three colours, one behind the
    other, and nothing else. Of any other the result is None, and a parser of all that JPEGs hold has to say: Exif may
    turn the picture, Adobe's segment change its colours, and an index name further pictures.
    """
    if data[:4] != JFIF_START or data[6:11] != b"JFIF\0" or data[4:6] < b"\0\x10":
        return None
    last, size = len(data) - 10, None
    at = 4 + (data[4] << 8 | data[5])
    while at <= last and data[at] == 0xFF:
        code = data[at + 1]
        if code == SOS:
            return size
        nbytes = data[at + 2] << 8 | data[at + 3]
        if code in COMMON_FRAMES and size is None:
            if nbytes != 17 or data[at + 4] != 8 or data[at + 9] != 3:
                return None
            size = data[at + 7] << 8 | data[at + 8], data[at + 5] << 8 | data[at + 6]
            if 0 in size:
                return None
        elif code not in TABLES_AND_COMMENTS:
            return None
        at += 2 + nbytes
    return None


def whole_frame(data: np.ndarray) -> Frame:
    """The frame header of a JPEG that is there to its end marker.

    Args:
        data: (n,) uint8.

    Raises:
        ValueError: as ``frame``; or if it ends too early, or has more than ``MAX_SCANS`` scans.
    """
    found = frame(data.data)
    # Inside entropy-coded data, 0xFF is followed by 0, by a restart marker or, as filling, by itself.
    after = data[1:]
    markers = np.flatnonzero((data[:-1] == 0xFF) & (after != 0) & (after != 0xFF) & ((after < 0xD0) | (after > 0xD7)))
    scans, place = 0, 2
    while (i := int(np.searchsorted(markers, place))) < len(markers):
        start = int(markers[i])
        code = int(data[start + 1])
        if code == EOI:
            if scans == 0:
                raise ValueError("the JPEG ends before its image")
            return found
        scans += code == SOS
        if scans > MAX_SCANS:
            raise ValueError(f"the JPEG has more than {MAX_SCANS} scans")
        place = start + 2 + int.from_bytes(data[start + 2 : start + 4].tobytes())
    raise ValueError("the JPEG is truncated: it has no end marker")
