"""The technique `entry` on little data: honest entries are measured, and cheats planted in code are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import caching, datasets
from tinytorch.base.errors import CheckError, DataError
from tinytorch.base.files import load_arrays, save_arrays
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.saved import save_model
from tinytorch.transformers import GPT
from tito.bench.suites import load_suite
from tito.bench.workload import load_workload

SUITES = Path(__file__).parents[2] / "suites"
SUITE = load_suite(SUITES / "2025_competition").suite
TRACK_OF = {"mnist": "MNIST", "cifar10": "CIFAR-10", "tinygpt": "TinyGPT"}
X = np.random.default_rng(5).random((60, 28, 28), dtype=np.float32)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The workload with fewer queries, and with references of its own instead of the repository's."""
    module = load_workload(SUITES / "2025_tinymlperf" / "workload.py")
    few = {"TEXTS": 3, "TEXT_REPEATS": 2, "TEXT_BATCHES": 5, "BATCHES": 6, "REPEATS": 30, "NEW_TOKENS": 40}
    for name, value in few.items():
        monkeypatch.setattr(module.entry, name, value)
    for name, value in {"NEW_TOKENS": 40, "HOP": 32}.items():
        monkeypatch.setattr(module.generation, name, value)
    monkeypatch.setattr(module.entry, "HOP", 32)
    for name, model in {"mnist": mlp(), "cifar10_resnet8": cnn(), "tinygpt": gpt()}.items():
        save_model(model, tmp_path / "reference" / name)
    for part in (module.tasks, module.entry):
        monkeypatch.setattr(part, "REFERENCES", tmp_path / "reference")
    return module


def mlp(seed: int = 0) -> tt.Sequential:
    tt.manual_seed(seed)
    return tt.Sequential(tt.Flatten(), tt.Linear(784, 16), tt.ReLU(), tt.Linear(16, 10)).eval()


def cnn() -> tt.Module:
    tt.manual_seed(0)
    layers: list[Any] = [
        tt.Conv2d(3, 8, 3, padding=1),
        tt.BatchNorm2d(8),
        tt.ReLU(),
        tt.AdaptiveAvgPool2d(1),
        tt.Flatten(),
    ]
    return tt.Sequential(*layers, tt.Linear(8, 10)).eval()


def gpt(layers: int = 2) -> GPT:
    tt.manual_seed(0)
    model = GPT(vocab_size=50, block_size=64, n_layer=layers, n_head=2, n_embd=16).eval()
    assert isinstance(model, GPT)
    for parameter in model.parameters():
        parameter.data = parameter.data * 8  # as if trained: earlier tokens matter
    return model


