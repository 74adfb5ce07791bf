"""Methods of every optimizer beyond the course: its text, and groups that are added later."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.base.errors import SettingError
from tinytorch.optimizers import Optimizer
from tinytorch.tensor import Tensor


def text(self: Optimizer) -> str:
    """Return the optimizer's settings and its number of parameters, one line for each group."""
    lines = []
    for group in self.param_groups:
        settings = ", ".join(f"{k}={_short(v)}" for k, v in group.items() if k not in ("params", "initial_lr"))
        count = sum(p.numel() for p in group["params"])
        lines.append(f"{settings}  # {len(group['params'])} tensors, {count:,} parameters")
    name = type(self).__name__
    if len(lines) == 1:
        inner, _, counted = lines[0].partition("  # ")
        return f"{name}({inner})  # {counted}"
    return "\n".join([f"{name}(", *(f"  group {i}: {line}" for i, line in enumerate(lines)), ")"])


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def add_param_group(self: Optimizer, group: dict[str, Any]) -> None:
    """Add a group of parameters with its own settings; settings that it lacks get the optimizer's defaults.

    Raises:
        SettingError: a setting is unknown, or a parameter is already in the optimizer; nothing is changed.
    """
    given = group["params"]
    params = [given] if isinstance(given, Tensor) else list(given)
    known = {id(p) for p in self.parameters()}
    if any(id(p) in known for p in params) or len({id(p) for p in params}) != len(params):
        raise SettingError(f"{type(self).__name__}: a parameter was given twice")
    unknown = group.keys() - self.defaults.keys() - {"params"}
    if unknown:
        raise SettingError(f"{type(self).__name__}: unknown settings {', '.join(sorted(unknown))}")
    new = {**self.defaults, **group, "params": params}
    self.param_groups.append(new)
    self.state += [self.new_state(p.data, new) for p in params]
    self._scratch += [np.empty_like(p.data) for p in params]


METHODS: dict[str, Any] = {"__repr__": text, "add_param_group": add_param_group}
