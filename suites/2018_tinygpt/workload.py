"""TinyGPT: a GPT trained on Shakespeare's plays, and measures of the text it generates.

The text is split as in nanoGPT, with the first 90% for training. A training iteration uses a batch of windows at
random positions. The validation loss is the mean over a fixed set of windows.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinytorch import datasets, inference
from tinytorch.activations import log_softmax
from tinytorch.autograd import no_grad
from tinytorch.base.random import manual_seed
from tinytorch.benchmarking import measure
from tinytorch.optimizers import AdamW, CosineLR
from tinytorch.tensor import Tensor
from tinytorch.tokenization import BPETokenizer, CharTokenizer
from tinytorch.training import Trainer
from tinytorch.transformers import GPT, next_token_loss

Parameters = dict[str, Any]
Report = Callable[..., None]
Windows = tuple[np.ndarray, np.ndarray]

PROMPT = "\n"  # ends lines and separates speeches, so any text can follow
ROWS = 16  # texts that are generated in one batch
WATCHED_WINDOWS = 240  # validation windows during training
JUDGED_WINDOWS = 1000  # validation windows after training
SAMPLE_TOKENS = 400
MAP_LENGTH = 24  # tokens of an attention map


@dataclass
class Corpus:
    """The text as tokens, and the weights that training stores for the exhibits."""

    train_text: str
    validation_text: str
    tokenizer: CharTokenizer | BPETokenizer
    stages: list[tuple[int, dict[str, np.ndarray]]] = field(default_factory=list)  # (iteration, weights)

    @cached_property
    def train(self) -> np.ndarray:
        return self.tokenizer.encode(self.train_text)

    @cached_property
    def validation(self) -> np.ndarray:
        return self.tokenizer.encode(self.validation_text)


class RandomWindows:
    """Batches for the Trainer: windows of the text at random positions, and the token after each position.

    An epoch is a number of iterations, here those between two validations.
    """

    def __init__(self, tokens: np.ndarray, block_size: int, batch_size: int, iterations: int, seed: int) -> None:
        self.tokens, self.block_size, self.batch_size = tokens, block_size, batch_size
        self.iterations, self.seed = iterations, seed

    def __len__(self) -> int:
        return self.iterations

    def batches(self, epoch: int, start: int = 0) -> Iterator[Windows]:
        for i in range(start, self.iterations):
            rng = np.random.default_rng((self.seed, epoch, i))
            places = rng.integers(0, len(self.tokens) - self.block_size, self.batch_size)
            yield windows(self.tokens, places, self.block_size)


class FixedWindows:
    """Evenly spaced windows over the whole text: the same for every model and every run."""

    def __init__(self, tokens: np.ndarray, block_size: int, count: int, batch_size: int = 24) -> None:
        self.tokens, self.block_size, self.batch_size = tokens, block_size, batch_size
        self.places = np.linspace(0, len(tokens) - block_size - 1, count).astype(np.int64)

    def __len__(self) -> int:
        return math.ceil(len(self.places) / self.batch_size)

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Windows]:
        for i in range(start * self.batch_size, len(self.places), self.batch_size):
            yield windows(self.tokens, self.places[i : i + self.batch_size], self.block_size)


def windows(tokens: np.ndarray, places: np.ndarray, block_size: int) -> Windows:
    """Return inputs and targets, (B, T) each; targets are shifted by one token."""
    spans = tokens[places[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
    return spans[:, :-1], spans[:, 1:]


# The workload interface -------------------------------------------------------------------------------


def load(parameters: Parameters) -> Corpus:
    text = datasets.shakespeare()
    if parameters["merges"]:
        tokenizer: CharTokenizer | BPETokenizer = BPETokenizer.train(text.train, parameters["merges"])
    else:
        tokenizer = CharTokenizer(text.text)
    corpus = Corpus(text.train, text.validation, tokenizer)
    if tokenizer.vocab_size != parameters["vocab_size"]:
        raise ValueError(f"vocab_size {parameters['vocab_size']}: expected the tokenizer's {tokenizer.vocab_size}")
    return corpus


def build(parameters: Parameters, seed: int) -> GPT:
    manual_seed(seed)
    sizes = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")
    return GPT(**{name: parameters[name] for name in sizes})


def optimizer_and_schedule(model: GPT, parameters: Parameters) -> tuple[AdamW, CosineLR]:
    """Build nanoGPT's: AdamW with weight decay on matrices only, linear warmup, then cosine decay to a tenth."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=parameters["learning_rate"], betas=(0.9, 0.99))
    return optimizer, CosineLR(optimizer, parameters["iterations"], warmup=parameters["warmup"], final=0.1)


