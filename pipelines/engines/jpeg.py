"""As much of a JPEG's header as is needed to know its dimensions before decoding (ITU-T T.81, annex B)."""

from __future__ import annotations

from typing import NamedTuple

START_OF_IMAGE = b"\xff\xd8"
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the three are tables and an extension
WITHOUT_LENGTH = frozenset(range(0xD0, 0xD8)) | {0x01}
END_OF_HEADER = frozenset({0xD9, 0xDA})  # end of image, start of scan


class Frame(NamedTuple):
    """What a frame header says: pixels, and colour channels: 1 grey, 3 colour, 4 for print."""

    height: int
    width: int
    channels: int


def frame_size(jpeg: memoryview) -> tuple[int, int]:
    """Height and width in pixels, from the frame header; see ``frame``."""
    return frame(jpeg)[:2]


def frame(jpeg: memoryview) -> Frame:
    """The frame header.

    Raises:
        ValueError: if the bytes are not a JPEG's or end before the frame header.
    """
    if bytes(jpeg[:2]) != START_OF_IMAGE:
        raise ValueError("it is not a JPEG")
    at = 2
    while at + 10 <= len(jpeg):
        if jpeg[at] != 0xFF:
            raise ValueError(f"its JPEG header is damaged at byte {at}")
        marker = jpeg[at + 1]
        if marker in START_OF_FRAME:
            return Frame(jpeg[at + 5] << 8 | jpeg[at + 6], jpeg[at + 7] << 8 | jpeg[at + 8], jpeg[at + 9])
        if marker in END_OF_HEADER:
            break
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + (jpeg[at + 2] << 8 | jpeg[at + 3])
    raise ValueError("its JPEG has no frame header")
