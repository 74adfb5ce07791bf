"""Module 09: how a convolution is computed. Three ways, from the plain idea to the fast path:

    im2col      copy each window into a row, then one matrix product: any kernel, stride, dilation, groups
    pointwise   a 1x1 kernel looks at single pixels: a matrix product without the copy
    Winograd    3x3, stride 1: a quarter of the multiplications, by polynomial algebra

All arrays here are channels-last, (N, H, W, C): the values of one pixel lie together, so a window's rows are
contiguous runs, and a product's rows are pixels. Nothing here knows of tensors; `spatial` checks shapes.

The batch is taken in blocks of samples. A block's temporary arrays stay in the cache, and they, not the
batch, decide the peak memory as long as images are small: the smallest block is one image, whose im2col
columns take about kh kw / (sh sw) times its memory. A process that trains a 3-32-64-128 network with batches of
128 peaks at 139 MB, NumPy and Python included (PyTorch: 413 MB).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from tinytorch.parallel import in_parallel
from tinytorch.tensor import Array

Pair = tuple[int, int]
Gradients = tuple[Array | None, Array, Array]  # of the input (None where nobody asked), the weight, the bias


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window: (height, width) of each setting, and of the positions that it takes."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    positions: Pair


# The plain idea: im2col -------------------------------------------------------------------------------

COLUMN_BYTES = 2**20  # of one block's columns: they must stay in the second-level cache


def pad(x: Array, padding: Pair, extra: Pair = (0, 0), fill: float = 0.0) -> Array:
    """Surround each image with `padding` rows and columns, and `extra` more below and to the right."""
    (n, height, width, channels), (ph, pw) = x.shape, padding
    if not (ph or pw or extra[0] or extra[1]):
        return x
    shape = (n, height + 2 * ph + extra[0], width + 2 * pw + extra[1], channels)
    padded = np.full(shape, fill, x.dtype) if fill else np.zeros(shape, x.dtype)
    padded[:, ph : ph + height, pw : pw + width] = x
    return padded


def windows(padded: Array, window: Window) -> Array:
    """Every window of padded images, (N, OH, OW, kh, kw, C), as a view: nothing is copied."""
    sn, sh, sw, sc = padded.strides
    (kh, kw), (th, tw), (dh, dw), (oh, ow) = window.kernel, window.stride, window.dilation, window.positions
    shape = (len(padded), oh, ow, kh, kw, padded.shape[3])
    strides = (sn, sh * th, sw * tw, sh * dh, sw * dw, sc)
    return np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)


def im2col(x: Array, window: Window, groups: int) -> Array:
    """Each window as a row: (groups, N*OH*OW, kh*kw*C/groups)."""
    seen = windows(pad(x, window.padding), window)
    rows, taps = seen.shape[0] * seen.shape[1] * seen.shape[2], seen.shape[3] * seen.shape[4]
    if groups == 1:
        return seen.reshape(1, rows, taps * x.shape[3])
    split = seen.reshape(rows, taps, groups, -1)
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3)).reshape(groups, rows, -1)


def col2im(columns: Array, shape: tuple[int, ...], window: Window) -> Array:
    """The adjoint of im2col: adds each window's row to the pixels that it was copied from."""
    (n, height, width, channels), (ph, pw) = shape, window.padding
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = window.kernel, window.stride, window.dilation, window.positions
    taps = columns.transpose(1, 0, 2).reshape(n, oh, ow, len(columns), kh, kw, -1)  # (N, OH, OW, G, kh, kw, C/G)
    padded = np.zeros((n, height + 2 * ph, width + 2 * pw, channels), columns.dtype)
    by_group = padded.reshape(*padded.shape[:3], len(columns), -1)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            by_group[:, top : top + sh * oh : sh, left : left + sw * ow : sw][:, :oh, :ow] += taps[..., i, j, :]
    return padded[:, ph : ph + height, pw : pw + width]


