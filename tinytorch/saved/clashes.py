"""Checks for contradictions between the parts of a layer, for `table`. Each returns one line about the problem, or "".

Transformers need them, because their code assumes that sizes agree and that only causal attention mixes positions.
"""

from __future__ import annotations

from tinytorch.saved.kinds import PlannedLayer


def other_rows(layer: PlannedLayer) -> str:
    """Check the rows of a quantized embedding, whose own code reads them unchecked."""
    s, rows = layer.settings, layer.parts["rows"].settings
    sizes = rows["out_features"], rows["in_features"]
    if sizes != (s["num_embeddings"], s["embedding_dim"]):
        return f"rows is {sizes[0]} x {sizes[1]}: expected {s['num_embeddings']} x {s['embedding_dim']}"
    return _integers(layer, "rows")


def _returns_integers(part: PlannedLayer) -> bool:
    """Return whether a part returns integers, or passes them to a layer inside it that is not quantized."""
    if "output_dtype" in part.settings:
        return part.settings["output_dtype"] is not None
    integers = False
    for below in _below(part):
        if integers and "input_dtype" not in below.settings:
            return True
        integers = _returns_integers(below)
    return integers


def _integers(layer: PlannedLayer, *names: str) -> str:
    """Check that these parts of a transformer return floats."""
    wrong = [name for name in names if _returns_integers(layer.parts[name])]
    return f"{wrong[0]}: returns integers, expected floats" if wrong else ""


def _below(part: PlannedLayer) -> list[PlannedLayer]:
    return [below for held in part.parts.values() for below in (held if isinstance(held, list) else [held])]


def _input_width(part: PlannedLayer) -> int | None:
    """Return the width of a part's input; None if any width fits."""
    for key in ("in_features", "normalized_shape"):
        if key in part.settings:
            return int(part.settings[key])
    return next((width for below in _below(part) if (width := _input_width(below))), None)


def _output_width(part: PlannedLayer, width: int) -> int:
    """Return the width of a part's output for an input of this width; 0 if the input does not fit."""
    expected = part.settings.get("in_features", part.settings.get("normalized_shape", width))
    if width != expected:
        return 0
    for below in _below(part):  # run in this order, as in Sequential, MLP, and FakeQuantized
        width = _output_width(below, width)
    return int(part.settings.get("out_features", width))


def other_heads(layer: PlannedLayer) -> str:
    """Check the widths of an attention's two layers, and the number of its heads."""
    heads, c_attn, c_proj = layer.settings["n_head"], layer.parts["c_attn"], layer.parts["c_proj"]
    width = _input_width(c_attn)
    if width is None or _output_width(c_attn, width) != 3 * width:
        return "c_attn: expected a layer that triples the width, for query, key, and value"
    if width % heads:
        return f"n_head is {heads}: expected a divisor of the width, {width}"
    if _output_width(c_proj, width) != width:
        return f"c_proj: expected a layer from width {width} to {width}"
    return _integers(layer, "c_attn", "c_proj")


def other_width(layer: PlannedLayer) -> str:
    """Check that each part of a block keeps the width, because its output is added to its input."""
    parts, width = layer.parts, layer.parts["ln_1"].settings["normalized_shape"]
    if parts["ln_2"].settings["normalized_shape"] != width or _input_width(parts["attn"]) != width:
        return f"ln_2, attn: expected the width of ln_1, {width}"
    if _output_width(parts["mlp"], width) != width:
        return f"mlp: expected a layer from width {width} to {width}"
    return _integers(layer, "mlp")


def not_causal(layer: PlannedLayer) -> str:
    """Check that a loaded language model cannot attend to the tokens it predicts, and that its widths agree."""
    parts, width = layer.parts, layer.parts["wte"].settings["embedding_dim"]
    for i, block in enumerate(parts["h"]):
        if not block.parts["attn"].settings["causal"]:
            return f"h[{i}].attn.causal is False: expected true in every block of a language model"
        if block.parts["ln_1"].settings["normalized_shape"] != width:
            return f"h[{i}]: expected the width of wte, {width}"
    if parts["wpe"].settings["embedding_dim"] != width or parts["ln_f"].settings["normalized_shape"] != width:
        return f"wpe, ln_f: expected the width of wte, {width}"
    return ""


def other_vocabulary(layer: PlannedLayer) -> str:
    """Check a GPT's vocabulary and block size against its tables."""
    s, parts = layer.settings, layer.parts["transformer"].parts
    tokens, positions = parts["wte"].settings["num_embeddings"], parts["wpe"].settings["max_length"]
    if s["vocab_size"] != tokens:
        return f"vocab_size is {s['vocab_size']}: expected the number of rows of wte, {tokens}"
    if s["block_size"] > positions:
        return f"block_size is {s['block_size']}: expected at most the number of rows of wpe, {positions}"
    return ""


def integers_between(layer: PlannedLayer) -> str:
    """Check that an MLP's layers return floats, because it applies GELU between them."""
    return _integers(layer, "c_fc", "c_proj")
