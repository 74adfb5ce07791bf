"""Kernels from an optional library (oneDNN), and the choice between them and NumPy.

    use_backend("numpy"), why()        choose a backend; return one line that says which one is in use and why
    products.pack(weight)              matrix products with the backend in use
    library, primitives                oneDNN's C interface; images, bf16, float32, and int8 contain kernels built on it

The package works on NumPy arrays and does not use Tensor. It imports only `base` and `arrays`, no file of the course.
Changed by authors of kernels.
"""

from tinytorch.native.backend import use_backend, why

__all__ = ["use_backend", "why"]
