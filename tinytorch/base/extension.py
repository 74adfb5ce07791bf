"""What tensors and modules offer beyond the course, found on first use.

The course's `Tensor` and `Module` inherit from two classes of this file. Their methods are placeholders: the first use
imports the file that defines the function and puts it in the placeholder's place. So `import tinytorch` pays for none
of them, and a file of the course contains only what it teaches.

The course's own methods also accept NumPy's names `axis` and `keepdims`, and PyTorch's longer signatures: see
`LONGER`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from importlib import import_module
from typing import TYPE_CHECKING, Any

# The methods of tensors, by the file of `tinytorch.ops` that defines them
TENSOR_METHODS = {
    "conversion": (
        "__array_ufunc__ __format__ __index__ __int__ bfloat16 bool byte cpu cuda data_ptr device double element_size float "
        "half int is_cuda is_floating_point long short tolist type type_as"
    ),
    "inplace": (
        "__iadd__ __imul__ __ipow__ __isub__ __itruediv__ __setitem__ abs_ add_ addcdiv_ addcmul_ bernoulli_ clamp_ "
        "clamp_max_ clamp_min_ copy_ cos_ detach_ div_ exp_ exponential_ fill_ floor_ index_add_ index_copy_ "
        "index_fill_ lerp_ log_ masked_fill_ mul_ neg_ normal_ pow_ random_ reciprocal_ relu_ requires_grad_ round_ "
        "rsqrt_ scatter_ scatter_add_ sigmoid_ sin_ sqrt_ square_ squeeze_ sub_ t_ tanh_ tril_ triu_ "
        "uniform_ unsqueeze_ zero_"
    ),
    "elementwise": (
        "__and__ __floordiv__ __invert__ __mod__ __or__ __rand__ __rfloordiv__ __rmod__ __ror__ __rpow__ __rxor__ "
        "__xor__ acos add addcdiv addcmul asin atan atan2 bitwise_and bitwise_not bitwise_or bitwise_xor ceil clamp "
        "clamp_max clamp_min clip cos cosh div divide eq erf erfc exp2 expm1 floor floor_divide fmod frac ge gt "
        "isfinite isinf isnan le lerp log10 log1p log2 log_softmax logaddexp logical_and logical_not logical_or "
        "logical_xor lt minimum mul multiply ne neg negative pow reciprocal relu remainder round rsqrt sigmoid sign "
        "sin sinh softmax square sub subtract tan tanh true_divide trunc"
    ),
    "reductions": (
        "all allclose amax amin any argmin argsort bincount count_nonzero cumprod cumsum equal isclose kthvalue "
        "logsumexp median nansum nonzero norm prod sort std topk unique"
    ),
    "shapes": (
        "broadcast_to chunk clone contiguous diag diagonal dim expand_as flip is_contiguous mH mT "
        "moveaxis movedim narrow new_empty new_full new_ones new_tensor new_zeros ravel repeat repeat_interleave "
        "reshape_as roll select size split stride swapaxes swapdims t tensor_split tile tril triu unbind unflatten "
        "unfold view view_as"
    ),
    "indexing": (
        "gather index_add index_copy index_fill index_select isin masked_fill masked_select scatter scatter_add take "
        "take_along_dim where"
    ),
    "products": "addmm baddbmm bmm cdist dot inner matmul mm mv outer trace",
    "creation": "bernoulli multinomial",
    "hooks": "grad_fn register_hook retain_grad retains_grad",
}  # fmt: skip

# The methods of modules, by the file of `tinytorch.nn` that defines them
MODULE_METHODS = {
    "modules": (
        "__repr__ add_module apply bfloat16 buffers children cpu cuda double extra_repr float get_buffer "
        "get_parameter get_submodule half named_buffers register_buffer register_forward_hook "
        "register_forward_pre_hook register_module register_parameter requires_grad_ to type"
    ),
}


class Later:
    """A method that is imported on first use, from `tinytorch.PACKAGE.FILE`, and then takes this object's place."""

    def __init__(self, owner: type, name: str, file: str) -> None:
        self.owner, self.name, self.file = owner, name, file

    def __get__(self, instance: Any, kind: type) -> Any:
        found = vars(import_module(self.file))["METHODS"][self.name]
        setattr(self.owner, self.name, found)
        return found.__get__(instance, kind) if hasattr(found, "__get__") else found


