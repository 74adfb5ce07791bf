"""Saved models: every type is restored bit for bit, and a part that cannot be saved is rejected in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tinytorch as tt
from tests.saved.sample import JSON, bits, mlp
from tinytorch.attention import MultiHeadAttention
from tinytorch.caching import KVCache, generate
from tinytorch.compression import magnitude_masks, prune_channels
from tinytorch.embeddings import SinusoidalPositions
from tinytorch.layers import Module
from tinytorch.quantized import convert, prepare_qat, quantize_dynamic, quantize_static
from tinytorch.quantized.folding import fold_batch_norm
from tinytorch.saved import load_cache, load_model, save_model, saved_bytes, table, writing
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.transformers import MLP, LayerNorm, TransformerBlock


def rng() -> np.random.Generator:
    return np.random.default_rng(19)


def images(*shape: int) -> tt.Tensor:
    return tt.Tensor(rng().standard_normal(shape, np.float32))


TOKENS = np.array([[1, 2, 3, 0, 4], [5, 5, 0, 1, 2]])


def cnn() -> Module:
    return tt.Sequential(
        Conv2d(3, 8, 3, padding=1, bias=False), MaxPool2d(2), BatchNorm2d(8, eps=1e-3), tt.ReLU(),
        Conv2d(8, 8, (3, 1), (1, 2), (1, 0), (2, 1), groups=4), tt.gelu, AvgPool2d((2, 1), padding=(1, 0)),
        BasicBlock(8, 8), BasicBlock(8, 12, 2), AdaptiveAvgPool2d((1, 2)), tt.Flatten(), tt.Dropout(0.3),
        tt.Linear(24, 10), tt.LogSoftmax(1),
    )  # fmt: skip


def functions() -> Module:
    layers: list[Callable[[tt.Tensor], tt.Tensor]] = [tt.Sigmoid(), tt.tanh, tt.Tanh(), tt.sigmoid, tt.GELU(), tt.relu]
    return tt.Sequential(*layers, tt.Sequential(tt.Softmax(0), tt.Linear(6, 6)), tt.softmax, tt.log_softmax)


def gpt() -> tt.GPT:
    return tt.GPT(7, 6, n_layer=2, n_head=2, n_embd=8, dropout=0.1, bias=True)


def sinusoidal() -> Module:
    model = gpt()
    model.transformer.wpe = SinusoidalPositions(6, 8)  # type: ignore[assignment]
    return model


def resnet() -> Module:
    return tt.Sequential(
        *(Conv2d(3, 4, 3, 1, 1), BatchNorm2d(4), tt.ReLU(), MaxPool2d(2)),
        *(BasicBlock(4, 4), BasicBlock(4, 6, 2), AdaptiveAvgPool2d(1), tt.Flatten(), tt.Linear(6, 3)),
    )


def preparing() -> Module:
    model = prepare_qat(
        tt.Sequential(Conv2d(3, 4, 3), BatchNorm2d(4), tt.ReLU(), tt.Flatten(), tt.Linear(16, 3)), bits=5
    )
    model(images(5, 3, 4, 4))
    return model


def qat() -> Module:
    model = prepare_qat(mlp())
    model(images(5, 12))
    return convert(model)


def batches(*shape: int) -> list[np.ndarray]:
    return [rng().standard_normal(shape, np.float32)]


def shared() -> Module:
    layer, norm = tt.Linear(4, 4), LayerNorm(4)
    return tt.Sequential(layer, tt.ReLU(), layer, norm, tt.Sequential(norm, tt.Linear(4, 2)))


def half() -> Module:
    model = mlp()
    for parameter, dtype in zip(model.parameters(), (np.float16, np.float64, ml_dtypes.bfloat16), strict=True):
        parameter.data = parameter.data.astype(dtype)
    return model


def sparse() -> Module:
    model = mlp()
    for name, mask in magnitude_masks(model, 0.8).items():
        model.state_dict()[name].data *= mask
    model.state_dict()["4.weight"].data[...] = 0
    return model


MODELS: dict[str, tuple[Callable[[], Module], Any]] = {
    "mlp": (mlp, images(5, 3, 4)),
    "cnn": (cnn, images(3, 3, 16, 16)),
    "functions": (functions, images(4, 6)),
    "gpt": (gpt, TOKENS),
    "gpt without biases": (lambda: tt.GPT(7, 6, 1, 1, 4), TOKENS),
    "gpt with sinusoids": (sinusoidal, TOKENS),
    "block": (lambda: TransformerBlock(8, 4), images(2, 3, 8)),
    "parts of a block": (lambda: tt.Sequential(LayerNorm(8, 1e-3, False), MLP(8), MultiHeadAttention(8, 2, False)),
                         images(2, 3, 8)),
    "empty": (tt.Sequential, images(2, 2)),
    "shared": (shared, images(3, 4)),
    "sparse": (sparse, images(5, 12)),
    "pruned channels": (lambda: prune_channels(resnet().eval(), 0.5), images(2, 3, 8, 8)),
    "static": (lambda: quantize_static(mlp().eval(), batches(9, 12)), images(5, 12)),
    "static, 4 bits": (lambda: quantize_static(mlp().eval(), batches(9, 12), bits=4), images(5, 12)),
    "dynamic": (lambda: quantize_dynamic(mlp().eval()), images(5, 12)),
    "converted": (qat, images(5, 12)),
    "quantization-aware training": (preparing, images(5, 3, 4, 4)),
    "folded": (lambda: fold_batch_norm(resnet().eval()), images(2, 3, 8, 8)),
    "static resnet": (lambda: quantize_static(resnet().eval(), batches(4, 3, 8, 8)), images(2, 3, 8, 8)),
    "dynamic resnet": (lambda: quantize_dynamic(resnet().eval()), images(2, 3, 8, 8)),
    "dynamic gpt": (lambda: quantize_dynamic(gpt().eval()), TOKENS),
}  # fmt: skip


def randomized(model: Module) -> Module:
    """Change the values of every tensor, so that a layer in its initial state is not mistaken for the restored one."""
    for name, tensor in model.state_dict().items():
        if tensor.dtype == np.float32 and "scale" not in name:
            tensor.data = tensor.data + 0.1 * rng().random(tensor.shape, np.float32) * (tensor.data != 0)
    for part in model.modules():
        if isinstance(part, BatchNorm2d):
            part.num_batches_tracked.data = np.array(41)
            part.running_mean.data = rng().random(part.num_features, np.float32)
    return model


def assert_equal(a: Module, b: Module) -> None:
    """Assert that both have bit-identical states and the same parts with the same attributes."""
    assert {k: bits(v) for k, v in a.state_dict().items()} == {k: bits(v) for k, v in b.state_dict().items()}
    for one, other in zip(a.modules(), b.modules(), strict=True):
        assert type(one) is type(other)
        assert set(vars(one)) | {"training"} == set(vars(other)) | {"training"}
        for name, value in vars(one).items():
            if isinstance(value, (int, float, str, tuple)) and name != "training":
                assert getattr(other, name) == value
            assert type(getattr(other, name)) is type(value) or name == "_prepared"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_restored_bit_for_bit(tmp_path: Path, name: str, compress: bool) -> None:
    make, x = MODELS[name]
    model = randomized(make())
    state = tt.get_rng_state()
    assert save_model(model, tmp_path / "saved", compress) == tmp_path / "saved"
    loaded = load_model(tmp_path / "saved")
    assert tt.get_rng_state() == state
    assert_equal(model, loaded)
    assert not any(part.training for part in loaded.modules())
    assert bits(loaded(x)) == bits(model.eval()(x))
    files = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    assert saved_bytes(tmp_path / "saved") == sum(map(len, files.values()))
    save_model(loaded, tmp_path / "again", compress)
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == files
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_models_cover_every_type_in_the_table(tmp_path: Path) -> None:
    seen: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            seen.add(node["type"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    for i, (make, _) in enumerate(MODELS.values()):
        save_model(make(), tmp_path / str(i))
        walk(json.loads((tmp_path / str(i) / JSON).read_text())["model"])
    assert seen == set(table.KINDS)


def test_table_contains_every_layer_of_tinytorch() -> None:
    found = set()
    for path in Path(tt.__file__).parent.glob("[!_]*.py"):
        module = import_module(f"tinytorch.{path.stem}")
        found |= {value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Module)}
    without_row = {"Module", "QuantizedLayer", "CrossEntropyLoss", "BCEWithLogitsLoss", "MSELoss", "DistillationLoss"}
    assert {cls.__name__ for cls in found} - set(table.KINDS) == without_row  # base classes and losses


def test_16_bit_tensors_keep_their_dtype_and_bits(tmp_path: Path) -> None:
    for compress in (False, True):
        save_model(half(), tmp_path / "m", compress)
        dtypes = [tensor.dtype.name for tensor in load_model(tmp_path / "m").state_dict().values()]
        assert dtypes == ["float16", "float64", "bfloat16"]
    one = half()
    one[1].weight.data = np.array([-0.0, 0.0, np.nan, np.inf] * 24, np.float16).reshape(8, 12)  # type: ignore[index]
    save_model(one, tmp_path / "m", compress=True)
    assert bits(load_model(tmp_path / "m")[1].weight) == bits(one[1].weight)  # type: ignore[index]


def test_shared_tensors_are_stored_once_and_shared_after_loading(tmp_path: Path) -> None:
    save_model(shared(), tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded[0].weight is loaded[2].weight  # type: ignore[index]
    assert json.loads((tmp_path / "m" / JSON).read_text())["shared"]["2.weight"] == "0.weight"
    assert len(loaded.parameters()) == len(shared().parameters())


def test_compression_shrinks_a_sparse_model(tmp_path: Path) -> None:
    layer = tt.Linear(300, 100)
    layer.weight.data[:, 30:] = 0
    model = tt.Sequential(layer)
    sizes = [saved_bytes(save_model(model, tmp_path / "m", compress)) for compress in (False, True)]
    assert sizes[1] < 0.2 * sizes[0]
    assert_equal(model, load_model(tmp_path / "m"))


def test_integer_weights_are_stored_as_integers(tmp_path: Path) -> None:
    model = quantize_dynamic(tt.Sequential(tt.Linear(512, 256)))
    assert saved_bytes(save_model(model, tmp_path / "m")) < 512 * 256 * 1.02


def test_loaded_model_can_be_trained(tmp_path: Path) -> None:
    save_model(mlp(), tmp_path / "m")
    model = load_model(tmp_path / "m").train()
    model(images(5, 12)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_quantization_aware_training_resumes_from_a_file(tmp_path: Path) -> None:
    fresh = load_model(save_model(prepare_qat(mlp()), tmp_path / "m"))
    with pytest.raises(tt.SettingError, match="no range yet"):
        convert(fresh)
    made, before = [], preparing()
    for model in (load_model(save_model(before, tmp_path / "m")), before):
        optimizer = tt.SGD(model.train().parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(images(5, 3, 4, 4)).sum().backward()
            optimizer.step()
        made.append(convert(model))
    assert_equal(made[0], load_model(save_model(made[1], tmp_path / "m")))


def test_frozen_parameters_and_the_mode_are_not_saved(tmp_path: Path) -> None:
    model = mlp().train()
    model.parameters()[0].requires_grad = False
    loaded = load_model(save_model(model, tmp_path / "m"))
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.training


def test_cache_settings_are_restored(tmp_path: Path) -> None:
    model = gpt().eval()
    save_model(model, tmp_path / "m", cache=KVCache(model, 2, hop=3, dtype="float16"))
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, tt.GPT)
    cache = load_cache(tmp_path / "m", loaded)
    assert cache is not None
    assert cache.settings() == {"batch_size": 2, "hop": 3, "dtype": "float16"}
    save_model(model, tmp_path / "m")
    assert load_cache(tmp_path / "m", loaded) is None
    text = generate(loaded, [1, 2], 9, temperature=0, hop=3)
    np.testing.assert_array_equal(text, generate(model, [1, 2], 9, temperature=0, hop=3))
    larger = tt.GPT(7, 8, 1, 2, 8)
    with pytest.raises(tt.StateError, match=r"cache.hop is 8: expected at most the block size, 6"):
        save_model(model, tmp_path / "m", cache=KVCache(larger, 2, hop=8))
    with pytest.raises(tt.StateError, match="cache: expected only for a GPT"):
        save_model(mlp(), tmp_path / "m", cache=KVCache(larger))


# What cannot be saved -----------------------------------------------------------------------------------


class Own(tt.Linear):
    pass


def with_mask(layer: Module) -> Module:
    layer.mask = 1  # type: ignore[attr-defined]
    return layer


def changed(layer: Module, **attributes: Any) -> Module:
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tt.Sequential(tt.ReLU(), tt.Sequential(lambda x: x)), r"model.layers\[1\].layers\[0\]: .*<lambda> is not one"),
        (tt.Sequential(Own(2, 2)), r"model.layers\[0\]: Own is not one"),
        (changed(tt.Sequential(), layers=[np.tanh]), r"model.layers\[0\]: "),
        (changed(tt.Sequential(), layers=[np.zeros(3)]), r"model.layers\[0\]: ndarray is not one"),
        (tt.relu, "expected a Module"),
        (tt.Linear, "expected a Module"),
        (with_mask(tt.Linear(2, 2)), "model: this Linear has the attribute mask"),
        (changed(tt.Flatten(), forward=None), "model: this Flatten has the attribute forward"),
        (changed(BasicBlock(2, 2), bn1=tt.CrossEntropyLoss()), r"model.bn1: CrossEntropyLoss is not one"),
        (changed(tt.Linear(2, 2), in_features=3), r"weight: shape \[2, 2\]: expected \[2, 3\]"),
        (changed(tt.Linear(2, 2), in_features=2.0), "model.in_features is 2.0: expected a whole number"),
        (changed(tt.Linear(2, 2), weight=None), "weight: missing"),
        (
            changed(tt.Linear(2, 2), weight=tt.Tensor(np.eye(2, dtype=np.int8))),
            "weight: dtype 'int8': expected float32 or",
        ),
        (
            changed(Conv2d(2, 2, 1), weight=tt.Tensor(np.zeros(2))),
            "model: its tensors are not those of a Conv2d",
        ),
        (changed(BatchNorm2d(2), eps=np.nan), "model.eps is nan: expected a number"),
        (changed(BatchNorm2d(2), eps=np.float64(1e-5)), r"model.eps is np.float64\(1e-05\): expected a number"),
        (changed(tt.Sequential(), layers=3), "model.layers is int: expected a list"),
        (changed(gpt(), transformer=tt.Linear(1, 1)), "model.transformer.type is Linear: expected Transformer"),
    ],
    ids=range(18),  # an object's id would contain its address, which differs between processes
)
def test_unsupported_part_is_rejected_and_located(tmp_path: Path, model: Any, message: str) -> None:
    with pytest.raises(tt.StateError, match=message) as caught:
        save_model(model, tmp_path / "m")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_models_that_are_too_deep_or_too_large_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep: Module = tt.Sequential()
    for _ in range(40):
        deep = tt.Sequential(deep)
    itself = tt.Sequential()
    itself.layers.append(itself)
    for model in (deep, itself):
        with pytest.raises(tt.StateError, match="nested more than 32 deep"):
            save_model(model, tmp_path / "m")
    with pytest.raises(tt.StateError, match="10000 parts"):
        save_model(tt.Sequential(*[tt.relu] * 10_000), tmp_path / "m")
    large = tt.Linear(1, 1)
    large.in_features, large.out_features = 5_001, 5_000
    large.weight.data = np.broadcast_to(np.float32(0), (5_000, 5_001))
    large.bias.data = np.zeros(5_000, np.float32)  # type: ignore[union-attr]
    with pytest.raises(tt.StateError, match="tensors of 100040000 bytes in total"):
        save_model(large, tmp_path / "m")
    monkeypatch.setattr(writing, "MAX_HEADER", 100)
    with pytest.raises(tt.StateError, match="expected at most 100"):
        save_model(mlp(), tmp_path / "m")
