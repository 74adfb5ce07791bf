"""PNG: every row filter, round trips, and truncated or damaged files."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinytorch.base.errors import DataError, ShapeError
from tinytorch.datasets import png


def filtered(image: np.ndarray, kinds: list[int]) -> bytes:
    """Return a PNG whose rows use the given filters, encoded byte by byte as in the specification (section 9)."""
    H, W, C = image.shape
    rows = [[0] * (W * C), *image.reshape(H, -1).astype(int).tolist()]
    raw = bytearray()
    for y, kind in enumerate(kinds, start=1):
        raw.append(kind)
        for i, x in enumerate(rows[y]):
            a = rows[y][i - C] if i >= C else 0
            b = rows[y - 1][i]
            c = rows[y - 1][i - C] if i >= C else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            raw.append((x - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
    header = struct.pack(">IIBBBBB", W, H, 8, 0 if C == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(raw))), (b"IEND", b""))
    return png._SIGNATURE + b"".join(png._chunk(kind, content) for kind, content in chunks)


IMAGES = st.sampled_from([1, 3]).flatmap(
    lambda C: hnp.arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7), st.just(C)))
)


@given(IMAGES, st.data())
def test_png_rows_of_every_filter_are_decoded(image: np.ndarray, draw: st.DataObject) -> None:
    kinds = draw.draw(st.lists(st.integers(0, 4), min_size=len(image), max_size=len(image)))
    decoded = png.decode(filtered(image, kinds))
    np.testing.assert_array_equal(decoded, image if image.shape[2] == 3 else image[:, :, 0])


@given(IMAGES)
def test_png_decodes_what_it_encodes(image: np.ndarray) -> None:
    flat = image if image.shape[2] == 3 else image[:, :, 0]
    np.testing.assert_array_equal(png.decode(png.encode(flat)), flat)


def test_truncated_or_damaged_png_is_rejected() -> None:
    whole = png.encode(np.arange(12, dtype=np.uint8).reshape(3, 4))
    for at in range(len(whole)):
        with pytest.raises(DataError, match="PNG"):
            png.decode(whole[:at])
        with pytest.raises(DataError, match="PNG"):
            png.decode(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])


def test_unsupported_png_kind_is_named() -> None:
    whole = png.encode(np.zeros((1, 1), np.uint8))
    header = struct.pack(">IIBBBBB", 1, 1, 16, 6, 0, 0, 1)
    other = whole[:8] + png._chunk(b"IHDR", header) + whole[33:]
    with pytest.raises(DataError, match="16-bit, color type 6, interlacing 1"):
        png.decode(other)
    no_filter = whole[:33] + png._chunk(b"IDAT", zlib.compress(b"\x07\x00")) + png._chunk(b"IEND", b"")
    with pytest.raises(DataError, match="row filter 7"):
        png.decode(no_filter)


@pytest.mark.parametrize(
    "image", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 2), np.uint8)]
)
def test_png_encodes_only_gray_and_rgb_bytes(image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="uint8"):
        png.encode(image)
