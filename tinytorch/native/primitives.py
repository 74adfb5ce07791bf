"""Module 15: oneDNN, Intel's library of kernels for neural networks, through its C interface.

oneDNN is optional: the extra `onednn` installs it (PyPI package onednn-cpu-gomp), and `native.backend` decides whether
it is used. This file contains what all kernels share, in oneDNN's own terms:

    Descriptor   shape, dtype, and layout of an array; with the layout "any" the primitive chooses the best one
    Primitive    one prepared operation, created once for its shapes and run many times
    reorder      copies an array into the layout that a primitive has chosen

A primitive does one run at a time; different primitives may run in different threads. Any thread may free any
primitive, because we supply the scratch memory. oneDNN's own scratch memory is counted for the thread that created the
primitive, and a process crashed when another thread freed it.
Source: https://uxlfoundation.github.io/oneDNN/ (C API, 3.x).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from ctypes import byref, c_int, c_int64, c_void_p
from typing import Any

import numpy as np

from tinytorch.native.library import check, library

# dnnl_types.h: the arguments (arrays) of a primitive
SRC, DST, WEIGHTS, BIAS = 1, 17, 33, 41
MEAN, VARIANCE, SCALE, SHIFT, WORKSPACE, SCRATCHPAD = 49, 50, 51, 52, 64, 80
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_BIAS, DIFF_SCALE, DIFF_SHIFT = 129, 145, 161, 169, 255, 256
ATTR_SCALES = 4096  # | the argument that is scaled
FACTORS = 2  # the second input of a binary operation

# dnnl_types.h: constants that its functions accept
FORWARD_TRAINING, FORWARD_INFERENCE, BACKWARD = 64, 96, 128
CONVOLUTION_AUTO, CONVOLUTION_DIRECT = 0x3, 0x1
POOLING_MAX, POOLING_MEAN = 0x1FF, 0x2FF  # the mean includes the padding
ELTWISE_RELU, ELTWISE_RELU_USE_DST = 0x20, 0x100
ELTWISE_ABS, ELTWISE_POWER, REDUCTION_MAX, SOFTMAX = 0x24, 0x30, 0x2FFF2, 0x30000
BINARY_ADD, BINARY_MULTIPLY, BINARY_DIVIDE = 0x1FFF0, 0x1FFF1, 0x1FFF4
ELTWISE = {"relu": ELTWISE_RELU, "tanh": 0x21, "sigmoid": 0x29, "gelu": 0x2B, "linear": 0x26, "clip": 0x2E}
SUM = "sum"
_QUERY_MD = {SRC: 129, DIFF_SRC: 130, WEIGHTS: 131, DIFF_WEIGHTS: 132, DST: 133, DIFF_DST: 134, WORKSPACE: 135,
             SCRATCHPAD: 136}  # fmt: skip
_DTYPES = {"float16": 1, "bfloat16": 2, "float32": 3, "int32": 4, "int8": 5, "uint8": 6}
_ANY = 1  # dnnl_format_tag_any
_USERS_SCRATCHPAD = 1  # dnnl_scratchpad_mode_user

ONE_THREAD = 0  # for `Primitive(operations=...)`
SMALL = 2**23  # multiplications and additions: below this, one thread finishes before a second one has woken up

Layout = Sequence[int] | str | None


def dims(values: Sequence[int]) -> Any:
    """Return a dnnl_dims_t: twelve 64-bit integers."""
    return (c_int64 * 12)(*values)


class Descriptor:
    """The shape, dtype, and layout of an array.

    Args:
        layout: None for C order, "any" for the primitive to choose, "channels_last" for NCHW shapes on NHWC memory,
            or strides in elements.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, layout: Layout = None) -> None:
        c, self._owned = library().c, c_void_p()
        number, what = _DTYPES[np.dtype(dtype).name], f"an array of shape {tuple(shape)}, {np.dtype(dtype).name}"
        if layout == "any":
            status = c.dnnl_memory_desc_create_with_tag(byref(self._owned), len(shape), dims(shape), number, _ANY)
        else:
            strides = _strides(shape, layout)
            status = c.dnnl_memory_desc_create_with_strides(
                byref(self._owned), len(shape), dims(shape), number, dims(strides)
            )
        check(status, what)
        self.handle = self._owned

    def __del__(self) -> None:
        if self._owned:
            library().c.dnnl_memory_desc_destroy(self._owned)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return int(library().c.dnnl_memory_desc_get_size(self.handle))

    def equals(self, other: Descriptor) -> bool:
        """Return whether both have the same shape, dtype, and layout."""
        return bool(library().c.dnnl_memory_desc_equal(self.handle, other.handle))


