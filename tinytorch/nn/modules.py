"""Methods of every Module beyond the course: its text, its parts, hooks, and casts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinytorch.base.devices import as_dtype, target
from tinytorch.base.errors import SettingError, StateError
from tinytorch.base.extension import about_array
from tinytorch.layers import Module, Parameter
from tinytorch.ops.hooks import Handle
from tinytorch.tensor import Tensor, is_floating

# Text ---------------------------------------------------------------------------------------------------


def _sizes(layer: Any, *names: str) -> str:
    return ", ".join(f"{name}={getattr(layer, name)}" for name in names if hasattr(layer, name))


def _convolution(layer: Any) -> str:
    """Return Conv2d(3, 16, kernel_size=(3, 3), ...) as PyTorch does: only what is not the default after the kernel."""
    out, within, *kernel = layer.weight.shape
    if type(layer).__name__.startswith("ConvTranspose"):
        out, within = within * layer.groups, out // layer.groups
    given = [f"{within * layer.groups}, {out}, kernel_size={tuple(kernel)}", f"stride={layer.stride}"]
    usual = {"padding": (0, "valid"), "dilation": (1,), "groups": (1,), "padding_mode": ("zeros",)}
    for name, defaults in usual.items():
        value = getattr(layer, name, defaults[0])
        if value not in defaults and value not in [(d,) * len(kernel) for d in defaults]:
            given.append(f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}")
    return ", ".join([*given, *(["bias=False"] if layer.bias is None else [])])


def _linear(layer: Any) -> str:
    return f"{_sizes(layer, 'in_features', 'out_features')}, bias={layer.bias is not None}"


def _embedding(layer: Any) -> str:
    return ", ".join(map(str, layer.weight.shape))


def _any(layer: Any) -> str:
    """Return the settings among the attributes: numbers, texts, and tuples of them."""
    plain = (int, float, str, tuple)
    shown = {k: v for k, v in vars(layer).items() if isinstance(v, plain) and not k.startswith("_") and k != "training"}
    return ", ".join(f"{k}={v!r}" for k, v in shown.items() if not _has_parts(v))


def _has_parts(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(part, Module | Tensor) for part in value)


_TEXTS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("Linear", "QuantizedLinear"), _linear),
    **dict.fromkeys(("Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"), _convolution),
    "Embedding": _embedding,
    "Flatten": lambda x: f"start_dim={getattr(x, 'start_dim', 1)}, end_dim={getattr(x, 'end_dim', -1)}",
    "LayerNorm": lambda x: (
        f"{getattr(x, 'normalized_shape', x.weight.shape if x.weight is not None else ())}, eps={x.eps}"
    ),
}


def extra_repr(self: Module) -> str:
    """Return the text between the parentheses of the module's `repr`; override it for a module of your own."""
    text = _TEXTS.get(type(self).__name__, _any)
    try:
        return text(self)
    except (AttributeError, TypeError, ValueError):
        return _any(self)


def _lines(module: Module, known: set[int]) -> list[str]:
    """Return the text of a module and its parts; a shared one is shown each time, but not within itself."""
    name = type(module).__name__
    children = [] if id(module) in known else list(module.named_children())
    if not children:
        return [f"{name}({module.extra_repr()})"]
    kind: Any = type(module)
    inner = "" if kind.extra_repr is extra_repr else module.extra_repr()
    lines = [f"{name}({inner}"]
    for key, child in children:
        first, *rest = _lines(child, known | {id(module)})
        lines += [f"  ({key}): {first}", *(f"  {line}" for line in rest)]
    return [*lines, ")"]


def text(self: Module) -> str:
    """Return the module's parts, one line each with its sizes, and its number of parameters."""
    lines = _lines(self, set())
    count = sum(p.numel() for p in self.parameters())
    if not count:
        return "\n".join(lines)
    frozen = sum(p.numel() for p in self.parameters() if not p.requires_grad)
    counted = f"{count:,} parameter{'s' if count > 1 else ''}{f', {frozen:,} frozen' if frozen else ''}"
    return "\n".join([*lines, f"# {counted}"]) if len(lines) > 1 else f"{lines[0]}  # {counted}"


# Parts --------------------------------------------------------------------------------------------------


def children(self: Module) -> Iterator[Module]:
    """Yield the direct submodules."""
    yield from (child for _, child in self.named_children())


def apply(self: Module, function: Callable[[Module], Any]) -> Module:
    """Call `function(module)` for each submodule and then for this module; return this module."""
    for child in children(self):
        child.apply(function)
    try:
        function(self)
    except AttributeError as error:
        raise about_array(error) or error from None
    return self


