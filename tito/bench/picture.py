"""A small image in a record, stored as PNG. Records of schema 1 hold lists of numbers, which are read as well."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from tinytorch.datasets.png import encode
from tito.process.documents import Frozen

LARGEST_SIDE = 4096  # pixels
_HEADER = struct.Struct(">8sI4sII")  # signature, length and kind of the first chunk, width, height
_PNG = b"\x89PNG\r\n\x1a\n"


class Picture(Frozen):
    """An image with a caption. `pixels`, as a workload returns them, become `png` or the `problem` they have.

    A workload's pictures never make its result invalid: a picture that cannot be drawn says why on the page.
    """

    caption: str
    png: str = Field(default="", pattern=r"^[A-Za-z0-9+/]*={0,2}$")  # base64 of a PNG file
    problem: str = ""  # why there is no image

    @model_validator(mode="before")
    @classmethod
    def _from_pixels(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or "pixels" not in fields:
            return fields
        rest = {name: value for name, value in fields.items() if name != "pixels"}
        try:
            return {**rest, "png": base64.b64encode(encode(pixels_of(fields["pixels"]))).decode("ascii")}
        except (ValueError, TypeError, OverflowError) as error:
            return {**rest, "problem": str(error)}

    @field_validator("png")
    @classmethod
    def _is_png(cls, png: str) -> str:
        if png:
            size_of(png)
        return png


def pixels_of(pixels: Any) -> np.ndarray:
    """Return rows of 0-255 gray values, or of [r, g, b], as a uint8 array (H, W) or (H, W, 3).

    Raises:
        ValueError: rows of different lengths, values outside 0-255, or an empty picture.
    """
    array = np.array(pixels)
    if array.size == 0 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ValueError(f"pixels of shape {array.shape} are neither gray (H, W) nor color (H, W, 3)")
    if array.dtype.kind not in ("b", "u", "i"):
        raise ValueError(f"pixels are {array.dtype}; expected integers")
    if array.min() < 0 or array.max() > 255:
        raise ValueError(f"pixels from {array.min()} to {array.max()}; expected 0 to 255")
    return array.astype(np.uint8)


def size_of(png: str) -> tuple[int, int]:
    """Return the width and height that a PNG's header states.

    Raises:
        ValueError: it is no PNG, or larger than a small image.
    """
    try:
        signature, _, kind, width, height = _HEADER.unpack(base64.b64decode(png[:32], validate=True))
    except (binascii.Error, struct.error) as error:
        raise ValueError(f"not a PNG: {error}") from None
    if signature != _PNG or kind != b"IHDR" or not 0 < width <= LARGEST_SIDE or not 0 < height <= LARGEST_SIDE:
        raise ValueError(f"not a PNG of at most {LARGEST_SIDE} x {LARGEST_SIDE} pixels")
    return width, height
