"""The suite 2018_tinygpt: its text measures, and a small training run end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tito.bench.record import SeedRun
from tito.bench.suites import load_suite
from tito.bench.workload import load_workload

FOLDER = Path(__file__).parents[2] / "suites" / "2018_tinygpt"
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
TEXT = (" ".join(WORDS) + ".\nWho's there? Nay, answer me: stand, and unfold yourself.\n") * 30
SMALL = {
    "merges": 20, "vocab_size": 276, "n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 16, "batch_size": 4,
    "iterations": 40, "looks": 4, "learning_rate": 0.01, "warmup": 4, "temperature": 0.8, "top_p": 0.95,
    "judged_tokens": 640,
}  # fmt: skip


@pytest.fixture(scope="module")
def work() -> Any:
    return load_workload(FOLDER / "workload.py")


def corpus(work: Any) -> Any:
    tokenizer = work.BPETokenizer.train(TEXT, 20)
    return work.Corpus(TEXT, TEXT[: len(TEXT) // 3], tokenizer)


def test_suite_yaml_loads() -> None:
    assert load_suite(FOLDER).suite.name == "tinygpt"


def test_copied_text_counts_as_copied(work: Any) -> None:
    measured = work.Words(TEXT).measure([TEXT])
    assert measured["known_words"] == 1
    assert measured["copied_8_grams"] == 1
    assert measured["distinct_4_grams"] < 0.1  # the text repeats itself


def test_same_words_in_another_order_are_not_copied(work: Any) -> None:
    measured = work.Words(TEXT).measure([" ".join(reversed(WORDS))])
    assert measured == {"known_words": 1, "copied_8_grams": 0, "distinct_4_grams": 1}


def test_unknown_words_are_counted_and_distinguished(work: Any) -> None:
    text = "one " + " ".join(f"blah{c} two" for c in "abcdefghij") + " end"
    measured = work.Words(TEXT).measure([text])
    assert measured["known_words"] == 0.5
    assert measured["distinct_4_grams"] == 1


def test_partly_copied_text_counts_by_its_share(work: Any) -> None:
    rows = ["x " + " ".join(WORDS[:8]) + " x", "x " + " ".join(WORDS[7::-1]) + " x"]
    assert work.Words(TEXT).measure(rows)["copied_8_grams"] == 0.5


def test_model_that_generates_no_words_misses_the_gates(work: Any) -> None:
    measured = work.Words(TEXT).measure(["", "?!"])
    assert measured == {"known_words": 0, "copied_8_grams": 1, "distinct_4_grams": 0}
    gates = [gate for case in load_suite(FOLDER).suite.cases for gate in case.gates if gate.metric in measured]
    assert gates
    assert not any(gate.met_by(measured[gate.metric]) for gate in gates)


def test_long_words_have_distinct_hashes(work: Any) -> None:
    words = ["a" * 280, "a" * 281, "strangely", "strangels", "strange"]
    assert len({work.hash_of(word) for word in words}) == len(words)
    text = "one " + " ".join(f"{words[0]}{c} two" for c in "abcdefghij") + " end"
    assert work.Words(TEXT).measure([text])["distinct_4_grams"] == 1


def test_targets_are_shifted_by_one_token_and_windows_cover_the_text(work: Any) -> None:
    tokens = np.arange(1000)
    fixed = work.FixedWindows(tokens, 8, 50)
    batches = list(fixed.batches())
    assert len(batches) == len(fixed)
    inputs, targets = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert inputs.shape == targets.shape == (50, 8)
    np.testing.assert_array_equal(targets, inputs + 1)
    assert (inputs[0, 0], targets[-1, -1]) == (0, 999)


def test_batches_depend_only_on_the_seed(work: Any) -> None:
    def batches(seed: int, start: int = 0) -> list[np.ndarray]:
        return [x for x, _ in work.RandomWindows(np.arange(500), 8, 4, 5, seed).batches(1, start)]

    np.testing.assert_array_equal(batches(1), batches(1))
    np.testing.assert_array_equal(batches(1)[3:], batches(1, 3))
    assert (np.array(batches(1)) != np.array(batches(2))).any()


def test_small_training_end_to_end(work: Any) -> None:
    data = corpus(work)
    assert data.tokenizer.vocab_size == SMALL["vocab_size"]
    model = work.build(SMALL, 1)
    reported: list[tuple[int, int]] = []
    curve = work.train(model, data, SMALL, 1, lambda done, total, **figures: reported.append((done, total)))
    assert reported == [(i, 40) for i in range(1, 41)]
    assert [row["iteration"] for row in curve] == [10, 20, 30, 40]
    assert curve[-1]["val_loss"] < 0.8 * np.log(276)
    trained = {name: value.data.copy() for name, value in model.state_dict().items()}
    answer = work.evaluate(model, data, SMALL)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(
            value.data, trained[name]
        )  # generating samples of each stage leaves the final weights unchanged
    SeedRun(seed=1, metrics=answer["metrics"], curve=curve, exhibits=answer["exhibits"])
    assert set(answer["metrics"]) == set(load_suite(FOLDER).suite.metrics)
    assert abs(answer["metrics"]["val_loss"] - curve[-1]["val_loss"]) < 0.1
    assert np.mean(answer["raw"]["losses"]) == pytest.approx(answer["metrics"]["val_loss"], abs=1e-5)
    queries = work.queries(data, SMALL)
    assert queries.shape == (1000, 16)
    assert work.predictor(model)(queries[:3]).shape == (3, 276)


def test_same_seed_trains_the_same_model(work: Any) -> None:
    states = []
    for _ in range(2):
        model = work.build(SMALL, 7)
        work.train(model, corpus(work), SMALL, 7, lambda *done, **figures: None)
        states.append(model.transformer.wte.weight.data)
    np.testing.assert_array_equal(*states)
