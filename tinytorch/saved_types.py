"""Module 19: the table of what a saved model may be made of: each type's settings, tensors and parts.

`saving` reads it in both directions. Nothing outside the table is saved or loaded, and a type is nothing but a row
in it: a loaded layer is filled with the row's attributes, no constructor runs and no random number is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from tinytorch import activations
from tinytorch.attention import MultiHeadAttention
from tinytorch.embeddings import Embedding, LearnedPositions, SinusoidalPositions, sinusoids
from tinytorch.layers import Dropout, Flatten, Linear, Sequential
from tinytorch.quantized import (
    MOST_PRODUCTS,
    QuantizedConv2d,
    QuantizedEmbedding,
    QuantizedLinear,
    QuantizedMaxPool2d,
    QuantizedPositions,
)
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.transformers import GPT, MLP, LayerNorm, Transformer, TransformerBlock

FLOATS = ("float32", "float16", "bfloat16", "float64")
LARGEST = 100_000_000  # of any number of rows, columns, channels, ...
WIDEST = 1024  # of a window over images, or of a grid of outputs
HIGHEST_EPS = 1e6

Settings = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What a setting may be: `fits` says so of the JSON value, `expected` says so to the reader."""

    expected: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor must be. `trained`: a Parameter rather than a buffer. `least`: no element is smaller."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...] = FLOATS
    trained: bool = True
    least: int | None = None


