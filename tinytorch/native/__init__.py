"""Kernels from an optional library (oneDNN), and the choice between them and NumPy.

    use_backend("numpy"), why()        choose a backend; say in one line which one is in use and why
    products.pack(weight)              matrix products by whichever backend is in use
    library, primitives                oneDNN's C interface; bf16 and int8 are the kernels built on it

It works on NumPy arrays and does not know Tensor. Imports `base` and `arrays` only, no file of the course.
Changed by authors of kernels.
"""

from tinytorch.native.backend import use_backend, why

__all__ = ["use_backend", "why"]
