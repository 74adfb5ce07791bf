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
from tinytorch.saved import load_model
from tinytorch.tokenization import BPETokenizer
from tinytorch.transformers import GPT, next_token_loss

Parameters = dict[str, Any]
Predict = Callable[[np.ndarray], np.ndarray]
Report = Callable[..., None]
Batch = tuple[np.ndarray, ...]
Images = TypeVar("Images", datasets.MNIST, datasets.CIFAR10)

NOISE = 0.01  # sd, in units of the prepared pixels
REFERENCES = Path(__file__).parents[2] / "submissions" / "reference"


class Digits:
    """MNIST's MLP."""

    def __init__(self, held_out: int = 0) -> None:
        self.reference = load_model(REFERENCES / "mnist")
        self.images = judged_on(datasets.mnist(), held_out)

    @staticmethod
    def prepare(pixels: np.ndarray) -> np.ndarray:
        return pixels.astype(np.float32) / 255

    @staticmethod
    def augment(batch: Batch, rng: np.random.Generator) -> Batch:
        images, *rest = tt.random_shift(1)(batch, rng)
        return Digits.prepare(images), *rest


class Photos:
    """CIFAR-10's ResNet-8."""

    def __init__(self, held_out: int = 0) -> None:
        self.reference = load_model(REFERENCES / "cifar10_resnet8")
        self.images = judged_on(datasets.cifar10(), held_out)

    @staticmethod
    def prepare(pixels: np.ndarray) -> np.ndarray:
        return (pixels - datasets.CIFAR10_MEAN) / datasets.CIFAR10_STD

    @staticmethod
    def augment(batch: Batch, rng: np.random.Generator) -> Batch:
        images, *rest = tt.random_flip(batch, rng)
        return tt.random_shift(4)((Photos.prepare(images), *rest), rng)


class Plays:
    """TinyGPT and Shakespeare's plays, split as in its own suite."""

    def __init__(self, windows: int) -> None:
        reference = load_model(REFERENCES / "tinygpt")
        assert isinstance(reference, GPT)
        self.reference, self.windows = reference, windows
        text = datasets.shakespeare()
        tokenizer = BPETokenizer.train(text.train, 4000)
        self.tokens = tokenizer.encode(text.validation)

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


def new_inputs(task: Trained, count: int) -> np.ndarray:
    """Return inputs for timing that resemble the test split, but that the model has not processed before.

    Images get a little noise each; windows begin where no evaluated window begins.
    """
    rng = np.random.default_rng(1)
    if isinstance(task, Plays):
        size = task.reference.block_size
        places = np.setdiff1d(np.arange(len(task.tokens) - size), task.places)
        return task.tokens[rng.choice(places, count, replace=False)[:, None] + np.arange(size)]
    chosen = rng.integers(0, len(task.images.test_labels), count)
    images = task.prepare(task.images.test_images[chosen])
    return images + rng.normal(0, NOISE, images.shape).astype(np.float32)


def quality(task: Trained, model: tt.Module, predict: Predict) -> float:
    """Return accuracy on the 10,000 test images, or the mean next-token loss on the validation text in nats."""
    if isinstance(task, Plays):
        with tt.no_grad():
            parts = [task.judged[i : i + 24] for i in range(0, len(task.judged), 24)]
            losses = [len(part) * next_token_loss(model(part[:, :-1]), part[:, 1:]).item() for part in parts]
        return sum(losses) / len(task.judged)
    images, labels = task.images.test_images, task.images.test_labels
    called = [predict(task.prepare(images[i : i + 500])).argmax(axis=1) for i in range(0, len(images), 500)]
    return float((np.concatenate(called) == labels).mean())
