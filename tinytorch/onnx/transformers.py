"""The ONNX operations of embeddings, attention, and transformers.

Shapes: B samples, T positions, H heads, D width of a head; C = H x D. B and T may be known only when the model runs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.onnx.graph import Graph, Value, floats, ranked, shown
from tinytorch.onnx.integers import dequantized, dynamic_linear
from tinytorch.onnx.layers import Emit, added, check_width, gelu, matrix, part


def embedding(graph: Graph, layer: Any, x: Value) -> Value:
    return Value(graph.add("Gather", graph.weight(layer.weight), x.name), (*x.shape, layer.embedding_dim))


def quantized_embedding(graph: Graph, layer: Any, x: Value) -> Value:
    """Only the rows of the tokens are converted to floats."""
    rows = graph.cast(graph.add("Gather", graph.stored(layer.rows.weight), x.name), "float32")
    scale = graph.add("Gather", graph.constant(layer.rows.weight_scale.data[:, None]), x.name)
    return Value(graph.add("Mul", rows, scale), (*x.shape, layer.embedding_dim))


def positions(graph: Graph, layer: Any, x: Value) -> Value:
    return with_positions(graph, x, graph.weight(layer.weight), layer.weight.shape)


def sinusoidal_positions(graph: Graph, layer: Any, x: Value) -> Value:
    return with_positions(graph, x, graph.constant(layer._table), layer._table.shape)


def quantized_positions(graph: Graph, layer: Any, x: Value) -> Value:
    stored, scale = graph.stored(layer.rows), layer.weight_scale.data
    return with_positions(graph, x, dequantized(graph, stored, scale, "int8"), layer.rows.shape)


def with_positions(graph: Graph, x: Value, table: str, sizes: tuple[int, ...]) -> Value:
    """Return x + table[:T] for x (..., T, C)."""
    longest, width = sizes
    floats(graph, x, "positions")
    if len(x.shape) < 2:
        raise graph.refuse(f"an input of shape {shown(x.shape)}: expected (..., T, {width})")
    check_width(graph, x, width)
    length = x.shape[-2]
    if isinstance(length, int) and length > longest:
        raise graph.refuse(f"an input of shape {shown(x.shape)}: expected at most {longest} positions")
    if length != longest:
        end = graph.constant([length], np.int64) if isinstance(length, int) else length_of(graph, x, -2)
        table = graph.add("Slice", table, graph.constant([0], np.int64), end, graph.constant([0], np.int64))
    return Value(graph.add("Add", x.name, table), x.shape)


def length_of(graph: Graph, x: Value, axis: int) -> str:
    """Return the size of a dimension when the model runs, int64 (1,)."""
    axis %= len(x.shape)
    return graph.add("Shape", x.name, start=axis, end=axis + 1)


def layer_norm(graph: Graph, layer: Any, x: Value) -> Value:
    check_width(graph, floats(graph, x, "LayerNorm"), layer.weight.shape[0])
    bias = [] if layer.bias is None else [graph.weight(layer.bias)]
    name = graph.add("LayerNormalization", x.name, graph.weight(layer.weight), *bias, axis=-1, epsilon=float(layer.eps))
    return Value(name, x.shape)


def attention(graph: Graph, layer: Any, x: Value) -> Value:
    """MultiHeadAttention in evaluation mode, without a mask of the caller."""
    ranked(graph, x, 3, "MultiHeadAttention")
    qkv = part(graph, "c_attn", layer.c_attn, x)
    width, heads = qkv.shape[-1], layer.n_head
    if not isinstance(width, int) or width % (3 * heads):
        raise graph.refuse(f"c_attn returns {width} values: expected a multiple of 3 x {heads} heads")
    each = width // 3
    q, k, v = (cut_out(graph, qkv.name, i * each, each) for i in range(3))
    q, k, v = (split_heads(graph, name, heads, each, turned) for name, turned in ((q, False), (k, True), (v, False)))
    q = graph.add("Mul", q, graph.constant(1 / math.sqrt(each // heads)))
    scores = graph.add("MatMul", q, k)  # (B, H, T, T)
    if layer.causal:
        lowest = graph.constant(np.finfo(np.float32).min)
        scores = graph.add("Where", earlier(graph, x), scores, lowest)
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), v)  # (B, H, T, D)
    side_by_side = graph.add("Transpose", mixed, perm=[0, 2, 1, 3])
    y = graph.add("Reshape", side_by_side, graph.constant([0, 0, each], np.int64))
    return part(graph, "c_proj", layer.c_proj, Value(y, (*x.shape[:2], each)))


def cut_out(graph: Graph, name: str, begin: int, count: int) -> str:
    """Return a range of the last dimension."""
    bounds = (graph.constant([number], np.int64) for number in (begin, begin + count, 2))
    return graph.add("Slice", name, *bounds)


def split_heads(graph: Graph, name: str, heads: int, width: int, turned: bool) -> str:
    """Rearrange (B, T, C) to (B, H, T, D); turned, to (B, H, D, T)."""
    split = graph.add("Reshape", name, graph.constant([0, 0, heads, width // heads], np.int64))
    return graph.add("Transpose", split, perm=[0, 2, 3, 1] if turned else [0, 2, 1, 3])


def earlier(graph: Graph, x: Value) -> str:
    """Return where a query may read a key: (T, T), True up to the diagonal."""
    length = x.shape[1]
    if isinstance(length, int):
        return graph.constant(np.tril(np.ones((length, length), bool)), np.bool_)
    key = ("positions up to the diagonal", length)  # all layers of a model have the same T
    if key not in graph.known:
        count = graph.add("Squeeze", length_of(graph, x, 1))
        index = graph.add("Range", graph.constant(0, np.int64), count, graph.constant(1, np.int64))
        keys, queries = (graph.add("Unsqueeze", index, graph.constant([axis], np.int64)) for axis in (0, 1))
        graph.known[key] = graph.add("LessOrEqual", keys, queries)
    return graph.known[key]


def mlp(graph: Graph, layer: Any, x: Value) -> Value:
    return part(graph, "c_proj", layer.c_proj, gelu(graph, None, part(graph, "c_fc", layer.c_fc, x)))


def block(graph: Graph, layer: Any, x: Value) -> Value:
    x = added(graph, x, part(graph, "attn", layer.attn, part(graph, "ln_1", layer.ln_1, x)))
    return added(graph, x, part(graph, "mlp", layer.mlp, part(graph, "ln_2", layer.ln_2, x)))


def transformer(graph: Graph, layer: Any, x: Value) -> Value:
    x = part(graph, "wpe", layer.wpe, part(graph, "wte", layer.wte, x))
    for i, one in enumerate(layer.h):
        x = part(graph, f"h[{i}]", one, x)
    return part(graph, "ln_f", layer.ln_f, x)


def gpt(graph: Graph, layer: Any, x: Value) -> Value:
    """A GPT: the logits of all positions, (B, T, V), or only those of the next token, (B, V)."""
    x = part(graph, "transformer", layer.transformer, x)
    if graph.next_token:
        x = Value(graph.add("Gather", x.name, graph.constant(-1, np.int64), axis=1), (x.shape[0], x.shape[2]))
    table = layer.transformer.wte
    if hasattr(table, "rows"):
        return dynamic_linear(graph, table.rows, x)
    return matrix(graph, x, table.weight.shape, graph.weight(table.weight), None)


ROWS: dict[str, Emit] = {
    "Embedding": embedding,
    "QuantizedEmbedding": quantized_embedding,
    "LearnedPositions": positions,
    "SinusoidalPositions": sinusoidal_positions,
    "QuantizedPositions": quantized_positions,
    "LayerNorm": layer_norm,
    "MultiHeadAttention": attention,
    "MLP": mlp,
    "TransformerBlock": block,
    "Transformer": transformer,
    "GPT": gpt,
}
