"""An entry of the competition against its track's reference: quality in one process, times in others.

    prepare(parameters, file)    write the track's test data once, for all processes
    load(parameters)             the reference, and the test data from that file
    read(model, ...)             load the entry's folder
    judge(model, ...)            measure it: `quality` (and memory), or `times`

A round is a seed: each asks other inputs. Before a figure is returned, the referees must agree with it. Each refusal is
a CheckError with a stable code; anything else that goes wrong is an error as well, and never a figure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch import caching, datasets
from tinytorch.base.errors import CheckError, DataError, StateError, TinyTorchError
from tinytorch.base.files import load_arrays, save_arrays
from tinytorch.benchmarking import Measurement, measure, measure_interleaved, peak_memory, samples_needed
from tinytorch.checks import (
    check_answers,
    check_cache,
    check_causal,
    check_same,
    inexact_layers,
    most_dependent,
    outputs_of,
    slowed,
)
from tinytorch.inference import predictor
from tinytorch.layers import Module
from tinytorch.saved import saved_bytes
from tinytorch.transformers import GPT

from .generation import HOP, NEW_TOKENS, PROMPT, TEMPERATURE, drawn_again
from .tasks import (
    REFERENCES,
    Digits,
    Parameters,
    Photos,
    Plays,
    Trained,
    correct,
    new_inputs,
    window_losses,
)
from .variant import Variant, is_quantized, loaded, predictor_of, tolerance_of

EXAMPLES = 50  # inputs of the checks in a quality round
SINGLES, WARMUP = 750, 50  # single queries of a round, and how many of them are not timed: p99 needs 662
BATCH, BATCHES, BATCH_WARMUP = 64, 12, 3
TEXTS, TEXT_WARMUP = 4, 1  # a text without a cache takes half a second, and 11 processes time three each
TEXT_BATCHES = 10
REPEATS, TEXT_REPEATS, REPEATED_TOKENS = 100, 6, 24
PART = 32  # inputs that the module itself computes at once: not the size of a timed batch
SLOWEST = 20  # times as slow as the reference a model may be, where its queries take long
ALONE = 20  # inputs that the module itself computes one by one

Query = Callable[[Any], np.ndarray]


def prepare(parameters: Parameters, file: Path) -> None:
    """Write the test data of the case's track as a safetensors file, and the reference's result for each item."""
    data = load(parameters)
    if isinstance(data, Plays):
        arrays = {"tokens": data.tokens}
    else:
        arrays = {"images": data.images.test_images, "labels": data.images.test_labels}
    save_arrays(file, {**arrays, "reference": results(data, data.reference)})


def load(parameters: Parameters) -> Trained:
    """Load the reference and the test data: from the prepared file, or from the data set if there is none."""
    track, arrays = parameters["track"], prepared(parameters)
    data: Trained
    if track == "TinyGPT":
        data = Plays(parameters["windows"], arrays.get("tokens"))
    elif not arrays:
        data = Digits() if track == "MNIST" else Photos()
    else:
        images, labels = arrays["images"], arrays["labels"]
        if track == "MNIST":
            data = Digits(images=datasets.MNIST(images[:0], labels[:0], images, labels))
        else:
            data = Photos(images=datasets.CIFAR10(images[:0], labels[:0], images, labels))
    data.known = arrays.get("reference")
    return data


def prepared(parameters: Parameters) -> dict[str, np.ndarray]:
    """Read the prepared file, if the parameters name one; raise DataError if its hash is another."""
    if not parameters["data"]:
        return {}
    file = Path(parameters["data"])
    if (found := hashlib.sha256(file.read_bytes()).hexdigest()) != parameters["data_sha256"]:
        raise DataError(f"prepared data with SHA-256 {found}: expected {parameters['data_sha256']}")
    return load_arrays(file)[0]


def read(model: Variant, data: Trained, parameters: Parameters, seed: int) -> None:
    """Load the entry; the folder `reference` is the track's own reference."""
    named = parameters["folder"]
    model.round, model.folder = seed, reference_folder(data) if named == "reference" else Path(named)
    try:
        model.read(model.folder)
    except StateError as error:
        raise CheckError("model", str(error)) from None


def reference_folder(data: Trained) -> Path:
    return REFERENCES / data.folder


