"""Fast inference: a trained model is prepared once on fixed buffers, and then replayed.

`predictor(model)` returns a function of arrays, the one public way. `reading` turns the model into `nodes`, `fusing`
shortens them, and `plan` runs them for one input shape, with the kernels of `by_onednn` or `by_numpy`. `texts` runs a
GPT on whole texts, `gpt_step` for one token, which `drawing` draws, and `widening` prepares 16-bit weights. Imports
modules up to 17, `quantized`, and `native`. Changed by authors of kernels.
"""

from tinytorch.inference.predicting import Predictor, predictor
from tinytorch.inference.widening import widen_weights

__all__ = ["Predictor", "predictor", "widen_weights"]
