"""The tasks of TinyMLPerf: a trained reference, and the data for retraining and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import tinytorch as tt
from tinytorch import acceleration, datasets
from tinytorch.base.errors import CheckError
from tinytorch.saved import load_model
from tinytorch.tokenization import BPETokenizer
from tinytorch.transformers import GPT

Parameters = dict[str, Any]
Predict = Callable[[np.ndarray], np.ndarray]
Report = Callable[..., None]
Batch = tuple[np.ndarray, ...]
Images = TypeVar("Images", datasets.MNIST, datasets.CIFAR10)

PART = 500  # images in a batch, where accuracy is measured
NOISE = 0.01  # sd, in units of the prepared pixels
REFERENCES = Path(__file__).parents[2] / "submissions" / "reference"


class Digits:
    """MNIST's MLP."""

    folder = "mnist"
    known: np.ndarray | None = None  # the reference's result for each item of the test split, if it was prepared

    def __init__(self, held_out: int = 0, images: datasets.MNIST | None = None) -> None:
        self.reference = load_model(REFERENCES / self.folder)
        self.images = judged_on(images or datasets.mnist(), held_out)

    @staticmethod
    def prepare(pixels: np.ndarray) -> np.ndarray:
        return pixels.astype(np.float32) / 255

    @staticmethod
    def augment(batch: Batch, rng: np.random.Generator) -> Batch:
        images, *rest = tt.random_shift(1)(batch, rng)
        return Digits.prepare(images), *rest


class Photos:
    """CIFAR-10's ResNet-8."""

    folder = "cifar10_resnet8"
    known: np.ndarray | None = None

    def __init__(self, held_out: int = 0, images: datasets.CIFAR10 | None = None) -> None:
        self.reference = load_model(REFERENCES / self.folder)
        self.images = judged_on(images or datasets.cifar10(), held_out)

    @staticmethod
    def prepare(pixels: np.ndarray) -> np.ndarray:
        return (pixels - datasets.CIFAR10_MEAN) / datasets.CIFAR10_STD

    @staticmethod
    def augment(batch: Batch, rng: np.random.Generator) -> Batch:
        images, *rest = tt.random_flip(batch, rng)
        return tt.random_shift(4)((Photos.prepare(images), *rest), rng)


class Plays:
    """TinyGPT and Shakespeare's plays, split as in its own suite."""

    folder = "tinygpt"
    known: np.ndarray | None = None

    def __init__(self, windows: int, tokens: np.ndarray | None = None) -> None:
        reference = load_model(REFERENCES / self.folder)
        assert isinstance(reference, GPT)
        self.reference, self.windows = reference, windows
        self.tokens = validation_tokens() if tokens is None else tokens

    @property
    def places(self) -> np.ndarray:
        """Start positions of the evaluated windows, evenly spaced over the validation text: (windows,)."""
        return np.linspace(0, len(self.tokens) - self.reference.block_size - 1, self.windows).astype(np.int64)

    @cached_property
    def judged(self) -> np.ndarray:
        """The evaluated windows, with the token after each: (windows, T + 1)."""
        return self.tokens[self.places[:, None] + np.arange(self.reference.block_size + 1)]


class Product:
    """Two square matrices of integers that every dtype of the ladder represents exactly."""

    def __init__(self, size: int) -> None:
        self.a, self.b = acceleration.matrices(size)


Vision = Digits | Photos
Trained = Vision | Plays  # those that have a reference
Task = Trained | Product


def validation_tokens() -> np.ndarray:
    """Return the validation text in the tokens of the reference, by the tokenizer that is stored with its weights."""
    tokenizer = BPETokenizer.load(REFERENCES / Plays.folder / "tokenizer.json")
    return tokenizer.encode(datasets.shakespeare().validation)


def judged_on(images: Images, held_out: int) -> Images:
    """Return the data set, or use its last `held_out` training images as the test split, to choose recipes."""
    if not held_out:
        return images
    train, labels = images.train_images, images.train_labels
    return replace(
        images,
        train_images=train[:-held_out],
        train_labels=labels[:-held_out],
        test_images=train[-held_out:],
        test_labels=labels[-held_out:],
    )


def calibration(task: Vision) -> list[np.ndarray]:
    """Return 2,048 training inputs in batches of 256. No technique uses the test split."""
    chosen = np.random.default_rng(0).permutation(len(task.images.train_labels))[:2048]
    return [task.prepare(task.images.train_images[part]) for part in np.split(chosen, 8)]


def new_inputs(task: Trained, count: int, seed: int = 1) -> np.ndarray:
    """Return inputs for timing that resemble the test split, but that the model has not processed before.

    Images get a little noise each; windows begin where no evaluated window begins. Another seed draws other inputs.
    """
    rng = np.random.default_rng(seed)
    if isinstance(task, Plays):
        size = task.reference.block_size
        places = np.setdiff1d(np.arange(len(task.tokens) - size), task.places)
        return task.tokens[rng.choice(places, count, replace=False)[:, None] + np.arange(size)]
    chosen = rng.integers(0, len(task.images.test_labels), count)
    images = task.prepare(task.images.test_images[chosen])
    return images + rng.normal(0, NOISE, images.shape).astype(np.float32)


def quality(task: Trained, model: tt.Module, predict: Predict) -> float:
    """Return accuracy on the 10,000 test images, or the mean next-token loss on the validation text in nats."""
    return float(item_results(task, model, predict).mean())


def item_results(task: Trained, model: tt.Module, predict: Predict) -> np.ndarray:
    """Return the result of each item, (N,): whether an image is classified correctly, or a window's loss."""
    return window_losses(task, model) if isinstance(task, Plays) else correct(task, predict)


def raw_of(results: np.ndarray) -> dict[str, list[float]]:
    """Return each item's result for a paired test of two cases: the wrong items and their number, or the losses."""
    if results.dtype == bool:
        return {"wrong": np.flatnonzero(~results).astype(float).tolist(), "items": [float(len(results))]}
    return {"losses": results.round(6).tolist()}


def correct(task: Vision, predict: Predict) -> np.ndarray:
    """Return whether each test image is classified correctly, (N,); raise CheckError if an output is not finite."""
    images, labels = task.images.test_images, task.images.test_labels
    parts = range(0, len(images), PART)
    outputs = np.concatenate([predict(task.prepare(images[i : i + PART])) for i in parts])
    if not np.isfinite(outputs).all():  # argmax calls NaN class 0
        raise CheckError("not-finite", "outputs for test images are NaN or infinite: expected finite numbers")
    return outputs.argmax(axis=1) == labels


def window_losses(task: Plays, model: tt.Module) -> np.ndarray:
    """Return the mean next-token loss of each evaluated window in nats, (windows,)."""
    with tt.no_grad():
        parts = [task.judged[i : i + 24] for i in range(0, len(task.judged), 24)]
        losses = np.concatenate([losses_of(model(part[:, :-1]).data, part[:, 1:]) for part in parts])
    if not np.isfinite(losses).all():
        raise CheckError("not-finite", "losses on the validation text are NaN or infinite: expected finite numbers")
    return losses


def losses_of(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the mean cross-entropy of each row: logits (B, T, V), targets (B, T) -> float64 (B,)."""
    largest = logits.max(axis=-1)
    total = np.exp(logits - largest[..., None]).sum(axis=-1)
    chosen = np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return (largest + np.log(total) - chosen).mean(axis=-1, dtype=np.float64)