def weight_columns(w: Array, groups: int) -> Array:
    """(K, C/groups, kh, kw) as what im2col's rows are multiplied with: (groups, kh*kw*C/groups, K/groups)."""
    k, c, kh, kw = w.shape
    return w.reshape(groups, k // groups, c, kh, kw).transpose(0, 3, 4, 2, 1).reshape(groups, kh * kw * c, k // groups)


def weight_from_columns(columns: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `weight_columns`."""
    k, c, kh, kw = shape
    groups = len(columns)
    return columns.reshape(groups, kh, kw, c, k // groups).transpose(0, 4, 3, 1, 2).reshape(shape)


def _column_block(x: Array, window: Window) -> int:
    per_sample = int(np.prod(window.positions) * np.prod(window.kernel)) * x.shape[3] * x.itemsize
    return max(1, COLUMN_BYTES // per_sample)


def im2col_forward(x: Array, matrix: Array, b: Array | None, window: Window) -> Array:
    """y = columns @ matrix + b, block by block; the matrix as `weight_columns` gives it."""
    n, groups, k, step = len(x), len(matrix), len(matrix) * matrix.shape[2], _column_block(x, window)
    y = np.empty((n, *window.positions, k), x.dtype)

    def work(begin: int, end: int) -> None:
        for block in blocks(begin, end, step):
            rows = y[block].reshape(-1, groups, k // groups)
            np.matmul(im2col(x[block], window, groups), matrix, out=rows.transpose(1, 0, 2))
            if b is not None:
                add_channels(y[block], b)

    in_parallel(x, work)
    return y


def im2col_backward(g: Array, x: Array, matrix: Array, window: Window, input_gradient: bool) -> Gradients:
    """dmatrix = columns^T g; dx = col2im(g matrix^T). The columns are made again: keeping them costs the memory."""
    groups, k, step = len(matrix), len(matrix) * matrix.shape[2], _column_block(x, window)
    dx = np.empty(x.shape, g.dtype) if input_gradient else None

    def work(begin: int, end: int) -> tuple[Array, Array]:
        dmatrix, dbias = np.zeros_like(matrix), np.zeros(k, g.dtype)
        for block in blocks(begin, end, step):
            columns = im2col(x[block], window, groups)
            rows = g[block].reshape(-1, groups, k // groups).transpose(1, 0, 2)
            dmatrix += columns.transpose(0, 2, 1) @ rows
            dbias += sum_channels(g[block])
            if dx is not None:
                dx[block] = col2im(rows @ matrix.transpose(0, 2, 1), x[block].shape, window)
        return dmatrix, dbias

    dmatrix, dbias = sum_parts(in_parallel(x, work))
    return dx, dmatrix, dbias


# A 1x1 kernel: no windows to copy ---------------------------------------------------------------------


def pointwise_forward(x: Array, w: Array, b: Array | None, window: Window) -> Array:
    """y = x w^T at every stride-th pixel, with w (K, C)."""
    taken = x[:, :: window.stride[0], :: window.stride[1]]
    y = (taken.reshape(-1, x.shape[3]) @ w.T).reshape(*taken.shape[:3], len(w))
    return y if b is None else add_channels(y, b)


def pointwise_backward(g: Array, x: Array, w: Array, window: Window, input_gradient: bool) -> Gradients:
    """dw = g^T x; dx = g w at the pixels that were taken, 0 at the others."""
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
# so that 36 products replace 4*4*9 = 144, and the sum over channels turns each of the 36 into a matrix
# product of (tiles, C) with (C, K). Flattened row by row, M^T d M is one product with kron(M^T, M^T): the
# transforms too are nothing but matrix products.
# Measured against im2col on one core with AVX-512, 16 to 128 channels: 0.9 to 1.5 times as fast forward, 1.3 to
# 1.7 times backward.
# Source: Lavin and Gray 2016, https://arxiv.org/abs/1509.09308.

# fmt: off
B_T = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], np.float64)
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float64) / 24
A_T = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64)
# fmt: on

ONE = 7  # A's row 1 is all ones, so element (1, 1) of 6x6 counts in each output alike: the bias goes in there
FORWARD_TILES, BACKWARD_TILES = 128, 256  # of a block; dW's products sum over them, so they want more


@cache
def _transforms(dtype: np.dtype) -> tuple[Array, Array, Array]:
    """kron(B^T, B^T) (36, 36), kron(G, G) (36, 9) and kron(A^T, A^T) (16, 36)."""
    b, g, a = (np.kron(m, m).astype(dtype) for m in (B_T, G, A_T))
    return b, g, a


def _tile_counts(window: Window) -> Pair:
    return -(-window.positions[0] // 4), -(-window.positions[1] // 4)


def _input_tiles(x: Array, window: Window) -> Array:
    """B^T d B of each 6x6 input tile: (36, tiles, C)."""
    (oh, ow), (th, tw) = window.positions, _tile_counts(window)
    padded = pad(x, window.padding, (4 * th - oh, 4 * tw - ow))
    sn, sh, sw, sc = padded.strides
    tiles = np.lib.stride_tricks.as_strided(
        padded, (6, 6, len(x), th, tw, x.shape[3]), (sh, sw, sn, 4 * sh, 4 * sw, sc), writeable=False
    )
    return (_transforms(x.dtype)[0] @ tiles.reshape(36, -1)).reshape(36, -1, x.shape[3])


def weight_tiles(w: Array) -> Array:
    """G k G^T of each kernel of (K, C, 3, 3): (36, C, K)."""
    k, c = w.shape[:2]
    return (_transforms(w.dtype)[1] @ w.transpose(2, 3, 1, 0).reshape(9, c * k)).reshape(36, c, k)


def weight_from_tiles(dkernels: Array) -> Array:
    """The adjoint of `weight_tiles`."""
    _, c, k = dkernels.shape
    dw = (_transforms(dkernels.dtype)[1].T @ dkernels.reshape(36, -1)).reshape(3, 3, c, k)
    return np.ascontiguousarray(dw.transpose(3, 2, 0, 1))


def winograd_forward(x: Array, kernels: Array, b: Array | None, window: Window) -> Array:
    """A 3x3 convolution of stride 1; the kernels as `weight_tiles` gives them."""
    (oh, ow), (th, tw), k = window.positions, _tile_counts(window), kernels.shape[2]
    a = _transforms(x.dtype)[2]
    y = np.empty((len(x), oh, ow, k), x.dtype)
    step = max(1, FORWARD_TILES // (th * tw))

    def work(begin: int, end: int) -> None:
        for block in blocks(begin, end, step):
            products = _input_tiles(x[block], window) @ kernels  # (36, tiles, K)
            if b is not None:
                products[ONE] += b
            tiles = (a @ products.reshape(36, -1)).reshape(4, 4, -1, th, tw, k).transpose(2, 3, 0, 4, 1, 5)
            if (oh, ow) == (4 * th, 4 * tw):
                y[block].reshape(tiles.shape)[...] = tiles
            else:
                y[block] = tiles.reshape(-1, 4 * th, 4 * tw, k)[:, :oh, :ow]

    in_parallel(x, work)
    return y


def winograd_backward(g: Array, x: Array, kernels: Array, window: Window, input_gradient: bool) -> Gradients:
    """The adjoint of each step of the forward pass, in reverse order."""
    (oh, ow), (th, tw), k = window.positions, _tile_counts(window), kernels.shape[2]
    b, _, a = _transforms(x.dtype)
    dx = np.empty(x.shape, g.dtype) if input_gradient else None
    step = max(1, BACKWARD_TILES // (th * tw))

    def work(begin: int, end: int) -> tuple[Array, Array]:
        dkernels, dbias = np.zeros((36, x.shape[3], k), g.dtype), np.zeros(k, g.dtype)
        for block in blocks(begin, end, step):
            dy = pad(g[block], (0, 0), (4 * th - oh, 4 * tw - ow)).reshape(-1, th, 4, tw, 4, k)
            dproducts = (a.T @ dy.transpose(2, 4, 0, 1, 3, 5).reshape(16, -1)).reshape(36, -1, k)  # A dy A^T
            dbias += sum_channels(dproducts[ONE])
            dkernels += _input_tiles(x[block], window).transpose(0, 2, 1) @ dproducts
            if dx is not None:
                dtiles = b.T @ (dproducts @ kernels.transpose(0, 2, 1)).reshape(36, -1)
                dx[block] = _add_tiles(dtiles.reshape(6, 6, -1, th, tw, x.shape[3]), x.shape, window.padding)
        return dkernels, dbias

    dkernels, dbias = sum_parts(in_parallel(x, work))
    return dx, dkernels, dbias


def _add_tiles(tiles: Array, shape: tuple[int, ...], padding: Pair) -> Array:
    """Put 6x6 tiles (6, 6, n, th, tw, C) back where they were taken, 4 apart: their last two rows and columns
    overlap the next tile's first two."""
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


def blocks(begin: int, end: int, step: int) -> list[slice]:
    """range(begin, end) in slices of at most `step`."""
    return [slice(i, min(i + step, end)) for i in range(begin, end, step)]


def sum_parts(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """What `in_parallel` gives for work that returns two sums over its part: the sums over all."""
    first, second = zip(*parts, strict=True)
    return sum(first[1:], first[0]), sum(second[1:], second[0])


# Channels: long inner loops ---------------------------------------------------------------------------


def add_channels(y: Array, b: Array) -> Array:
    """y += b in place for a contiguous (..., C) array, as rows of many pixels: NumPy's cost is per row."""
    rows = y.reshape(-1, y.shape[-2] * y.shape[-1])
    rows += repeat_channels(b, y.shape[-2])
    return y


def repeat_channels(b: Array, pixels: int) -> Array:
    """A number for each channel, for a row of pixels. np.tile takes three times as long (2.6 us), which counts for
    a single image."""
    row = np.empty((pixels, len(b)), b.dtype)
    row[...] = b
    return row.reshape(-1)


def sum_channels(g: Array) -> Array:
    """The sum of each channel of a contiguous (..., C) array, as a matrix product."""
    rows = g.reshape(-1, g.shape[-2] * g.shape[-1])
    return (np.ones(len(rows), g.dtype) @ rows).reshape(-1, g.shape[-1]).sum(axis=0)