@dataclass(frozen=True)
class Slot:
    """A place for a part, or for a list of parts.

    Attributes:
        types: the types that may stand there; empty for any.
        many: a list. least: of so many at least.
        named: whether the attribute's name is in the tensors' names (it is not in Sequential's).
    """

    types: tuple[str, ...] = ()
    many: bool = False
    least: int = 0
    named: bool = True


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        make: the class, or the function itself.
        attributes: all that an instance holds, in the constructor's order; settings, tensors or parts.
        settings: name -> what it may be.
        tensors: settings -> name -> what the tensor must be.
        parts: name -> slot.
        read: instance -> the settings that no attribute holds.
        derived: settings -> attributes that follow from them.
        derived_bytes: settings -> what those take in memory.
        optional: tensors that may be None; the setting of the same name says whether they are there.
        problem: settings -> what is wrong between them, or "".
        clash: settings and those of the (single) parts -> what does not go together, or "".
    """

    make: Any
    attributes: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    tensors: Callable[[Settings], dict[str, TensorSpec]] = lambda s: {}
    parts: Mapping[str, Slot] = field(default_factory=dict)
    read: Callable[[Any], Settings] = lambda x: {}
    derived: Callable[[Settings], dict[str, Any]] = lambda s: {}
    derived_bytes: Callable[[Settings], int] = lambda s: 0
    optional: tuple[str, ...] = ()
    problem: Callable[[Settings], str] = lambda s: ""
    clash: Callable[[Settings, Mapping[str, Settings]], str] = lambda s, parts: ""


def whole(least: int, most: int) -> Setting:
    """An integer in a range."""
    return Setting(f"a whole number from {least} to {most}", lambda v: type(v) is int and least <= v <= most)


def number(least: float, most: float) -> Setting:
    """A finite number in a range; NaN is in none."""
    return Setting(f"a number from {least} to {most}", lambda v: type(v) in (int, float) and least <= v <= most)


def pair(least: int) -> Setting:
    """Two integers: down and across."""
    one = whole(least, WIDEST)
    return Setting(f"two numbers, each {one.expected}", lambda v: _is_pair(v, one))


def one_or_two(least: int, optional: bool = False) -> Setting:
    """An integer, or one for each direction; null where it may be left out."""
    one = whole(least, WIDEST)
    expected = f"{one.expected}, or two of them{', or null' if optional else ''}"
    return Setting(expected, lambda v: one.fits(v) or _is_pair(v, one) or (optional and v is None))


def _is_pair(value: Any, one: Setting) -> bool:
    return type(value) in (list, tuple) and len(value) == 2 and all(one.fits(v) for v in value)


size = whole(1, LARGEST)
dim = whole(-8, 7)
flag = Setting("true or false", lambda v: type(v) is bool)
eps = number(0, HIGHEST_EPS)
integer = Setting('"uint8", "int8" or null', lambda v: v is None or v in ("uint8", "int8"))
share = Setting("a number p, 0 <= p < 1", lambda v: number(0, 1).fits(v) and v < 1)


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
    """What the constructors of quantized layers refuse."""
    inputs = s["in_features"] if "in_features" in s else math.prod(s["kernel_size"]) * s["in_channels"] // s["groups"]
    if inputs > MOST_PRODUCTS:
        return f"{inputs} products in a sum: expected at most {MOST_PRODUCTS}, which int32 holds"
    if s["output_dtype"] and not s["input_dtype"]:
        return "output_dtype without input_dtype: expected null"
    return ""


def _other_rows(s: Settings, parts: Mapping[str, Settings]) -> str:
    """The rows of a quantized embedding are read without a check of their own."""
    sizes = parts["rows"]["out_features"], parts["rows"]["in_features"]
    if sizes != (s["num_embeddings"], s["embedding_dim"]):
        return f"rows is of {sizes[0]} x {sizes[1]}: expected {s['num_embeddings']} x {s['embedding_dim']}"
    return ""


def _quantized(s: Settings, *shape: int) -> dict[str, TensorSpec]:
    scales = [name for name in ("input", "output") if s[f"{name}_dtype"]]
    real = TensorSpec(shape[:1], ("float32",), trained=False)
    return {
        "weight": TensorSpec(shape, ("int8",), trained=False, least=-127),
        "weight_scale": real,
        **({"bias": real} if s["bias"] else {}),
        **{f"{name}_scale": TensorSpec((), ("float32",), trained=False) for name in scales},
    }


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
_scales = ("bias", "input_scale", "output_scale")

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
    optional=_scales,
    problem=_unsummable,
)

_quantized_conv2d = Kind(
    QuantizedConv2d,
    (*_quantized_attributes, "in_channels", "out_channels", "stride", "padding", "dilation", "groups"),
    {**_convolution, **_integers},
    lambda s: _quantized(s, *_kernels(s)),
    read=lambda x: {"kernel_size": x.weight.shape[2:]},
    derived=lambda s: {"_prepared": None},
    optional=_scales,
    problem=lambda s: _ungrouped(s) or _unsummable(s),
)

_norm, _dropout = Slot(("LayerNorm",)), Slot(("Dropout",))
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
    "Dropout": Kind(Dropout, ("p",), {"p": share}),
    "Sequential": Kind(Sequential, ("layers",), parts={"layers": Slot(many=True, named=False)}),
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
        problem=lambda s: f"embedding_dim is {s['embedding_dim']}: expected an even one" * (s["embedding_dim"] % 2),
    ),
    "LayerNorm": Kind(
        LayerNorm,
        ("eps", "weight", "bias"),
        {"normalized_shape": size, "eps": eps, "bias": flag},
        lambda s: _weight_and_bias(s, s["normalized_shape"]),
        read=lambda x: {"normalized_shape": x.weight.shape[0]},
        optional=("bias",),
    ),
    "MultiHeadAttention": Kind(
        MultiHeadAttention,
        ("n_head", "causal", "c_attn", "c_proj", "attn_dropout", "resid_dropout"),
        {"n_head": size, "causal": flag},
        parts={"c_attn": Slot(), "c_proj": Slot(), "attn_dropout": _dropout, "resid_dropout": _dropout},
    ),
    "MLP": Kind(MLP, ("c_fc", "c_proj", "dropout"), parts={"c_fc": Slot(), "c_proj": Slot(), "dropout": _dropout}),
    "TransformerBlock": Kind(
        TransformerBlock,
        ("ln_1", "attn", "ln_2", "mlp"),
        parts={"ln_1": _norm, "attn": Slot(("MultiHeadAttention",)), "ln_2": _norm, "mlp": Slot()},
    ),
    "Transformer": Kind(
        Transformer,
        ("wte", "wpe", "drop", "h", "ln_f"),
        parts={"wte": _tokens, "wpe": _positions, "drop": _dropout,
               "h": Slot(("TransformerBlock",), many=True, least=1), "ln_f": _norm},
    ),
    "GPT": Kind(
        GPT,
        ("vocab_size", "block_size", "transformer"),
        {"vocab_size": size, "block_size": size},
        parts={"transformer": Slot(("Transformer",))},
    ),
    "Softmax": Kind(activations.Softmax, ("dim",), {"dim": dim}),
    "LogSoftmax": Kind(activations.LogSoftmax, ("dim",), {"dim": dim}),
    **{make.__name__: Kind(make) for make in ACTIVATIONS},
    "QuantizedLinear": _quantized_linear,
    "QuantizedConv2d": _quantized_conv2d,
    "QuantizedMaxPool2d": _pool(QuantizedMaxPool2d),
    "QuantizedEmbedding": Kind(
        QuantizedEmbedding,
        ("num_embeddings", "embedding_dim", "rows"),
        {"num_embeddings": size, "embedding_dim": size},
        parts={"rows": Slot(("QuantizedLinear",))},
        clash=_other_rows,
    ),
    "QuantizedPositions": Kind(
        QuantizedPositions,
        ("max_length", "embedding_dim", "rows", "weight_scale"),
        {"max_length": size, "embedding_dim": size},
        lambda s: {
            "rows": TensorSpec((s["max_length"], s["embedding_dim"]), ("int8",), trained=False, least=-127),
            "weight_scale": TensorSpec((s["max_length"],), ("float32",), trained=False),
        },
    ),
}  # fmt: skip

CACHE = {  # what `KVCache.settings` says
    "batch_size": whole(1, WIDEST),
    "hop": size,
    "dtype": Setting('"float32", "float16" or "float64"', lambda v: v in ("float32", "float16", "float64")),
}

NAMES: dict[Any, str] = {kind.make: name for name, kind in KINDS.items()}


def kind_name(thing: object) -> str | None:
    """The row of a layer or function; None where there is none. A subclass is not its base."""
    return NAMES.get(thing if isinstance(thing, FunctionType) else type(thing))
