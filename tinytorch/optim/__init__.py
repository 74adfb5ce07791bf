"""`optim`: PyTorch's optimizers and learning-rate schedules. `import tinytorch.optim as optim`.

The course's optimizers are the course's own classes wherever their settings suffice. It imports modules up to 07 and
`base`. Changed by maintainers; learners never change it.
"""

from tinytorch.base.words import all_in_words
from tinytorch.optim import lr_scheduler
from tinytorch.optim.more import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, RMSprop
from tinytorch.optimizers import Optimizer

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Optimizer", "RMSprop", "lr_scheduler"]

all_in_words(globals(), "tinytorch.optim")
