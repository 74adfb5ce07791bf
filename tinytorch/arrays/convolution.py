"""Two faster algorithms for some convolutions; `spatial` has the basic method, im2col, which computes any convolution.

    pointwise   a 1x1 kernel reads single pixels: a matrix product without copying windows
    Winograd    3x3, stride 1: a quarter of the multiplications, by polynomial algebra

All arrays here are channels-last, (N, H, W, C): the values of one pixel are adjacent, so the rows of a window are
contiguous, and the rows of a matrix product are pixels. `spatial` checks shapes.

The batch is processed in blocks of samples. A block's temporary arrays stay in the cache. If images are small, these
arrays determine the peak memory, not the batch: the smallest block is one image, whose im2col columns take about
kh kw / (sh sw) times its memory. A process that trains a 3-32-64-128 network with batches of 128 peaks at 139 MB,
including NumPy and Python (PyTorch: 413 MB).
"""

from __future__ import annotations

from functools import cache
from math import isnan

import numpy as np
from numpy import ndarray as Array

from tinytorch.arrays.evenness import uneven
from tinytorch.arrays.parallel import in_parallel
from tinytorch.arrays.windows import Gradients, Pair, Window, add_channels, blocks, pad, sum_channels, sum_parts

# A 1x1 kernel: no windows to copy ---------------------------------------------------------------------


def pointwise_forward(x: Array, w: Array, b: Array | None, window: Window) -> Array:
    """Compute y = x w^T at every stride-th pixel, with w (K, C)."""
    taken = x[:, :: window.stride[0], :: window.stride[1]]
    y = (taken.reshape(-1, x.shape[3]) @ w.T).reshape(*taken.shape[:3], len(w))
    return y if b is None else add_channels(y, b)


def pointwise_backward(g: Array, x: Array, w: Array, window: Window, input_gradient: bool) -> Gradients:
    """Return dx = g w at every stride-th pixel and 0 at the others, dw = g^T x, and dbias = sum g over pixels."""
    stride = window.stride
    taken = x[:, :: stride[0], :: stride[1]]
    rows = g.reshape(-1, g.shape[3])
    dw = rows.T @ taken.reshape(-1, x.shape[3])
    if not input_gradient:
        return None, dw, sum_channels(g)
    dtaken = (rows @ w).reshape(taken.shape)
    if stride == (1, 1):
        return dtaken, dw, sum_channels(g)
    dx = np.zeros(x.shape, g.dtype)
    dx[:, :: stride[0], :: stride[1]] = dtaken
    return dx, dw, sum_channels(g)


# Winograd ---------------------------------------------------------------------------------------------
#
# F(4x4, 3x3): a tile of 4x4 outputs needs 6x6 inputs. For an input tile d, a kernel k and fixed matrices,
#
#     y = A^T [ (G k G^T) * (B^T d B) ] A
#
# so 36 products replace 4*4*9 = 144, and the sum over channels turns each of the 36 into a matrix product of
# (tiles, C) with (C, K). With d flattened row by row, M^T d M is one product with kron(M^T, M^T), so the transforms
# are matrix products, too.
# Measured against im2col on one core with AVX-512, 16 to 128 channels: 0.9 to 1.5 times as fast forward, 1.3 to
# 1.7 times backward.
# Source: Lavin and Gray 2016, https://arxiv.org/abs/1509.09308.

# fmt: off
B_T = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], np.float64)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float64) / 24
A_T = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64)
# fmt: on

WINOGRAD_CHANNELS = 16  # with fewer, Winograd's transforms cost more than the products they save
ONE = 7  # A's row 1 is all ones, so element (1, 1) of 6x6 adds equally to each output: the bias is added there
FORWARD_TILES, BACKWARD_TILES = 128, 256  # per block; dW's products sum over tiles and need more of them


@cache
def _transforms(dtype: np.dtype) -> tuple[Array, Array, Array]:
    """Return kron(B^T, B^T) (36, 36), kron(G, G) (36, 9) and kron(A^T, A^T) (16, 36)."""
    b, g, a = (np.kron(m, m).astype(dtype) for m in (B_T, G, A_T))
    return b, g, a


# A tile's transform mixes its 36 values, and a kernel's its 9. The rounding error of a large value therefore reaches
# outputs that do not see it, and so do infinity and NaN. Samples and kernels with a value too far above the mean are
# computed tap by tap instead: see `evenness`. In a 3-32-64-128 network and in ResNet-8 on CIFAR-10, the largest input
# was 62 times the mean, and the largest gradient, which pooling makes sparse, 157 times. At these limits, the error at
# an output that does not see the value is 5 times Winograd's usual one.
INPUT_LIMIT, GRADIENT_LIMIT, WEIGHT_LIMIT = 64, 256, 256

