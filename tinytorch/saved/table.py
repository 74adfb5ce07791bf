"""The table of all layers and functions that a saved model may contain, with each type's settings, tensors, and parts.

`writing` and `document` use the same table, and `verify_quantized` (in `checks`) uses it to recognize known layers.
Types that are not in the table are neither saved nor loaded. A loaded layer is filled with the attributes of its row:
no constructor runs, and no random number is drawn. `kinds` defines the types of which rows consist, and `clashes` the
checks for contradictions between parts.
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import Any

import numpy as np

from tinytorch import activations
from tinytorch.arrays.integers import SMALLEST_SCALE
from tinytorch.attention import MultiHeadAttention
from tinytorch.embeddings import Embedding, LearnedPositions, SinusoidalPositions, sinusoids
from tinytorch.layers import Dropout, Flatten, Linear, Sequential
from tinytorch.quantization import FakeQuantized
from tinytorch.quantized.layers import MOST_PRODUCTS, QuantizedConv2d, QuantizedLinear, QuantizedMaxPool2d
from tinytorch.quantized.tables import QuantizedEmbedding, QuantizedPositions
from tinytorch.saved import clashes
from tinytorch.saved.kinds import (
    WIDEST,
    Kind,
    Setting,
    Settings,
    Slot,
    TensorSpec,
    dim,
    eps,
    flag,
    integer,
    number,
    one_or_two,
    pair,
    share,
    size,
    whole,
)
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.transformers import GPT, MLP, LayerNorm, Transformer, TransformerBlock

# Tensors, and settings that contradict one another -----------------------------------------------------


def _weight_and_bias(s: Settings, *shape: int) -> dict[str, TensorSpec]:
    return {"weight": TensorSpec(shape), **({"bias": TensorSpec(shape[:1])} if s["bias"] else {})}


def _batch_norm(s: Settings) -> dict[str, TensorSpec]:
    shape = (s["num_features"],)
    running = TensorSpec(shape, trained=False)
    return {
        "weight": TensorSpec(shape),
        "bias": TensorSpec(shape),
        "running_mean": running,
        "running_var": running,
        "num_batches_tracked": TensorSpec((), ("int64", "int32"), trained=False),
    }


def _ungrouped(s: Settings) -> str:
    if s["in_channels"] % s["groups"] or s["out_channels"] % s["groups"]:
        return f"channels {s['in_channels']} and {s['out_channels']}: expected multiples of groups {s['groups']}"
    return ""


def _unsummable(s: Settings) -> str:
    """Check what the constructors of quantized layers check."""
    inputs = s["in_features"] if "in_features" in s else math.prod(s["kernel_size"]) * s["in_channels"] // s["groups"]
    if inputs > MOST_PRODUCTS:
        return f"{inputs} products in a sum: expected at most {MOST_PRODUCTS}, which int32 holds"
    if s["output_dtype"] and not s["input_dtype"]:
        return "output_dtype without input_dtype: expected null"
    return ""


def _scales(*shape: int) -> TensorSpec:
    most = float(np.finfo(np.float32).max)
    return TensorSpec(shape, ("float32",), trained=False, least=SMALLEST_SCALE, most=most)


def _quantized(s: Settings, *shape: int) -> dict[str, TensorSpec]:
    scales = [name for name in ("input", "output") if s[f"{name}_dtype"]]
    bias = {"bias": TensorSpec(shape[:1], ("float32",), trained=False)} if s["bias"] else {}
    return {
        "weight": TensorSpec(shape, ("int8",), trained=False, least=-127),
        "weight_scale": _scales(shape[0]),
        **bias,
        **{f"{name}_scale": _scales() for name in scales},
    }


def _always(s: Settings) -> bool:
    return True


# The table --------------------------------------------------------------------------------------------


def _pool(make: type) -> Kind:
    settings = {"kernel_size": one_or_two(1), "stride": one_or_two(1, optional=True), "padding": one_or_two(0)}
    return Kind(make, tuple(settings), settings)


def _kernels(s: Settings) -> tuple[int, ...]:
    """The shape of a convolution's weight."""
    return s["out_channels"], s["in_channels"] // s["groups"], *s["kernel_size"]


_convolution = {
    "in_channels": size, "out_channels": size, "kernel_size": pair(1), "stride": pair(1), "padding": pair(0),
    "dilation": pair(1), "groups": size, "bias": flag,
}  # fmt: skip
_integers = {"input_dtype": integer, "output_dtype": integer, "relu": flag}
_quantized_attributes = (
    "input_dtype", "output_dtype", "relu", "weight", "weight_scale", "bias", "input_scale", "output_scale", "_prepared",
)  # fmt: skip
_maybe = ("bias", "input_scale", "output_scale")

