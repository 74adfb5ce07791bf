"""TinyMLPerf: each way of making a model smaller or faster, beside the FP32 reference that it was made from.

A case takes a trained reference, applies a technique, writes the result to a folder (`save_model`), loads it again
and judges only what was loaded: what the file does not hold cannot help it. Quality is that of the whole test split,
times are taken in turn with the reference's in one process, sizes are those of the files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, partial
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np

import tinytorch as tt
from tinytorch import caching, datasets, kernels, quantization
from tinytorch.acceleration import trace
from tinytorch.benchmarking import Measurement, measure, measure_interleaved, peak_memory
from tinytorch.compression import DistillationLoss, GradualPruning, prune_channels, with_teacher
from tinytorch.mixed_precision import autocast
from tinytorch.saving import load_model, save_model, saved_bytes
from tinytorch.serialization import load_arrays, save_arrays
from tinytorch.tokenization import BPETokenizer
from tinytorch.transformers import GPT, next_token_loss

Parameters = dict[str, Any]
Predict = Callable[[np.ndarray], np.ndarray]
Report = Callable[..., None]
Batch = tuple[np.ndarray, ...]

REFERENCES = Path(__file__).parents[2] / "submissions" / "reference"
SAMPLES = 700  # of a latency: p99 needs 662
BATCH = 64  # of the throughput
NEW_TOKENS = 256
HOP = 64  # tokens that a context drops when the block is full, with a cache and without


# The tasks: a reference, and the data that it is retrained and judged on ----------------------------------


class Digits:
    """MNIST's MLP."""

    def __init__(self) -> None:
        self.reference = load_model(REFERENCES / "mnist")
        self.images = datasets.mnist()

    @staticmethod
    def prepare(pixels: np.ndarray) -> np.ndarray:
        return pixels.astype(np.float32) / 255

    @staticmethod
    def augment(batch: Batch, rng: np.random.Generator) -> Batch:
        images, *rest = tt.random_shift(1)(batch, rng)
        return Digits.prepare(images), *rest


class Photos:
    """CIFAR-10's ResNet-8."""

    def __init__(self) -> None:
        self.reference = load_model(REFERENCES / "cifar10_resnet8")
        self.images = datasets.cifar10()

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

    @cached_property
    def judged(self) -> np.ndarray:
        """Windows at even distances over the validation text, with the token after each: (windows, T + 1)."""
        size = self.reference.block_size
        places = np.linspace(0, len(self.tokens) - size - 1, self.windows).astype(np.int64)
        return self.tokens[places[:, None] + np.arange(size + 1)]


Task = Digits | Photos | Plays


def calibration(task: Task) -> list[np.ndarray]:
    """Inputs of the training split, 2,048 in batches of 256: the test split has no part in any technique."""
    assert not isinstance(task, Plays)
    chosen = np.random.default_rng(0).permutation(len(task.images.train_labels))[:2048]
    return [task.prepare(task.images.train_images[part]) for part in np.split(chosen, 8)]


def quality(task: Task, model: tt.Module, predict: Predict) -> float:
    """Accuracy on the 10,000 test images, or the mean loss of the validation text's next tokens in nats."""
    if isinstance(task, Plays):
        with tt.no_grad():
            parts = [task.judged[i : i + 24] for i in range(0, len(task.judged), 24)]
            losses = [len(part) * next_token_loss(model(part[:, :-1]), part[:, 1:]).item() for part in parts]
        return sum(losses) / len(task.judged)
    images, labels = task.images.test_images, task.images.test_labels
    called = [predict(task.prepare(images[i : i + 500])).argmax(axis=1) for i in range(0, len(images), 500)]
    return float((np.concatenate(called) == labels).mean())


# The techniques: from a task to a new model ----------------------------------------------------------------