def named_buffers(self: Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the buffers with their full names: the tensors that are saved but not trained."""
    yield from ((name, value) for name, value in self.named_tensors() if not isinstance(value, Parameter))


def buffers(self: Module) -> Iterator[Tensor]:
    """Yield the buffers."""
    yield from (value for _, value in named_buffers(self))


def get_submodule(self: Module, name: str) -> Module:
    """Return the submodule with a full name, as `named_modules` yields it.

    Raises:
        StateError: there is none.
    """
    for known, module in self.named_modules():
        if known == name:
            return module
    raise StateError(f"{type(self).__name__}: no submodule {name!r}; named_modules() lists them")


def get_parameter(self: Module, name: str) -> Tensor:
    """Return the parameter or buffer with a full name, as `state_dict` lists it.

    Raises:
        StateError: there is none.
    """
    found = dict(self.named_tensors())
    if name not in found:
        raise StateError(f"{type(self).__name__}: no parameter or buffer {name!r}; state_dict() lists them")
    return found[name]


def add_module(self: Module, name: str, module: Module | None) -> None:
    """Set an attribute to a submodule."""
    setattr(self, name, module)


def register_parameter(self: Module, name: str, parameter: Parameter | None) -> None:
    """Set an attribute to a parameter, or to None."""
    if parameter is not None and not isinstance(parameter, Parameter):
        raise SettingError(f"register_parameter: {name} is a {type(parameter).__name__}: expected a Parameter or None")
    setattr(self, name, parameter)


def requires_grad_(self: Module, requires_grad: bool = True) -> Module:
    """Set for all parameters whether they get gradients: `requires_grad_(False)` freezes them."""
    for parameter in self.parameters():
        parameter.requires_grad = requires_grad
    return self


# Casts --------------------------------------------------------------------------------------------------


def to(self: Module, *given: Any, **named: Any) -> Module:
    """Convert floating-point parameters and buffers to a dtype; the only device is the CPU."""
    dtype = target(*given, **named)
    return self if dtype is None else cast(self, dtype)


def cast(self: Module, dtype: Any) -> Module:
    """Convert the floating-point parameters and buffers to another floating-point dtype."""
    wanted = as_dtype(dtype)
    if wanted is None or not is_floating(wanted):
        raise SettingError(f"{type(self).__name__}: dtype {dtype}: expected a floating-point dtype")
    for _, value in self.named_tensors():
        if is_floating(value.dtype) and value.dtype != wanted:
            value.data = value.data.astype(wanted)
            value.grad = None if value.grad is None else Tensor(value.grad.data.astype(wanted))
    return self


def cpu(self: Module) -> Module:
    """Return the module itself: all tensors are in main memory."""
    return self


def cuda(self: Module, *_: Any) -> Module:
    """Raise an error: there is no GPU."""
    target("cuda")
    return self


# Hooks --------------------------------------------------------------------------------------------------


def register_forward_hook(self: Module, hook: Callable[..., Any], *, with_kwargs: bool = False) -> Handle:
    """Call `hook(module, inputs, output)` after each forward; if it returns a value, that replaces the output."""
    return _register(self, "after", (hook, with_kwargs))


def register_forward_pre_hook(self: Module, hook: Callable[..., Any], *, with_kwargs: bool = False) -> Handle:
    """Call `hook(module, inputs)` before each forward; if it returns a value, that replaces the inputs."""
    return _register(self, "before", (hook, with_kwargs))


def _register(module: Module, kind: str, entry: tuple[Callable[..., Any], bool]) -> Handle:
    if module._hooks is None:
        module._hooks = {"before": [], "after": []}
    module._hooks[kind].append(entry)
    return Handle(module._hooks[kind], entry)


def call_with_hooks(self: Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Run the hooks that were registered before forward, forward, and those after it."""
    assert self._hooks is not None
    for hook, with_named in list(self._hooks["before"]):
        changed = hook(self, inputs, named) if with_named else hook(self, inputs)
        if changed is not None:
            if with_named:
                inputs, named = changed
            else:
                inputs = changed if isinstance(changed, tuple) else (changed,)
    output = self.forward(*inputs, **named)
    for hook, with_named in list(self._hooks["after"]):
        changed = hook(self, inputs, named, output) if with_named else hook(self, inputs, output)
        output = output if changed is None else changed
    return output


METHODS: dict[str, Any] = {
    "__repr__": text, "_call_with_hooks": call_with_hooks, "add_module": add_module, "apply": apply,
    "bfloat16": lambda self: cast(self, "bfloat16"), "buffers": buffers, "children": children, "cpu": cpu, "cuda": cuda,
    "double": lambda self: cast(self, np.float64), "extra_repr": extra_repr,
    "float": lambda self: cast(self, np.float32), "get_buffer": get_parameter, "get_parameter": get_parameter,
    "get_submodule": get_submodule, "half": lambda self: cast(self, np.float16), "named_buffers": named_buffers,
    "register_forward_hook": register_forward_hook,
    "register_forward_pre_hook": register_forward_pre_hook, "register_module": add_module,
    "register_parameter": register_parameter, "requires_grad_": requires_grad_, "to": to, "type": cast,
}  # fmt: skip