_conv2d = Kind(
    Conv2d,
    ("stride", "padding", "dilation", "groups", "weight", "bias"),
    _convolution,
    lambda s: _weight_and_bias(s, *_kernels(s)),
    read=lambda x: {"in_channels": x.weight.shape[1] * x.groups, "out_channels": x.weight.shape[0],
                    "kernel_size": x.weight.shape[2:]},
    optional=("bias",),
    problem=_ungrouped,
)  # fmt: skip

_quantized_linear = Kind(
    QuantizedLinear,
    (*_quantized_attributes, "in_features", "out_features"),
    {"in_features": size, "out_features": size, "bias": flag, **_integers},
    lambda s: _quantized(s, s["out_features"], s["in_features"]),
    derived=lambda s: {"_prepared": None},
    optional=_maybe,
    problem=_unsummable,
    apart=_always,
)

_quantized_conv2d = Kind(
    QuantizedConv2d,
    (*_quantized_attributes, "in_channels", "out_channels", "stride", "padding", "dilation", "groups"),
    {**_convolution, **_integers},
    lambda s: _quantized(s, *_kernels(s)),
    read=lambda x: {"kernel_size": x.weight.shape[2:]},
    derived=lambda s: {"_prepared": None},
    optional=_maybe,
    problem=lambda s: _ungrouped(s) or _unsummable(s),
)

_norm, _dropout, _apart = Slot(("LayerNorm",)), Slot(("Dropout",)), Slot(apart=True)
_tokens = Slot(("Embedding", "QuantizedEmbedding"))
_positions = Slot(("LearnedPositions", "SinusoidalPositions", "QuantizedPositions"))

ACTIVATIONS = (
    activations.ReLU, activations.Sigmoid, activations.Tanh, activations.GELU, activations.relu, activations.sigmoid,
    activations.tanh, activations.gelu, activations.softmax, activations.log_softmax,
)  # fmt: skip

