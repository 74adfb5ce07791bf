"""Contexts as decorators of functions, generators, and what they refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from threading import Thread
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.base.errors import SettingError
from tinytorch.tensor import Tensor

W = Tensor(np.ones(2, np.float32), requires_grad=True)


def records() -> bool:
    return (W * 2).requires_grad


def half() -> bool:
    return (Tensor(np.ones((2, 2), np.float32)) @ np.ones((2, 2), np.float32)).dtype == np.float16


@pytest.mark.parametrize("decorator", [tt.no_grad(), tt.no_grad])
def test_generator_records_nothing_and_its_caller_does(decorator: Any) -> None:
    @decorator
    def steps() -> Iterator[bool]:
        for _ in range(3):
            yield records()

    assert [(inside, records()) for inside in steps()] == [(False, True)] * 3


def test_generator_gets_what_is_sent_and_thrown_and_returns_its_value() -> None:
    closed = []

    @tt.no_grad()
    def steps() -> Generator[Any, Any, str]:
        try:
            sent = yield "first"
            assert not records()
            try:
                yield sent * 2
            except KeyError:
                assert not records()
                yield "caught"
            return "done"
        finally:
            closed.append(records())

    run = steps()
    assert next(run) == "first"
    assert run.send(21) == 42
    assert run.throw(KeyError("k")) == "caught"
    with pytest.raises(StopIteration, match="done"):
        next(run)
    run = steps()
    next(run)
    run.close()
    assert closed == [False, False]
    assert records()


def test_generator_under_autocast_computes_in_16_bits_and_its_caller_does_not() -> None:
    @tt.autocast("float16")
    def steps() -> Iterator[bool]:
        yield half()
        yield half()

    assert [(inside, half()) for inside in steps()] == [(True, False)] * 2


def test_error_inside_leaves_the_context() -> None:
    @tt.no_grad()
    def fails() -> Iterator[None]:
        yield
        raise ZeroDivisionError

    run = fails()
    next(run)
    with pytest.raises(ZeroDivisionError):
        next(run)
    assert records()


def test_decorated_function_and_nested_blocks_restore_recording() -> None:
    bare: Any = tt.no_grad

    @bare
    def twice(deeper: bool = True) -> bool:
        return twice(False) if deeper else records()

    assert not twice()
    assert records()
    block = tt.no_grad()
    with block, block:
        assert not records()
    assert records()


def test_one_decorated_function_runs_in_two_threads() -> None:
    @tt.no_grad()
    def steps() -> Iterator[bool]:
        yield records()
        yield records()

    seen: list[bool] = []
    threads = [Thread(target=lambda: seen.extend(steps())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False] * 4
    assert records()


def test_async_function_is_refused_because_its_body_runs_later() -> None:
    async def coroutine() -> None: ...
    async def generator() -> AsyncIterator[int]:
        yield 1

    for function in (coroutine, generator):
        with pytest.raises(SettingError, match=rf"^no_grad: {function.__name__} is an async function"):
            tt.no_grad()(function)
