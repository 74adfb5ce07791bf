"""Module 17: what does not go together in a model's parts, for the table of `saved_types`: one line about it, or "".

For transformers, whose code takes for granted that sizes agree and that nothing but causal attention mixes positions.
"""

from __future__ import annotations

from tinytorch.saved.kinds import PlannedLayer


def other_rows(layer: PlannedLayer) -> str:
    """The rows of a quantized embedding are read without a check of their own."""
    s, rows = layer.settings, layer.parts["rows"].settings
    sizes = rows["out_features"], rows["in_features"]
    if sizes != (s["num_embeddings"], s["embedding_dim"]):
        return f"rows is of {sizes[0]} x {sizes[1]}: expected {s['num_embeddings']} x {s['embedding_dim']}"
    return _integers(layer, "rows")


def _gives_integers(part: PlannedLayer) -> bool:
    """Whether integers leave a part, or reach something inside that is not quantized."""
    if "output_dtype" in part.settings:
        return part.settings["output_dtype"] is not None
    integers = False
    for below in _below(part):
        if integers and "input_dtype" not in below.settings:
            return True
        integers = _gives_integers(below)
    return integers


def _integers(layer: PlannedLayer, *names: str) -> str:
    """Between the parts of a transformer numbers are floats."""
    wrong = [name for name in names if _gives_integers(layer.parts[name])]
    return f"{wrong[0]}: gives integers, expected floats" if wrong else ""


def _below(part: PlannedLayer) -> list[PlannedLayer]:
    return [below for held in part.parts.values() for below in (held if isinstance(held, list) else [held])]


def _entering(part: PlannedLayer) -> int | None:
    """The width that a part reads; None where any will do."""
    for key in ("in_features", "normalized_shape"):
        if key in part.settings:
            return int(part.settings[key])
    return next((width for below in _below(part) if (width := _entering(below))), None)


def _leaving(part: PlannedLayer, width: int) -> int:
    """The width that a part gives if it is given this one; 0 if it cannot take it."""
    expected = part.settings.get("in_features", part.settings.get("normalized_shape", width))
    if width != expected:
        return 0
    for below in _below(part):  # one after the other, as in Sequential, MLP and FakeQuantized
        width = _leaving(below, width)
    return int(part.settings.get("out_features", width))


def other_heads(layer: PlannedLayer) -> str:
    heads, c_attn, c_proj = layer.settings["n_head"], layer.parts["c_attn"], layer.parts["c_proj"]
    width = _entering(c_attn)
    if width is None or _leaving(c_attn, width) != 3 * width:
        return "c_attn: expected a layer that makes three numbers, of query, key and value, out of each one"
    if width % heads:
        return f"n_head is {heads}: expected a divisor of the width, {width}"
    if _leaving(c_proj, width) != width:
        return f"c_proj: expected a layer from width {width} to {width}"
    return _integers(layer, "c_attn", "c_proj")


def other_width(layer: PlannedLayer) -> str:
    """Each part of a block adds to what the block is given."""
    parts, width = layer.parts, layer.parts["ln_1"].settings["normalized_shape"]
    if parts["ln_2"].settings["normalized_shape"] != width or _entering(parts["attn"]) != width:
        return f"ln_2, attn: expected the width of ln_1, {width}"
    if _leaving(parts["mlp"], width) != width:
        return f"mlp: expected a layer from width {width} to {width}"
    return _integers(layer, "mlp")


def not_causal(layer: PlannedLayer) -> str:
    """A language model from a file must not be able to look at what it is asked for."""
    parts, width = layer.parts, layer.parts["wte"].settings["embedding_dim"]
    for i, block in enumerate(parts["h"]):
        if not block.parts["attn"].settings["causal"]:
            return f"h[{i}].attn.causal is False: expected true, as in all of a language model"
        if block.parts["ln_1"].settings["normalized_shape"] != width:
            return f"h[{i}]: expected the width of wte, {width}"
    if parts["wpe"].settings["embedding_dim"] != width or parts["ln_f"].settings["normalized_shape"] != width:
        return f"wpe, ln_f: expected the width of wte, {width}"
    return ""


def other_vocabulary(layer: PlannedLayer) -> str:
    s, parts = layer.settings, layer.parts["transformer"].parts
    tokens, places = parts["wte"].settings["num_embeddings"], parts["wpe"].settings["max_length"]
    if s["vocab_size"] != tokens:
        return f"vocab_size is {s['vocab_size']}: expected the rows of wte, {tokens}"
    if s["block_size"] > places:
        return f"block_size is {s['block_size']}: expected at most the rows of wpe, {places}"
    return ""


def integers_between(layer: PlannedLayer) -> str:
    """An MLP has GELU between its layers."""
    return _integers(layer, "c_fc", "c_proj")
