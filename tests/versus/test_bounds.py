"""tito.versus.bounds: what the machine's peaks allow, in one line for each measurement."""

from __future__ import annotations

import math
from types import ModuleType

import pytest

from tito.errors import RunError
from tito.versus import bounds, driver
from tito.versus.bounds import Cost, Peaks, dense, peaks


def test_cost_of_dense_layers_counts_every_product_and_every_weight() -> None:
    assert dense([(3, 4), (4, 5)], 2) == Cost(2 * 32 * 2, 128)
    assert dense([(3, 4)], 1, item=1, passes=3) == Cost(72, 12, "int8")


def test_bound_states_both_times_with_their_peaks() -> None:
    machine = Peaks({"float32": 400e9, "int8": 1e12}, {2_000_000: 50e9})
    assert machine.bound(Cost(8e6, 2e6)) == (
        "arithmetic 20 µs (8 million operations at 400 GFLOP/s), weights 40 µs (2 MB at 50 GB/s)"
    )
    assert machine.bound(Cost(8e9, 2e6, "int8", reads=100)) == (
        "arithmetic 8 ms (8 billion operations at 1000 GOP/s), weights 4 ms (100 times 2 MB at 50 GB/s)"
    )
    assert machine.bound(Cost(8e6, 2e6, "bfloat16")).startswith("no native bfloat16 here, weights")


def test_peaks_of_this_machine_are_measured_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    found = peaks([Cost(1, 4096), Cost(2, 4096), Cost(3, 8192.0)], {})
    assert set(found.reads) == {4096, 8192}
    assert "float32" in found.operations
    assert all(speed > 1e6 for speed in (*found.operations.values(), *found.reads.values()))
    monkeypatch.setattr(bounds, "TIMEOUT", 0.001)
    with pytest.raises(RunError, match=r"^the machine's peaks took longer than 0.001 s to measure$"):
        peaks([Cost(1, 4096)], {})


def costly() -> list[ModuleType]:
    return [work for work in map(driver.load, driver.names()) if hasattr(work, "COSTS")]


@pytest.mark.parametrize("work", costly(), ids=lambda work: work.__name__.rpartition(".")[2])
def test_costs_of_a_work_are_those_of_its_model(work: ModuleType) -> None:
    for cost in work.COSTS.values():
        assert 2 * cost.operations >= cost.bytes > 0  # each number is used at least once: 2 operations, 4 bytes
        assert math.isfinite(cost.operations)


def test_numbers_of_the_known_models() -> None:
    import tinytorch as tt
    from tinytorch.saved import load_model
    from tito.versus.works import cnn, gpt, resnet8, tinygpt_cached

    def matrices(model: tt.Module) -> int:
        return sum(p.data.size for p in model.parameters() if p.ndim > 1)

    assert matrices(resnet8.model()) == resnet8.NUMBERS
    assert sum(array.size for array in cnn._weights().values() if array.ndim > 1) == cnn.NUMBERS
    positions = gpt.SIZES["block_size"] * gpt.SIZES["n_embd"]
    assert sum(array.size for array in gpt.weights().values() if array.ndim > 1) - positions == gpt.NUMBERS
    model = load_model(tinygpt_cached.reference()[0])
    assert isinstance(model, tt.GPT)
    assert matrices(model) - model.transformer.wpe.weight.data.size == tinygpt_cached.NUMBERS
