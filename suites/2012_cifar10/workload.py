"""CIFAR-10: convolutional networks trained on 50,000 small photographs and evaluated on the 10,000 test photographs.

There are three models: a plain CNN, MLPerf Tiny's ResNet-8, and airbench's network, designed to train fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

import tinytorch as tt
from tinytorch import datasets, inference
from tinytorch.benchmarking import measure
from tinytorch.layers import evaluating
from tinytorch.optimizers import Optimizer
from tinytorch.spatial import AdaptiveAvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.surgery.parts import watched

Edge = Literal["constant", "reflect"]
Layer = Callable[[tt.Tensor], tt.Tensor]


class Data(NamedTuple):
    train_x: np.ndarray  # (50000, 3, 32, 32), uint8
    train_y: np.ndarray  # (50000,)
    test_x: np.ndarray  # (10000, 3, 32, 32), uint8
    test_y: np.ndarray  # (10000,)
    classes: tuple[str, ...]


def load(parameters: dict[str, Any]) -> Data:
    """Load all of CIFAR-10."""
    cifar = datasets.cifar10()
    return Data(cifar.train_images, cifar.train_labels, cifar.test_images, cifar.test_labels, cifar.classes)


def normalise(images: np.ndarray) -> np.ndarray:
    """Convert uint8 pixels to float32 with mean 0 and standard deviation 1 in each channel."""
    return (images - datasets.CIFAR10_MEAN) / datasets.CIFAR10_STD


# Models -----------------------------------------------------------------------------------------------


def cnn(widths: list[int]) -> tt.Module:
    """Build a 3x3 convolution, pooling, batch norm, and ReLU for each width.

    Pooling comes right after the convolution, so the other layers have a quarter of the work.
    """
    layers: list[Layer] = []
    for into, out in pairwise([3, *widths]):
        layers += [Conv2d(into, out, 3, padding=1, bias=False), MaxPool2d(2), BatchNorm2d(out), tt.ReLU()]
    side = 32 >> len(widths)
    return tt.Sequential(*layers, tt.Flatten(), tt.Linear(widths[-1] * side * side, 10))


def resnet8() -> tt.Module:
    """Build MLPerf Tiny's image classifier, ResNet v1 with 8 layers and 78,666 parameters.

    Source: https://github.com/mlcommons/tiny.
    """
    stem: list[Layer] = [Conv2d(3, 16, 3, 1, 1), BatchNorm2d(16), tt.ReLU()]
    stacks = [BasicBlock(16, 16), BasicBlock(16, 32, stride=2), BasicBlock(32, 64, stride=2)]
    return tt.Sequential(*stem, *stacks, AdaptiveAvgPool2d(1), tt.Flatten(), tt.Linear(64, 10))


def airbench(widths: list[int], activation: Layer) -> tt.Module:
    """Build a fixed 2x2 convolution that whitens the patches, then two 3x3 convolutions for each width.

    Batch norm has no scale, and convolutions are initialized as the identity. The last layer's weights have a standard
    deviation of 1, and its outputs are divided by the number of its inputs.
    Source: Jordan 2024, https://arxiv.org/abs/2404.00498 and https://github.com/KellerJordan/cifar10-airbench.
    """
    last = tt.Linear(widths[-1], 10, bias=False)
    last.weight.data /= last.weight.data.std()
    layers: list[Layer] = [Conv2d(3, 24, 2), activation]
    for into, out in pairwise([24, *widths]):
        layers += [_identity(into, out), MaxPool2d(2), _shift_norm(out), activation]
        layers += [_identity(out, out), _shift_norm(out), activation]
    return tt.Sequential(*layers, MaxPool2d(3), tt.Flatten(), last, lambda x: x / widths[-1])


def _identity(into: int, out: int) -> Conv2d:
    """Build a convolution whose first channels are initialized to pass the input on."""
    layer = Conv2d(into, out, 3, padding=1, bias=False)
    same = np.arange(min(into, out))
    layer.weight.data[same] = 0
    layer.weight.data[same, same, 1, 1] = 1
    return layer


def _shift_norm(channels: int) -> BatchNorm2d:
    layer = BatchNorm2d(channels, momentum=0.4)
    layer.weight.requires_grad = False
    return layer


def whiten(layer: Conv2d, images: np.ndarray) -> None:
    """Set the first convolution to the eigenvectors of 2x2 patches, scaled to unit variance, and their negatives."""
    patches = np.lib.stride_tricks.sliding_window_view(normalise(images), (2, 2), axis=(2, 3))[:, :, ::2, ::2]
    rows = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    filters = (vectors / np.sqrt(values + 5e-4)).T[::-1].reshape(12, 3, 2, 2)
    layer.weight.data = np.concatenate([filters, -filters]).astype(np.float32)
    layer.weight.requires_grad = False
    layer.bias.data[...] = 0  # type: ignore[union-attr]


def build(parameters: dict[str, Any], seed: int) -> tt.Module:
    """Build the model that the parameters name."""
    tt.manual_seed(seed)
    if parameters["model"] == "resnet8":
        return resnet8()
    if parameters["model"] == "cnn":
        return cnn(parameters["widths"])
    return airbench(parameters["widths"], {"relu": tt.relu, "gelu": tt.gelu}[parameters["activation"]])


# Training ---------------------------------------------------------------------------------------------


class FlippingLoader(tt.DataLoader):
    """A loader that mirrors half of the images in even epochs and the other half in odd ones.

    In any two consecutive epochs, each image is seen once in each orientation (Jordan 2024, section 3.6).
    """

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        for images, labels, side in super().batches(epoch, start):
            mirrored = (side + epoch) % 2 == 1
            images[mirrored] = images[mirrored][..., ::-1]
            yield images, labels


def augmentation(
    pixels: int, edge: Edge
) -> Callable[[tuple[np.ndarray, ...], np.random.Generator], tuple[np.ndarray, ...]]:
    """Normalize, then shift by up to `pixels`, and fill the edge with the mean color ("constant") or a reflection."""
    shift = tt.random_shift(pixels, mode=edge)
    return lambda batch, rng: shift((normalise(batch[0]), *batch[1:]), rng)


class Muon(Optimizer):
    """SGD with Nesterov momentum. In groups with `orthogonal`, the rows of each step are nearly orthogonal.

        v = momentum v + g;  u = g + momentum v;  p = p - lr u
        orthogonal:  p = sqrt(K) p / |p| - lr orthogonal(u)      for filters of K channels, as rows

    A gradient of filters has a few large singular values. With orthogonal steps, all directions are learned alike, and
    the network needs fewer epochs. Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float) -> None:
        super().__init__(groups, lr=0.0, momentum=momentum, weight_decay=0.0, orthogonal=False)

    def new_state(self, data: np.ndarray, group: dict[str, Any]) -> dict[str, np.ndarray]:
        return {"velocity": np.zeros_like(data)}

    def update(
        self, data: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], scratch: np.ndarray, group: dict[str, Any]
    ) -> None:
        velocity = state["velocity"]
        g = g + group["weight_decay"] * data
        velocity *= group["momentum"]
        velocity += g
        step = g + group["momentum"] * velocity
        if group["orthogonal"]:
            data *= np.sqrt(len(data)) / np.linalg.norm(data)
            step = orthogonal(step.reshape(len(step), -1)).reshape(step.shape)
        data -= group["lr"] * step


