"""A trained model laid out once on fixed buffers, then replayed: `predictor(model)` returns a function of arrays.

`chain` serves INT8 models on bound kernels, `gpt_step` one token of a GPT; `widening` prepares weights of 16 bits.
Imports modules up to 17, `quantized` and `native`. Changed by authors of kernels.
"""

from tinytorch.inference.chain import predictor
from tinytorch.inference.widening import widen_weights

__all__ = ["predictor", "widen_weights"]
