"""Encoding and decoding PNG images, using only NumPy and zlib.

CIFAR-10's package source stores its images as PNG sheets, and the report's pages show grids of images. Both need only
8-bit grayscale and RGB without interlacing, and only these are supported, so Pillow is not required.

Source: the PNG specification, https://www.w3.org/TR/png-3/ (filters: section 9).
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import numpy as np

from tinytorch.base.errors import DataError, ShapeError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3}  # color type: grayscale, RGB
_NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)


def encode(image: np.ndarray) -> bytes:
    """Return the bytes of a PNG file for a grayscale (H, W) or RGB (H, W, 3) uint8 image.

    Each row uses the filter among None, Sub, and Up with the smallest sum of absolute differences, as the specification
    suggests (section 12.7).

    Raises:
        ShapeError: the image has another shape or dtype, or is empty.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or not image.size:
        raise ShapeError(f"PNG: expected a uint8 image (H, W) or (H, W, 3), not {image.dtype} {image.shape}")
    H, W = image.shape[:2]
    pixels = image.reshape(H, W, -1)  # (H, W, C)
    left, above = np.zeros_like(pixels), np.zeros_like(pixels)
    left[:, 1:], above[1:] = pixels[:, :-1], pixels[:-1]
    candidates = np.stack([pixels, pixels - left, pixels - above]).reshape(3, H, -1)  # None, Sub, Up
    best = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=2).argmin(axis=0)  # (H,)
    rows = np.column_stack([best.astype(np.uint8), candidates[best, np.arange(H)]])
    color = 0 if image.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", W, H, 8, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def decode(content: bytes) -> np.ndarray:
    """Return the uint8 image in a PNG file: (H, W) for grayscale, (H, W, 3) for RGB.

    Raises:
        DataError: the content is not a PNG, truncated, corrupt (each chunk's CRC is checked), or not supported.
    """
    header, compressed = _chunks(content)
    W, H, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if depth != 8 or color not in _CHANNELS or interlaced or not W or not H:
        raise DataError(
            f"PNG: only 8-bit grayscale or RGB without interlacing is supported; this one is {W} x {H}, "
            f"{depth}-bit, color type {color}, interlacing {interlaced}"
        )
    C = _CHANNELS[color]
    size = H * (1 + W * C)  # a filter byte before each row
    try:
        raw = zlib.decompressobj().decompress(compressed, size)
    except zlib.error as error:
        raise DataError(f"PNG: corrupt image data ({error})") from None
    if len(raw) != size:
        raise DataError(f"PNG: truncated image data ({len(raw)} of {size} bytes)")
    rows = np.frombuffer(raw, np.uint8).reshape(H, 1 + W * C)
    pixels = _unfilter(rows[:, 0], rows[:, 1:].reshape(H, W, C))
    return pixels[:, :, 0] if C == 1 else pixels


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _chunks(content: bytes) -> tuple[bytes, bytes]:
    """Return the header and the joined image data of a PNG file, after checking each chunk."""
    if not content.startswith(_SIGNATURE):
        raise DataError("PNG: the signature is missing, so this is not a PNG file")
    header, data, at = b"", [], len(_SIGNATURE)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        crc = content[at + 8 + length : at + 12 + length]
        if len(crc) < 4:
            break
        if struct.unpack(">I", crc)[0] != zlib.crc32(kind + body):
            raise DataError(f"PNG: corrupt, the checksum of its {kind.decode('latin-1')} chunk does not match")
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            data.append(body)
        elif kind == b"IEND":
            if len(header) != 13:
                raise DataError("PNG: corrupt, its header is missing or not 13 bytes long")
            return header, b"".join(data)
        at += 12 + length
    raise DataError("PNG: truncated, its end chunk is missing")


def _unfilter(filters: np.ndarray, filtered: np.ndarray) -> np.ndarray:
    """Undo the row filters: (H,) filter types, (H, W, C) differences -> (H, W, C) pixels.

    Consecutive rows with the same filter are decoded together: Sub and Up are running sums, modulo 256. Average and
    Paeth depend on the previously decoded pixel, so they are decoded byte by byte; CIFAR-10's sheets use them in fewer
    than 20 of 10,000 rows.
    """
    if filters.max() > _PAETH:
        raise DataError(f"PNG: corrupt, row filter {filters.max()} does not exist")
    pixels = filtered.copy()
    edges = [0, *(np.flatnonzero(np.diff(filters)) + 1).tolist(), len(filters)]
    for start, end in pairwise(edges):
        kind, run = filters[start], pixels[start:end]
        if kind == _SUB:
            np.add.accumulate(run, axis=1, dtype=np.uint8, out=run)
        elif kind == _UP:
            if start:
                run[0] += pixels[start - 1]
            np.add.accumulate(run, axis=0, dtype=np.uint8, out=run)
        elif kind in (_AVERAGE, _PAETH):
            undo = _undo_average if kind == _AVERAGE else _undo_paeth
            for row in range(start, end):
                above = pixels[row - 1] if row else np.zeros_like(pixels[0])
                undone = undo(pixels[row].tobytes(), above.tobytes(), pixels.shape[2])
                pixels[row] = np.frombuffer(undone, np.uint8).reshape(pixels.shape[1:])
    return pixels


def _undo_average(row: bytes, above: bytes, C: int) -> bytes:
    out = bytearray(C) + row  # C zeros to the left of the first pixel
    for i, b in enumerate(above):
        out[i + C] = (row[i] + (out[i] + b) // 2) & 255
    return bytes(out[C:])


def _undo_paeth(row: bytes, above: bytes, C: int) -> bytes:
    """Undo Paeth: a byte is the difference from the one of left (a), above (b), above left (c) nearest to a + b - c."""
    out = bytearray(C) + row
    corner = bytes(C) + above
    for i, b in enumerate(above):
        a, c = out[i], corner[i]
        to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
        nearest = a if to_a <= to_b and to_a <= to_c else b if to_b <= to_c else c
        out[i + C] = (row[i] + nearest) & 255
    return bytes(out[C:])
