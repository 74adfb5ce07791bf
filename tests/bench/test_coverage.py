"""tito.bench.coverage: what a run leaves out on this machine, with the reasons."""

from __future__ import annotations

import pytest

from tests.bench.conftest import TINY
from tito.bench import coverage
from tito.bench.suites import load_suite


def test_a_rival_that_is_missing_leaves_its_case_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage.contest, "missing", lambda pinned, packages=("torch",): "no rival here")
    loaded = load_suite(TINY)
    suite = loaded.suite
    (case,) = suite.cases
    rival = case.model_copy(update={"name": "beside", "title": "Beside a rival", "rival": "mlp"})
    both = loaded.model_copy(update={"suite": suite.model_copy(update={"cases": [case, rival]})})
    _, chosen, omitted = coverage.covered(both, quick=False, pinned={})
    assert [one.name for one in chosen] == [case.name]
    assert [(one.what, one.why) for one in omitted] == [("Beside a rival", "no rival here")]