class _Copied(Descriptor):
    """A copy of a descriptor that belongs to a primitive's description. The copy may outlive the description."""

    def __init__(self, handle: int) -> None:
        self._owned = c_void_p()
        check(library().c.dnnl_memory_desc_clone(byref(self._owned), handle), "the copy of a descriptor")
        self.handle = self._owned


def _strides(shape: Sequence[int], layout: Layout) -> Sequence[int]:
    if layout == "channels_last":
        _, c, h, w = shape
        return h * w * c, 1, w * c, c
    if layout is not None:
        return [int(stride) for stride in layout]
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return strides


Post = str | tuple[str, float, float] | Descriptor


class Attributes:
    """What a primitive does in addition to its operation.

    Args:
        scales: argument -> mask; 0 means one scale for the whole array, 1 << d one for each index of dimension d. The
            scales are passed when the primitive runs, as the argument ATTR_SCALES | argument.
        post: what is done with each value of the result, in this order: SUM adds the previous value in the output's
            array, and the names in ELTWISE apply a function; ("linear", a, b) is a y + b, and ("clip", a, b)
            limits y to the range from a to b. A Descriptor adds an array, which is passed as `operand(i)` for the i-th
            of these operations.
    """

    def __init__(self, scales: Mapping[int, int] | None = None, post: Sequence[Post] = ()) -> None:
        c, self.handle = library().c, c_void_p()
        check(c.dnnl_primitive_attr_create(byref(self.handle)), "attributes")
        check(c.dnnl_primitive_attr_set_scratchpad_mode(self.handle, _USERS_SCRATCHPAD), "scratch memory")
        for argument, mask in (scales or {}).items():
            check(c.dnnl_primitive_attr_set_scales_mask(self.handle, argument, mask), f"scales of argument {argument}")
        if post:
            self._append(post)

    def _append(self, names: Sequence[Post]) -> None:
        c, post = library().c, c_void_p()
        check(c.dnnl_post_ops_create(byref(post)), "post-operations")
        for entry in names:
            name, *numbers = entry if isinstance(entry, tuple) else (entry, 0, 0)
            if isinstance(name, Descriptor):
                status = c.dnnl_post_ops_append_binary(post, BINARY_ADD, name.handle)
            elif name == SUM:
                status = c.dnnl_post_ops_append_sum(post, ctypes.c_float(1), 0, 0)
            else:
                status = c.dnnl_post_ops_append_eltwise(post, ELTWISE[name], *map(ctypes.c_float, numbers))
            check(status, f"a fused {name}")
        check(c.dnnl_primitive_attr_set_post_ops(self.handle, post), "post-operations")
        c.dnnl_post_ops_destroy(post)

    def __del__(self) -> None:
        library().c.dnnl_primitive_attr_destroy(self.handle)


def aligned(size: int) -> np.ndarray:
    """Return `size` bytes of zeros that start at a cache line."""
    memory = np.zeros(size + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size]


class _Scratch(threading.local):
    """This thread's scratch memory. One primitive uses it at a time, so it is as large as the largest one needs."""

    def __init__(self) -> None:
        self.room = aligned(0)

    def grow(self, size: int) -> None:
        """Grow to at least `size` bytes, and at least to twice the previous size, so that growing is rare."""
        if self.room.size < size:
            self.room = aligned(max(size, 2 * self.room.size))


