"""INT8 layers, and the functions that convert a trained model to them.

    quantize_dynamic(model)                quantize weights now and activations row by row at inference; needs no data
    quantize_static(model, batches)        calibrate activation ranges on data, so layers pass integers to each other
    prepare_qat(model), convert(model)     train with simulated rounding first, then convert

Module 17, `tinytorch.quantization`, defines scales and rounding. The package imports modules up to 17, `surgery`,
`arrays`, and `native`. Changed by authors of kernels and maintainers of the project.
"""

from tinytorch.quantized.models import convert, prepare_qat, quantize_dynamic, quantize_static

__all__ = ["convert", "prepare_qat", "quantize_dynamic", "quantize_static"]