class TensorExtension:
    """Base class of `Tensor`: the methods of `TENSOR_METHODS`, and longer signatures for the course's own methods."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        for name, lengthen in LONGER.items():
            if name in cls.__dict__:
                original = cls.__dict__[name]
                setattr(cls, name, update_wrapper(lengthen(original), original))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __and__(self, other: Any) -> Any: ...
        def __or__(self, other: Any) -> Any: ...
        def __xor__(self, other: Any) -> Any: ...
        def __invert__(self) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __rpow__(self, other: Any) -> Any: ...
        def __int__(self) -> int: ...
        def __index__(self) -> int: ...


class ModuleExtension:
    """Base class of `Module`: the methods of `MODULE_METHODS`."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def _lend(owner: type, package: str, methods: dict[str, str]) -> None:
    for file, names in methods.items():
        for name in names.split():
            setattr(owner, name, Later(owner, name, f"tinytorch.{package}.{file}"))


_lend(TensorExtension, "ops", TENSOR_METHODS)
_lend(ModuleExtension, "nn", MODULE_METHODS)


# Longer signatures ------------------------------------------------------------------------------------

Method = Callable[..., Any]


def _reduction(original: Method) -> Method:
    """Accept `axis` for `dim` and `keepdims` for `keepdim`, and what NumPy passes from `np.sum(t)`: dtype and out."""

    def method(self: Any, *given: Any, **named: Any) -> Any:
        if named:
            if "axis" in named:
                named["dim"] = named.pop("axis")
            if "keepdims" in named:
                named["keepdim"] = named.pop("keepdims")
            if named.pop("out", None) is not None:
                raise TypeError(f"{original.__name__}: out= is not supported; assign the result instead")
            if (dtype := named.pop("dtype", None)) is not None:
                return original(self.to(dtype), *given, **named)
        if given and type(given[0]) is list:
            given = (tuple(given[0]), *given[1:])
        return original(self, *given, **named)

    return method


def _var(original: Method) -> Method:
    """Accept PyTorch's `unbiased` and NumPy's `ddof` for `correction`."""
    shorter = _reduction(original)

    def method(self: Any, dim: Any = None, *given: Any, **named: Any) -> Any:
        if isinstance(dim, bool):  # var(False): PyTorch's older signature
            dim, named["correction"] = None, int(dim)
        if "unbiased" in named:
            named["correction"] = int(named.pop("unbiased"))
        if "ddof" in named:
            named["correction"] = named.pop("ddof")
        if "axis" not in named:
            named["dim"] = dim
        return shorter(self, *given, **named)

    return method


def _argmax(original: Method) -> Method:
    def method(self: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False) -> Any:
        dim = axis if dim is None else dim
        found = original(self, dim)
        if not (keepdim or keepdims):
            return found
        return found.reshape((1,) * self.ndim) if dim is None else found.unsqueeze(dim)

    return method


def _flatten(original: Method) -> Method:
    def method(self: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
        n = self.ndim
        if end_dim in (-1, n - 1):
            return original(self, start_dim + n if start_dim < 0 else start_dim)
        start, end = range(n)[start_dim], range(n)[end_dim]
        return self.reshape((*self.shape[:start], -1, *self.shape[end + 1 :]))

    return method


def _expand(original: Method) -> Method:
    """Accept -1 for a size that stays."""

    def method(self: Any, *shape: Any) -> Any:
        sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        if -1 in sizes:
            new = len(sizes) - self.ndim
            sizes = tuple(self.shape[i - new] if size == -1 and i >= new else size for i, size in enumerate(sizes))
        return original(self, *sizes)

    return method


def _squeeze(original: Method) -> Method:
    """Without a dimension, remove every dimension of size 1; with several, remove those."""

    def method(self: Any, dim: Any = None) -> Any:
        if isinstance(dim, int):
            return original(self, dim)
        dims = range(self.ndim) if dim is None else [range(self.ndim)[i] for i in dim]
        return self.reshape(tuple(n for i, n in enumerate(self.shape) if n != 1 or i not in dims))

    return method


def _to(original: Method) -> Method:
    """Accept a device, a device and a dtype, or another tensor, as PyTorch does."""

    def method(self: Any, *given: Any, **named: Any) -> Any:
        if len(given) == 1 and not named and hasattr(given[0], "newbyteorder"):  # a NumPy dtype
            return original(self, given[0])
        from tinytorch.base.devices import target

        dtype = target(*given, **named)
        return self if dtype is None or dtype == self.dtype else original(self, dtype)

    return method


LONGER: dict[str, Callable[[Method], Method]] = {
    **dict.fromkeys(("sum", "mean", "max", "min"), _reduction),
    "var": _var,
    "argmax": _argmax,
    "flatten": _flatten,
    "expand": _expand,
    "squeeze": _squeeze,
    "to": _to,
}