_scratch = _Scratch()


class Primitive:
    """One prepared operation.

    Args:
        function: the operation's name in dnnl_FUNCTION_primitive_desc_create, e.g. "matmul".
        arguments: the arguments of that C function after the engine: Descriptor, Attributes, Primitive (as the hint of
            a backward pass), None, int, or a sequence of ints for dimensions. The last one is Attributes or None.
        arrays: the descriptor of each array that is passed to `run` or `bind`; None for a layout that the primitive
            chooses ("any"), which `descriptor` then returns.
        operations: the number of multiplications and additions, if known. Fewer than SMALL run on one thread. That is
            no faster on an idle machine. If another program occupies the other core, however, two threads wait for
            each other for a whole time slice of the scheduler (16 ms measured, for 4 µs of work). ONE_THREAD always
            selects one thread.
        cost: how much work it is, for `Program.pays_threads`.

    Raises:
        UnsupportedError: oneDNN has no such kernel.
    """

    def __init__(
        self,
        function: str,
        arguments: Sequence[Any],
        arrays: Mapping[int, Descriptor | None],
        operations: int | None = None,
        cost: int = 0,
    ) -> None:
        loaded, self.cost = library(), cost
        self.alone, self._use_threads = operations is not None and operations < SMALL, loaded.use_threads
        self._use_threads(self.alone)  # a primitive is created for the number of threads that will run it
        c, self._description, self._handle = loaded.c, c_void_p(), c_void_p()
        self._memories: dict[int, c_void_p] = {}
        create = getattr(c, f"dnnl_{function}_primitive_desc_create")
        first = (loaded.engine,) if function != "reorder" else ()
        *what, attributes = arguments
        attributes = attributes or Attributes()
        check(create(byref(self._description), *first, *map(_as_c, (*what, attributes))), function)
        check(c.dnnl_primitive_create(byref(self._handle), self._description), function)
        self.descriptors = {argument: descriptor or self._chosen(argument) for argument, descriptor in arrays.items()}
        scratch = self._chosen(SCRATCHPAD)
        self.scratch_size, self._room = scratch.size, aligned(0)  # not in any thread's scratch memory yet
        if self.scratch_size:
            self.descriptors[SCRATCHPAD] = scratch
        for argument, descriptor in self.descriptors.items():
            memory = self._memories[argument] = c_void_p()
            status = c.dnnl_memory_create(byref(memory), descriptor.handle, loaded.engine, None)
            check(status, f"an array of {function}")
        entries = [_Argument(argument, memory) for argument, memory in self._memories.items()]
        self._table = (_Argument * len(entries))(*entries)
        self._kept: Any = None
        self._run = (c.dnnl_primitive_execute, self._handle, loaded.stream, len(self._table), self._table)
        self._wait = c.dnnl_stream_wait

    def __del__(self) -> None:
        c = library().c
        for memory in self._memories.values():
            c.dnnl_memory_destroy(memory)
        if self._handle:
            c.dnnl_primitive_destroy(self._handle)
        if self._description:
            c.dnnl_primitive_desc_destroy(self._description)

    def bound(self, scratch: np.ndarray) -> tuple[c_void_p, int, Any]:
        """Return what `Program` executes: the handle, the number of arguments, and their table.

        All arrays must be bound. `scratch` holds at least `scratch_size` bytes.
        """
        if self.scratch_size:
            self.bind({SCRATCHPAD: scratch})
        return self._handle, len(self._table), self._table

    @property
    def hint(self) -> c_void_p:
        """The primitive's description, which a backward pass needs."""
        return self._description

    def _chosen(self, argument: int) -> Descriptor:
        handle = library().c.dnnl_primitive_desc_query_md(self._description, _QUERY_MD[argument], 0)
        return _Copied(handle)

    def descriptor(self, argument: int) -> Descriptor:
        """Return the layout in which the primitive expects an array (WEIGHTS, WORKSPACE, ...)."""
        return self.descriptors[argument]

    def bind(self, arrays: Mapping[int, np.ndarray]) -> None:
        """Fix some or all arrays: later runs read and write them, and the primitive keeps them alive."""
        set_handle = library().c.dnnl_memory_set_data_handle
        for argument, array in arrays.items():
            set_handle(self._memories[argument], array.__array_interface__["data"][0])
        self._kept = {**(self._kept or {}), **arrays}

    def array(self, argument: int) -> np.ndarray:
        """Return the array that is bound to an argument."""
        array: np.ndarray = (self._kept or {})[argument]
        return array

    def point(self, argument: int, address: int) -> None:
        """Let later runs read or write the memory at an address. The caller keeps it alive."""
        library().c.dnnl_memory_set_data_handle(self._memories[argument], address)

    def __call__(self) -> None:
        """Run on the bound arrays."""
        self.run()

    def run(self, arrays: Mapping[int, np.ndarray] | None = None) -> None:
        """Run on the given and the bound arrays; their dtypes and layouts must match the descriptors."""
        if arrays:
            set_handle, memories = library().c.dnnl_memory_set_data_handle, self._memories
            for argument, array in arrays.items():
                set_handle(memories[argument], array.__array_interface__["data"][0])
        if self.scratch_size and self._room is not _scratch.room:
            self._move()
        self._use_threads(self.alone)
        execute, handle, stream, count, table = self._run
        status = execute(handle, stream, count, table)
        if status:
            check(status, "running a primitive")
        self._wait(stream)

    def _move(self) -> None:
        """Switch to this thread's scratch memory: it has grown, or the last run was in another thread."""
        _scratch.grow(self.scratch_size)
        self._room = _scratch.room
        library().c.dnnl_memory_set_data_handle(self._memories[SCRATCHPAD], self._room.ctypes.data)


