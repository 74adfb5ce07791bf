"""Module 18: lossless packing of arrays into fewer bytes.

There are two encodings. `bitmask` stores one bit for each element and the bytes of the nonzero elements
(`compression.pack_bitmask`). It is the smaller one from about half zeros on for one-byte elements, and from fewer zeros
on for wider elements. `deflate` is zlib's combination of LZ77 and Huffman codes (RFC 1951). It suits arrays in which
few distinct values are frequent, as in quantized weights. Both are exact for every dtype: an element is zero only if
all its bits are zero, so -0.0 and NaN are preserved.

Packed data may come from an untrusted source: everything is checked before it is used, and unpacking never takes more
memory than the caller allows.
"""

from __future__ import annotations

import math
import operator
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from tinytorch.base.errors import SettingError, StateError
from tinytorch.compression import pack_bitmask, unpack_bitmask
from tinytorch.tensor import Array

Encoding = Literal["bitmask", "deflate"]
VALUES, MASK = "", ".mask"  # suffixes of the parts' names
MAX_BYTES = 100_000_000  # of one unpacked array
PART_COST = 180  # bytes on disk for a packed array's names, offsets, and encoding, in addition to its parts
# The best strategy depends on the data: runs of zeros, or single values of different frequency
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)


def pack_array(array: Array, encoding: Encoding) -> dict[str, Array]:
    """Pack the array's bytes into uint8 parts, by the suffix of their names.

    bitmask: "" contains the nonzero elements in order, and ".mask" one bit for each element, the first in the highest
    bit. deflate: "" contains a zlib stream of all bytes. Elements are stored in C order, little-endian.

    Raises:
        SettingError: the encoding is unknown, or the dtype is not numeric.
    """
    if not _is_numeric(array.dtype):
        raise SettingError(f"pack_array: dtype {array.dtype}: expected numbers or bool")
    rows = _rows(array)
    if encoding == "bitmask":
        values, mask = pack_bitmask(rows)
        return {VALUES: values, MASK: mask}
    if encoding == "deflate":
        return {VALUES: np.frombuffer(min((_deflate(rows, s) for s in STRATEGIES), key=len), np.uint8)}
    raise SettingError(f"pack_array: encoding {encoding!r}: expected 'bitmask' or 'deflate'")


def unpack_array(
    parts: Mapping[str, Array], encoding: str, dtype: DTypeLike, shape: Sequence[int], limit: int = MAX_BYTES
) -> Array:
    """Unpack an array that `pack_array` has packed, bit for bit.

    Args:
        parts: uint8 arrays by suffix, as `pack_array` returns them.
        dtype, shape: those of the array.
        limit: the largest allowed size of the array in bytes.

    Raises:
        StateError: the parts are not exactly those of such an array, or the array would be larger than the limit. The
            check itself takes no memory beyond the limit.
    """
    element = _checked_dtype(dtype)
    count = _checked_size(shape, element.itemsize, limit)
    expected = {"bitmask": {VALUES, MASK}, "deflate": {VALUES}}.get(encoding)
    if expected is None:
        raise StateError(f"encoding {encoding!r}: expected 'bitmask' or 'deflate'")
    if parts.keys() != expected:
        raise StateError(f"{encoding}: parts {sorted(parts)}: expected {sorted(expected)}")
    for part in parts.values():
        if part.dtype != np.uint8 or part.ndim != 1:
            raise StateError(f"{encoding}: a part is {part.dtype} of shape {part.shape}: expected uint8 and (n,)")
    if encoding == "bitmask":
        content = _unmask(parts[VALUES], parts[MASK], count, element.itemsize)
    else:
        content = np.frombuffer(_inflate(parts[VALUES], count * element.itemsize), np.uint8)
    stored = content.view(element.newbyteorder("<")).reshape(tuple(shape))
    return stored.astype(element)  # a copy: the buffer of an inflated stream is read-only


def smallest_encoding(array: Array) -> Literal["plain", "bitmask", "deflate"]:
    """Return the encoding that takes the fewest bytes on disk; "plain" if packing does not reduce the size."""
    if not _is_numeric(array.dtype):
        return "plain"
    sizes: dict[Literal["plain", "bitmask", "deflate"], int] = {"plain": array.nbytes}
    for encoding in ("bitmask", "deflate"):
        sizes[encoding] = PART_COST + sum(part.nbytes for part in pack_array(array, encoding).values())
    return min(sizes, key=lambda name: sizes[name])


def _is_numeric(dtype: np.dtype) -> bool:
    # The dtypes of ml_dtypes (bfloat16) have kind V. So do structures and raw bytes, but these are not numeric.
    return dtype.kind in "biufc" or (dtype.kind == "V" and dtype.isbuiltin == 2)


def _rows(array: Array) -> Array:
    """Return the bytes of each element, (elements, itemsize)."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1)
    return little.view(np.uint8).reshape(array.size, array.itemsize)


def _deflate(content: Array, strategy: int) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return stream.compress(content.tobytes()) + stream.flush()


def _inflate(packed: Array, size: int) -> bytes:
    """Return exactly `size` bytes, without ever unpacking more than one byte beyond them."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed.tobytes(), size + 1)
    except zlib.error as error:
        raise StateError(f"deflate: not a complete zlib stream ({error})") from None
    if len(content) > size:
        raise StateError(f"deflate: more than the expected {size} bytes")
    if not stream.eof:
        raise StateError(f"deflate: truncated after {len(content)} of {size} bytes")
    if len(content) < size or stream.unused_data:
        raise StateError(f"deflate: {len(content)} bytes and {len(stream.unused_data)} after the stream's end: "
                         f"expected {size} and 0")  # fmt: skip
    return content


def _unmask(values: Array, mask: Array, count: int, itemsize: int) -> Array:
    if len(mask) != -(-count // 8):
        raise StateError(f"bitmask: a mask of {len(mask)} bytes for {count} elements: expected {-(-count // 8)}")
    unused = 8 * len(mask) - count  # the lowest bits of the last byte
    if unused and mask[-1] & (2**unused - 1):
        raise StateError(f"bitmask: bits are set after the last of {count} elements")
    kept = int(np.bitwise_count(mask).sum())
    if len(values) != kept * itemsize:
        raise StateError(f"bitmask: {len(values)} bytes of values for {kept} elements: expected {kept * itemsize}")
    return unpack_bitmask(values, mask, count, itemsize)


def _checked_dtype(dtype: DTypeLike) -> np.dtype:
    try:
        element = np.dtype(dtype)
    except (TypeError, ValueError):
        raise StateError(f"dtype {dtype!r}: expected a NumPy number type") from None
    if not _is_numeric(element):
        raise StateError(f"dtype {element}: expected numbers or bool")
    return element


def _checked_size(shape: Sequence[int], itemsize: int, limit: int) -> int:
    """Return the number of elements. Sizes next to a zero are limited, too, because NumPy rejects huge ones."""
    try:
        sizes = [operator.index(size) for size in shape]
    except TypeError:
        raise StateError(f"shape {shape!r}: expected whole numbers") from None
    if len(sizes) > 32 or min(sizes, default=0) < 0:
        raise StateError(f"shape {shape!r}: expected at most 32 sizes of at least 0")
    if math.prod(size for size in sizes if size) * itemsize > limit:
        raise StateError(f"shape {shape!r}: {itemsize} bytes each are more than the limit of {limit} bytes")
    return math.prod(sizes)