def training_windows(corpus: Corpus, parameters: Parameters, seed: int) -> RandomWindows:
    """Return the training batches, whose order depends only on the seed."""
    stretch = parameters["iterations"] // parameters["looks"]
    return RandomWindows(corpus.train, parameters["block_size"], parameters["batch_size"], stretch, seed)


def train(model: GPT, data: Corpus, parameters: Parameters, seed: int, report: Report) -> list[dict[str, float]]:
    optimizer, schedule = optimizer_and_schedule(model, parameters)
    batches = training_windows(data, parameters, seed)
    watched = FixedWindows(data.validation, parameters["block_size"], WATCHED_WINDOWS)
    trainer = Trainer(model, optimizer, next_token_loss, schedule, clip_norm=1.0)
    looks = parameters["looks"]
    data.stages = [(0, _copy(model))]
    for look in sorted({1, math.ceil(looks / 4), looks}):
        trainer.fit(batches, look, watched, report=lambda done, total, **f: report(done, looks * len(batches), **f))
        data.stages.append((look * len(batches), _copy(model)))
    return [{"iteration": row["epoch"] * len(batches)} | row for row in trainer.history]


def evaluate(model: GPT, data: Corpus, parameters: Parameters) -> dict[str, Any]:
    model.eval()
    judged = FixedWindows(data.validation, parameters["block_size"], JUDGED_WINDOWS)
    losses, characters = judge(model, data, judged)
    words = Words(data.train_text)
    written = write(model, data, parameters, parameters["judged_tokens"], seed=0)
    own = words.measure(written)
    real = words.measure(_same_length(data.validation_text, written))
    metrics = {
        "val_loss": float(losses.mean()),
        "bits_per_character": float(losses.sum() / math.log(2) / characters),
        **own,
    }
    exhibits = [
        _coherence_table(own, real),
        _samples(model, data, parameters),
        _loss_by_position(losses),
        _writing_speed(model, data, parameters),
        *_attention_maps(model, data),
    ]
    return {"metrics": metrics, "exhibits": exhibits, "raw": {"losses": losses.mean(axis=1).round(6).tolist()}}


