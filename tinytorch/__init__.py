"""TinyTorch: a small, readable deep-learning framework on NumPy, with PyTorch's names.

>>> import tinytorch as tt
>>> model = tt.Sequential(tt.Linear(4, 8), tt.ReLU(), tt.Linear(8, 3))
>>> loss = tt.CrossEntropyLoss()(model(tt.randn(5, 4)), tt.Tensor([0, 1, 2, 0, 1]))
>>> loss.backward()
>>> model[0].weight.grad.shape
(8, 4)

Programs written for PyTorch run after `import tinytorch as torch`, as far as their names exist: `tinytorch.nn`,
`nn.functional`, `nn.init`, `optim`, `optim.lr_scheduler`, `utils.data`, and the functions of `torch` itself.

Importing it needs only NumPy. The files in this folder are the 20 modules of the course; the packages next to them
contain what the course does not teach. Tensors, layers, and differentiation are imported immediately; every other name
is imported on first use, so that unused names cost nothing. Import `tinytorch.datasets`, `tinytorch.benchmarking`,
`tinytorch.environment`, and `tinytorch.acceleration` explicitly.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinytorch.base.contexts import bare_or_called as no_grad

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
from tinytorch.autograd import backward, check_grads
from tinytorch.autograd import no_grad as no_grad  # type: ignore[no-redef]  # `bare_or_called` for type checkers
from tinytorch.base.errors import (
    DataError,
    GradientError,
    InputTypeError,
    NonFiniteError,
    SettingError,
    ShapeError,
    StateError,
    TinyTorchError,
)
from tinytorch.base.random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from tinytorch.base.words import public as _public
from tinytorch.fast import rows as _rows  # noqa: F401  (importing it speeds up the op of GELU)
from tinytorch.layers import Dropout, Flatten, Linear, Module, Parameter, Sequential
from tinytorch.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    MSELoss,
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
)
from tinytorch.tensor import Tensor, cat, is_grad_enabled, stack

if TYPE_CHECKING:  # the names of `_LAZY`, for type checkers
    from tinytorch.attention import MultiHeadAttention, causal_mask, padding_mask, scaled_dot_product_attention
    from tinytorch.caching import KVCache
    from tinytorch.compression import DistillationLoss, GradualPruning, distillation_loss, magnitude_masks
    from tinytorch.dataloader import DataLoader, TensorDataset, random_flip, random_shift
    from tinytorch.embeddings import Embedding, LearnedPositions, SinusoidalPositions
    from tinytorch.mixed_precision import GradScaler, autocast
    from tinytorch.optimizers import SGD, Adam, AdamW, CosineLR, LambdaLR, Optimizer, StepLR, clip_grad_norm_
    from tinytorch.quantized.folding import fold_batch_norm
    from tinytorch.quantized.models import prepare_qat, quantize_dynamic, quantize_static
    from tinytorch.saved.reading import load_model
    from tinytorch.saved.writing import save_model
    from tinytorch.spatial import (
        AdaptiveAvgPool2d,
        AvgPool2d,
        BasicBlock,
        BatchNorm2d,
        Conv2d,
        MaxPool2d,
        adaptive_avg_pool2d,
        avg_pool2d,
        conv2d,
        max_pool2d,
    )
    from tinytorch.surgery.channels import prune_channels
    from tinytorch.tokenization import BPETokenizer, CharTokenizer
    from tinytorch.training import Trainer, accuracy, progress_bar
    from tinytorch.transformers import GPT, LayerNorm, TransformerBlock, next_token_loss

__version__ = "0.2.0.dev0"

_LAZY = {
    "attention": (
        "MultiHeadAttention",
        "causal_mask",
        "padding_mask",
        "scaled_dot_product_attention",
        "seed",
    ),
    "caching": ("KVCache",),
    "compression": (
        "DistillationLoss",
        "GradualPruning",
        "distillation_loss",
        "magnitude_masks",
    ),
    "dataloader": (
        "DataLoader",
        "TensorDataset",
        "random_flip",
        "random_shift",
    ),
    "embeddings": (
        "Embedding",
        "LearnedPositions",
        "SinusoidalPositions",
    ),
    "mixed_precision": (
        "GradScaler",
        "autocast",
    ),
    "optimizers": (
        "Adam",
        "AdamW",
        "CosineLR",
        "LambdaLR",
        "Optimizer",
        "SGD",
        "StepLR",
        "clip_grad_norm_",
    ),
    "quantized.folding": ("fold_batch_norm",),
    "quantized.models": (
        "prepare_qat",
        "quantize_dynamic",
        "quantize_static",
    ),
    "saved.reading": ("load_model",),
    "saved.writing": ("save_model",),
    "spatial": (
        "AdaptiveAvgPool2d",
        "AvgPool2d",
        "BasicBlock",
        "BatchNorm2d",
        "Conv2d",
        "MaxPool2d",
        "adaptive_avg_pool2d",
        "avg_pool2d",
        "conv2d",
        "max_pool2d",
    ),
    "surgery.channels": ("prune_channels",),
    "tokenization": (
        "BPETokenizer",
        "CharTokenizer",
    ),
    "training": (
        "Trainer",
        "accuracy",
        "progress_bar",
    ),
    "transformers": (
        "GPT",
        "LayerNorm",
        "TransformerBlock",
        "next_token_loss",
    ),
}
_CHECKED = {
    **dict.fromkeys(("cat", "stack"), "tensor"),
    **dict.fromkeys(("binary_cross_entropy_with_logits", "cross_entropy", "mse_loss"), "losses"),
    **dict.fromkeys(("backward", "check_grads"), "autograd"),
    **dict.fromkeys(("manual_seed", "set_rng_state"), "base.random"),
}
_MODULE_OF = {name: module for module, names in _LAZY.items() for name in names}

# Names that programs written for PyTorch use, by the file that defines them; see `ops`, `nn`, `optim`, and `utils`
_PYTORCH = {
    "base.devices": "device",
    "ops.creation": (
        "Generator arange as_tensor bernoulli empty empty_like eye finfo from_numpy full full_like iinfo "
        "is_floating_point is_tensor linspace logspace multinomial normal ones ones_like rand rand_like randint randn "
        "randn_like randperm zeros zeros_like"
    ),
    "ops.elementwise": (
        "abs acos add addcdiv addcmul asin atan atan2 ceil clamp clamp_max clamp_min cos cosh div erf erfc "
        "exp exp2 expm1 floor floor_divide fmod frac lerp log log10 log1p log2 logaddexp maximum minimum mul "
        "neg pow reciprocal remainder round rsqrt sign sin sinh sqrt square sub tan trunc"
    ),
    "ops.hooks": "enable_grad inference_mode set_grad_enabled",
    "ops.indexing": (
        "gather index_add index_copy index_fill index_select isin masked_fill masked_select scatter scatter_add "
        "searchsorted take take_along_dim where"
    ),
    "ops.logic": (
        "bitwise_and bitwise_not bitwise_or bitwise_xor eq ge gt isfinite isinf isnan le logical_and logical_not "
        "logical_or logical_xor lt ne"
    ),
    "ops.platform": (
        "are_deterministic_algorithms_enabled compile get_default_dtype set_float32_matmul_precision set_printoptions "
        "use_deterministic_algorithms"
    ),
    "ops.products": "addmm baddbmm bmm cdist dot einsum inner matmul mm mv outer trace",
    "ops.reductions": (
        "all allclose amax amin any argmax argmin argsort bincount count_nonzero cumprod cumsum equal isclose kthvalue "
        "logsumexp max mean median min nansum nonzero norm numel prod sort std sum topk unique var"
    ),
    "ops.saving": "load save",
    "ops.shapes": (
        "Size broadcast_to chunk clone concat concatenate diag diagonal flatten flip hstack meshgrid movedim narrow "
        "permute ravel repeat_interleave reshape roll select split squeeze t tensor_split tile transpose tril triu "
        "unbind unflatten unsqueeze vstack"
    ),
}
_MODULE_OF |= {name: module for module, names in _PYTORCH.items() for name in names.split()}
_COURSES = ("ones", "rand", "randn", "where", "zeros")
_PACKAGES = ("autograd", "distributions", "nn", "onnx", "optim", "utils")
_OBJECTS = {"backends": "ops.platform", "cuda": "ops.platform"}
_DTYPES = (
    "bfloat16 bool double float float16 float32 float64 half int int16 int32 int64 int8 long short uint16 uint32 "
    "uint64 uint8"
)
_NUMBERS = {"inf": float("inf"), "nan": float("nan"), "pi": 3.141592653589793}


class _TensorModule(ModuleType):
    """The module `tinytorch.tensor`, which can be called as PyTorch's function: `tinytorch.tensor([1.0, 2.0])`."""

    def __call__(self, *given: Any, **named: Any) -> Tensor:
        return import_module("tinytorch.ops.creation").tensor(*given, **named)


