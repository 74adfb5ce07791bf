"""`distributions`: what policies and variational models draw from. `from tinytorch.distributions import Categorical`.

It imports modules up to 06, `base`, and `ops`. Changed by maintainers; learners never change it.
"""

from tinytorch.base.words import all_in_words
from tinytorch.distributions.common import Bernoulli, Categorical, Normal, kl_divergence

__all__ = ["Bernoulli", "Categorical", "Normal", "kl_divergence"]

all_in_words(globals(), "tinytorch.distributions")