def predictor(model: GPT) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from windows (n, T) to the logits of the next token, (n, V)."""
    return inference.predictor(model).next_logits


def queries(data: Corpus, parameters: Parameters) -> np.ndarray:
    """Return windows of the validation text, (1000, block_size)."""
    fixed = FixedWindows(data.validation, parameters["block_size"], 1000, batch_size=1000)
    inputs, _ = next(fixed.batches())
    return inputs


# Evaluation ---------------------------------------------------------------------------------------------


@no_grad()
def judge(model: GPT, data: Corpus, judged: FixedWindows) -> tuple[np.ndarray, int]:
    """Return the loss of each target in nats, (windows, T), and the number of characters in all targets."""
    losses, characters = [], 0
    for inputs, targets in judged.batches():
        log_probabilities = log_softmax(model(inputs)).data  # (B, T, V)
        losses.append(-np.take_along_axis(log_probabilities, targets[..., None], axis=2)[..., 0])
        characters += len(data.tokenizer.decode(targets.reshape(-1)))
    return np.concatenate(losses), characters


def write(model: GPT, data: Corpus, parameters: Parameters, tokens: int, seed: int, rows: int = ROWS) -> list[str]:
    """Generate `tokens` new tokens in `rows` texts, with the suite's sampling settings."""
    prompt = np.tile(data.tokenizer.encode(PROMPT), (rows, 1))
    written = model.generate(prompt, tokens // rows, parameters["temperature"], top_p=parameters["top_p"], seed=seed)
    return [data.tokenizer.decode(row[prompt.shape[1] :]) for row in written]


WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


class Words:
    """The words of the training text, to measure how much of a text consists of them or is copied from it."""

    def __init__(self, text: str) -> None:
        words = WORD.findall(text.lower())
        self.numbers = {word: i + 1 for i, word in enumerate(dict.fromkeys(words))}  # 0: unknown word
        self.eights = np.unique(self._runs(words, 8))

    def measure(self, texts: list[str]) -> dict[str, float]:
        """Return shares over all texts. The first and last word of each may be incomplete and are not counted.

        If the texts contain no words, each share has its worst value.
        """
        rows = [WORD.findall(text.lower())[1:-1] for text in texts]
        fours = np.concatenate([self._runs(row, 4) for row in rows])
        eights = np.concatenate([self._runs(row, 8) for row in rows])
        known = [word in self.numbers for row in rows for word in row]
        return {
            "known_words": float(np.mean(known)) if known else 0.0,
            "copied_8_grams": float(np.isin(eights, self.eights).mean()) if eights.size else 1.0,
            "distinct_4_grams": len(np.unique(fours)) / fours.size if fours.size else 0.0,
        }

    def _runs(self, words: list[str], n: int) -> np.ndarray:
        """Hash each run of n words to 64 bits; an unknown word is represented by a hash of its spelling."""
        numbers = np.array([self.numbers.get(word) or hash_of(word) for word in words], np.uint64)
        runs = np.zeros(max(0, len(numbers) - n + 1), np.uint64)
        for i in range(n):
            runs = (runs ^ numbers[i : i + len(runs)]) * np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
            runs ^= runs >> np.uint64(29)
        return runs


def hash_of(word: str) -> int:
    """Hash a word to the same number in every process, unlike Python's `hash`."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _same_length(text: str, like: list[str]) -> list[str]:
    """Cut evenly spaced rows from a real text, as long as those of `like`, so that repetitions compare fairly."""
    places = np.linspace(0, len(text) - max(map(len, like)), len(like)).astype(int)
    return [text[place : place + len(row)] for place, row in zip(places, like, strict=True)]


# Exhibits -----------------------------------------------------------------------------------------------


def _coherence_table(own: dict[str, float], real: dict[str, float]) -> dict[str, Any]:
    titles = {
        "known_words": "words that occur in the training text",
        "copied_8_grams": "runs of 8 words copied from the training text",
        "distinct_4_grams": "distinct runs of 4 words",
    }
    rows = [[title, f"{own[name]:.2%}", f"{real[name]:.2%}"] for name, title in titles.items()]
    columns = ["share of", "generated text", "held-out Shakespeare of the same length"]
    return {"kind": "table", "title": "Is it text, and is it new?", "columns": columns, "rows": rows}


def _samples(model: GPT, data: Corpus, parameters: Parameters) -> dict[str, Any]:
    """Show text generated at several stages of training, with the same seed."""
    final = _copy(model)
    texts = []
    for iteration, weights in data.stages:
        model.load_state_dict(weights)
        (text,) = write(model, data, parameters, SAMPLE_TOKENS, seed=1, rows=1)
        texts.append((f"after {iteration:,} iterations", text))
    model.load_state_dict(final)
    return {"kind": "texts", "title": "Generated text during training", "texts": texts}


def _loss_by_position(losses: np.ndarray) -> dict[str, Any]:
    mean = losses.mean(axis=0)
    series = {"name": "validation", "x": list(range(1, len(mean) + 1)), "y": [round(float(y), 4) for y in mean]}
    return {
        "kind": "lines",
        "title": "More context, better predictions",
        "x_title": "context length (tokens)",
        "y_title": "loss of the next token (nats)",
        "series": [series],
    }


@no_grad()
def _writing_speed(model: GPT, data: Corpus, parameters: Parameters) -> dict[str, Any]:
    """Measure tokens per second for one text at a time, with the whole context recomputed for each token."""
    tokens = 64 if parameters["judged_tokens"] < 10_000 else 256

    def once() -> object:
        return model.generate(data.tokenizer.encode(PROMPT), tokens, parameters["temperature"], seed=1)

    seconds = measure(once, samples=5, warmup=1).median
    return {
        "kind": "table",
        "title": "Generation speed without a cache, median of 5 texts",
        "columns": ["tokens per text", "seconds", "tokens per second"],
        "rows": [[tokens, round(seconds, 4), round(tokens / seconds, 1)]],
    }


def _attention_maps(model: GPT, data: Corpus) -> list[dict[str, Any]]:
    """Show the attention weights of each head in each layer for the first tokens of the validation text."""
    tokens = data.validation[None, : min(MAP_LENGTH, model.block_size)]
    shown = data.tokenizer.decode(tokens[0]).replace("\n", " / ")
    body = model.transformer
    x: Tensor = body.wpe(body.wte(tokens))
    exhibits = []
    for i, block in enumerate(body.h):
        maps = block.attn.weights(block.ln_1(x))[0]  # (H, T, T)
        exhibits.append(
            {
                "kind": "heatmaps",
                "title": f'Layer {i + 1}: attention weights of each head for "{shown}"',
                "x_title": "key position",
                "y_title": "query position",
                "names": [f"head {h + 1}" for h in range(len(maps))],
                "matrices": [[[round(float(v), 3) for v in row] for row in m] for m in maps],
            }
        )
        x = block(x)
    return exhibits


def _copy(model: GPT) -> dict[str, np.ndarray]:
    return {name: value.data.copy() for name, value in model.state_dict().items()}
