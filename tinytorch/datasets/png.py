"""PNG images to arrays and back, with NumPy and zlib alone.

CIFAR-10's package source holds its images as PNG sheets, and the report's pages show grids of images; both
need 8-bit grey and RGB without interlacing, and nothing else is read. Pillow is not needed for that.

Source: the PNG specification, https://www.w3.org/TR/png-3/ (filters: section 9).
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import numpy as np

from tinytorch.base.errors import DataError, ShapeError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3}  # colour type: grey, RGB
_NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)


def encode(image: np.ndarray) -> bytes:
    """A grey (H, W) or an RGB (H, W, 3) uint8 image as the bytes of a PNG file.

    Each row takes whichever of the filters None, Sub and Up leaves the smallest sum of absolute
    differences, as the specification suggests (section 12.7).

    Raises:
        ShapeError: another shape, another dtype or an empty image.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or not image.size:
        raise ShapeError(f"a PNG is made of uint8 (H, W) or (H, W, 3), not {image.dtype} {image.shape}")
    H, W = image.shape[:2]
    pixels = image.reshape(H, W, -1)  # (H, W, C)
    left, above = np.zeros_like(pixels), np.zeros_like(pixels)
    left[:, 1:], above[1:] = pixels[:, :-1], pixels[:-1]
    candidates = np.stack([pixels, pixels - left, pixels - above]).reshape(3, H, -1)  # None, Sub, Up
    best = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=2).argmin(axis=0)  # (H,)
    rows = np.column_stack([best.astype(np.uint8), candidates[best, np.arange(H)]])
    colour = 0 if image.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", W, H, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def decode(content: bytes) -> np.ndarray:
    """The uint8 image of a PNG file: (H, W) if grey, (H, W, 3) if RGB.

    Raises:
        DataError: not a PNG, cut, damaged (each chunk's CRC is checked), or of a kind not read here.
    """
    header, compressed = _chunks(content)
    W, H, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if depth != 8 or colour not in _CHANNELS or interlaced or not W or not H:
        raise DataError(
            f"PNG: only 8-bit grey or RGB without interlacing is read here; this one is {W} x {H}, "
            f"{depth}-bit, colour type {colour}, interlacing {interlaced}"
        )
    C = _CHANNELS[colour]
    size = H * (1 + W * C)  # a filter byte before each row
    try:
        raw = zlib.decompressobj().decompress(compressed, size)
    except zlib.error as error:
        raise DataError(f"PNG: damaged image data ({error})") from None
    if len(raw) != size:
        raise DataError(f"PNG: cut image data ({len(raw)} of {size} bytes)")
    rows = np.frombuffer(raw, np.uint8).reshape(H, 1 + W * C)
    pixels = _unfilter(rows[:, 0], rows[:, 1:].reshape(H, W, C))
    return pixels[:, :, 0] if C == 1 else pixels


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _chunks(content: bytes) -> tuple[bytes, bytes]:
    """The header and the joined image data of a file whose chunks are all whole."""
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
            raise DataError(f"PNG: damaged, the checksum of its {kind.decode('latin-1')} chunk does not fit")
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            data.append(body)
        elif kind == b"IEND":
            if len(header) != 13:
                raise DataError("PNG: damaged, its header is missing or not 13 bytes long")
            return header, b"".join(data)
        at += 12 + length
    raise DataError("PNG: cut, its end chunk is missing")


def _unfilter(filters: np.ndarray, filtered: np.ndarray) -> np.ndarray:
    """Undo the row filters: (H,) filter types, (H, W, C) differences -> (H, W, C) pixels.

    Runs of rows with the same filter are undone together: Sub and Up are running sums, modulo 256.
    Average and Paeth depend on the pixel just undone, so they go byte by byte; the sheets that this was
    written for use them in fewer than 20 of 10,000 rows.
    """
    if filters.max() > _PAETH:
        raise DataError(f"PNG: damaged, row filter {filters.max()} does not exist")
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
    out = bytearray(C) + row  # C zeros stand left of the first pixel
    for i, b in enumerate(above):
        out[i + C] = (row[i] + (out[i] + b) // 2) & 255
    return bytes(out[C:])


def _undo_paeth(row: bytes, above: bytes, C: int) -> bytes:
    """Each byte is the difference from left (a), above (b) or above left (c): the nearest to a + b - c."""
    out = bytearray(C) + row
    corner = bytes(C) + above
    for i, b in enumerate(above):
        a, c = out[i], corner[i]
        to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
        nearest = a if to_a <= to_b and to_a <= to_c else b if to_b <= to_c else c
        out[i + C] = (row[i] + nearest) & 255
    return bytes(out[C:])
