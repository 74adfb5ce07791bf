"""`utils`: PyTorch's data sets, samplers, and loaders. `from tinytorch.utils.data import DataLoader`.

It imports modules up to 11, `base`, and `ops`. Changed by maintainers; learners never change it.
"""

from tinytorch.utils import data

__all__ = ["data"]
