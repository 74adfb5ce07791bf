"""A trained model laid out once on fixed buffers, then replayed: `predictor(model)` returns a function of arrays.

`chain` serves INT8 models on bound kernels, `gpt_step` one token of a GPT. Imports modules up to 17, `quantized` and
`native`. Changed by authors of kernels.
"""

from tinytorch.inference.chain import predictor

__all__ = ["predictor"]
