"""A PNG's pixels: 8 bits, RGB or RGBA, not interlaced, as Chromium draws them."""

from __future__ import annotations

import struct
import zlib

Pixel = tuple[int, int, int]


def pixels(png: bytes, most: int = 100) -> list[list[Pixel]]:
    """The first rows of (red, green, blue)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert depth == 8
    assert kind in (2, 6)
    step = 4 if kind == 6 else 3
    packed, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : at + 8 + length]
        at += length + 12
    data, rows, before = zlib.decompress(packed), [], bytes(width * step)
    for number in range(min(height, most)):
        start = number * (width * step + 1)
        before = _unfiltered(data[start], data[start + 1 : start + 1 + width * step], before, step)
        rows.append([(before[i], before[i + 1], before[i + 2]) for i in range(0, len(before), step)])
    return rows


def size(png: bytes) -> tuple[int, int]:
    """Width and height."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _unfiltered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    out = bytearray(line)
    for i in range(len(out)):
        left = out[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        guess = (0, left, above[i], (left + above[i]) // 2, _paeth(left, above[i], corner))[kind]
        out[i] = (out[i] + guess) & 255
    return bytes(out)


def _paeth(left: int, above: int, corner: int) -> int:
    estimate = left + above - corner
    return min((left, above, corner), key=lambda one: abs(estimate - one))
