"""JPEGs whose headers are off the standards though every pixel is there, as phones and editors write them."""

from __future__ import annotations

import re


def scan_header(data: bytes, parameters: bytes) -> bytes:
    """Other Ss, Se, Ah and Al in the first scan's header."""
    start = data.index(b"\xff\xda")
    stop = start + 2 + int.from_bytes(data[start + 2 : start + 4])
    return data[: stop - 3] + parameters + data[stop:]


def adobe(data: bytes, transform: int) -> bytes:
    """An Adobe segment in the place of JFIF's."""
    segment = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    return data[:2] + segment + data[2 + 2 + int.from_bytes(data[4:6]) :]


def padded(data: bytes, zeros: int) -> bytes:
    """Zero bytes before the end marker."""
    return data[:-2] + bytes(zeros) + data[-2:]


def padded_scans(data: bytes, zeros: int) -> bytes:
    """Zero bytes before every marker that follows a scan."""
    head, scans = data[: data.index(b"\xff\xda")], data[data.index(b"\xff\xda") :]
    return head + re.sub(rb"(?<=.)\xff(?=[\xc4\xda\xd9])", bytes(zeros) + b"\xff", scans, flags=re.DOTALL)


ODD = {
    "scan ends at 0": lambda data: scan_header(data, b"\0\0\0"),
    "scan begins at 1": lambda data: scan_header(data, b"\1\x3f\0"),
    "successive approximation": lambda data: scan_header(data, b"\0\x3f\x11"),
    "JFIF 2.0": lambda data: data.replace(b"JFIF\0\1", b"JFIF\0\2", 1),
    "JFIF 0.9": lambda data: data.replace(b"JFIF\0\1", b"JFIF\0\0", 1),
    "unknown Adobe transform": lambda data: adobe(data, 7),
    "the transform of CMYK": lambda data: adobe(data, 2),
    "one zero": lambda data: padded(data, 1),
    "two zeros": lambda data: padded(data, 2),
    "64 zeros": lambda data: padded(data, 64),
    "zeros between segments": lambda data: data[:20] + bytes(7) + data[20:],
    "all at once": lambda data: padded(scan_header(data.replace(b"JFIF\0\1", b"JFIF\0\3", 1), b"\0\0\0"), 9),
}
"""What makes a sound sequential JPEG odd."""
