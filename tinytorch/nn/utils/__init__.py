"""`nn.utils`: gradients and parameters of a whole model, and sequences of different lengths (`nn.utils.rnn`)."""

from tinytorch.base.words import all_in_words
from tinytorch.nn.utils import rnn
from tinytorch.nn.utils.gradients import (
    clip_grad_norm_,
    clip_grad_value_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_total_norm",
    "parameters_to_vector",
    "rnn",
    "vector_to_parameters",
]

all_in_words(globals(), "tinytorch.nn.utils")