# Kernels are (45, C, K): 36 transformed values, or NaN if the weights are uneven, and then the 9 taps themselves


def _taps(x: Array, window: Window) -> list[Array]:
    """Return nine views (n, OH, OW, C) of padded images: what each place of a 3x3 kernel sees."""
    (oh, ow), padded = window.positions, pad(x, window.padding)
    return [padded[:, i : i + oh, j : j + ow] for i in range(3) for j in range(3)]


def _tap_by_tap(x: Array, taps: Array, b: Array | None, window: Window) -> Array:
    """Compute the same as `winograd_forward`, as nine products."""
    y = sum(seen @ tap for seen, tap in zip(_taps(x, window), taps, strict=True))
    return np.asarray(y if b is None else y + b)


def _tap_by_tap_backward(
    g: Array, x: Array, taps: Array, window: Window, input_gradient: bool
) -> tuple[Array | None, Array, Array]:
    """Return dx, the gradient of the taps, and dbias."""
    (c, k), (ph, pw), (_, height, width, _) = taps.shape[1:], window.padding, x.shape
    rows = g.reshape(-1, k)
    dtaps = np.stack([seen.reshape(-1, c).T @ rows for seen in _taps(x, window)])
    if not input_gradient:
        return None, dtaps, rows.sum(axis=0)
    (oh, ow), padded = window.positions, np.zeros((len(x), height + 2 * ph, width + 2 * pw, c), g.dtype)
    for tap, (i, j) in zip(taps, np.ndindex(3, 3), strict=True):
        padded[:, i : i + oh, j : j + ow] += g @ tap.T
    return padded[:, ph : ph + height, pw : pw + width], dtaps, rows.sum(axis=0)