if "tinytorch.tensor" in sys.modules:  # not while it is hidden: see tito/overlay.py
    sys.modules["tinytorch.tensor"].__class__ = _TensorModule


def __getattr__(name: str) -> Any:
    """Import the module that defines a name of `_LAZY` or `_PYTORCH`; return PyTorch's dtypes and constants."""
    if name in _PACKAGES:
        return import_module(f"tinytorch.{name}")
    if name in _OBJECTS:
        return getattr(import_module(f"tinytorch.{_OBJECTS[name]}"), name)
    if name in _DTYPES.split():
        return import_module("tinytorch.base.devices").as_dtype(name)
    if name in _NUMBERS:
        return _NUMBERS[name]
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tinytorch' has no attribute {name!r}")
    try:
        module = import_module(f"tinytorch.{_MODULE_OF[name]}")
    except ImportError:  # the file needs a module that is hidden; the course has its own function: see tito/overlay.py
        if name not in _COURSES:
            raise
        module = import_module("tinytorch.tensor")
    value = globals()[name] = _public(module, name)
    return value


def _explain_errors() -> None:
    """Give the functions that are imported immediately errors in words; see `base.words`."""
    for name, file in _CHECKED.items():
        if name in globals():
            globals()[name] = _public(sys.modules[f"tinytorch.{file}"], name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_PACKAGES, *_OBJECTS, *_DTYPES.split(), *_NUMBERS})


