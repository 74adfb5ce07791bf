"""Errors in the user's words for each argument of each public function, also the optional ones."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.edges.every_function import BY_NAME, public, values
from tinytorch.base.errors import TinyTorchError
from tinytorch.tensor import Tensor

FUNCTIONS = public()
WRONG: tuple[Any, ...] = (
    None, "text", object(), 2.5, -1, 0, [], {}, [None], ["text"], Tensor, lambda: None, Tensor([1, 2]),
    Tensor([[1.5, 2], [3, 4]]), True, float("nan"), (1, 2, 3), np.array("a"),
)  # fmt: skip
# Python's own words for a call with too many or too few arguments
SIGNATURE = re.compile(r"missing|takes|got an unexpected|got multiple|positional argument|required keyword")
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def test_every_public_function_is_listed_with_arguments_that_it_accepts() -> None:
    assert sorted(FUNCTIONS.keys() - BY_NAME.keys()) == []
    assert sorted(BY_NAME.keys() - FUNCTIONS.keys()) == []


def raised(name: str, replaced: str | None = None, wrong: Any = None) -> Exception | None:
    """Call a function with the arguments that it accepts, except for one; return the error."""
    function, pool = FUNCTIONS[name], values()
    parameters = [p for p in inspect.signature(function).parameters.values() if p.kind in POSITIONAL]
    given: list[Any] = [pool[value] for value in BY_NAME[name]]
    named = {}
    if replaced is not None:
        places = [p.name for p in parameters[: len(given)]]
        if replaced in places:
            given[places.index(replaced)] = wrong
        else:
            named = {replaced: wrong}
    try:
        function(*given, **named)
    except Exception as error:
        return error
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_wrong_argument_is_refused_in_words_or_accepted(name: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    state = tt.get_rng_state()
    usual = raised(name)
    assert usual is None or isinstance(usual, TinyTorchError), usual
    for parameter in list(inspect.signature(FUNCTIONS[name]).parameters.values())[name.startswith("Tensor.") :]:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        for wrong in WRONG:
            error = raised(name, parameter.name, wrong)
            in_words = error is None or isinstance(error, TinyTorchError)
            if not in_words and isinstance(error, TypeError) and SIGNATURE.search(str(error)):
                continue
            assert in_words, (parameter.name, wrong, error)
            assert "\n" not in str(error), (parameter.name, wrong, error)
    tt.set_rng_state(state)