def _tile_counts(window: Window) -> Pair:
    return -(-window.positions[0] // 4), -(-window.positions[1] // 4)


def _input_tiles(x: Array, window: Window) -> Array:
    """Return B^T d B of each 6x6 input tile: (36, tiles, C)."""
    (oh, ow), (th, tw) = window.positions, _tile_counts(window)
    padded = pad(x, window.padding, (4 * th - oh, 4 * tw - ow))
    sn, sh, sw, sc = padded.strides
    tiles = np.lib.stride_tricks.as_strided(
        padded, (6, 6, len(x), th, tw, x.shape[3]), (sh, sw, sn, 4 * sh, 4 * sw, sc), writeable=False
    )
    return (_transforms(x.dtype)[0] @ tiles.reshape(36, -1)).reshape(36, -1, x.shape[3])


def weight_tiles(w: Array) -> Array:
    """Return G k G^T of each kernel of (K, C, 3, 3), followed by its taps: (45, C, K)."""
    k, c = w.shape[:2]
    kernels = np.empty((45, c, k), w.dtype)
    kernels[36:] = w.transpose(2, 3, 1, 0).reshape(9, c, k)
    if uneven(w[None], WEIGHT_LIMIT) is not None and uneven(w[w != 0][None], WEIGHT_LIMIT) is not None:  # not pruned
        kernels[:36] = np.nan
    else:
        np.matmul(_transforms(w.dtype)[1], kernels[36:].reshape(9, -1), out=kernels[:36].reshape(36, -1))
    return kernels


def weight_from_tiles(dkernels: Array) -> Array:
    """Return (K, C, 3, 3) from (45, C, K); the adjoint of `weight_tiles`."""
    _, c, k = dkernels.shape
    dtaps = _transforms(dkernels.dtype)[1].T @ dkernels[:36].reshape(36, -1)
    dtaps += dkernels[36:].reshape(9, -1)
    return np.ascontiguousarray(dtaps.reshape(3, 3, c, k).transpose(3, 2, 0, 1))


def _apart(kernels: Array, *arrays: tuple[Array, int]) -> Array | None:
    """Return which samples to compute tap by tap, for arrays with their limits; None for none."""
    if isnan(kernels.item(0)):
        return np.ones(len(arrays[0][0]), bool)
    apart = None
    for x, limit in arrays:
        found = uneven(x, limit)
        if found is not None:
            apart = found if apart is None else apart | found
    return apart


def winograd_forward(x: Array, kernels: Array, b: Array | None, window: Window) -> Array:
    """Compute a 3x3 convolution of stride 1; `kernels` is the result of `weight_tiles`."""
    (oh, ow), (th, tw), k = window.positions, _tile_counts(window), kernels.shape[2]
    a, transformed = _transforms(x.dtype)[2], kernels[:36]
    y = np.empty((len(x), oh, ow, k), x.dtype)
    step = max(1, FORWARD_TILES // (th * tw))

    def work(begin: int, end: int) -> None:
        for block in blocks(begin, end, step):
            apart = _apart(kernels, (x[block], INPUT_LIMIT))
            if apart is not None:
                y[block][apart] = _tap_by_tap(x[block][apart], kernels[36:], b, window)
                if apart.all():
                    continue
            rest = x[block] if apart is None else x[block][~apart]
            products = _input_tiles(rest, window) @ transformed  # (36, tiles, K)
            if b is not None:
                products[ONE] += b
            tiles = (a @ products.reshape(36, -1)).reshape(4, 4, -1, th, tw, k).transpose(2, 3, 0, 4, 1, 5)
            if apart is not None:
                y[block][~apart] = tiles.reshape(-1, 4 * th, 4 * tw, k)[:, :oh, :ow]
            elif (oh, ow) == (4 * th, 4 * tw):
                y[block].reshape(tiles.shape)[...] = tiles
            else:
                y[block] = tiles.reshape(-1, 4 * th, 4 * tw, k)[:, :oh, :ow]

    in_parallel(x, work)
    return y


def winograd_backward(g: Array, x: Array, kernels: Array, window: Window, input_gradient: bool) -> Gradients:
    """Return dx, dkernels, and dbias, by applying the adjoint of each forward step in reverse order."""
    (oh, ow), (th, tw), k = window.positions, _tile_counts(window), kernels.shape[2]
    (b, _, a), transformed = _transforms(x.dtype), kernels[:36]
    dx = np.empty(x.shape, g.dtype) if input_gradient else None
    step = max(1, BACKWARD_TILES // (th * tw))

    def work(begin: int, end: int) -> tuple[Array, Array]:
        dkernels, dbias = np.zeros((45, x.shape[3], k), g.dtype), np.zeros(k, g.dtype)
        for block in blocks(begin, end, step):
            g_block, x_block = g[block], x[block]
            apart = _apart(kernels, (g_block, GRADIENT_LIMIT), (x_block, INPUT_LIMIT))
            if apart is not None:
                alone = _tap_by_tap_backward(g_block[apart], x_block[apart], kernels[36:], window, input_gradient)
                dkernels[36:] += alone[1]
                dbias += alone[2]
                if dx is not None:
                    dx[block][apart] = alone[0]
                g_block, x_block = g_block[~apart], x_block[~apart]
                if not len(x_block):
                    continue
            dy = pad(g_block, (0, 0), (4 * th - oh, 4 * tw - ow)).reshape(-1, th, 4, tw, 4, k)
            dproducts = (a.T @ dy.transpose(2, 4, 0, 1, 3, 5).reshape(16, -1)).reshape(36, -1, k)  # A dy A^T
            dbias += sum_channels(dproducts[ONE])
            dkernels[:36] += _input_tiles(x_block, window).transpose(0, 2, 1) @ dproducts
            if dx is not None:
                dtiles = b.T @ (dproducts @ transformed.transpose(0, 2, 1)).reshape(36, -1)
                even = _add_tiles(dtiles.reshape(6, 6, -1, th, tw, x.shape[3]), x.shape, window.padding)
                if apart is None:
                    dx[block] = even
                else:
                    dx[block][~apart] = even
        return dkernels, dbias

    dkernels, dbias = sum_parts(in_parallel(x, work))
    return dx, dkernels, dbias


def _add_tiles(tiles: Array, shape: tuple[int, ...], padding: Pair) -> Array:
    """Add 6x6 tiles (6, 6, n, th, tw, C) at the positions they were read from, 4 pixels apart.

    The last two rows and columns of a tile overlap the first two of the next tile.
    """
    _, _, n, th, tw, c = tiles.shape
    tiles = tiles.transpose(2, 3, 0, 4, 1, 5)  # (n, th, 6, tw, 6, C)
    out = np.empty((n, th + 1, 4, tw + 1, 4, c), tiles.dtype)
    out[:, :th, :, :tw] = tiles[:, :, :4, :, :4]
    out[:, th] = 0
    out[:, :, :, tw] = 0
    out[:, 1:, :2, :tw] += tiles[:, :, 4:, :, :4]
    out[:, :th, :, 1:, :2] += tiles[:, :, :4, :, 4:]
    out[:, 1:, :2, 1:, :2] += tiles[:, :, 4:, :, 4:]
    (_, height, width, _), (ph, pw) = shape, padding
    return out.reshape(n, 4 * th + 4, 4 * tw + 4, c)[:, ph : ph + height, pw : pw + width]