def prepared(track: str, folder: Path) -> dict[str, str]:
    """Write little test data as `prepare` does; return the parameters that name it."""
    rng = np.random.default_rng(0)
    shape = {"mnist": (28, 28), "cifar10": (3, 32, 32)}.get(track)
    if shape is None:
        arrays = {"tokens": rng.integers(0, 50, 3000)}
    else:
        arrays = {"images": rng.integers(0, 256, (120, *shape), np.uint8), "labels": rng.integers(0, 10, 120)}
    file = save_arrays(folder / "data.safetensors", arrays)
    return {"data": str(file), "data_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


@pytest.fixture
def judged(work: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Measure an entry as a child does, on little data."""

    def run(model: tt.Module | Path | None, case: str, seed: int = 1, **more: Any) -> dict[str, Any]:
        folder: Path | str = "reference"
        if isinstance(model, Path):
            folder = model
        elif model is not None:
            folder = save_model(model, tmp_path / "entry")
        few = {"windows": 20} if case.startswith("tinygpt") else {}
        parameters = {**SUITE.case(case).parameters, **few, **prepared(case.split("_")[0], tmp_path), **more}
        parameters["folder"] = str(folder)
        data, variant = work.load(parameters), work.build(parameters, seed)
        assert work.train(variant, data, parameters, seed, lambda *done, **figures: None) == []
        return work.evaluate(variant, data, parameters)

    return run


def refused(judged: Any, model: Any, case: str, **more: Any) -> tuple[str, str]:
    """Return the code and the message with which an entry is refused."""
    with pytest.raises(CheckError) as caught:
        judged(model, case, **more)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("case", SUITE.cases, ids=lambda case: case.name)
def test_reference_as_an_entry_gives_exactly_the_declared_metrics(judged: Any, case: Any) -> None:
    answer = judged(None, case.name)
    assert set(answer["metrics"]) == set(SUITE.metrics_of(case))
    assert np.isfinite(list(answer["metrics"].values())).all()
    assert all(np.isfinite(values).all() and len(values) > 1 for values in answer["raw"].values())


@pytest.mark.parametrize("track", TRACK_OF)
def test_quality_keeps_each_item_of_both(judged: Any, track: str) -> None:
    answer = judged(None, f"{track}_quality")
    own, reference = (np.array(answer["raw"][name]) for name in ("own", "reference"))
    assert len(own) == (20 if track == "tinygpt" else 120)
    np.testing.assert_array_equal(own, reference)
    metrics = answer["metrics"]
    value, lost = ("val_loss", "loss_added") if track == "tinygpt" else ("accuracy", "points_lost")
    assert metrics[value] == pytest.approx(own.mean())
    assert metrics[lost] == 0
    assert metrics["file_bytes"] == metrics["reference_bytes"] > 0
    assert metrics["memory_bytes"] == pytest.approx(metrics["reference_memory_bytes"], rel=0.2)


def test_windows_losses_are_the_framework_s_cross_entropy(work: Any) -> None:
    logits = np.random.default_rng(0).standard_normal((3, 7, 50)).astype(np.float32)
    targets = np.random.default_rng(1).integers(0, 50, (3, 7))
    own = work.tasks.losses_of(logits, targets)
    expected = [tt.CrossEntropyLoss()(tt.Tensor(a), b).item() for a, b in zip(logits, targets, strict=True)]
    np.testing.assert_allclose(own, expected, rtol=1e-5)


@pytest.mark.parametrize("make", [mlp, lambda: quantize_dynamic(mlp()), lambda: quantize_static(mlp(), [X])])
def test_honest_image_entries_pass_all_referees(judged: Any, make: Any) -> None:
    assert judged(make(), "mnist_quality")["metrics"]["points_lost"] <= 0.05
    answer = judged(make(), "mnist_times")
    assert answer["metrics"]["speedup"] > 0
    assert len(answer["raw"]["own_us"]) == len(answer["raw"]["reference_us"]) == 700


@pytest.mark.parametrize("int8", [False, True])
def test_honest_cached_entries_pass_all_referees(judged: Any, int8: bool, tmp_path: Path) -> None:
    model = quantize_dynamic(gpt()) if int8 else gpt()
    assert isinstance(model, GPT)
    folder = save_model(model, tmp_path / "cached", cache=caching.KVCache(model, 1, 32))
    judged(folder, "tinygpt_quality")
    assert len(judged(folder, "tinygpt_times")["raw"]["own_us"]) == 2


def test_sixteen_bit_entry_is_timed_in_float32(judged: Any, work: Any, tmp_path: Path) -> None:
    model = mlp()
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float16)
    variant = work.build({}, 1)
    variant.read(save_model(model, tmp_path / "half"))
    assert {tensor.data.dtype.name for _, tensor in variant.served.named_tensors()} == {"float32"}
    assert variant.file_bytes < 0.6 * judged(tmp_path / "half", "mnist_quality")["metrics"]["reference_bytes"]


def test_each_round_asks_other_inputs_and_none_twice(work: Any, tmp_path: Path) -> None:
    data = work.load({**SUITE.case("mnist_times").parameters, **prepared("mnist", tmp_path)})
    rounds = [work.entry.questions(data, seed) for seed in (1, 2)]
    asked = [x.tobytes() for r in rounds for part in (r.singles, r.repeats, [r.first]) for x in part]
    asked += [row.tobytes() for r in rounds for batch in r.batches for row in batch]
    assert len(set(asked)) == len(asked)


# Prepared data ------------------------------------------------------------------------------------------


def test_prepared_data_is_what_the_data_set_holds(work: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28), np.uint8)
    labels = np.arange(9)
    monkeypatch.setattr(datasets, "mnist", lambda: datasets.MNIST(images, labels, images[:4], labels[:4]))
    parameters = dict(SUITE.case("mnist_quality").parameters)
    work.prepare(parameters, tmp_path / "data.safetensors")
    kept, _ = load_arrays(tmp_path / "data.safetensors")
    whole = work.load(parameters)
    assert whole.known is None
    content = (tmp_path / "data.safetensors").read_bytes()
    named = {"data": str(tmp_path / "data.safetensors"), "data_sha256": hashlib.sha256(content).hexdigest()}
    again = work.load(parameters | named)
    for task in (whole, again):
        np.testing.assert_array_equal(task.images.test_images, kept["images"])
        np.testing.assert_array_equal(task.images.test_labels, kept["labels"])
    expected = work.tasks.correct(whole, work.variant.predictor_of(whole.reference))
    np.testing.assert_array_equal(again.known, expected)


@pytest.mark.parametrize("track", TRACK_OF)
def test_prepared_results_of_the_reference_are_those_that_it_has(
    judged: Any, work: Any, tmp_path: Path, track: str
) -> None:
    case = SUITE.case(f"{track}_quality")
    few = {"windows": 20} if track == "tinygpt" else {}
    named = prepared(track, tmp_path)
    whole = judged(None, case.name)
    task = work.load({**case.parameters, **few, **named})
    work.entry.save_arrays(tmp_path / "known.safetensors", {
        **load_arrays(named["data"])[0], "reference": work.entry.results(task, task.reference),
    })  # fmt: skip
    content = (tmp_path / "known.safetensors").read_bytes()
    again = judged(None, case.name, data=str(tmp_path / "known.safetensors"),
                   data_sha256=hashlib.sha256(content).hexdigest())  # fmt: skip
    assert again["raw"] == whole["raw"]


def test_prepared_data_with_another_hash_is_refused(work: Any, tmp_path: Path) -> None:
    parameters = {**SUITE.case("mnist_quality").parameters, **prepared("mnist", tmp_path)}
    file = Path(str(parameters["data"]))
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(DataError, match="prepared data with SHA-256"):
        work.load(parameters)


# Cheats that data can carry -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["mnist_quality", "mnist_times"])
def test_softmax_over_the_batch_is_refused(judged: Any, case: str) -> None:
    code, message = refused(judged, tt.Sequential(*mlp().layers, tt.Softmax(0)), case)
    assert code == "answers"
    assert "differ from the model's" in message


@pytest.mark.parametrize("case", ["mnist_quality", "mnist_times"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_outputs_that_are_not_finite_are_refused(judged: Any, case: str) -> None:
    model = mlp()
    last = model.layers[-1]
    assert isinstance(last, tt.Linear)
    last.weight.data[:] = 3e38  # finite in the file, infinite when added up
    assert refused(judged, model, case)[0] == "not-finite"


def test_model_of_another_task_is_refused(judged: Any) -> None:
    assert refused(judged, tt.Sequential(*mlp().layers, tt.Linear(10, 9)), "mnist_times")[0] == "task"
    assert refused(judged, tt.Sequential(tt.Flatten(), tt.Linear(700, 10)), "mnist_times")[0] == "model"
    assert refused(judged, gpt(), "mnist_quality")[0] in ("model", "task")


def test_damaged_files_are_refused(judged: Any, tmp_path: Path) -> None:
    folder = save_model(mlp(), tmp_path / "cut")
    (folder / "model.safetensors").write_bytes(b"\x00" * 20)
    assert refused(judged, folder, "mnist_quality")[0] == "model"


def test_slow_model_is_foreseen(judged: Any, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work.entry, "SLOWEST", 0.01)
    code, message = refused(judged, mlp(), "mnist_times", most_seconds=1e-7)
    assert code == "time"
    assert "expected at most 1e-07 s" in message
    assert refused(judged, mlp(), "mnist_quality", most_seconds=1e-7)[0] == "time"


def test_busy_machine_on_which_the_reference_is_slow_too_refuses_nothing(judged: Any) -> None:
    assert judged(mlp(), "mnist_times", most_seconds=1e-7)["metrics"]["speedup"] > 0
    assert judged(mlp(), "mnist_quality", most_seconds=1e-7)["metrics"]["points_lost"] == 0


def test_query_that_takes_an_hour_is_foreseen_after_two(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    clock = {"own": 3600.0, "reference": 1e-3}

    def measured(query: Any, samples: int, warmup: int) -> Any:
        query()
        return SimpleNamespace(seconds=np.array([clock[asked[-1]]]))

    def model(name: str) -> Any:
        return lambda x: asked.append(name)

    monkeypatch.setattr(work.entry, "measure", measured)
    with pytest.raises(CheckError, match=r"a query takes 3.6e\+03 s, all would take 2700000 s: expected at most 60 s"):
        work.entry.foresee(model("own"), model("reference"), 1, 750, 60.0)
    assert asked == ["own", "own", "reference"]


# Cheats that only code can carry: they guard our own fast paths ----------------------------------------


def planted(work: Any, monkeypatch: pytest.MonkeyPatch, cheat: Callable[[Any], Any]) -> None:
    """Let every predictor but the reference's cheat."""
    honest = work.entry.predictor_of
    calls = iter(range(10**9))  # entry, then reference

    def predictor(model: Any) -> Any:
        return cheat(honest(model)) if next(calls) % 2 == 0 else honest(model)

    monkeypatch.setattr(work.entry, "predictor_of", predictor)


def remembers(honest: Any) -> Any:
    """Answer a repeated input from memory."""
    known: dict[bytes, np.ndarray] = {}

    def predict(x: np.ndarray) -> np.ndarray:
        key = x[..., :1].tobytes()
        if key not in known:
            for _ in range(20):  # so that on this small model, too, remembering saves time
                known[key] = honest(x)
        return known[key]

    return predict


def test_predictor_that_remembers_inputs_misses_the_gate(
    judged: Any, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gate,) = SUITE.case("mnist_times").gates
    assert gate.metric == "repeat_gain"
    honest = np.median([judged(None, "mnist_times")["metrics"]["repeat_gain"] for _ in range(3)])
    assert gate.met_by(float(honest))
    planted(work, monkeypatch, remembers)
    assert not gate.met_by(judged(None, "mnist_times")["metrics"]["repeat_gain"])


@pytest.mark.parametrize(
    ("cheat", "how"),
    [
        (lambda honest: lambda x: honest(x) + (len(x) > 1), "for timed batches"),
        (lambda honest: lambda x: honest(x) + (len(x) == 1), "for timed single queries"),
        (lambda honest: lambda x: honest(x)[:, :9], "differ"),
    ],
)
def test_predictor_that_lies_is_refused(
    judged: Any, work: Any, monkeypatch: pytest.MonkeyPatch, cheat: Any, how: str
) -> None:
    planted(work, monkeypatch, cheat)
    code, message = refused(judged, None, "mnist_times")
    assert code == "answers"
    assert how in message


def test_predictor_that_lies_once_in_a_while_is_refused(
    judged: Any, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single wrong output among the timed ones."""
    calls = iter(range(10**9))
    planted(work, monkeypatch, lambda honest: lambda x: honest(x) + (next(calls) == 333))
    assert refused(judged, None, "mnist_times")[0] == "answers"


def test_int8_that_is_float_is_refused(judged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An INT8 layer that multiplies float weights: close to the exact sums, but not equal."""

    def cheat(layer: QuantizedLinear, q: np.ndarray) -> np.ndarray:
        return np.rint(q.astype(np.float32) @ (layer.weight.data.T * np.float32(1.001))).astype(np.int32)

    monkeypatch.setattr(QuantizedLinear, "accumulators", cheat)
    code, message = refused(judged, quantize_dynamic(mlp()), "mnist_quality")
    assert code == "answers"
    assert "integer arithmetic" in message


def test_language_model_that_reads_ahead_is_refused(judged: Any, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = work.variant.load_model

    def ahead(folder: Any) -> Any:
        model = honest(folder)
        for block in model.transformer.h:
            block.attn.causal = False
        return model

    monkeypatch.setattr(work.variant, "load_model", ahead)
    assert refused(judged, None, "tinygpt_quality")[0] == "ahead"


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    model = gpt()
    return save_model(model, tmp_path / "cached", cache=caching.KVCache(model, 1, 32))


def test_cache_that_skips_is_refused(judged: Any, work: Any, monkeypatch: pytest.MonkeyPatch, cached: Path) -> None:
    class Forgetful(caching.Decoder):
        """Forgets the past at every token."""

        def _next(self, new: np.ndarray) -> np.ndarray:
            self.cache.reset()
            return super()._next(new[:, -1:])

    monkeypatch.setattr(work.entry.caching, "Decoder", Forgetful)
    code, message = refused(judged, cached, "tinygpt_quality")
    assert code == "cached"
    assert "the past is ignored" in message
    assert refused(judged, cached, "tinygpt_times")[0] == "cached"


def test_cache_whose_texts_are_not_those_of_recomputation_is_refused(
    judged: Any, work: Any, monkeypatch: pytest.MonkeyPatch, cached: Path
) -> None:
    class Replayed(caching.Decoder):
        """Writes one text, and returns it for every prompt."""

        kept: np.ndarray | None = None

        def generate(self, *prompt: Any, **settings: Any) -> np.ndarray:
            if self.kept is None or len(self.kept) < 50:
                self.kept = super().generate(*prompt, **settings)
            return self.kept

    monkeypatch.setattr(work.entry.caching, "Decoder", Replayed)
    assert refused(judged, cached, "tinygpt_times")[0] == "cached"


def test_text_that_is_cut_short_is_refused(
    judged: Any, work: Any, monkeypatch: pytest.MonkeyPatch, cached: Path
) -> None:
    class Short(caching.Decoder):
        def generate(self, prompt: Any, new: Any, **settings: Any) -> np.ndarray:  # type: ignore[override]
            return super().generate(prompt, new - 1, **settings)

    monkeypatch.setattr(work.entry.caching, "Decoder", Short)
    code, message = refused(judged, cached, "tinygpt_times")
    assert code == "answers"
    assert "expected 56" in message


# The slowed twin ----------------------------------------------------------------------------------------


def test_slowed_twin_is_slower_than_the_reference(judged: Any) -> None:
    """By its own spinning, so that even a busy machine shows it."""
    assert judged(None, "mnist_times", slowed=1.0)["metrics"]["speedup"] < 0.8


def test_an_unslowed_entry_is_compared_as_it_is(judged: Any, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work.entry, "slowed", lambda query, share: pytest.fail("slowed though the share is 0"))
    judged(None, "mnist_times")
    assert SimpleNamespace(**SUITE.case("mnist_times").parameters).slowed == 0