def orthogonal(x: np.ndarray, steps: int = 3) -> np.ndarray:
    """Bring the singular values of a matrix near 1, and keep its singular vectors.

    Each step maps each singular value s to 3.4445 s - 4.775 s^3 + 2.0315 s^5, which needs products only. Three steps
    are rough. For random normal filters of this network, all values end between 0.68 and 1.21. A value that is a
    thousandth of the largest stays below 0.02.
    """
    if len(x) > x.shape[1]:
        return orthogonal(x.T, steps).T
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return x


def optimizer_for(model: tt.Module, parameters: dict[str, Any]) -> Optimizer:
    """Build SGD with Nesterov momentum, or for airbench Muon, with rates for filters, shifts, and the last layer."""
    rate, decay, momentum = parameters["learning_rate"], parameters["weight_decay"], parameters["momentum"]
    if parameters["model"] != "airbench":
        return tt.SGD(model.parameters(), rate, momentum, decay, nesterov=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    filters = [p for p in trained if p.ndim == 4]
    groups: list[dict[str, Any]] = [
        {"params": filters, "lr": rate, "momentum": parameters["filter_momentum"], "orthogonal": True}
    ]
    for ndim, name in ((1, "shift_rate"), (2, "output_rate")):
        params = [p for p in trained if p.ndim == ndim]
        groups.append({"params": params, "lr": parameters[name], "weight_decay": decay / parameters[name]})
    return Muon(groups, momentum)


def train(
    model: tt.Module, data: Data, parameters: dict[str, Any], seed: int, report: tt.training.Report
) -> list[dict[str, float]]:
    """Train by SGD or Muon. The learning rate rises from 0.2 of its peak during warmup, and then falls.

    It falls to the fraction `last` of its peak. airbench's first layer has fixed filters, and its bias is trained in
    the first `bias_epochs` only.
    """
    side = np.random.default_rng(seed).integers(0, 2, len(data.train_y))
    loader = FlippingLoader(
        tt.TensorDataset(data.train_x, data.train_y, side),
        parameters["batch_size"],
        shuffle=True,
        drop_last=True,
        seed=seed,
        transform=augmentation(parameters["shift"], parameters["edge"]),
    )
    test = tt.DataLoader(tt.TensorDataset(data.test_x, data.test_y), 500, transform=augmentation(0, "constant"))
    steps = parameters["epochs"] * len(loader)
    if parameters["model"] == "airbench":
        whiten(model[0], data.train_x[:5000])  # type: ignore[index]
    optimizer = optimizer_for(model, parameters)
    knots, factors = [0, parameters["warmup"] * steps, steps], [0.2, 1, parameters["last"]]
    trainer = tt.Trainer(
        model,
        optimizer,
        tt.CrossEntropyLoss(parameters["label_smoothing"]),
        schedule=tt.LambdaLR(optimizer, lambda step: float(np.interp(step, knots, factors))),
        metrics={"accuracy": tt.accuracy},
    )

    def report_all(done: int, total: int, **figures: float) -> None:
        report(done, steps, **figures)  # the trainer's total ends with the stage

    if "bias_epochs" in parameters:
        trainer.fit(loader, parameters["bias_epochs"], test, report_all, "test")
        model[0].bias.requires_grad = False  # type: ignore[index]
    return trainer.fit(loader, parameters["epochs"], test, report, "test")


# Evaluation -------------------------------------------------------------------------------------------


def evaluate(model: tt.Module, data: Data, parameters: dict[str, Any]) -> dict[str, Any]:
    """Measure accuracy on the whole test split, with one view of each image and with the case's number of views."""
    predict = predictor(model)
    single = logits_of(predict, data.test_x)
    logits = single.copy()
    for share, view in more_views(data.test_x, parameters["views"]):
        logits += share * logits_of(predict, view)
    called = logits.argmax(axis=1)
    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (data.test_y, called), 1)
    return {
        "metrics": {
            "accuracy": float((called == data.test_y).mean()),
            "accuracy_single": float((single.argmax(axis=1) == data.test_y).mean()),
        },
        "exhibits": [
            {
                "kind": "confusion",
                "title": "Confusion matrix",
                "classes": list(data.classes),
                "counts": counts.tolist(),
            },
            worst_mistakes(data, logits, count=24),
            filters(model),
            feature_maps(model, data.test_x[:1]),
            layer_costs(model, data.test_x[:128]),
        ],
        "raw": {"wrong": np.flatnonzero(called != data.test_y).tolist(), "items": [len(called)]},
    }