def judge(model: Variant, data: Trained, parameters: Parameters) -> dict[str, Any]:
    """Run the measurement that the case names."""
    check_task(model.served, data, new_inputs(data, 1, model.round))
    return {"quality": judge_quality, "times": judge_times}[parameters["measure"]](model, data, parameters)


def check_task(model: Module, data: Trained, example: np.ndarray) -> None:
    """Refuse a model that does not map the track's inputs to the track's outputs."""
    try:
        found = outputs_of(model, example).shape
    except (TinyTorchError, ValueError, TypeError, IndexError) as error:
        raise CheckError("model", f"it fails on an input of the track: {error}") from None
    expected = outputs_of(data.reference, example).shape
    if isinstance(model, GPT) is not isinstance(data, Plays) or found != expected:
        raise CheckError("task", f"outputs of shape {found}: expected {expected}")


# Quality ------------------------------------------------------------------------------------------------


def judge_quality(model: Variant, data: Trained, parameters: Parameters) -> dict[str, Any]:
    """Measure quality on the whole test split, item by item, and the memory for one query."""
    served, examples = model.served, new_inputs(data, EXAMPLES, model.round)
    own_query, reference_query = (partial(outputs_of, part) for part in (served, data.reference))
    foresee(own_query, reference_query, examples, items(data) / EXAMPLES, parameters["most_seconds"])
    check_model(model, data, examples)
    own = results(data, served)
    reference = results(data, data.reference) if data.known is None else data.known
    if isinstance(data, Plays):
        values = {"val_loss": own.mean(), "loss_added": own.mean() - reference.mean()}
    else:
        values = {"accuracy": own.mean(), "points_lost": reference.mean() - own.mean()}
    metrics = {
        **{name: float(value) for name, value in values.items()},
        "memory_bytes": memory(model.folder, data, examples),
        "reference_memory_bytes": memory(reference_folder(data), data, examples),
        "file_bytes": model.file_bytes,
        "reference_bytes": saved_bytes(reference_folder(data)),
    }
    raw = {"own": own.astype(float).tolist(), "reference": reference.astype(float).tolist()}
    return {"metrics": metrics, "exhibits": [], "raw": raw}


def results(data: Trained, model: Module) -> np.ndarray:
    """Return the result of each item of the test split, (N,): whether it is correct, or its loss in nats."""
    return window_losses(data, model) if isinstance(data, Plays) else correct(data, predictor_of(model))


def items(data: Trained) -> int:
    """Number of test images, or of evaluated windows."""
    return data.windows if isinstance(data, Plays) else len(data.images.test_images)


def check_model(model: Variant, data: Trained, examples: np.ndarray) -> None:
    """Ask the referees that need no clock: answers, exact int8 sums, causality, and the cache."""
    served = model.served
    check_answers(served, predictor_of(served), examples, tolerance_of(served))
    check_alone(served, examples, outputs_of(served, examples))
    if is_quantized(served) and (problems := inexact_layers(served, examples[:4])):
        raise CheckError("answers", "; ".join(problems))
    if not isinstance(served, GPT):
        return
    check_causal(served, examples[:4], tolerance=1e-4)
    if model.cache is not None:
        settings, text = model.cache.settings(), most_dependent(served, examples)
        fresh = lambda: new_decoder(served, settings).next_logits
        try:
            found = check_cache(served, fresh, text, tolerance_of(served), must_depend=False)
        except TinyTorchError as error:
            raise CheckError("cached", str(error)) from None
        if found.problems:
            raise CheckError("cached", "; ".join(found.problems))


def check_alone(model: Module, inputs: np.ndarray, expected: np.ndarray) -> None:
    """Refuse a model whose output depends on the other inputs of a batch, such as a softmax over the batch."""
    alone = np.concatenate([outputs_of(model, inputs[i : i + 1]) for i in range(ALONE)])
    check_same(alone, expected[:ALONE], tolerance_of(model), "for single inputs, without a predictor,")


def new_decoder(model: GPT, settings: dict[str, Any]) -> caching.Decoder:
    """Begin a text with an empty cache."""
    return caching.Decoder(model, caching.KVCache(model, **settings))


