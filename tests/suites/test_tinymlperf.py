"""The suite 2025_tinymlperf: each of its measures on little data, and cheats that its checks must detect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch import acceleration, caching
from tinytorch.onnx.session import why_not
from tinytorch.quantized import models
from tinytorch.saved import saved_bytes
from tinytorch.transformers import GPT
from tito.bench.record import SeedRun
from tito.bench.statistics import is_share_of
from tito.bench.suites import load_suite
from tito.bench.workload import check_raw, load_workload

FOLDER = Path(__file__).parents[2] / "suites" / "2025_tinymlperf"
SUITE = load_suite(FOLDER).suite
FEW = {"epochs": 1, "batch_size": 16, "learning_rate": 0.001, "method": "minmax", "sparsity": 0.5, "share": 0.5,
       "bits": 4, "hidden": [8], "rounding_epochs": 1}  # fmt: skip


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = load_workload(FOLDER / "workload.py")
    monkeypatch.setattr(module.generation, "SAMPLES", 662)
    monkeypatch.setattr(module.generation, "NEW_TOKENS", 24)
    return module


def images(shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, (2048, *shape), np.uint8), rng.integers(0, 256, (40, *shape), np.uint8)
    labels = rng.integers(0, 10, 2048)
    return SimpleNamespace(train_images=train, train_labels=labels, test_images=test, test_labels=labels[:40])


def digits(work: Any) -> Any:
    task = work.Digits.__new__(work.Digits)
    tt.manual_seed(0)
    task.images = images((28, 28))
    task.reference = tt.Sequential(tt.Flatten(), tt.Linear(784, 16), tt.ReLU(), tt.Linear(16, 10)).eval()
    return task


def photos(work: Any) -> Any:
    task = work.Photos.__new__(work.Photos)
    tt.manual_seed(0)
    task.images = images((3, 32, 32))
    task.reference = tt.Sequential(
        *(tt.Conv2d(3, 8, 3, padding=1), tt.BatchNorm2d(8), tt.ReLU()),
        *(tt.AdaptiveAvgPool2d(1), tt.Flatten(), tt.Linear(8, 10)),
    ).eval()
    return task


def plays(work: Any) -> Any:
    task = work.Plays.__new__(work.Plays)
    tt.manual_seed(0)
    task.reference = GPT(vocab_size=50, block_size=80, n_layer=2, n_head=2, n_embd=16).eval()
    for parameter in task.reference.parameters():
        parameter.data = parameter.data * 8  # as if trained: earlier tokens matter
    task.windows, task.tokens = 8, np.random.default_rng(0).integers(0, 50, 3000)
    return task


def products(work: Any) -> Any:
    return work.Product(16)


TASKS = {"Matrix product": products, "MNIST": digits, "CIFAR-10": photos, "CIFAR-10 training": photos, "TinyGPT": plays}


def outcome(work: Any, case: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Run a case on little data; return its model, its task, and its results."""
    parameters = case.parameters | {key: value for key, value in FEW.items() if key in case.parameters}
    parameters |= {"widths": [4, 8, 8], "steps": 2, "images": 64} if "widths" in parameters else {"images": 256}
    task, model = TASKS[case.parameters["track"]](work), work.build(parameters, 1)
    curve = work.train(model, task, parameters, 1, lambda *done, **figures: None)
    answer = work.evaluate(model, task, parameters)
    SeedRun(seed=1, metrics=answer["metrics"], curve=curve, exhibits=answer["exhibits"])
    return model, task, answer


@pytest.mark.parametrize("case", [case for case in SUITE.cases if not case.rival], ids=lambda case: case.name)
def test_each_case_measures_its_declared_metrics(work: Any, case: Any) -> None:
    model, _, answer = outcome(work, case)
    absent = {name for name, metric in SUITE.metrics.items() if metric.needs and why_not()}
    assert set(answer["metrics"]) == set(SUITE.metrics_of(case)) - absent
    assert np.isfinite(list(answer["metrics"].values())).all()
    if "file_bytes" in answer["metrics"]:
        assert sum(parameter.data.size for parameter in model.parameters()) > 0
        raw = check_raw(answer["raw"])
        if "accuracy" in answer["metrics"]:
            assert is_share_of(raw, answer["metrics"]["accuracy"])
        else:
            assert np.mean(raw["losses"]) == pytest.approx(answer["metrics"]["val_loss"], abs=1e-5)


def test_reference_loses_nothing_against_itself(work: Any) -> None:
    case = SUITE.case("mnist_fp32")
    _, _, answer = outcome(work, case)
    assert answer["metrics"]["points_lost"] == 0
    assert answer["metrics"]["file_share"] == 1


