"""INT8 layers, and the functions that turn a trained model into one made of them.

    quantize_dynamic(model)                weights now, activations row by row as they come; needs no data
    quantize_static(model, batches)        activation ranges from calibration data, so that layers pass integers on
    prepare_qat(model), convert(model)     train with rounding first, then convert

How to choose scales and how to round is module 17's, `tinytorch.quantization`. Imports modules up to 17, `surgery`,
`arrays` and `native`. Changed by authors of kernels and maintainers of the project.
"""

from tinytorch.quantized.models import convert, prepare_qat, quantize_dynamic, quantize_static

__all__ = ["convert", "prepare_qat", "quantize_dynamic", "quantize_static"]
