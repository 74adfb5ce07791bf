"""Fast inference: a trained model is prepared once on fixed buffers, and then replayed.

`predictor(model)` returns a function of arrays. `chain` runs INT8 models on bound kernels, and `gpt_step` runs a GPT
for one token. Imports modules up to 17, `quantized`, and `native`. Changed by authors of kernels.
"""

from tinytorch.inference.chain import predictor

__all__ = ["predictor"]
