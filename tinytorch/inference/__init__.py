"""Fast inference: a trained model is prepared once on fixed buffers, and then replayed.

`predictor(model)` returns a function of arrays. `chain` runs INT8 models on bound kernels, `gpt_step` runs a GPT for
one token, and `widening` prepares 16-bit weights. Imports modules up to 17, `quantized`, and `native`. Changed by
authors of kernels.
"""

from tinytorch.inference.chain import predictor
from tinytorch.inference.widening import widen_weights

__all__ = ["predictor", "widen_weights"]
