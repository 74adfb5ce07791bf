"""Tokens, targets, indices, and sizes may have any integer dtype: the results are those of int64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.caching import Decoder, KVCache
from tinytorch.compression import GradualPruning, distillation_loss, with_teacher
from tinytorch.embeddings import checked_tokens
from tinytorch.quantized.models import quantize_dynamic
from tinytorch.tensor import Array
from tinytorch.transformers import Sampler, window_start

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
rng = np.random.default_rng(0)
LOGITS = rng.standard_normal((6, 100)).astype(np.float32)


def gpt() -> tt.GPT:
    tt.manual_seed(0)
    return tt.GPT(vocab_size=100, block_size=8, n_layer=1, n_head=2, n_embd=16).eval()


def embedding_gradient(tokens: Array, size: int, width: int = 3) -> Array:
    """Return the gradient of sum(g * embedding(tokens)) with respect to the weight, for a fixed g."""
    layer = tt.Embedding(size, width)
    y = layer(tokens)
    y.backward(np.arange(y.numel(), dtype=np.float32).reshape(y.shape))
    assert layer.weight.grad is not None
    return layer.weight.grad.data


def gradient(loss: Callable[[tt.Tensor], tt.Tensor]) -> Array:
    logits = tt.Tensor(LOGITS, requires_grad=True)
    loss(logits).backward()
    assert logits.grad is not None
    return logits.grad.data


def gpt_gradients(tokens: Array) -> list[Array]:
    model = gpt()
    rows = tokens.reshape(1, -1)
    tt.next_token_loss(model(rows), rows).backward()
    return [p.grad.data for p in model.parameters() if p.grad is not None]


def selected(index: Array) -> list[Array]:
    x = tt.Tensor(LOGITS.T.copy(), requires_grad=True)
    y = x[tt.Tensor(index)]
    y.sum().backward()
    assert x.grad is not None
    return [y.data, x.grad.data]


def distilled(targets: Array) -> list[Array]:
    teacher = tt.Linear(2, 100)
    teacher.weight.data[:] = 1
    assert teacher.bias is not None
    teacher.bias.data[:] = 0
    loader = tt.DataLoader(tt.TensorDataset(np.ones((6, 2), np.float32), targets), 6, transform=with_teacher(teacher))
    ((_, records),) = list(loader)
    return [gradient(lambda x: distillation_loss(x, records["logits"], records["label"], 2.0, 0.5))]


USES: dict[str, Callable[[Array], Any]] = {  # each maps six integers from 0 to 99
    "embedding": lambda t: embedding_gradient(t, 100),
    "large embedding": lambda t: embedding_gradient(t, 1000, 128),
    "cross_entropy": lambda t: gradient(lambda x: tt.cross_entropy(x, t)),
    "smoothed cross_entropy": lambda t: gradient(lambda x: tt.cross_entropy(x, tt.Tensor(t), 0.1)),
    "distillation": distilled,
    "accuracy": lambda t: tt.accuracy(np.eye(100, dtype=np.float32)[np.arange(1, 7)], t),
    "a language model's gradients": gpt_gradients,
    "getitem": selected,
    "generate": lambda t: gpt().generate(t, 12, seed=0, top_k=5),
    "decoder": lambda t: Decoder(model := gpt(), KVCache(model)).next_logits(t[None]),
    "quantized embedding": lambda t: quantize_dynamic(gpt())(t[None]).data,
    "padding mask": lambda t: tt.padding_mask(t % 7, 7),
    "decode": lambda t: tt.BPETokenizer().decode(t),
    "tokens": lambda t: [checked_tokens(t, 100), checked_tokens(t, 100).dtype],
    "scalar index": lambda t: [tt.Tensor(LOGITS.T.copy())[t[0]].data],
    "mse_loss": lambda t: tt.mse_loss(tt.Tensor(LOGITS[0, :6]), t).data,
    "bce": lambda t: tt.binary_cross_entropy_with_logits(tt.Tensor(LOGITS[0, :6]), t % 2).data,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_indices_of_any_integer_dtype_give_the_results_of_int64(dtype: str, use: str) -> None:
    values = np.array([1, 2, 99, 88, 2, 60])
    assert_same(USES[use](values.astype(dtype)), USES[use](values))


def assert_same(actual: Any, expected: Any) -> None:
    if isinstance(expected, list):
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    else:
        assert actual == expected


def test_gradient_of_token_600_of_a_uint16_file_is_in_row_600() -> None:
    gradient = embedding_gradient(np.array([600], np.uint16), 1000, 128)
    assert np.flatnonzero(gradient.any(axis=1)).tolist() == [600]
    np.testing.assert_array_equal(gradient[600], np.arange(128))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int16", "uint64"])
def test_gradient_reaches_the_last_row_of_a_large_vocabulary(dtype: str) -> None:
    gradient = embedding_gradient(np.array([30_000, 2, 30_000]).astype(dtype), 30_001, 4)
    assert np.flatnonzero(gradient.any(axis=1)).tolist() == [2, 30_000]


SIZES: dict[str, tuple[int, Callable[[Any], Any]]] = {  # a size that overflows the smallest dtypes, and its use
    "batch_size": (100, lambda n: [len(b) for (b,) in tt.DataLoader(tt.TensorDataset(np.arange(450)), n)]),
    "order of batches": (
        100, lambda n: np.concatenate([b for (b,) in tt.DataLoader(tt.TensorDataset(np.arange(450)), n)])
    ),
    "top_k": (5, lambda n: Sampler(1.0, n, None, 0).probabilities(LOGITS.repeat(4, axis=1))),
    "max_new_tokens": (120, lambda n: gpt().generate(np.arange(10), n, seed=0)),
    "window_start": (64, lambda n: [window_start(50, n, n), window_start(70, n, 1), window_start(300, n, n)]),
    "block_size": (100, lambda n: tt.GPT(10, n, 1, 1, 4).generate(np.ones(50, int), 60, seed=0).shape),
    "hop": (3, lambda n: gpt().generate(np.arange(10), 12, seed=0, hop=n)),
    "n_embd": (100, lambda n: [tuple(p.shape) for p in tt.GPT(10, 4, 1, n_head=1, n_embd=n).parameters()]),
    "kernel_size": (3, lambda n: tt.Conv2d(n, n, n, padding=n)(tt.ones(1, 3, 100, 100)).shape),
    "groups": (100, lambda n: tt.Conv2d(n, n, 3, groups=n).weight.shape),
    "StepLR": (100, lambda n: rates(lambda o: tt.StepLR(o, n))),
    "CosineLR": (100, lambda n: rates(lambda o: tt.CosineLR(o, n, warmup=n // 2))),
    "accumulate": (4, lambda n: fitted(accumulate=n)),
    "epochs": (3, lambda n: fitted(epochs=n)),
    "pruning": (100, lambda n: pruned(n)),
    "reshape": (100, lambda n: tt.zeros(100, 100).reshape(n, n).flatten(n - 99).shape),
}  # fmt: skip


def rates(schedule: Callable[[tt.Optimizer], tt.LambdaLR]) -> list[float]:
    optimizer = tt.SGD([tt.Parameter(np.ones(1))], lr=1.0)
    steps = schedule(optimizer)
    found = []
    for _ in range(300):
        steps.step()
        found += steps.get_last_lr()
    return found


def fitted(accumulate: Any = 1, epochs: Any = 1) -> list[float]:
    tt.manual_seed(0)
    model = tt.Linear(1, 1)
    trainer = tt.Trainer(model, tt.SGD(model.parameters(), lr=1e-3), tt.mse_loss, accumulate=accumulate)
    x = np.linspace(0, 1, 300, dtype=np.float32)[:, None]
    history = trainer.fit(tt.DataLoader(tt.TensorDataset(x, 2 * x)), epochs)
    return [record["train_loss"] for record in history]


def pruned(n: Any) -> list[float]:
    tt.manual_seed(0)
    model = tt.Linear(20, 20)
    optimizer = GradualPruning(tt.SGD(model.parameters()), model, 0.9, steps=n, every=n // 10)
    found = []
    for _ in range(300):
        optimizer.step()
        found.append(float(optimizer.masks["weight"].mean()))
    return found


@pytest.mark.parametrize("use", SIZES)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_sizes_of_any_integer_dtype_give_the_results_of_an_int(dtype: str, use: str) -> None:
    size, result = SIZES[use]
    assert_same(result(np.dtype(dtype).type(size)), result(size))
