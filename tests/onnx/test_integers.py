"""tinytorch.onnx.integers: INT8 models keep their integers and scales, and ONNX Runtime computes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tests.models import IMAGES, QUANTIZED, TOKENS, gpt, mlp, outputs, resnet, with_statistics
from tests.onnx.sample import error, loaded, operations
from tinytorch.layers import Linear, Sequential
from tinytorch.onnx.export import OPSETS, exported
from tinytorch.onnx.session import package, session
from tinytorch.quantized import quantize_dynamic, quantize_static
from tinytorch.quantized.layers import QuantizedLinear
from tinytorch.spatial import BasicBlock, Conv2d


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
@pytest.mark.parametrize("name", QUANTIZED)
def test_int8_model_returns_the_same(name: str, opset: int) -> None:
    make, x = QUANTIZED[name]
    limit = 0.02 if name in ("resnet", "float parts") else 1e-4  # a last bit may round to the neighboring integer
    assert error(make(), x, input_shape=x.shape[1:], opset=opset) < limit


def test_static_gpt_returns_the_same() -> None:
    assert error(quantize_static(gpt(), [TOKENS]), TOKENS) < 1e-4


def test_scales_and_weights_of_the_file_are_the_models() -> None:
    import onnx

    make, x = QUANTIZED["cnn"]
    model = make()
    file = loaded(model, input_shape=x.shape[1:])
    stored = {array.name: onnx.numpy_helper.to_array(array) for array in file.graph.initializer}
    layers = [part for part in model.modules() if hasattr(part, "input_scale")]
    assert len(layers) == 3
    scales = [array.tobytes() for array in stored.values() if array.dtype == np.float32]
    for name, tensor in model.state_dict().items():
        if name.endswith("weight"):
            np.testing.assert_array_equal(stored[name], tensor.data)
            assert stored[name].dtype == np.int8
        if name.endswith("scale"):
            assert tensor.data.tobytes() in scales


def test_layers_pass_integers_to_each_other() -> None:
    make, x = QUANTIZED["mlp"]
    used = operations(make(), input_shape=x.shape[1:])
    assert used.count("QuantizeLinear") == used.count("Gemm") == 3
    assert "Relu" not in used  # rounding to uint8 does it


def optimized(model: tt.Module, folder: Path, **given: Any) -> list[str]:
    """Return the operations that ONNX Runtime runs."""
    import onnx

    runtime = package()
    options = runtime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "optimized.onnx"), 3
    runtime.InferenceSession(exported(model, **given), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def test_onnx_runtime_computes_with_integers(tmp_path: Path) -> None:
    make, x = QUANTIZED["mlp"]
    assert optimized(make(), tmp_path, input_shape=x.shape[1:]).count("QGemm") == 3
    model = quantize_static(with_statistics(resnet()), [IMAGES])
    used = optimized(model, tmp_path, input_shape=(3, 8, 8), batches=[IMAGES])
    assert used.count("QLinearConv") == 6
    assert "Conv" not in used


def test_measured_branches_stay_close() -> None:
    model = quantize_static(with_statistics(resnet()), [IMAGES])
    assert error(model, IMAGES, batches=[IMAGES]) < 0.05
    assert operations(model, batches=[IMAGES]).count("QuantizeLinear") > operations(model).count("QuantizeLinear")
    assert operations(model, batches=[]) == operations(model)


def test_bias_that_int32_cannot_hold_stays_float() -> None:
    make, x = QUANTIZED["mlp"]
    model: Any = make()
    layer: Any = next(part for part in model.modules() if isinstance(part, QuantizedLinear))
    layer.bias.data = layer.bias.data + np.float32(3e7)
    assert error(model, x, input_shape=x.shape[1:]) < 1e-4
    assert operations(model, input_shape=x.shape[1:]).count("DequantizeLinear") == 8  # of 3 inputs, weights, biases


def test_channels_of_zeros_and_empty_batches() -> None:
    model: Any = mlp()
    model[1].weight.data[3] = 0
    made = quantize_static(model, [np.ones((4, 4, 6), np.float32)])
    run = session(made, threads=1, input_shape=(4, 6))
    for count in (0, 1, 5):
        x = np.ones((count, 4, 6), np.float32)
        np.testing.assert_allclose(run(x), outputs(made, x), atol=1e-4)


def test_integers_that_a_float_layer_would_read_are_refused() -> None:
    make, x = QUANTIZED["mlp"]
    model: Any = make()
    model.layers.insert(2, tt.GELU())
    with pytest.raises(tt.SettingError, match=r"GELU gets the integers of a quantized layer: expected floats"):
        operations(model, input_shape=x.shape[1:])


def test_integers_of_another_dtype_are_refused() -> None:
    make, x = QUANTIZED["mlp"]
    model: Any = make()
    model.layers[2].input_dtype = "int8"
    with pytest.raises(tt.SettingError, match=r"an input of dtype uint8: expected int8"):
        operations(model, input_shape=x.shape[1:])


def test_rows_with_very_different_sizes_keep_their_own_scales() -> None:
    model = quantize_dynamic(Sequential(Linear(6, 3)))
    x = np.random.default_rng(0).standard_normal((4, 6), np.float32) * np.array([[1e-30], [1], [1e6], [0]], np.float32)
    found, expected = session(model, threads=1)(x), outputs(model, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_bias_that_layers_with_different_scales_share_is_stored_for_each() -> None:
    x = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)
    model: Any = quantize_static(Sequential(Linear(6, 6), tt.ReLU(), Linear(6, 6)), [x])
    model.layers[-1].bias = model.layers[0].bias
    assert error(model, x) < 1e-4


@pytest.mark.parametrize("dynamic", [False, True])
def test_measured_block_whose_first_convolution_has_no_fixed_scale(dynamic: bool) -> None:
    model: Any = quantize_static(with_statistics(resnet()), [IMAGES])
    conv: Any = Conv2d(8, 8, 3, 1, 1)
    block = next(part for part in model.layers if isinstance(part, BasicBlock))
    block.conv1 = quantize_dynamic(Sequential(conv)).layers[0] if dynamic else conv
    assert error(model, IMAGES, batches=[IMAGES]) < 0.05


def test_dynamic_sums_of_very_large_inputs_stay_finite() -> None:
    model = quantize_dynamic(Sequential(Linear(24, 16), tt.ReLU(), Linear(16, 5)))
    x = np.random.default_rng(0).standard_normal((64, 24)).astype(np.float32) * np.float32(1e36)
    assert error(model, x) < 1e-5