def operand(place: int) -> int:
    """Return the argument for the array that the post-operation at a place adds."""
    return 32768 * (place + 1) | FACTORS


def threads(alone: bool) -> int | None:
    """Return what `Primitive` expects as `operations`, to run on one thread or on all."""
    return ONE_THREAD if alone else None


class _Argument(ctypes.Structure):
    """The C structure dnnl_exec_arg_t."""

    _fields_ = (("argument", c_int), ("memory", c_void_p))


def _as_c(value: Any) -> Any:
    if isinstance(value, (Descriptor, Attributes)):
        return value.handle
    if isinstance(value, Primitive):
        return value.hint
    return dims(value) if isinstance(value, (tuple, list)) else value


def reorder(array: np.ndarray, source: Descriptor, target: Descriptor) -> np.ndarray:
    """Return the array's values in another layout or dtype, as the bytes of a new array."""
    packed = aligned(target.size)
    engine = library().engine
    what, arrays = (source, engine, target, engine, None), {SRC: source, DST: target}
    primitive = Primitive("reorder", what, arrays, operations=array.size)
    primitive.run({SRC: array, DST: packed})
    return packed


class Layouts:
    """One weight in each layout that a primitive has requested; primitives for different shapes may share a layout.

    Args:
        weight: a contiguous array.
        plain: the descriptor of that array.
    """

    def __init__(self, weight: np.ndarray, plain: Descriptor) -> None:
        self._weight, self._plain = weight, plain
        self._packed: list[tuple[Descriptor, np.ndarray]] = []

    def __len__(self) -> int:
        return len(self._packed)

    def packed_in(self, requested: Descriptor) -> np.ndarray:
        """Return the weight in the requested layout, packed at the first request."""
        for layout, packed in self._packed:
            if layout.equals(requested):
                return packed
        self._packed.append((requested, reorder(self._weight, self._plain, requested)))
        return self._packed[-1][1]
