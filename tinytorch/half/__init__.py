"""Operations on 16-bit numbers, which `mixed_precision` substitutes for float32 operations.

`by_float32` contains a version of each operation that is always available: it widens, computes, and rounds.
`by_onednn` tries oneDNN's bfloat16 kernels first. Imports modules up to 09, `arrays`, and `native`. Changed by authors
of kernels.
"""

import numpy as np

# Once this package is imported, `tinytorch.half` is the package, and no longer PyTorch's name of float16. NumPy accepts
# an object with an attribute `dtype` as a dtype.
dtype = np.dtype(np.float16)
