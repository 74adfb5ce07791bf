"""Packing is exact, chooses the smallest encoding, and rejects malformed parts."""

from __future__ import annotations

import zlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinytorch as tt
from tests.models import perceptron
from tinytorch.base.errors import SettingError, StateError
from tinytorch.compression import apply_masks, magnitude_masks, prunable_weights
from tinytorch.layers import Parameter
from tinytorch.saved.packing import pack_array, smallest_encoding, unpack_array
from tinytorch.tensor import Array

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    tt.manual_seed(0)
    random.bit_generator.state = np.random.default_rng(0).bit_generator.state  # for any test order


DTYPES = ["?", "i1", "u1", "<i2", ">i4", "i8", "u8", "f2", "f4", ">f4", ">f8", "c8", "c16"]
ENCODINGS = ["bitmask", "deflate"]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, min_side=0, max_side=6))
)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(arrays, st.booleans())
def test_packing_is_exact(encoding: Any, array: Array, transposed: bool) -> None:
    array = array.T if transposed else array
    parts = pack_array(array, encoding)
    assert {part.dtype for part in parts.values()} == {np.dtype(np.uint8)}
    back = unpack_array(parts, encoding, array.dtype, array.shape)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_negative_zero_and_nan_are_not_packed_as_zero(encoding: Any, dtype: Any) -> None:
    array = np.array([[0.0, -0.0, np.nan], [np.inf, 0.0, 2.5]], dtype)
    parts = pack_array(array, encoding)
    back = unpack_array(parts, encoding, array.dtype, array.shape)
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    if encoding == "bitmask":
        assert np.unpackbits(parts[".mask"]).tolist() == [0, 1, 1, 1, 0, 1, 0, 0]
        assert parts[""].nbytes == 4 * array.itemsize


def test_smallest_encoding_is_chosen() -> None:
    dense = random.standard_normal((64, 64)).astype(np.float32)
    sparse = np.where(random.random((64, 64)) < 0.2, dense, 0).astype(np.float32)
    few = random.choice([-1, 0, 1], (64, 64), p=[0.1, 0.8, 0.1]).astype(np.int8)
    assert smallest_encoding(random.integers(0, 256, 4096, np.uint8)) == "plain"
    assert smallest_encoding(few) == "deflate"
    assert smallest_encoding(few[:4, :4]) == "plain"  # the names take more bytes than the encoding saves
    assert smallest_encoding(np.array(0)) == "plain"
    chosen = smallest_encoding(sparse)
    assert chosen != "plain"
    sizes = {name: sum(part.nbytes for part in pack_array(sparse, name).values()) for name in ("bitmask", "deflate")}
    assert sizes[chosen] == min(sizes.values())
    assert smallest_encoding(np.array(["text"])) == "plain"


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(2, "V4"), np.zeros(2, [("a", "f4")])])
def test_only_numbers_are_packed(array: Array) -> None:
    with pytest.raises(SettingError, match="expected numbers or bool"):
        pack_array(array, "bitmask")
    with pytest.raises(StateError, match="expected numbers or bool"):
        unpack_array({"": np.zeros(0, np.uint8)}, "deflate", array.dtype, (0,))


GOOD = np.array([[0, 3, 0, -1, 0], [5, 0, 0, 0, 7]], np.int16)
Parts = dict[str, Array]


def cut(parts: Parts, name: str, end: int) -> Parts:
    return {**parts, name: parts[name][:end]}


def longer(parts: Parts, name: str) -> Parts:
    return {**parts, name: np.append(parts[name], np.uint8(0))}


def stream(content: bytes) -> Parts:
    return {"": np.frombuffer(zlib.compress(content), np.uint8)}


mask, deflated = pack_array(GOOD, "bitmask"), pack_array(GOOD, "deflate")
stray = {**mask, ".mask": mask[".mask"] | np.array([0, 1], np.uint8)}

