"""Errors for arguments of the wrong type, in the user's words instead of those of NumPy or Python.

A call that fails with a raw error is compared with the function's annotations. If an argument does not fit, the error
names it; otherwise the raw error stays, because it comes from the user's own code. A call that succeeds costs nothing
in a `try` block, and 0.1 µs through `in_words`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from tinytorch.base.errors import InputTypeError, StateError, TinyTorchError

RAW = (AttributeError, TypeError, ValueError, IndexError, KeyError, OverflowError)  # what NumPy and Python raise
WIDER: dict[Any, tuple[type, ...]] = {  # what else an annotation accepts
    bool: (bool, np.bool_),
    int: (int, np.integer),
    float: (int, float, np.integer, np.floating),
}
Result = TypeVar("Result")


def described(value: Any) -> str:
    """Return a value in a few words, for an error message.

    >>> described(None), described("text"), described([1, 2]), described(np.zeros(3))
    ('None', "'text'", 'a list', 'an array')
    """
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    name = "array" if isinstance(value, np.ndarray) else type(value).__name__
    if isinstance(value, type):
        return f"the class {value.__name__}, not an object: write {value.__name__}(...)"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def explained(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> InputTypeError | None:
    """Return an error that names the first argument whose type does not fit, or None if all of them fit."""
    import inspect  # here: only failed calls need it

    name = function.__qualname__.removesuffix(".__init__").removesuffix(".forward")
    if "<" in name:  # defined inside a function, or a lambda
        name = function.__name__
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs).arguments
    except TypeError:  # too many arguments or too few: Python's message names them
        return None
    names = getattr(inspect.unwrap(function), "__globals__", {})
    for argument, value in bound.items():
        hint = _hint(signature.parameters[argument].annotation, names)
        variadic = signature.parameters[argument].kind is inspect.Parameter.VAR_POSITIONAL
        for one in value if variadic else (value,):
            if not fits(one, hint):
                wanted = " or ".join(_names(hint))
                return InputTypeError(f"{name}: {argument} is {described(one)}: expected {wanted}")
    return None


def _hint(annotation: Any, names: dict[str, Any]) -> Any:
    """Return an annotation as a type, or Any if a name in it is imported for type checkers only."""
    if not isinstance(annotation, str):  # an annotation that is missing is a class of `inspect`
        return Any if getattr(annotation, "__module__", "") == "inspect" else annotation
    try:
        return get_type_hints(type("", (), {"__annotations__": {"x": annotation}}), names)["x"]
    except (NameError, TypeError):
        return Any


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value has an annotated type; what cannot be checked fits."""
    origin = get_origin(hint)
    if hint is Any or isinstance(hint, (str, TypeVar)):
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in get_args(hint))
    if hint is None or hint is type(None):
        return value is None
    if origin in (list, tuple) or (origin is not None and isinstance(origin, type) and issubclass(origin, Iterable)):
        return isinstance(value, origin) and not isinstance(value, str)
    kind = origin or hint
    if kind in WIDER:
        return isinstance(value, WIDER[kind])
    if getattr(kind, "_is_protocol", False) and kind is not Callable:
        return not isinstance(value, type) and all(
            hasattr(value, name) for name in vars(kind) if name == "__len__" or name[0] != "_"
        )
    try:
        return isinstance(value, kind)
    except TypeError:
        return True


def _names(hint: Any) -> Iterator[str]:
    if get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _names(part)
    elif hint is None or hint is type(None):
        yield "None"
    else:
        yield getattr(get_origin(hint) or hint, "__name__", str(hint)).replace("ndarray", "array")


def _refused(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], owner: str) -> InputTypeError:
    """Return the error for arguments whose types fit, but that the function is not defined for together."""
    given = [_with_shape(x) for x in args] + [f"{name}={_with_shape(x)}" for name, x in kwargs.items()]
    return InputTypeError(f"{function.__name__}: not defined for {', '.join(given) or 'no arguments'}: "
                          f"see help({owner}.{function.__name__})")  # fmt: skip


def _with_shape(x: Any) -> str:
    shape = getattr(x, "shape", None)
    return f"{described(x)} of shape {shape}" if isinstance(shape, tuple) and shape else described(x)


def in_words(
    function: Callable[..., Result], *, all_errors: bool = False, owner: str = "tinytorch"
) -> Callable[..., Result]:
    """Return the function with errors in words for arguments of the wrong type.

    Args:
        function: the function.
        all_errors: also replace raw errors that no annotation explains. The function must not call the user's code.
        owner: the module or class of the function, for the message.
    """

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Result:
        try:
            return function(*args, **kwargs)
        except TinyTorchError:
            raise
        except RAW as error:
            refused = _refused(function, args, kwargs, owner) if all_errors else error
            raise explained(function, args, kwargs) or refused from None

    return checked


def public(module: types.ModuleType, name: str) -> Any:
    """Return a function or class of a module after giving it errors in words.

    A class keeps its identity: only its `__init__` changes. A function is replaced in its module, so that it can still
    be pickled by its name. The project's own files import it before that, and call it directly.
    """
    value = getattr(module, name)
    if isinstance(value, type):
        init = vars(value).get("__init__")
        if isinstance(init, types.FunctionType) and not hasattr(init, "__wrapped__"):
            setattr(value, "__init__", in_words(init))  # noqa: B010 (mypy refuses to assign to __init__)
    elif isinstance(value, types.FunctionType) and not hasattr(value, "__wrapped__"):
        value = in_words(value, all_errors=module.__name__.startswith("tinytorch.ops."))
        setattr(module, name, value)
    return value


def foreign_array(name: str, value: Any) -> np.ndarray:
    """Return a value of a state_dict as an array: also a tensor of PyTorch's, for which NumPy lacks bfloat16.

    Raises:
        StateError: it is neither.
    """
    if isinstance(value, np.ndarray):
        return value
    try:
        array = np.asarray(value.detach().float() if hasattr(value, "detach") else value)
    except RAW:
        array = np.array(None)
    if array.dtype == object:
        raise StateError(f"{name} is {described(value)}: expected a Tensor or an array")
    return array
