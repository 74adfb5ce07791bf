"""TinyTorch: a small, readable deep-learning framework on NumPy, with PyTorch's names.

>>> import tinytorch as tt
>>> model = tt.Sequential(tt.Linear(4, 8), tt.ReLU(), tt.Linear(8, 3))
>>> loss = tt.CrossEntropyLoss()(model(tt.randn(5, 4)), tt.Tensor([0, 1, 2, 0, 1]))
>>> loss.backward()
>>> model[0].weight.grad.shape
(8, 4)

Importing it needs NumPy only. `tinytorch.datasets`, `tinytorch.benchmarking` and `tinytorch.environment` are
imported by name.
"""

from tinytorch.activations import (
    GELU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
    gelu,
    log_softmax,
    relu,
    sigmoid,
    softmax,
    tanh,
)
from tinytorch.autograd import (
    backward,
    check_grads,
    no_grad,
)
from tinytorch.dataloader import (
    DataLoader,
    TensorDataset,
    random_flip,
    random_shift,
)
from tinytorch.errors import (
    DataError,
    GradientError,
    NonFiniteError,
    SettingError,
    ShapeError,
    StateError,
    TinyTorchError,
)
from tinytorch.layers import (
    Dropout,
    Flatten,
    Linear,
    Module,
    Parameter,
    Sequential,
)
from tinytorch.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    MSELoss,
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
)
from tinytorch.optimizers import (
    SGD,
    Adam,
    AdamW,
    CosineLR,
    LambdaLR,
    Optimizer,
    StepLR,
    clip_grad_norm_,
)
from tinytorch.tensor import (
    Tensor,
    cat,
    get_rng_state,
    is_grad_enabled,
    manual_seed,
    ones,
    rand,
    randn,
    set_rng_state,
    stack,
    where,
    zeros,
)
from tinytorch.training import (
    Trainer,
    accuracy,
    progress_bar,
)

__version__ = "0.1.0"

__all__ = [
    "GELU",
    "SGD",
    "Adam",
    "AdamW",
    "BCEWithLogitsLoss",
    "CosineLR",
    "CrossEntropyLoss",
    "DataError",
    "DataLoader",
    "Dropout",
    "Flatten",
    "GradientError",
    "LambdaLR",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "NonFiniteError",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Sequential",
    "SettingError",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "StateError",
    "StepLR",
    "Tanh",
    "Tensor",
    "TensorDataset",
    "TinyTorchError",
    "Trainer",
    "accuracy",
    "backward",
    "binary_cross_entropy_with_logits",
    "cat",
    "check_grads",
    "clip_grad_norm_",
    "cross_entropy",
    "gelu",
    "get_rng_state",
    "is_grad_enabled",
    "log_softmax",
    "manual_seed",
    "mse_loss",
    "no_grad",
    "ones",
    "progress_bar",
    "rand",
    "randn",
    "random_flip",
    "random_shift",
    "relu",
    "set_rng_state",
    "sigmoid",
    "softmax",
    "stack",
    "tanh",
    "where",
    "zeros",
]
