"""Ways to join layers apply in the order in which they were added."""

from __future__ import annotations

import pytest

from tinytorch.base import fusing


def test_ways_apply_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusing, "_ways", [])
    layers: list[fusing.Layer] = [abs, abs, round]
    assert fusing.joined(layers) is layers
    fusing.add(lambda layers: layers[1:])
    fusing.add(lambda layers: [*layers, float])
    assert fusing.joined(layers) == [abs, round, float]
