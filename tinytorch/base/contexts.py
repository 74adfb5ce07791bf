"""Contexts that also decorate generator functions, for `no_grad` and `autocast`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ContextDecorator
from functools import wraps
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from tinytorch.base.errors import SettingError

GENERATOR, ASYNCHRONOUS = 0x20, 0x80 | 0x200  # bits of a function's `co_flags`: see the module `inspect`


F = TypeVar("F", bound=Callable[..., Any])


class Scope(ContextDecorator):
    """Base class of a context manager that is also a decorator, for plain functions and for generator functions.

    A decorated generator runs inside the context, but the code that iterates over it does not: the context is left at
    each `yield` and entered again for the next step.
    """

    def __enter__(self) -> Self:
        raise NotImplementedError(f"{type(self).__name__} must define __enter__()")

    def __exit__(self, *error: object) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define __exit__()")

    def _recreate_cm(self) -> Self:
        """Return the context for one call of a decorated function; `ContextDecorator` calls this."""
        return self

    def __call__(self, function: F) -> F:
        """Return `function` inside the context.

        Raises:
            SettingError: the function is async. Its body runs after the call, and other code in between.
        """
        flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
        if flags & ASYNCHRONOUS:
            raise SettingError(f"{type(self).__name__}: {function.__name__} is an async function: expected a function "
                               f"or a generator; use `with` around code that does not await")  # fmt: skip
        return cast(F, self._steps(function)) if flags & GENERATOR else super().__call__(function)

    def _steps(self, function: Callable[..., Any]) -> Callable[..., Generator[Any, Any, Any]]:
        """Return the generator function with each step inside the context."""

        @wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            body = function(*args, **kwargs)
            step: Callable[..., Any] = body.send
            given: Any = None
            while True:
                try:
                    with self._recreate_cm():
                        value = step(given)
                except StopIteration as stop:
                    return stop.value
                try:
                    given = yield value
                    step = body.send
                except GeneratorExit:
                    with self._recreate_cm():
                        body.close()
                    raise
                except BaseException as error:
                    given, step = error, body.throw

        return generator


if TYPE_CHECKING:
    # `@no_grad` and `@no_grad()`, for type checkers: they take the result of a class for an object of that class
    @overload
    def bare_or_called() -> Scope: ...
    @overload
    def bare_or_called(function: F) -> F: ...
    def bare_or_called(function: Any = None) -> Any: ...