def memory(folder: Path, data: Trained, examples: np.ndarray) -> int:
    """Measure the peak memory of NumPy arrays for loading a model and answering one query."""
    query = (examples[0, :PROMPT], 0) if isinstance(data, Plays) else examples[:1]

    def load_and_ask() -> None:
        side_of(*loaded(folder)).single(query)

    load_and_ask()  # what is kept for the process, such as attention's masks of each length, is not the model's
    return peak_memory(load_and_ask)


# Times --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One of the two models: an image or a text, and a batch of 64."""

    single: Query
    batch: Query


@dataclass(frozen=True)
class Questions:
    """The inputs of a round. None is timed twice, except that each of `repeats` is asked twice."""

    first: Any  # the one from which the time of all single queries is foreseen
    singles: Sequence[Any]
    batches: Sequence[np.ndarray]
    repeats: Sequence[Any]


def side_of(model: Module, cache: caching.KVCache | None) -> Side:
    """Return how a model is queried; a text is (prompt, seed) or (prompt, seed, number of tokens)."""
    if not isinstance(model, GPT):
        predict = predictor_of(model)
        return Side(predict, predict)
    write = partial(predictor(model).generate, hop=HOP) if cache is None else caching.Decoder(model, cache).generate

    def text(query: tuple[Any, ...]) -> np.ndarray:
        prompt, seed, *tokens = query
        return write(prompt, tokens[0] if tokens else NEW_TOKENS, temperature=TEMPERATURE, seed=seed)

    return Side(text, predictor_of(model))


def questions(data: Trained, seed: int) -> Questions:
    """Draw a round's inputs."""
    if isinstance(data, Plays):
        drawn = new_inputs(data, TEXTS + TEXT_REPEATS + 1 + TEXT_BATCHES * BATCH, seed)[:, :PROMPT]
        texts, repeats, batches = np.split(drawn, [TEXTS, TEXTS + TEXT_REPEATS + 1])
        whole = [(prompt, 1000 * seed + i) for i, prompt in enumerate(texts)]
        first, *again = [(prompt, 1000 * seed + 500 + i, REPEATED_TOKENS) for i, prompt in enumerate(repeats)]
        return Questions(first, whole, np.split(batches, TEXT_BATCHES), again)
    drawn = new_inputs(data, SINGLES + REPEATS + 1 + BATCHES * BATCH, seed)
    singles, repeats, batches = np.split(drawn, [SINGLES, SINGLES + REPEATS + 1])
    once, *twice = np.split(repeats, REPEATS + 1)
    return Questions(once, np.split(singles, SINGLES), np.split(batches, BATCHES), twice)


def judge_times(model: Variant, data: Trained, parameters: Parameters) -> dict[str, Any]:
    """Time entry and reference on the same new inputs, alternating, and check every timed output of the entry."""
    asked = questions(data, model.round)
    own, reference = side_of(model.served, model.cache), side_of(data.reference, None)
    if parameters["slowed"]:
        own = Side(slowed(own.single, parameters["slowed"]), slowed(own.batch, parameters["slowed"]))
    part, warmup = (REPEATED_TOKENS / NEW_TOKENS, TEXT_WARMUP) if isinstance(data, Plays) else (1, WARMUP)
    most = parameters["most_seconds"]
    foresee(own.single, reference.single, asked.first, len(asked.singles) / part, most)
    outputs: list[np.ndarray] = []
    answers: list[np.ndarray] = []
    own_time, reference_time = alternated(own.single, reference.single, asked.singles, warmup, outputs)
    foresee(own.batch, reference.batch, asked.batches[0], len(asked.batches), most)
    own_batch, reference_batch = alternated(own.batch, reference.batch, asked.batches, BATCH_WARMUP, answers)
    gain = repeat_gain(own.single, reference.single, asked.repeats)
    check_timed(model, asked, outputs, answers)
    metrics = {
        **percentiles(own_time, ""),
        **percentiles(reference_time, "reference_"),
        "speedup": reference_time.median / own_time.median,
        "batch_us": own_batch.median * 1e6,
        "reference_batch_us": reference_batch.median * 1e6,
        "batch_speedup": reference_batch.median / own_batch.median,
        "repeat_gain": gain,
    }
    raw = {"own_us": own_time, "reference_us": reference_time}
    return {
        "metrics": metrics,
        "exhibits": [],
        "raw": {name: (times.seconds * 1e6).round(3).tolist() for name, times in raw.items()},
    }


