"""Errors for arguments of the wrong type, in the user's words instead of those of NumPy or Python.

A call that fails with a raw error is compared with the function's annotations. If an argument does not fit, the error
names it. Otherwise, an error that was raised in this package or in NumPy states what the function was called with, and
an error that was raised in the user's own code stays as it is. A call that succeeds costs nothing in a `try` block, and
0.1 µs through `in_words`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from tinytorch.base.errors import InputTypeError, StateError, TinyTorchError

# What NumPy and Python raise
RAW = (AttributeError, TypeError, ValueError, IndexError, KeyError, OverflowError, ZeroDivisionError)
OURS = (
    __file__.removesuffix("base/words.py"),
    np.__file__.removesuffix("__init__.py"),
    "numpy/",
)  # folders; Cython names relative ones
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

    name = _name(function, args)
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
                wanted = " or ".join(dict.fromkeys(_names(hint)))
                return InputTypeError(f"{name}: {argument} is {_misfit(one, hint)}: expected {wanted}")
    return None


def _name(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """Return the name of a function, or of the class of an object whose method it is, without inner functions."""
    if function.__name__ == "__init__" and args:
        return type(args[0]).__name__
    name = function.__qualname__.removesuffix(".forward")
    return function.__name__ if "<" in name else name


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
    if hint is Any or hint is object or isinstance(hint, (str, TypeVar)):
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is None or hint is type(None):
        return value is None
    kind = origin or hint
    if getattr(value, "ndim", 1) == 0 and _iterable(kind):
        return False
    if origin is not None and _iterable(kind):
        return isinstance(value, kind) and not isinstance(value, str) and not _wrong_parts(value, hint)
    if kind in WIDER:
        return isinstance(value, WIDER[kind]) and (kind is bool or not isinstance(value, bool))
    if getattr(kind, "_is_protocol", False) and kind is not Callable:
        return not isinstance(value, type) and all(
            hasattr(value, name) for name in vars(kind) if name == "__len__" or name[0] != "_"
        )
    try:
        return isinstance(value, kind)
    except TypeError:
        return True


def _iterable(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Iterable) and kind is not str


def _wrong_parts(value: Any, hint: Any) -> list[Any]:
    """Return the elements of a list or tuple, or the keys of a dict, that do not have the annotated type."""
    parts = get_args(hint) if _iterable(get_origin(hint)) else ()
    if isinstance(value, (list, tuple)) and get_origin(hint) is tuple and ... not in parts:
        if len(value) != len(parts):
            return [value]
        return [one for one, part in zip(value, parts, strict=True) if not fits(one, part)]
    if not parts or not isinstance(value, (list, tuple, Mapping)):
        return []
    return [one for one in value if not fits(one, parts[0])]


def _misfit(value: Any, hint: Any) -> str:
    """Return words for a value that does not fit, with its first element that does not."""
    if isinstance(value, (list, tuple)) and value and get_origin(hint) not in (Union, types.UnionType):
        wrong = _wrong_parts(value, hint)
        if wrong and wrong[0] is not value:
            return f"{described(value)} that contains {described(wrong[0])}"
    return described(value)


def _names(hint: Any) -> Iterator[str]:
    if get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _names(part)
    elif hint is None or hint is type(None):
        yield "None"
    elif get_origin(hint) is Literal:
        yield from map(repr, get_args(hint))
    else:
        name = getattr(get_origin(hint) or hint, "__name__", str(hint)).replace("ndarray", "array")
        parts = [part for part in get_args(hint) if part is not ... and not isinstance(part, (list, TypeVar))]
        simple = get_origin(hint) and _iterable(get_origin(hint)) and parts and Any not in parts
        yield f"{name} of {', '.join(' or '.join(_names(part)) for part in parts)}" if simple else name


def _is_ours(error: BaseException) -> bool:
    """Return whether an error was raised in this package or in NumPy, not by the call itself or in the user's code.

    Files count, not modules: a learner's module has the name of the one that it replaces.
    """
    place = error.__traceback__
    if place is None or place.tb_next is None:
        return False
    while place.tb_next is not None:
        place = place.tb_next
    return place.tb_frame.f_code.co_filename.startswith(OURS)


def _refused(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], owner: str) -> InputTypeError:
    """Return the error for arguments whose types fit, but that the function is not defined for together."""
    name = _name(function, args).rpartition(".")[2]
    shown = args[1:] if function.__name__ == "__init__" else args
    given = [_with_shape(x) for x in shown] + [f"{key}={_with_shape(x)}" for key, x in kwargs.items()]
    return InputTypeError(f"{name}: not defined for {', '.join(given) or 'no arguments'}: see help({owner}.{name})")


def _with_shape(x: Any) -> str:
    shape = getattr(x, "shape", None)
    return f"{described(x)} of shape {shape}" if isinstance(shape, tuple) and shape else described(x)


def in_words(
    function: Callable[..., Result], *, all_errors: bool = False, owner: str = "tinytorch"
) -> Callable[..., Result]:
    """Return the function with errors in words for arguments of the wrong type.

    Args:
        function: the function.
        all_errors: also replace raw errors of this package and of NumPy that no annotation explains.
        owner: the module or class of the function, for the message.
    """

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Result:
        try:
            return function(*args, **kwargs)
        except TinyTorchError:
            raise
        except RAW as error:
            refused = _refused(function, args, kwargs, owner) if all_errors and _is_ours(error) else error
            raise explained(function, args, kwargs) or refused from None

    return checked


def all_in_words(names: dict[str, Any], owner: str) -> None:
    """Give the public functions and classes of a module errors in words.

    Args:
        names: the module's `globals()`. The names in its `__all__` are public, or else those that it defines itself
            and that do not begin with `_`.
        owner: the name under which users import the module.
    """
    own = [name for name, value in names.items()
           if name[0] != "_" and getattr(value, "__module__", None) == names["__name__"]]  # fmt: skip
    for name in names.get("__all__", own):
        value = names[name]
        if isinstance(value, types.FunctionType) and value.__module__.startswith("tinytorch."):
            names[name] = in_words(value, all_errors=True, owner=owner)
        elif isinstance(value, type) and not issubclass(value, BaseException):
            init = vars(value).get("__init__")
            if isinstance(init, types.FunctionType) and not hasattr(init, "__wrapped__"):
                setattr(value, "__init__", in_words(init, all_errors=True, owner=owner))  # noqa: B010 (as in `public`)


def public(module: types.ModuleType, name: str) -> Any:
    """Return a function or class of a module after giving it errors in words.

    A class keeps its identity: only its `__init__` changes. A function is replaced in its module, so that it can still
    be pickled by its name. The project's own files import it before that, and call it directly.
    """
    value = getattr(module, name)
    if isinstance(value, type):
        init = vars(value).get("__init__")
        if isinstance(init, types.FunctionType) and not hasattr(init, "__wrapped__"):
            setattr(value, "__init__", in_words(init, all_errors=True))  # noqa: B010 (mypy refuses to assign to it)
    elif isinstance(value, types.FunctionType) and not hasattr(value, "__wrapped__"):
        value = in_words(value, all_errors=True)
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
