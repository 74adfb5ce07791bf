"""Arithmetic behind the course's layers: windows, convolution, pooling, norms, attention, threads, and integers.

All functions work on NumPy arrays and are independent of Tensor. Imports only `base`, no file of the course. Changed by
authors of kernels. Import its files by their full path.
"""