def more_views(images: np.ndarray, views: int) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (weight, images) of the views in addition to the image itself, whose weight is 1.

    2 views add the mirror image. 6 views also add both images shifted by one pixel up and left, and down and right,
    each with weight 1/2 (airbench94's test-time augmentation).
    """
    if views > 1:
        yield 1.0, images[..., ::-1]
    if views > 2:
        padded = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="reflect")
        for moved in (padded[..., :-2, :-2], padded[..., 2:, 2:]):
            yield 0.5, moved
            yield 0.5, moved[..., ::-1]


def logits_of(predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return logits (N, 10), computed for 500 images at a time."""
    return np.concatenate([predict(normalise(images[i : i + 500])) for i in range(0, len(images), 500)])


def worst_mistakes(data: Data, logits: np.ndarray, count: int) -> dict[str, Any]:
    """Show misclassified images, the most confident mistakes first."""
    probabilities = tt.softmax(tt.Tensor(logits)).data  # (N, 10)
    called = probabilities.argmax(axis=1)
    sureness = np.where(called != data.test_y, probabilities.max(axis=1), -1)
    worst = [i for i in np.argsort(-sureness)[:count] if called[i] != data.test_y[i]]
    name = data.classes
    pictures = [
        {
            "caption": f"{name[data.test_y[i]]}, predicted {name[called[i]]} ({sureness[i]:.0%})",
            "pixels": data.test_x[i].transpose(1, 2, 0).tolist(),
        }
        for i in worst
    ]
    return {"kind": "pictures", "title": "Most confident mistakes", "pictures": pictures}


def filters(model: tt.Module) -> dict[str, Any]:
    """Show the first layer's kernels as colors, each scaled to the full range."""
    weight = model[0].weight.data.transpose(0, 2, 3, 1)  # type: ignore[index]  # (K, kh, kw, 3)
    low, high = (f(weight, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    colours = ((weight - low) / (high - low + 1e-12) * 255).astype(int).repeat(8, axis=1).repeat(8, axis=2)
    pictures = [{"caption": f"channel {i}", "pixels": pixels.tolist()} for i, pixels in enumerate(colours[:32])]
    return {"kind": "pictures", "title": "Filters of the first layer", "pictures": pictures}


def feature_maps(model: tt.Module, image: np.ndarray) -> dict[str, Any]:
    """Show one test image and the first layer's response to it, from black to white in each channel."""
    with tt.no_grad():
        maps = model[0](tt.Tensor(normalise(image))).data[0]  # type: ignore[index]  # (K, H, W)
    low, high = (f(maps, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    greys = ((maps - low) / (high - low + 1e-12) * 255).astype(int)
    pictures = [{"caption": "input image", "pixels": image[0].transpose(1, 2, 0).tolist()}]
    pictures += [{"caption": f"channel {i}", "pixels": grey.tolist()} for i, grey in enumerate(greys[:16])]
    return {"kind": "pictures", "title": "Feature maps of the first layer", "pictures": pictures}


def layer_costs(model: tt.Module, images: np.ndarray) -> dict[str, Any]:
    """Tabulate time and operations of each layer on a batch, compared with the best matrix product measured here."""
    a = np.random.default_rng(0).random((1024, 1024), np.float32)
    peak = 2 * 1024**3 / float(measure(lambda: a @ a, samples=15, warmup=3).seconds.min())  # operations per second
    rows: list[list[str | float | None]] = []
    for name, layer, x in inputs_of_layers(model, images):
        with tt.no_grad(), evaluating(layer):
            y = layer(x)
            seconds = measure(partial(layer, x), samples=9, warmup=2).median
        work = operations(layer, y)
        rate = work / seconds
        share = round(rate / peak, 3) if work else None
        shown = [round(work / 1e6, 1), round(seconds * 1e3, 3), round(rate / 1e9, 1) if work else None, share]
        rows.append([name, type(layer).__name__, str(y.shape[1:]), *shown])
    title = f"Inference of {len(images)} images, layer by layer. Best matrix product here: {peak / 1e9:.0f} GFLOP/s. "
    return {
        "kind": "table",
        "title": title
        + "Operations are counted for direct convolution; Winograd needs fewer, so its share can exceed 1.",
        "columns": ["name", "layer", "output", "MFLOP", "ms", "GFLOP/s", "share of peak"],
        "rows": rows,
    }


def operations(layer: tt.Module, y: tt.Tensor) -> float:
    """Count a convolution's or linear layer's multiplications and additions: two per weight and output position."""
    if not isinstance(layer, (Conv2d, tt.Linear)):
        return 0.0
    places = y.numel() // y.shape[1]
    return 2.0 * layer.weight.numel() * places


def inputs_of_layers(model: tt.Module, images: np.ndarray) -> list[tuple[str, tt.Module, tt.Tensor]]:
    """Return (name, layer, input) of each layer that computes something, in the order in which they run."""
    seen: list[tuple[str, tt.Module, tt.Tensor]] = []
    layers = [(name, part) for name, part in model.named_modules() if not list(part.named_children())]
    with tt.no_grad(), evaluating(model), watched(layers, lambda name, layer, x, y: seen.append((name, layer, x))):
        model(tt.Tensor(normalise(images)))
    return [entry for entry in seen if not isinstance(entry[1], (tt.Flatten, tt.Sequential))]


def predictor(model: tt.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from normalized images (N, 3, 32, 32) to logits (N, 10)."""
    return inference.predictor(model)


def queries(data: Data, parameters: dict[str, Any]) -> np.ndarray:
    """Return the first test images, normalized."""
    return normalise(data.test_x[:2000])
