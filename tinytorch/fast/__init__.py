"""Layers of images in float32, computed by oneDNN if it is in use and faster; module 09 asks here first.

    images      convolution, an op of its own next to im2col and Winograd; max pooling and batch normalization
    sequences   a convolution, ReLU, and max pooling of a `Sequential`, computed together

With the NumPy backend, nothing here is used. Imports modules up to 06, `base`, `arrays`, `graph`, and `native`. Changed
by authors of kernels. A learner's own module 09 does not import it.
"""
