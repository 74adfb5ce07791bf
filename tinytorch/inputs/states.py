"""State dicts as programs for PyTorch write them: with prefixes, with masks as buffers, and not quite fitting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tinytorch.layers import Module
from tinytorch.tensor import Tensor

PREFIXES = ("module.", "_orig_mod.")  # from DataParallel and torch.compile
MASKS = (".attn.bias", ".attn.masked_bias")  # nanoGPT's and GPT-2's causal masks


class Keys(NamedTuple):
    """The names that did not fit, as `load_state_dict` returns them."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"Keys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Prepared(NamedTuple):
    """The state to load, and the names that did not fit."""

    state: Mapping[str, Any]
    keys: Keys


def prepared(module: Module, state: Mapping[str, Any], strict: bool) -> Prepared:
    """Return the state without prefixes that all of its names have, and without causal masks.

    Unless strict, names that the module lacks are left out, and tensors that the state lacks keep their values.
    """
    if strict and not any(name.startswith(PREFIXES) or name.endswith(MASKS) for name in state):
        return Prepared(state, Keys([], []))
    own = module.state_dict()
    for prefix in PREFIXES * 2:
        if state and all(name.startswith(prefix) for name in state) and not any(n.startswith(prefix) for n in own):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    masks = [name for name, value in state.items() if name not in own and _is_mask(name, value)]
    if masks:
        state = {name: value for name, value in state.items() if name not in masks}
    if strict:
        return Prepared(state, Keys([], []))
    unexpected = [name for name in state if name not in own]
    kept = {name: value for name, value in state.items() if name in own}
    given = {id(own[name]) for name in kept}
    missing = [name for name, value in own.items() if id(value) not in given]
    return Prepared({**kept, **{name: own[name] for name in missing}}, Keys(missing, unexpected))


def _is_mask(name: str, value: Any) -> bool:
    shape = value.shape if isinstance(value, Tensor) else getattr(value, "shape", ())
    square = len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]
    return name.endswith(MASKS) and (square or shape == ())
