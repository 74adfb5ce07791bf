"""Layers in float32, computed by oneDNN during training, if it is in use and faster.

    images      convolution, an op of its own next to im2col and Winograd; max pooling and batch normalization. Module
                09 asks here first.
    sequences   a convolution, ReLU, and max pooling of a `Sequential`, computed together
    rows        GELU and layer normalization: their ops get a faster function

With the NumPy backend, nothing here is used. Imports modules up to 06, `base`, `arrays`, `graph`, and `native`. Changed
by authors of kernels. A learner's own module 09 does not import it.
"""