def test_product_with_one_wrong_element_is_not_exact(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        y = a @ b
        y[3, 5] += 1
        return y

    rungs = [replace(rung, multiply=wrong) if rung.name == "BLAS" else rung for rung in acceleration.RUNGS]
    monkeypatch.setattr(acceleration, "RUNGS", rungs)
    _, _, answer = outcome(work, SUITE.case("product_blas"))
    assert answer["metrics"]["exact"] == 255 / 256


def test_state_of_a_variant_is_its_file(work: Any) -> None:
    model, task, _ = outcome(work, SUITE.case("mnist_int8"))
    again = work.build({}, 1)
    again.load_state_dict(model.state_dict())
    asked = work.queries(task, {"track": "MNIST"})
    np.testing.assert_array_equal(work.predictor(again)(asked), work.predictor(model)(asked))


@pytest.mark.parametrize("name", ["mnist_sparse", "gpt_int8_cache"])
def test_kept_model_is_the_judged_one_byte_for_byte(work: Any, name: str, tmp_path: Path) -> None:
    case = SUITE.case(name)
    model, _, answer = outcome(work, case)
    work.save(model, tmp_path / "kept")
    assert saved_bytes(tmp_path / "kept") == answer["metrics"]["file_bytes"]
    again = work.build({}, 1)
    again.read(tmp_path / "kept")
    assert again.files == model.files
    assert (again.cache is not None) is name.endswith("_cache")
    if again.cache is not None:
        assert again.cache.settings() == {"batch_size": 1, "hop": work.generation.HOP, "dtype": "float32"}


def test_float_model_declared_as_int8_is_rejected(work: Any) -> None:
    task, model = digits(work), work.build({}, 1)
    model.take(task.reference, compress=False)
    with pytest.raises(ValueError, match="not a valid INT8 model"):
        work.evaluate(model, task, {"technique": "int8_static", "track": "MNIST"})


def test_int8_model_with_a_float_layer_is_rejected(work: Any) -> None:
    task, model = digits(work), work.build({}, 1)
    made = models.quantize_dynamic(task.reference)
    assert isinstance(made, tt.Sequential)
    made.layers[-1] = task.reference[-1]
    model.take(made, compress=False)
    with pytest.raises(ValueError, match="not a valid INT8 model"):
        work.evaluate(model, task, {"technique": "int8_dynamic", "track": "MNIST"})


def cached(work: Any, monkeypatch: pytest.MonkeyPatch, cheat: type[caching.Decoder], int8: bool = False) -> Any:
    """Return the metrics of a cached GPT whose decoder cheats."""
    task, model = plays(work), work.build({}, 1)
    model.take(models.quantize_dynamic(task.reference) if int8 else task.reference, compress=False)
    monkeypatch.setattr(work.generation.caching, "Decoder", cheat)
    technique = "int8_dynamic_kv_cache" if int8 else "fp32_kv_cache"
    return work.evaluate(model, task, {"technique": technique, "track": "TinyGPT"})["metrics"]


class Zeros(caching.Decoder):
    """Generates the same text for every prompt."""

    def generate(self, tokens: Any, max_new_tokens: int, *rest: Any, **settings: Any) -> np.ndarray:
        return np.append(tokens, np.zeros(max_new_tokens, np.int64))


def test_cached_generation_of_other_tokens_is_rejected(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="the cached model generated other tokens"):
        cached(work, monkeypatch, Zeros)


def test_int8_cached_generation_of_other_tokens_is_rejected(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = caching.Decoder
    (gate,) = [gate for gate in SUITE.case("gpt_int8_cache").gates if gate.metric == "same_tokens"]
    with pytest.raises(ValueError, match="the cached model generated other tokens"):
        cached(work, monkeypatch, Zeros, int8=True)
    assert gate.met_by(cached(work, monkeypatch, honest, int8=True)["same_tokens"])


def test_replayed_text_is_rejected(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first text is correct; later calls return it again, which takes no time."""

    class Replayed(caching.Decoder):
        kept: np.ndarray | None = None

        def generate(self, *prompt: Any, **settings: Any) -> np.ndarray:
            if self.kept is None:
                self.kept = super().generate(*prompt, **settings)
            return self.kept

    with pytest.raises(ValueError, match="the cached model generated other tokens"):
        cached(work, monkeypatch, Replayed)


def test_text_that_is_too_short_is_rejected(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(caching.Decoder):
        def generate(self, tokens: Any, max_new_tokens: int, *rest: Any, **settings: Any) -> np.ndarray:
            return super().generate(tokens, max_new_tokens - 1, *rest, **settings)

    with pytest.raises(ValueError, match="expected 40"):
        cached(work, monkeypatch, Short)


@pytest.mark.parametrize("rows", [1, 2])
def test_cached_generation_that_skips_attention_is_rejected(
    work: Any, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """It generates the correct tokens, but its steps for this number of rows ignore earlier tokens."""

    class Forgetful(caching.Decoder):
        def generate(self, *prompt: Any, **settings: Any) -> np.ndarray:
            return self.model.generate(*prompt, **{**settings, "hop": work.generation.HOP})

        def next_logits(self, tokens: Any) -> np.ndarray:
            if len(tokens) == rows:
                self.cache.reset()
                tokens = np.asarray(tokens)[:, -1:]
            return super().next_logits(tokens)

    with pytest.raises(ValueError, match="not a valid key-value cache"):
        cached(work, monkeypatch, Forgetful)


def predicted(work: Any, monkeypatch: pytest.MonkeyPatch, cheat: Any, int8: bool = False) -> Any:
    """Return the results for an MLP whose predictor cheats; the reference's predictor is honest."""
    task, model = digits(work), work.build({}, 1)
    made = models.quantize_static(task.reference, work.tasks.calibration(task)) if int8 else task.reference
    model.take(made, compress=False)
    honest = work.variant.predictor_of
    monkeypatch.setattr(work.inference, "predictor_of", lambda m: cheat(honest(m)) if m is model.served else honest(m))
    return work.evaluate(model, task, {"technique": "int8_static" if int8 else "fp32", "track": "MNIST"})


@pytest.mark.parametrize("int8", [False, True])
def test_honest_predictor_is_accepted(work: Any, monkeypatch: pytest.MonkeyPatch, int8: bool) -> None:
    predicted(work, monkeypatch, lambda honest: honest, int8)


def test_predictor_that_skips_single_queries_is_rejected(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = np.zeros((1, 10), np.float32)
    with pytest.raises(ValueError, match="the predictor's outputs for single queries differ from the model's"):
        predicted(work, monkeypatch, lambda honest: lambda x: nothing if len(x) == 1 else honest(x))


def test_predictor_of_another_model_is_rejected(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An INT8 file whose outputs come from a different float model."""
    tt.manual_seed(1)
    another = tt.Sequential(tt.Flatten(), tt.Linear(784, 16), tt.ReLU(), tt.Linear(16, 10)).eval()
    with pytest.raises(ValueError, match="differ from the model's"):
        predicted(work, monkeypatch, lambda honest: lambda x: another(tt.Tensor(x)).data, int8=True)


def test_model_whose_outputs_change_after_timing_is_rejected(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10**9))
    with pytest.raises(ValueError, match="differ from the model's"):
        predicted(work, monkeypatch, lambda honest: lambda x: honest(x) + next(calls))


def test_timed_inputs_are_never_repeated(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each input occurs only once until the timing is over, so caching outputs gains nothing."""
    asked: list[bytes] = []

    def remember(honest: Any) -> Any:
        def answer(x: np.ndarray) -> np.ndarray:
            asked.extend(row.tobytes() for row in x)
            return honest(x)

        return answer

    predicted(work, monkeypatch, remember)
    tested = 40  # images in the test split
    timed = asked[tested : tested + work.inference.SINGLES + work.inference.BATCH * work.inference.BATCHES]
    assert len(set(timed)) == len(timed)
    assert set(timed).isdisjoint(asked[:tested])


def test_texts_are_timed_on_windows_that_are_not_evaluated(work: Any) -> None:
    task = plays(work)
    judged = {window.tobytes() for window in task.judged[:, :-1]}
    timed = [window.tobytes() for window in work.tasks.new_inputs(task, 1900)]
    assert len(set(timed)) == len(timed)
    assert judged.isdisjoint(timed)


def test_every_token_of_a_text_is_drawn_again(work: Any) -> None:
    task = plays(work)
    text = task.reference.generate(task.judged[0, : work.generation.PROMPT], 24, temperature=0.8, seed=3, hop=64)
    assert work.generation.drawn_again(task.reference, text, 3) == 1
    text[-1] = (text[-1] + 1) % task.reference.vocab_size
    assert work.generation.drawn_again(task.reference, text, 3) == 23 / 24


@pytest.mark.parametrize("technique", ["fp32", "fp32_kv_cache"])
def test_language_model_that_reads_ahead_is_rejected(work: Any, technique: str) -> None:
    task, model = plays(work), work.build({}, 1)
    model.take(task.reference, compress=False)
    for block in model.served.transformer.h:
        block.attn.causal = False
    with pytest.raises(ValueError, match="reads the tokens that it should predict"):
        work.evaluate(model, task, {"technique": technique, "track": "TinyGPT"})


def test_output_that_depends_on_other_inputs_is_rejected(work: Any) -> None:
    task, model = digits(work), work.build({}, 1)
    model.take(tt.Sequential(*task.reference.layers, tt.Softmax(0)), compress=False)
    with pytest.raises(ValueError, match="differ from the model's"):
        work.evaluate(model, task, {"technique": "fp32", "track": "MNIST"})
