"""What tensors and modules offer beyond the course, found on first use.

The course's `Tensor` and `Module` inherit from two classes of this file. Their methods are placeholders: the first use
imports the file that defines the function and puts it in the placeholder's place. So `import tinytorch` pays for none
of them, and a file of the course contains only what it teaches.

The course's own methods also accept NumPy's names `axis` and `keepdims`, and PyTorch's longer signatures: see
`signatures`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from numpy import ndarray

from tinytorch.base import changes
from tinytorch.base.errors import InputTypeError
from tinytorch.base.signatures import MODULE_LONGER, OPTIMIZER_LONGER, TENSOR_LONGER, Method, keep_defaults
from tinytorch.base.words import in_words

# The methods of tensors, by the file of `tinytorch.ops` that defines them
TENSOR_METHODS = {
    "conversion": (
        "__array_ufunc__ __format__ __index__ __int__ bfloat16 bool byte cpu cuda data_ptr device double element_size "
        "float half int is_cuda is_floating_point long short tolist type type_as"
    ),
    "inplace": (
        "__iadd__ __imul__ __ipow__ __isub__ __itruediv__ __setitem__ abs_ add_ addcdiv_ addcmul_ bernoulli_ clamp_ "
        "clamp_max_ clamp_min_ copy_ cos_ detach_ div_ exp_ exponential_ fill_ floor_ index_add_ index_copy_ "
        "index_fill_ lerp_ log_ masked_fill_ mul_ neg_ normal_ pow_ random_ reciprocal_ relu_ requires_grad_ round_ "
        "rsqrt_ scatter_ scatter_add_ sigmoid_ sin_ sqrt_ square_ squeeze_ sub_ t_ tanh_ tril_ triu_ "
        "uniform_ unsqueeze_ zero_"
    ),
    "elementwise": (
        "__abs__ __and__ __floordiv__ __invert__ __mod__ __or__ __pos__ __rand__ __rfloordiv__ __rmod__ __ror__ "
        "__rpow__ __rxor__ __xor__ acos add addcdiv addcmul asin atan atan2 bitwise_and bitwise_not bitwise_or "
        "bitwise_xor ceil clamp "
        "clamp_max clamp_min clip cos cosh div divide eq erf erfc exp2 expm1 floor floor_divide fmod frac ge gt "
        "isfinite isinf isnan le lerp log10 log1p log2 log_softmax logaddexp logical_and logical_not logical_or "
        "logical_xor lt minimum mul multiply ne neg negative pow reciprocal relu remainder round rsqrt sigmoid sign "
        "sin sinh softmax square sub subtract tan tanh true_divide trunc"
    ),
    "reductions": (
        "all allclose amax amin any argmin argsort bincount count_nonzero cumprod cumsum equal isclose kthvalue "
        "logsumexp median nansum nelement nonzero norm prod sort std topk unique"
    ),
    "shapes": (
        "broadcast_to chunk clone contiguous diag diagonal dim expand_as flip is_contiguous mH mT "
        "moveaxis movedim narrow new_empty new_full new_ones new_tensor new_zeros ravel repeat repeat_interleave "
        "reshape_as roll select size split stride swapaxes swapdims t tensor_split tile tril triu unbind unflatten "
        "unfold view view_as"
    ),
    "indexing": (
        "__contains__ gather index_add index_copy index_fill index_select isin masked_fill masked_select scatter "
        "scatter_add take take_along_dim where"
    ),
    "products": "addmm baddbmm bmm cdist dot inner matmul mm mv outer trace",
    "creation": "bernoulli multinomial",
    "hooks": "grad_fn register_hook retain_grad retains_grad",
}  # fmt: skip

# The methods of modules, by the file of `tinytorch.nn` that defines them
MODULE_METHODS = {
    "modules": (
        "__repr__ _call_with_hooks add_module apply bfloat16 buffers children cpu cuda double extra_repr float "
        "get_buffer get_parameter get_submodule half named_buffers register_forward_hook "
        "register_forward_pre_hook register_module register_parameter requires_grad_ to type"
    ),
}


class Later:
    """A method that is imported on first use, from `tinytorch.PACKAGE.FILE`, and then takes this object's place."""

    def __init__(self, owner: type, name: str, file: str) -> None:
        self.owner, self.name, self.file = owner, name, file

    def __get__(self, instance: Any, kind: type) -> Any:
        try:
            found = vars(import_module(self.file))["METHODS"][self.name]
        except ImportError as error:
            return _missing(self.name, instance, kind, error)
        if isinstance(found, FunctionType) and self.file.startswith("tinytorch.ops.") and self.name[:2] != "__":
            if found.__name__ == "<lambda>":
                found.__name__ = self.name
            found = in_words(found, all_errors=True, owner="tinytorch.Tensor")
        setattr(self.owner, self.name, found)
        return found.__get__(instance, kind) if hasattr(found, "__get__") else found


