"""Models for other runtimes: `tinytorch.onnx.export(model, path)` writes an ONNX file (https://onnx.ai).

    export(model, path)    write the model with its weights, checked by the package onnx
    session(model)         a function of arrays that ONNX Runtime computes, of a model or an exported file

`graph` holds what is built, `layers`, `integers`, and `transformers` the operations of each layer, `document` converts
the result to a file. The packages onnx and onnxruntime (extra `onnx`) are imported on first use. Imports modules up to
19, `arrays`, and `saved`, whose table says which layers there are. Changed by maintainers of the format; a new layer
is a row in `layers`, `integers`, or `transformers`.
"""

from tinytorch.onnx.export import export
from tinytorch.onnx.session import session

__all__ = ["export", "session"]
