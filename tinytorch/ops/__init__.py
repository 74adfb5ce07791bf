"""Functions and methods of tensors that the course does not teach, with PyTorch's names.

It imports modules up to 06 and `base`. Each file's `METHODS` lists what it adds to `Tensor`; `base.extension` says
which file defines which method, and `tinytorch/__init__.py` re-exports the functions. Every derivative is checked
against central differences in tests/ops. Changed by maintainers; learners never change it.
"""