def _missing(name: str, instance: Any, kind: type, error: ImportError) -> Any:
    """Return what Python has for a method whose file needs a later module of the course: see tito/overlay.py.

    Raises:
        AttributeError: Python has nothing.
    """
    if name == "__array_ufunc__":
        return None  # `array + tensor` calls Tensor.__radd__, not NumPy
    if name in ("__format__", "__repr__"):
        return getattr(object, name).__get__(instance, kind)
    if name.startswith(("__i", "__r")) and name not in ("__int__", "__index__", "__invert__"):
        return lambda other: NotImplemented  # `x += y` calls __add__
    raise AttributeError(f"{kind.__name__}.{name} is not available: {error}") from error


class TensorExtension:
    """Base class of `Tensor`: the methods of `TENSOR_METHODS`, and longer signatures for the course's own methods."""

    __slots__ = ()

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        _lengthen(cls, TENSOR_LONGER)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __and__(self, other: Any) -> Any: ...
        def __or__(self, other: Any) -> Any: ...
        def __xor__(self, other: Any) -> Any: ...
        def __invert__(self) -> Any: ...
        def __abs__(self) -> Any: ...
        def __pos__(self) -> Any: ...
        def __contains__(self, value: object) -> bool: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __rpow__(self, other: Any) -> Any: ...
        def __int__(self) -> int: ...
        def __index__(self) -> int: ...


class ModuleExtension:
    """Base class of `Module`: the methods of `MODULE_METHODS`, and longer signatures, as for tensors.

    The slot keeps the names of a module's buffers out of `vars(module)`, which is what `__init__` set. It is here,
    because a class with slots of its own reads all its attributes more slowly: 4% of one image.
    """

    __slots__ = ("_buffers",)
    _buffers: dict[str, bool]  # name -> whether the tensor belongs to the state_dict
    _hooks: dict[str, list[Any]] | None = None  # what to call before and after forward

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        _lengthen(cls, MODULE_LONGER)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
    else:

        def __setattr__(self, name: str, value: Any) -> None:
            """Set an attribute, and let prepared models know: see `inference.watching`."""
            object.__setattr__(self, name, value)
            if name != "training":
                changes.restructured()


class OptimizerExtension:
    """Base class of `Optimizer`: its text and `add_param_group`, and longer signatures."""

    __slots__ = ()

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        _lengthen(cls, OPTIMIZER_LONGER)
        if "__init__" in vars(cls):
            cls.__init__ = in_words(cls.__init__, all_errors=cls.__module__.startswith("tinytorch."))  # type: ignore[method-assign]
        if OptimizerExtension in cls.__bases__:
            _lengthen(cls, {"__init__": keep_defaults})

    if TYPE_CHECKING:
        defaults: dict[str, Any]

        def add_param_group(self, group: dict[str, Any]) -> None: ...


class ScheduleExtension:
    """Base class of `LambdaLR`: PyTorch's names of its values."""

    step_count: int
    if TYPE_CHECKING:

        @property
        def base_rates(self) -> list[float]: ...

    @property
    def last_epoch(self) -> int:
        """The number of steps so far."""
        return self.step_count

    @property
    def base_lrs(self) -> list[float]:
        """The initial rates."""
        return self.base_rates


class LoaderExtension:
    """Base class of `DataLoader`: its text."""

    __slots__ = ()


def _lengthen(cls: type, longer: dict[str, Callable[[Method], Method]]) -> None:
    """Replace the methods that the class defines itself by ones with longer signatures, which call them."""
    for name, lengthen in longer.items():
        if name in vars(cls):
            original = vars(cls)[name]
            setattr(cls, name, update_wrapper(lengthen(original), original))


def _lend(owner: type, package: str, methods: dict[str, str]) -> None:
    for file, names in methods.items():
        for name in names.split():
            setattr(owner, name, Later(owner, name, f"tinytorch.{package}.{file}"))


_lend(TensorExtension, "ops", TENSOR_METHODS)
_lend(ModuleExtension, "nn", MODULE_METHODS)
_lend(OptimizerExtension, "optim", {"groups": "__repr__ add_param_group"})
_lend(LoaderExtension, "utils", {"text": "__repr__"})


def about_array(error: BaseException) -> InputTypeError | None:
    """Return an error in words for `t.data.normal_()`, or None for anything else: `t.data` is a NumPy array."""
    name = getattr(error, "name", None)
    if not isinstance(error, AttributeError) or not isinstance(error.obj, ndarray):
        return None
    if name not in " ".join(TENSOR_METHODS.values()).split():
        return None
    return InputTypeError(f"{name} is a method of tensors, and t.data is a NumPy array: write t.{name}(...), "
                          f"under tinytorch.no_grad() if it changes a parameter in place")  # fmt: skip
