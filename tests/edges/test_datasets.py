"""Data sets as PyTorch defines them: one sample for one index. A batch method is used only if it has that name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytorch as tt
from tinytorch.base.errors import InputTypeError, ShapeError
from tinytorch.inputs.samples import collate
from tinytorch.tensor import Array, Tensor

IMAGES = np.arange(5 * 3 * 4, dtype=np.float32).reshape(3, 5, 4)  # channels first: sample i is IMAGES[:, i]


class Samples:
    """A data set written for one index at a time."""

    def __init__(self, sample: Callable[[int], Any], length: int = 5) -> None:
        self.sample, self.length = sample, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> Any:
        assert type(i) is int
        if not 0 <= i < self.length:
            raise IndexError(i)
        return self.sample(i)


class Point(NamedTuple):
    x: Array
    label: int


def test_sample_of_one_index_is_not_a_batch_of_another_axis() -> None:
    data = Samples(lambda i: (IMAGES[:, i], i * 10))
    batches = list(tt.DataLoader(data, 2))
    assert [x.shape for x, _ in batches] == [(2, 3, 4), (2, 3, 4), (1, 3, 4)]
    assert [y.tolist() for _, y in batches] == [[0, 10], [20, 30], [40]]
    np.testing.assert_array_equal(batches[1][0][1], IMAGES[:, 3])
    assert batches[0][1].dtype == np.int64


def test_samples_are_fetched_one_by_one() -> None:
    fetched: list[int] = []

    def sample(i: int) -> Array:
        fetched.append(i)
        return np.full(2, i) if i % 2 else np.full(2, -i)

    batches: list[Any] = list(tt.DataLoader(Samples(sample), 5))
    (batch,) = batches
    assert batch.tolist() == [[0, 0], [1, 1], [-2, -2], [3, 3], [-4, -4]]
    assert fetched == [0, 1, 2, 3, 4]


KINDS: dict[str, tuple[Callable[[int], Any], Callable[[Any], Any], Any]] = {
    # a sample, what is compared, and its value for a batch of three samples
    "array": (lambda i: np.full(2, i), lambda b: (b.dtype, b.tolist()), (np.int64, [[0, 0], [1, 1], [2, 2]])),
    "NumPy scalar": (lambda i: np.float32(i), lambda b: (b.dtype, b.tolist()), (np.float32, [0, 1, 2])),
    "int": (lambda i: i, lambda b: (b.dtype, b.tolist()), (np.int64, [0, 1, 2])),
    "float": (lambda i: i / 2, lambda b: (b.dtype, b.tolist()), (np.float32, [0, 0.5, 1])),
    "bool": (lambda i: i > 0, lambda b: (b.dtype, b.tolist()), (bool, [False, True, True])),
    "text": (lambda i: str(i), lambda b: b, ["0", "1", "2"]),
    "Tensor": (lambda i: Tensor([i, i]), lambda b: (type(b), b.data.tolist()), (Tensor, [[0, 0], [1, 1], [2, 2]])),
    "result": (lambda i: tt.ones(1, requires_grad=True) * i, lambda b: b.requires_grad, False),
    "list": (lambda i: [i, np.ones(1)], lambda b: (type(b), b[0].tolist(), b[1].shape), (tuple, [0, 1, 2], (3, 1))),
    "dict": (lambda i: {"x": np.full(1, i), "y": i}, lambda b: (b["x"].shape, b["y"].tolist()), ((3, 1), [0, 1, 2])),
    "nested": (lambda i: (i, {"a": (i, [np.zeros(1)])}), lambda b: b[1]["a"][1][0].shape, (3, 1)),
    "named tuple": (lambda i: Point(np.full(2, i), i), lambda b: (type(b), b.label.tolist()), (Point, [0, 1, 2])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_each_kind_are_stacked(kind: str) -> None:
    sample, compared, expected = KINDS[kind]
    (batch,) = tt.DataLoader(Samples(sample, 3), 3)
    assert compared(batch) == expected


@given(st.integers(1, 20), st.integers(1, 7), st.booleans(), st.booleans(), st.integers(0, 3))
def test_batches_are_those_of_the_fast_path(n: int, size: int, shuffle: bool, drop_last: bool, seed: int) -> None:
    x, y = np.random.default_rng(n).random((n, 2)), np.arange(n)
    fast, slow = tt.TensorDataset(x, y), Samples(lambda i: (x[i], int(y[i])), n)
    settings: dict[str, Any] = {"shuffle": shuffle, "drop_last": drop_last, "seed": seed}
    pairs = zip(tt.DataLoader(fast, size, **settings), tt.DataLoader(slow, size, **settings), strict=True)
    for expected, actual in pairs:
        for one, other in zip(actual, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_batch_method_is_opted_into_by_its_name() -> None:
    class Batched(Samples):
        def batch_at(self, indices: Array) -> Any:
            return (indices * 2,)

    data = Batched(lambda i: (i * 3,))
    assert [b.tolist() for (b,) in tt.DataLoader(data, 3)] == [[0, 2, 4], [6, 8]]
    sample: Any = tt.TensorDataset(np.arange(4), np.arange(4) * 2)[3]
    assert data[1] == (3,)
    assert sample == (3, 6)


def test_collate_function_replaces_stacking() -> None:
    words = ["a", "bcd", "ef"]

    def padded(batch: list[str]) -> list[str]:
        return [word.ljust(max(map(len, batch))) for word in batch]

    texts: list[Any] = list(tt.DataLoader(Samples(lambda i: words[i], 3), 3, collate_fn=padded))
    assert texts == [["a  ", "bcd", "ef "]]
    sizes: list[Any] = list(tt.DataLoader(tt.TensorDataset(np.arange(3)), 2, collate_fn=len))
    assert sizes == [2, 1]


def test_trainer_trains_on_samples_of_one_index() -> None:
    def losses(data: Any) -> list[float]:
        tt.manual_seed(0)
        model = tt.Linear(2, 3)
        trainer = tt.Trainer(model, tt.SGD(model.parameters(), lr=0.1), tt.cross_entropy, metrics={"a": tt.accuracy})
        history = trainer.fit(tt.DataLoader(data, 4, shuffle=True), 2, validation=tt.DataLoader(data, 3))
        return [record["val_loss"] for record in history]

    x, y = np.random.default_rng(0).random((10, 2)).astype(np.float32), np.arange(10) % 3
    assert losses(Samples(lambda i: (x[i], int(y[i])), 10)) == losses(tt.TensorDataset(x, y))


MISFITS: dict[str, tuple[Callable[[int], Any], type[Exception], str]] = {
    "shapes": (lambda i: np.zeros(i + 1), ShapeError, r"samples of shapes \(1,\) and \(2,\) in one batch"),
    "lengths": (lambda i: (0,) * (i + 1), ShapeError, "samples of different lengths: expected 1 parts"),
    "keys": (lambda i: {str(i): 0}, ShapeError, r"samples with different keys: expected \['0'\]"),
    "type": (lambda i: None, InputTypeError, "a sample of type NoneType: expected arrays"),
    "type inside": (lambda i: (0, object()), InputTypeError, "a sample of type object"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_samples_that_cannot_be_stacked_are_refused(what: str) -> None:
    sample, error, message = MISFITS[what]
    with pytest.raises(error, match=f"DataLoader: {message}"):
        next(iter(tt.DataLoader(Samples(sample), 2)))


def test_integers_and_floats_together_are_floats() -> None:
    assert collate([1, 0.5]).dtype == np.float32
