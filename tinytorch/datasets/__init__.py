"""MNIST, CIFAR-10, and Shakespeare's plays, downloaded once into a cache and verified by SHA-256 at every load.

>>> from tinytorch import datasets
>>> datasets.cifar10.__name__, datasets.CIFAR10_MEAN.shape
('cifar10', (3, 1, 1))

Imports only `base`, no file of the course. Changed by maintainers of the project; a new data set needs an entry in
`catalogue` and a function in `loading`.
"""

from tinytorch.datasets.catalogue import CATALOGUE
from tinytorch.datasets.loading import (
    CIFAR10,
    CIFAR10_MEAN,
    CIFAR10_STD,
    MNIST,
    Shakespeare,
    cifar10,
    mnist,
    shakespeare,
)
from tinytorch.datasets.plays import plain_text

__all__ = [
    "CATALOGUE",
    "CIFAR10",
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "MNIST",
    "Shakespeare",
    "cifar10",
    "mnist",
    "plain_text",
    "shakespeare",
]