def foresee(own: Query, reference: Query, x: Any, count: float, most_seconds: float) -> None:
    """Refuse a model whose queries would take too long, after one or two of them.

    Too long is more than `most_seconds` and more than SLOWEST times the reference's time: if this machine is busy, the
    reference is slow as well.
    """
    seconds = np.inf
    for _ in range(2):  # the first query also traces, packs weights, or binds kernels
        (seconds,) = measure(partial(own, x), samples=1, warmup=0).seconds
        if seconds * count <= most_seconds:
            return
    (usual,) = measure(partial(reference, x), samples=1, warmup=0).seconds
    if seconds > SLOWEST * usual:
        raise CheckError("time", f"a query takes {seconds:.3g} s, all would take {seconds * count:.0f} s: "
                                 f"expected at most {most_seconds:g} s")  # fmt: skip


def alternated(
    own: Query, reference: Query, inputs: Sequence[Any], warmup: int, outputs: list[np.ndarray]
) -> tuple[Measurement, Measurement]:
    """Time both queries on each input, alternating; keep the outputs of the first, warm-up included.

    The reference gets copies: it would find the entry's arrays in the processor's cache and be 1% faster for it.
    """
    copies = {id(x): x.copy() for x in inputs if isinstance(x, np.ndarray)}
    ask, other = asking(own, inputs, outputs), asking(reference, [copies.get(id(x), x) for x in inputs], [])
    return measure_interleaved(ask, other, samples=len(inputs) - warmup, warmup=warmup)


def asking(query: Query, inputs: Iterable[Any], outputs: list[np.ndarray]) -> Callable[[], None]:
    following, keep = iter(inputs).__next__, outputs.append

    def ask() -> None:
        keep(query(following()))

    return ask


def repeat_gain(own: Query, reference: Query, inputs: Sequence[Any]) -> float:
    """Return the time that the entry saves on a repeated input, beyond what the reference saves, as a share of its own.

    Both find an input in the processor's cache the second time, so a small saving is honest. A predictor that remembers
    its inputs saves nearly everything.
    """
    twice = [x for x in inputs for _ in range(2)]  # own, reference, own again, reference again
    times = alternated(own, reference, twice, 0, [])
    (fresh, again), (other, other_again) = ([np.median(t.seconds[i::2]) for i in range(2)] for t in times)
    return float((fresh - again - max(0.0, other - other_again)) / fresh)


def percentiles(latency: Measurement, prefix: str) -> dict[str, float]:
    """Return the median, and p90 and p99 if there are enough samples for them, in µs."""
    found = {f"{prefix}p50_us": latency.median * 1e6}
    enough = [q for q in (90, 99) if len(latency.seconds) >= samples_needed(q)]
    return found | {f"{prefix}p{q}_us": latency.percentile(q) * 1e6 for q in enough}


def check_timed(model: Variant, asked: Questions, outputs: list[np.ndarray], answers: list[np.ndarray]) -> None:
    """Refuse timed outputs that are not the module's own, computed in batches of another size, or one by one."""
    served, tolerance = model.served, tolerance_of(model.served)
    if isinstance(served, GPT):
        exact = not is_quantized(served) and (model.cache is None or model.cache.dtype == np.float32)
        for (_, seed), text in zip(asked.singles, outputs, strict=True):
            same = drawn_again(served, text, seed)
            if same < (1 if exact else 0.9):  # rounding to integers may turn a last bit into another token
                code = "answers" if model.cache is None else "cached"
                raise CheckError(code, f"the timed texts hold other tokens: only {same:.1%} match the model's own")
    else:
        singles = np.concatenate(asked.singles)
        expected = in_parts(served, singles)
        check_alone(served, singles, expected)
        check_same(np.concatenate(outputs), expected, tolerance, "for timed single queries")
    expected = in_parts(served, np.concatenate(asked.batches))
    check_same(np.concatenate(answers), expected, tolerance, "for timed batches")


def in_parts(model: Module, inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([outputs_of(model, inputs[i : i + PART]) for i in range(0, len(inputs), PART)])