MALFORMED: dict[str, tuple[Parts, str, Any, Any, str]] = {
    "short mask": (cut(mask, ".mask", 1), "bitmask", "i2", (2, 5), "a mask of 1 bytes for 10 elements: expected 2"),
    "long mask": (longer(mask, ".mask"), "bitmask", "i2", (2, 5), "a mask of 3 bytes"),
    "short values": (cut(mask, "", 7), "bitmask", "i2", (2, 5), "7 bytes of values for 4 elements: expected 8"),
    "long values": (longer(mask, ""), "bitmask", "i2", (2, 5), "9 bytes of values"),
    "stray bits": (stray, "bitmask", "i2", (2, 5), "bits are set after the last of 10"),
    "other dtype": (mask, "bitmask", "i4", (2, 5), "8 bytes of values for 4 elements: expected 16"),
    "no mask": ({"": mask[""]}, "bitmask", "i2", (2, 5), r"parts \[''\]: expected"),
    "an extra part": (mask, "deflate", "i2", (2, 5), "parts .*'.mask'"),
    "float parts": ({"": np.zeros(3, np.float32)}, "deflate", "i2", (2, 5), "a part is float32"),
    "2-D parts": ({"": np.zeros((3, 1), np.uint8)}, "deflate", "i2", (2, 5), r"of shape \(3, 1\)"),
    "truncated stream": (cut(deflated, "", 9), "deflate", "i2", (2, 5), "truncated after"),
    "short checksum": (
        cut(deflated, "", len(deflated[""]) - 1),
        "deflate",
        "i2",
        (2, 5),
        "truncated after 20 of 20",
    ),
    "empty": ({"": np.zeros(0, np.uint8)}, "deflate", "i2", (2, 5), "truncated after 0"),
    "after the end": (longer(deflated, ""), "deflate", "i2", (2, 5), "1 after the stream's end"),
    "not a stream": ({"": np.arange(9, dtype=np.uint8)}, "deflate", "i2", (2, 5), "not a complete zlib stream"),
    "too long": (stream(bytes(21)), "deflate", "i2", (2, 5), "more than the expected 20 bytes"),
    "too short": (stream(bytes(19)), "deflate", "i2", (2, 5), "19 bytes"),
    "not empty": (stream(bytes(1)), "deflate", "i2", (0,), "more than the expected 0 bytes"),
    "encoding": (deflated, "rot13", "i2", (2, 5), "encoding 'rot13': expected"),
    "dtype": (deflated, "deflate", "int17", (2, 5), "dtype 'int17'"),
    "object": (deflated, "deflate", "O", (2, 5), "expected numbers or bool"),
    "negative": (deflated, "deflate", "i2", (-2, -5), "at least 0"),
    "float sizes": (deflated, "deflate", "i2", (2.0, 5), "expected whole numbers"),
    "no shape": (deflated, "deflate", "i2", None, "expected whole numbers"),
    "huge": (deflated, "deflate", "i2", (10**6, 10**6), "more than the limit of 100000000 bytes"),
    "huge and empty": (stream(b""), "deflate", "i2", (0, 10**12), "more than the limit"),
    "many sizes": (deflated, "deflate", "i2", (1,) * 65, "at most 32 sizes"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_parts_are_reported_in_one_line(name: str) -> None:
    parts, encoding, dtype, shape, message = MALFORMED[name]
    with pytest.raises(StateError, match=message) as caught:
        unpack_array(parts, encoding, dtype, shape)
    assert "\n" not in str(caught.value)


@settings(max_examples=300)
@given(
    st.sampled_from(ENCODINGS),
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from(["", ".mask"]), st.integers(0, 30), st.integers(0, 255)), max_size=4),
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=12),
)
def test_any_input_returns_an_array_of_the_shape_or_a_tinytorch_error(
    encoding: str, dropped: int, changes: list[tuple[str, int, int]], shape: tuple[int, ...]
) -> None:
    parts = {name: part.copy() for name, part in pack_array(GOOD, encoding).items()}  # type: ignore[arg-type]
    for name, place, value in changes:
        if name in parts:
            parts[name][place % len(parts[name])] = value
    parts[""] = parts[""][: len(parts[""]) - dropped]
    try:
        back = unpack_array(parts, encoding, np.int16, shape)
    except StateError:
        return
    assert back.shape == shape
    assert back.dtype == np.int16


def test_decompression_bomb_takes_no_memory() -> None:
    import tracemalloc

    bomb = {"": np.frombuffer(zlib.compress(bytes(30_000_000), 9), np.uint8)}
    assert bomb[""].nbytes < 50_000
    tracemalloc.start()
    try:
        with pytest.raises(StateError, match="more than the expected 1000 bytes"):
            unpack_array(bomb, "deflate", np.uint8, (1000,))
        with pytest.raises(StateError, match="more than the limit of 1000000 bytes"):
            unpack_array(bomb, "deflate", np.uint8, (30_000_000,), limit=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_packing_shrinks_a_pruned_model() -> None:
    model = perceptron(64, 64, 64)
    apply_masks(model, magnitude_masks(model, 0.9))
    weights = [weight for weight in prunable_weights(model).values() if isinstance(weight, Parameter)]
    packed = sum(part.nbytes for weight in weights for part in pack_array(weight.data, "bitmask").values())
    plain = sum(weight.data.nbytes for weight in weights)
    assert packed == pytest.approx(plain * (0.1 + 1 / 32), rel=0.01)