__all__ = [
    "GELU",
    "GPT",
    "SGD",
    "Adam",
    "AdamW",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BPETokenizer",
    "BasicBlock",
    "BatchNorm2d",
    "CharTokenizer",
    "Conv2d",
    "CosineLR",
    "CrossEntropyLoss",
    "DataError",
    "DataLoader",
    "DistillationLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GradScaler",
    "GradientError",
    "GradualPruning",
    "InputTypeError",
    "KVCache",
    "LambdaLR",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
    "NonFiniteError",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Sequential",
    "SettingError",
    "ShapeError",
    "Sigmoid",
    "SinusoidalPositions",
    "Softmax",
    "StateError",
    "StepLR",
    "Tanh",
    "Tensor",
    "TensorDataset",
    "TinyTorchError",
    "Trainer",
    "TransformerBlock",
    "accuracy",
    "adaptive_avg_pool2d",
    "autocast",
    "avg_pool2d",
    "backward",
    "binary_cross_entropy_with_logits",
    "cat",
    "causal_mask",
    "check_grads",
    "clip_grad_norm_",
    "conv2d",
    "cross_entropy",
    "distillation_loss",
    "fold_batch_norm",
    "gelu",
    "get_rng_state",
    "initial_seed",
    "is_grad_enabled",
    "load_model",
    "log_softmax",
    "magnitude_masks",
    "manual_seed",
    "max_pool2d",
    "mse_loss",
    "next_token_loss",
    "no_grad",
    "ones",
    "padding_mask",
    "prepare_qat",
    "progress_bar",
    "prune_channels",
    "quantize_dynamic",
    "quantize_static",
    "rand",
    "randn",
    "random_flip",
    "random_shift",
    "relu",
    "save_model",
    "scaled_dot_product_attention",
    "seed",
    "set_rng_state",
    "sigmoid",
    "softmax",
    "stack",
    "tanh",
    "where",
    "zeros",
]
__all__ += [name for names in _PYTORCH.values() for name in names.split() if name not in __all__]

_explain_errors()
