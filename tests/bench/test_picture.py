"""tito.bench.picture: pictures become PNG, and one that cannot be drawn costs no result."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from pydantic import ValidationError

from tinytorch.datasets.png import decode, encode
from tito.bench.picture import LARGEST_SIDE, Picture, size_of


def from_pixels(pixels):
    return Picture.model_validate({"caption": "c", "pixels": pixels})


@pytest.mark.parametrize("shape", [(2, 3), (5, 4, 3), (28, 28)])
def test_the_pixels_come_back(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    picture = from_pixels(pixels.tolist())
    assert decode(base64.b64decode(picture.png)).tolist() == pixels.tolist()
    assert size_of(picture.png) == (shape[1], shape[0])
    assert Picture.model_validate_json(picture.model_dump_json()) == picture


def test_a_picture_takes_less_space_than_its_numbers():
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28)).tolist()
    assert len(from_pixels(pixels).png) < len(str(pixels).replace(" ", "")) / 2


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        ([], "neither gray"),
        ([[0, 1], [2]], "inhomogeneous"),
        ([[0, 256]], "pixels from 0 to 256"),
        ([[-1]], "pixels from -1"),
        ([[10**400]], "expected integers"),
        ([[0.5]], "expected integers"),
        ([["a"]], "expected integers"),
        ("text", "neither gray"),
        (None, "neither gray"),
        ([[[1, 2]]], "neither gray"),
    ],
)
def test_a_picture_that_cannot_be_drawn_says_why(pixels, problem):
    picture = from_pixels(pixels)
    assert picture.png == ""
    assert problem in picture.problem


@pytest.mark.parametrize(
    "content",
    [b"GIF89a" + bytes(40), encode(np.zeros((1, LARGEST_SIDE + 1), np.uint8)), encode(np.zeros((1, 1), np.uint8))[:20]],
)
def test_only_a_small_png_is_read(content):
    with pytest.raises(ValidationError, match="not a PNG"):
        Picture(caption="c", png=base64.b64encode(content).decode())


@pytest.mark.parametrize("png", ['"><script>', "AAAA\n", "AA A", "="])
def test_only_base64_is_read(png):
    with pytest.raises(ValidationError):
        Picture(caption="c", png=png)