def loader(task: Digits | Photos, parameters: Parameters, transform: Any = None) -> tt.DataLoader:
    """Augmented training images, all of them or the first `images`."""
    n = parameters.get("images", len(task.images.train_labels))
    samples = tt.TensorDataset(task.images.train_images[:n], task.images.train_labels[:n])
    return tt.DataLoader(
        samples, parameters["batch_size"], shuffle=True, drop_last=True, seed=1, transform=transform or task.augment
    )


def retrain(
    model: tt.Module,
    batches: tt.DataLoader,
    epochs: int,
    optimizer: tt.Optimizer,
    report: Report,
    sparsity: float | None = None,
    pruned: float = 0.0,
    loss: Any = None,
    block: Any = nullcontext,
) -> None:
    """Train on, with a cosine schedule; with a sparsity, pruned from `pruned` to it in the first half of the steps."""
    steps = epochs * len(batches)
    schedule = tt.CosineLR(optimizer, steps, warmup=steps // 20)
    if sparsity is not None:
        optimizer = GradualPruning(optimizer, model, sparsity, max(1, steps // 2), every=20, initial=pruned)
    trainer = tt.Trainer(model, optimizer, loss or tt.CrossEntropyLoss(), schedule=schedule, autocast=block)
    trainer.fit(batches, epochs, report=report)
    model.eval()


def teacher(task: Digits | Photos) -> tt.Module:
    """The reference, whose answers others learn from; in INT8 where that is the quickest, and as good."""
    return (
        quantization.quantize_static(task.reference, calibration(task)) if kernels.native(np.int8) else task.reference
    )


def quickest() -> Any:
    """What to train in: bfloat16 where it has instructions of its own, else float32."""
    return autocast if kernels.native(kernels.bfloat16()) else nullcontext


def adam(model: tt.Module, rate: float) -> tt.Optimizer:
    """Coupled weight decay: it takes to zero the weights of pixels that are always black."""
    return tt.Adam(model.parameters(), rate, weight_decay=1e-4)


def sgd(model: tt.Module, rate: float) -> tt.Optimizer:
    return tt.SGD(model.parameters(), rate, momentum=0.9, weight_decay=2e-4, nesterov=True)


def part_of(report: Report, index: int, parts: int) -> Report:
    """The progress of one of several trainings, as a part of all."""
    return lambda done, total, **figures: report(index * total + done, parts * total, **figures)


def fp32(task: Task, parameters: Parameters, report: Report) -> tt.Module:
    """Nothing: the reference beside itself, which must come out as equal."""
    return task.reference


def int8_dynamic(task: Task, parameters: Parameters, report: Report) -> tt.Module:
    return quantization.quantize_dynamic(task.reference)


def int8_static(task: Task, parameters: Parameters, report: Report) -> tt.Module:
    return quantization.quantize_static(task.reference, calibration(task), parameters["method"])


def int8_qat(task: Task, parameters: Parameters, report: Report) -> tt.Module:
    """Trained on with rounded weights and activations."""
    assert not isinstance(task, Plays)
    model = quantization.prepare_qat(task.reference)
    retrain(model, loader(task, parameters), parameters["epochs"], sgd(model, parameters["learning_rate"]), report)
    return quantization.convert(model)


def small_int8(task: Task, parameters: Parameters, report: Report) -> tt.Module:
    """Pruned while the reference teaches it, then trained on with weights of few bits: small numbers pack well."""
    assert not isinstance(task, Plays)
    taught = loader(task, parameters, with_teacher(teacher(task), task.augment))
    sparsity, rate = parameters["sparsity"], parameters["learning_rate"]
    shared: dict[str, Any] = {"sparsity": sparsity, "loss": DistillationLoss(parameters["temperature"])}
    model = copied(task.reference)
    retrain(model, taught, parameters["epochs"], sgd(model, rate), part_of(report, 0, 2), block=quickest(), **shared)
    model = quantization.prepare_qat(model, parameters["bits"])
    rounding = sgd(model, parameters["rounding_rate"])
    retrain(model, taught, parameters["rounding_epochs"], rounding, part_of(report, 1, 2), pruned=sparsity, **shared)
    return quantization.convert(model)


def sparse_int8(task: Task, parameters: Parameters, report: Report) -> tt.Module:
    """Pruned while retrained, then quantized; zeros take a bit each in the file."""
    assert not isinstance(task, Plays)
    model = copied(task.reference)
    optimizer = adam(model, parameters["learning_rate"])
    retrain(model, loader(task, parameters), parameters["epochs"], optimizer, report, sparsity=parameters["sparsity"])
    return quantization.quantize_static(model, calibration(task), parameters["method"])


def structured(task: Task, parameters: Parameters, report: Report) -> tt.Module:
    """Whole channels removed, then retrained on what the reference answers."""
    assert not isinstance(task, Plays)
    model = prune_channels(task.reference, parameters["share"])
    optimizer = (adam if isinstance(task, Digits) else sgd)(model, parameters["learning_rate"])
    taught = loader(task, parameters, with_teacher(teacher(task), task.augment))
    loss, block = DistillationLoss(parameters["temperature"]), nullcontext if isinstance(task, Digits) else quickest()
    retrain(model, taught, parameters["epochs"], optimizer, report, loss=loss, block=block)
    return model


def distilled_int8(task: Task, parameters: Parameters, report: Report) -> tt.Module:
    """A small network trained from nothing on what the reference answers, then quantized."""
    assert isinstance(task, Digits)
    tt.manual_seed(1)
    sizes = [28 * 28, *parameters["hidden"]]
    layers: list[Callable[[tt.Tensor], tt.Tensor]] = [tt.Flatten()]
    for i in range(len(sizes) - 1):
        layers += [tt.Linear(sizes[i], sizes[i + 1]), tt.ReLU()]
    model = tt.Sequential(*layers, tt.Linear(sizes[-1], 10))
    taught = loader(task, parameters, with_teacher(teacher(task), task.augment))
    optimizer = adam(model, parameters["learning_rate"])
    retrain(model, taught, parameters["epochs"], optimizer, report, loss=DistillationLoss(parameters["temperature"]))
    return quantization.quantize_static(model, calibration(task), parameters["method"])


TECHNIQUES: dict[str, Callable[[Task, Parameters, Report], tt.Module]] = {
    technique.__name__: technique
    for technique in (fp32, int8_dynamic, int8_static, int8_qat, sparse_int8, small_int8, structured, distilled_int8)
}


def copied(model: tt.Module) -> tt.Module:
    """The same model once more, by way of its file."""
    with tempfile.TemporaryDirectory() as folder:
        return load_model(save_model(model, Path(folder) / "model"))


# The contract: a reference, and what became of it -----------------------------------------------------------


class Variant(tt.Module):
    """What a technique made of a reference, as its file holds it.

    Its state is the saved model itself, model.json as bytes among the tensors, so that the harness can write it to
    one file and read it again without knowing how it is built.
    """

    def __init__(self) -> None:
        self.served: tt.Module = tt.Sequential()
        self.file_bytes = 0
        self.pair: list[tt.Module] = []  # trained in float32 and in half precision

    def take(self, model: tt.Module, compress: bool) -> None:
        """Write the model and keep only what is read back."""
        with tempfile.TemporaryDirectory() as folder:
            saved = save_model(model, Path(folder) / "model", compress)
            self.served, self.file_bytes = load_model(saved), saved_bytes(saved)

    def state_dict(self) -> dict[str, tt.Tensor]:
        with tempfile.TemporaryDirectory() as folder:
            saved = save_model(self.served, Path(folder) / "model")
            arrays, _ = load_arrays(saved / "model.safetensors")
            text = np.frombuffer((saved / "model.json").read_bytes(), np.uint8)
        return {name: tt.Tensor(array) for name, array in {**arrays, DESCRIPTION: text}.items()}

    def load_state_dict(self, state: Any) -> None:
        arrays = {name: value.data if isinstance(value, tt.Tensor) else value for name, value in state.items()}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model.json").write_bytes(arrays.pop(DESCRIPTION).tobytes())
            save_arrays(Path(folder) / "model.safetensors", arrays)
            self.served = load_model(folder)

    def parameters(self) -> list[Any]:
        """All tensors: those of a quantized model are not trained, but they count."""
        return list({id(tensor): tensor for _, tensor in self.served.named_tensors()}.values())


DESCRIPTION = "model.json"


def load(parameters: Parameters) -> Task:
    track = parameters["track"]
    if track == "TinyGPT":
        return Plays(parameters["windows"])
    return Digits() if track == "MNIST" else Photos()


def build(parameters: Parameters, seed: int) -> Variant:
    return Variant()


def train(model: Variant, data: Task, parameters: Parameters, seed: int, report: Report) -> list[dict[str, float]]:
    """Apply the case's technique."""
    if isinstance(data, Photos) and parameters["technique"] == "mixed_precision":
        return train_twice(model, data, parameters, report)
    technique = parameters["technique"].removesuffix("_kv_cache")
    if technique in TECHNIQUES:
        made = TECHNIQUES[technique](data, parameters, report)
        model.take(made, compress=parameters.get("compress", False))
    return []


def evaluate(model: Variant, data: Task, parameters: Parameters) -> dict[str, Any]:
    return MEASURES.get(parameters["technique"], inference)(model, data, parameters)


def predictor(model: Variant) -> Predict:
    return predictor_of(model.served)


def queries(data: Task, parameters: Parameters) -> np.ndarray:
    if isinstance(data, Plays):
        return data.judged[:, :-1]
    return data.prepare(data.images.test_images[:2000])


def predictor_of(model: tt.Module) -> Predict:
    """The fastest way to ask a model of its kind."""
    if isinstance(model, GPT):
        return model.next_logits
    return quantization.predictor(model) if is_quantized(model) else trace(model)


def is_quantized(model: tt.Module) -> bool:
    return any(tensor.data.dtype == np.int8 for _, tensor in model.named_tensors())


# Inference: quality, times, sizes ----------------------------------------------------------------------------


def inference(model: Variant, data: Task, parameters: Parameters) -> dict[str, Any]:
    """A variant beside its reference: what the file's model answers, how soon, and from how many bytes."""
    own, fp32 = predictor_of(model.served), predictor_of(data.reference)
    asked = queries(data, parameters)
    check(model, parameters, asked[:4])
    own_quality, fp32_quality = quality(data, model.served, own), quality(data, data.reference, fp32)
    before = np.concatenate([own(asked[i : i + 1]) for i in range(50)])
    own_time, fp32_time = paired_latency(own, fp32, asked)
    if not np.array_equal(before, np.concatenate([own(asked[i : i + 1]) for i in range(50)])):
        raise ValueError("the model answered otherwise after it was timed than before")
    batch = asked[:BATCH]
    own_batch, fp32_batch = measure_interleaved(lambda: own(batch), lambda: fp32(batch), samples=15, warmup=3)
    lost = own_quality - fp32_quality if isinstance(data, Plays) else fp32_quality - own_quality
    names = ("val_loss", "loss_added") if isinstance(data, Plays) else ("accuracy", "points_lost")
    metrics = {
        names[0]: own_quality,
        names[1]: lost,
        **times(own_time),
        "speedup": fp32_time.median / own_time.median,
        "throughput": BATCH / own_batch.median,
        "batch_speedup": fp32_batch.median / own_batch.median,
        "file_bytes": model.file_bytes,
        "file_share": model.file_bytes / reference_bytes(data),
        "memory_bytes": memory(model, asked[:1]),
    }
    return {"metrics": metrics, "exhibits": [distributions(own_time, fp32_time)]}


def check(model: Variant, parameters: Parameters, example: np.ndarray) -> None:
    """A case that calls itself INT8 is refused unless its layers hold int8 and their sums are exact integers."""
    if "int8" in parameters["technique"]:
        problems = quantization.verify_quantized(model.served, example)
        if problems:
            raise ValueError(f"not the INT8 model that it is called: {'; '.join(problems)}")


def reference_bytes(data: Task) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return saved_bytes(save_model(data.reference, Path(folder) / "model"))


def paired_latency(own: Predict, fp32: Predict, asked: np.ndarray) -> tuple[Measurement, Measurement]:
    """One query at a time, the two models in turn, fresh queries for each."""
    singles = [asked[i : i + 1] for i in range(len(asked))]
    turns = cycle(singles), cycle(singles)
    return measure_interleaved(lambda: own(next(turns[0])), lambda: fp32(next(turns[1])), samples=SAMPLES, warmup=50)


def times(latency: Measurement) -> dict[str, float]:
    return {f"p{q}_us": latency.percentile(q) * 1e6 for q in (50, 90, 99)}


def memory(model: Variant, query: np.ndarray) -> int:
    """The most memory that loading the model and answering one query take, in NumPy's arrays."""
    with tempfile.TemporaryDirectory() as folder:
        saved = save_model(model.served, Path(folder) / "model")
        return peak_memory(lambda: predictor_of(load_model(saved))(query))


def distributions(own: Measurement, fp32: Measurement) -> dict[str, Any]:
    """Both latencies as curves: the share of queries answered within a time."""
    series = []
    for name, latency in (("this case", own), ("FP32 reference", fp32)):
        ordered = np.sort(latency.seconds * 1e6)[: int(0.99 * len(latency.seconds))]
        share = np.arange(1, len(ordered) + 1) / len(latency.seconds)
        series.append({"name": name, "x": ordered[::5].round(2).tolist(), "y": share[::5].round(4).tolist()})
    title = "Latency of one query, taken in turn with the reference"
    return {"kind": "lines", "title": title, "x_title": "µs", "y_title": "share of queries", "series": series}


# Generation with a cache -------------------------------------------------------------------------------------


def generation(model: Variant, data: Task, parameters: Parameters) -> dict[str, Any]:
    """256 tokens with a key-value cache beside the same tokens without one."""
    assert isinstance(data, Plays)
    assert isinstance(model.served, GPT)
    served, prompt = model.served, data.judged[0, :16]
    writer = decoder(served, 1)
    settings: dict[str, Any] = {"temperature": 0.8, "seed": 1}

    def cached() -> np.ndarray:
        return writer.generate(prompt, NEW_TOKENS, **settings)

    def whole(model: GPT) -> np.ndarray:
        return model.generate(prompt, NEW_TOKENS, **settings, hop=HOP)

    same = float((cached() == whole(served))[len(prompt) :].mean())
    if same < 1 and not is_quantized(served):  # rounding to integers turns a last bit into another token
        raise ValueError("the cache wrote other tokens than the same model without it")
    tolerance = 0.02 if is_quantized(served) else 1e-3  # a number rounded to the other integer moves by 1 in 127
    found = caching.check_cache(served, lambda: decoder(served, 2).next_logits, data.judged[:2, :-1], tolerance)
    if found.problems:
        raise ValueError(f"not the cache that it is called: {'; '.join(found.problems)}")
    check(model, parameters, data.judged[:4, :-1])
    own_time, fp32_time = measure_interleaved(cached, lambda: whole(data.reference), samples=7, warmup=1)
    text = cycle(data.judged.reshape(-1))
    reading = decoder(served, 1)
    one_token = measure(lambda: reading.next_logits([[next(text)]]), samples=SAMPLES, warmup=50)
    own_quality, fp32_quality = (quality(data, m, m.next_logits) for m in (served, data.reference))
    metrics = {
        "val_loss": own_quality,
        "loss_added": own_quality - fp32_quality,
        **times(one_token),
        "throughput": NEW_TOKENS / own_time.median,
        "speedup": fp32_time.median / own_time.median,
        "same_tokens": same,
        "logit_difference": found.difference,
        "file_bytes": model.file_bytes,
        "file_share": model.file_bytes / reference_bytes(data),
        "memory_bytes": peak_memory(cached),
    }
    return {"metrics": metrics, "exhibits": []}


def decoder(model: GPT, rows: int) -> caching.Decoder:
    return caching.Decoder(model, caching.KVCache(model, rows, HOP))


# Training in half precision -----------------------------------------------------------------------------------


def network(parameters: Parameters) -> tt.Module:
    """The cifar10 suite's CNN: convolution, pooling, batch norm, ReLU for each width."""
    tt.manual_seed(1)
    layers: list[Callable[[tt.Tensor], tt.Tensor]] = []
    for into, out in pairwise([3, *parameters["widths"]]):
        layers += [tt.Conv2d(into, out, 3, padding=1, bias=False), tt.MaxPool2d(2), tt.BatchNorm2d(out), tt.ReLU()]
    side = 32 >> len(parameters["widths"])
    return tt.Sequential(*layers, tt.Flatten(), tt.Linear(parameters["widths"][-1] * side * side, 10))


def trainer_for(net: tt.Module, parameters: Parameters, steps: int, dtype: str) -> tt.Trainer:
    optimizer = tt.SGD(net.parameters(), parameters["learning_rate"], momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = tt.CosineLR(optimizer, steps, warmup=steps // 10)
    block = nullcontext if dtype == "float32" else partial(autocast, dtype)
    return tt.Trainer(net, optimizer, tt.CrossEntropyLoss(), schedule=schedule, autocast=block)


def train_twice(model: Variant, data: Photos, parameters: Parameters, report: Report) -> list[dict[str, float]]:
    """The same training in float32 and in half precision."""
    batches, curves = loader(data, parameters), []
    for i, dtype in enumerate(("float32", parameters["dtype"])):
        net = network(parameters)
        trainer = trainer_for(net, parameters, parameters["epochs"] * len(batches), dtype)
        curves.append(trainer.fit(batches, parameters["epochs"], report=part_of(report, i, 2)))
        model.pair.append(net.eval())
    model.take(model.pair[1], compress=False)
    return [
        {"epoch": own["epoch"], "float32_loss": fp32["train_loss"], "half_loss": own["train_loss"]}
        for fp32, own in zip(*curves, strict=True)
    ]


def precision(model: Variant, data: Task, parameters: Parameters) -> dict[str, Any]:
    """The two networks' quality, and what a training step takes."""
    assert isinstance(data, Photos)
    fp32_quality, own_quality = (quality(data, net, trace(net)) for net in model.pair)
    images = data.images.train_images[: parameters["batch_size"]], data.images.train_labels[: parameters["batch_size"]]
    batch = data.augment(images, np.random.default_rng(0))
    trainers = [trainer_for(network(parameters), parameters, 1000, dtype) for dtype in ("float32", parameters["dtype"])]
    fp32_step, own_step = (partial(trainer.train_batch, batch) for trainer in trainers)
    own_time, fp32_time = measure_interleaved(own_step, fp32_step, samples=parameters["steps"], warmup=3)
    fp32_peak, own_peak = peak_memory(fp32_step), peak_memory(own_step)
    metrics = {
        "accuracy": own_quality,
        "points_lost": fp32_quality - own_quality,
        "train_speedup": fp32_time.median / own_time.median,
        "throughput": parameters["batch_size"] / own_time.median,
        "memory_bytes": own_peak,
        "activation_share": own_peak / fp32_peak,
    }
    return {"metrics": metrics, "exhibits": []}


MEASURES = {"fp32_kv_cache": generation, "int8_dynamic_kv_cache": generation, "mixed_precision": precision}