KINDS: dict[str, Kind] = {
    "Linear": Kind(
        Linear,
        ("in_features", "out_features", "weight", "bias"),
        {"in_features": size, "out_features": size, "bias": flag},
        lambda s: _weight_and_bias(s, s["out_features"], s["in_features"]),
        optional=("bias",),
        apart=_always,
    ),
    "Conv2d": _conv2d,
    "BatchNorm2d": Kind(
        BatchNorm2d,
        ("num_features", "eps", "momentum", *_batch_norm({"num_features": 1})),
        {"num_features": size, "eps": eps, "momentum": number(0, 1)},
        _batch_norm,
    ),
    "MaxPool2d": _pool(MaxPool2d),
    "AvgPool2d": _pool(AvgPool2d),
    "AdaptiveAvgPool2d": Kind(AdaptiveAvgPool2d, ("output_size",), {"output_size": one_or_two(1)}),
    "Flatten": Kind(Flatten),
    "Dropout": Kind(Dropout, ("p",), {"p": share}, apart=_always),
    "Sequential": Kind(Sequential, ("layers",), parts={"layers": Slot(many=True, named=False)}, apart=_always),
    "BasicBlock": Kind(
        BasicBlock,
        ("conv1", "bn1", "conv2", "bn2", "shortcut"),
        parts={name: Slot() for name in ("conv1", "bn1", "conv2", "bn2", "shortcut")},
    ),
    "Embedding": Kind(
        Embedding,
        ("num_embeddings", "embedding_dim", "weight"),
        {"num_embeddings": size, "embedding_dim": size},
        lambda s: {"weight": TensorSpec((s["num_embeddings"], s["embedding_dim"]))},
    ),
    "LearnedPositions": Kind(
        LearnedPositions,
        ("max_length", "weight"),
        {"max_length": size, "embedding_dim": size},
        lambda s: {"weight": TensorSpec((s["max_length"], s["embedding_dim"]))},
        read=lambda x: {"embedding_dim": x.weight.shape[1]},
    ),
    "SinusoidalPositions": Kind(
        SinusoidalPositions,
        ("max_length", "_table"),
        {"max_length": size, "embedding_dim": size},
        read=lambda x: {"embedding_dim": x._table.shape[1]},
        derived=lambda s: {"_table": sinusoids(s["max_length"], s["embedding_dim"])},
        derived_bytes=lambda s: 4 * s["max_length"] * s["embedding_dim"],
        problem=lambda s: f"embedding_dim is {s['embedding_dim']}: expected an even number" * (s["embedding_dim"] % 2),
    ),
    "LayerNorm": Kind(
        LayerNorm,
        ("eps", "weight", "bias"),
        {"normalized_shape": size, "eps": eps, "bias": flag},
        lambda s: _weight_and_bias(s, s["normalized_shape"]),
        read=lambda x: {"normalized_shape": x.weight.shape[0]},
        optional=("bias",),
        apart=_always,
    ),
    "MultiHeadAttention": Kind(
        MultiHeadAttention,
        ("n_head", "causal", "c_attn", "c_proj", "attn_dropout", "resid_dropout"),
        {"n_head": size, "causal": flag},
        parts={"c_attn": _apart, "c_proj": _apart, "attn_dropout": _dropout, "resid_dropout": _dropout},
        clash=clashes.other_heads,
    ),
    "MLP": Kind(
        MLP,
        ("c_fc", "c_proj", "dropout"),
        parts={"c_fc": _apart, "c_proj": _apart, "dropout": _dropout},
        clash=clashes.integers_between,
        apart=_always,
    ),
    "TransformerBlock": Kind(
        TransformerBlock,
        ("ln_1", "attn", "ln_2", "mlp"),
        parts={"ln_1": _norm, "attn": Slot(("MultiHeadAttention",)), "ln_2": _norm, "mlp": _apart},
        clash=clashes.other_width,
    ),
    "Transformer": Kind(
        Transformer,
        ("wte", "wpe", "drop", "h", "ln_f"),
        parts={"wte": _tokens, "wpe": _positions, "drop": _dropout,
               "h": Slot(("TransformerBlock",), many=True, least=1), "ln_f": _norm},
        clash=clashes.not_causal,
    ),
    "GPT": Kind(
        GPT,
        ("vocab_size", "block_size", "transformer"),
        {"vocab_size": size, "block_size": size},
        parts={"transformer": Slot(("Transformer",))},
        clash=clashes.other_vocabulary,
    ),
    "Softmax": Kind(activations.Softmax, ("dim",), {"dim": dim}, apart=lambda s: s["dim"] == -1),
    "LogSoftmax": Kind(activations.LogSoftmax, ("dim",), {"dim": dim}, apart=lambda s: s["dim"] == -1),
    **{make.__name__: Kind(make, apart=_always) for make in ACTIVATIONS},
    "QuantizedLinear": _quantized_linear,
    "QuantizedConv2d": _quantized_conv2d,
    "FakeQuantized": Kind(
        FakeQuantized,
        ("layer", "bits", "low", "high"),
        {"bits": whole(2, 8)},
        lambda s: dict.fromkeys(("low", "high"), TensorSpec((), ("float32",), trained=False)),
        parts={"layer": Slot(("Linear", "Conv2d"))},
        apart=_always,
    ),
    "QuantizedMaxPool2d": _pool(QuantizedMaxPool2d),
    "QuantizedEmbedding": Kind(
        QuantizedEmbedding,
        ("num_embeddings", "embedding_dim", "rows"),
        {"num_embeddings": size, "embedding_dim": size},
        parts={"rows": Slot(("QuantizedLinear",))},
        clash=clashes.other_rows,
    ),
    "QuantizedPositions": Kind(
        QuantizedPositions,
        ("max_length", "embedding_dim", "rows", "weight_scale"),
        {"max_length": size, "embedding_dim": size},
        lambda s: {
            "rows": TensorSpec((s["max_length"], s["embedding_dim"]), ("int8",), trained=False, least=-127),
            "weight_scale": _scales(s["max_length"]),
        },
    ),
}  # fmt: skip

CACHE = {  # the settings that `KVCache.settings` returns
    "batch_size": whole(1, WIDEST),
    "hop": size,
    "dtype": Setting('"float32", "float16", or "float64"', lambda v: v in ("float32", "float16", "float64")),
}

NAMES: dict[Any, str] = {kind.make: name for name, kind in KINDS.items()}


def kind_name(thing: object) -> str | None:
    """Return the name of a layer's or function's row; None if it has none.

    A subclass does not count as its base, unless it says so itself: `nn.ReLU` is saved as the course's ReLU.
    """
    if isinstance(thing, FunctionType):
        return NAMES.get(thing)
    return NAMES.get(vars(type(thing)).get("saved_as", type(thing)))
