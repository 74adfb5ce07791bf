"""Recurrent layers: RNN, LSTM, GRU, and their cells, with PyTorch's names, layouts, and order of gates.

Each step of a sequence is one op with its derivative, so that a step costs two matrix products and one call.
Shapes: T steps, B samples, D inputs, H hidden units; G gates: 1 for an RNN, 4 for an LSTM, 3 for a GRU.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch import tensor as T
from tinytorch.activations import sigmoid_
from tinytorch.autograd import joint_derivative
from tinytorch.base.course import Longer
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.random import default_generator
from tinytorch.layers import Dropout, Module, Parameter, linear
from tinytorch.tensor import Array, Op, Tensor, apply

# The arithmetic of one step: x holds W_ih x + b_ih and r holds W_hh h + b_hh, each (B, G H) ---------------


def _sigmoid(x: Array) -> Array:
    return sigmoid_.forward(x)


def _rnn(x: Array, r: Array, relu: bool) -> Array:
    return np.maximum(x + r, 0) if relu else np.tanh(x + r)


def _rnn_back(g: Array, y: Array, x: Array, r: Array, relu: bool) -> list[Array]:
    d = g * (y > 0) if relu else g * (1 - y * y)
    return [d, d]


def _lstm(x: Array, r: Array, c: Array) -> tuple[Array, tuple[Array, ...]]:
    """Return (B, 2 H): h = o tanh(c') and c' = f c + i n. The gates are in the order i, f, n, o."""
    i, f, n, o = np.split(x + r, 4, axis=-1)
    i, f, n, o = _sigmoid(i), _sigmoid(f), np.tanh(n), _sigmoid(o)
    new = f * c + i * n
    t = np.tanh(new)
    return np.concatenate([o * t, new], axis=-1), (i, f, n, o, t)


def _lstm_back(g: Array, kept: tuple[Array, ...], x: Array, r: Array, c: Array) -> list[Array]:
    i, f, n, o, t = kept
    dh, dc = np.split(g, 2, axis=-1)
    dc = dc + dh * o * (1 - t * t)
    d = np.concatenate(
        [dc * n * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - n * n), dh * t * o * (1 - o)], axis=-1
    )
    return [d, d, dc * f]


def _gru(x: Array, r: Array, h: Array) -> tuple[Array, tuple[Array, ...]]:
    """Return h' = (1 - z) n + z h, with n = tanh(x_n + reset r_n). The gates are in the order reset, z, n."""
    (xr, xz, xn), (rr, rz, rn) = np.split(x, 3, axis=-1), np.split(r, 3, axis=-1)
    reset, z = _sigmoid(xr + rr), _sigmoid(xz + rz)
    n = np.tanh(xn + reset * rn)
    return n + z * (h - n), (reset, z, n, rn)


def _gru_back(g: Array, kept: tuple[Array, ...], x: Array, r: Array, h: Array) -> list[Array]:
    reset, z, n, rn = kept
    dn = g * (1 - z) * (1 - n * n)
    dr, dz = dn * rn * reset * (1 - reset), g * (h - n) * z * (1 - z)
    return [np.concatenate([dr, dz, dn], axis=-1), np.concatenate([dr, dz, dn * reset], axis=-1), g * z]


rnn_step = Op("rnn_step", _rnn)
lstm_step = Op("lstm_step", _lstm)
gru_step = Op("gru_step", _gru)
joint_derivative(rnn_step, _rnn_back)
joint_derivative(lstm_step, _lstm_back)
joint_derivative(gru_step, _gru_back)

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
State = tuple[Tensor, ...]  # (h,), or (h, c) of an LSTM


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return apply(linear, x, weight) if bias is None else apply(linear, x, weight, bias)


def _step(kind: str, x: Tensor, state: State, weight: Tensor, bias: Tensor | None, relu: bool) -> State:
    """Return the next state from W_ih x + b_ih, (B, G H), and the state."""
    r = _product(state[0], weight, bias)
    if kind == "LSTM":
        both = apply(lstm_step, x, r, state[1])
        width = state[0].shape[-1]
        return both[..., :width], both[..., width:]
    return (apply(gru_step, x, r, state[0]) if kind == "GRU" else apply(rnn_step, x, r, relu=relu),)


def _uniform(hidden: int, *shape: int) -> Parameter:
    bound = 1 / math.sqrt(hidden)
    return Parameter(default_generator().uniform(-bound, bound, shape).astype(np.float32))


class _Recurrent(Module, metaclass=Longer):
    """Layers of recurrent cells over a sequence.

    Args:
        input_size, hidden_size: D and H.
        num_layers: each layer reads the outputs of the one below.
        bias: whether there are two biases per layer, as in PyTorch.
        batch_first: whether inputs and outputs are (B, T, D) instead of (T, B, D).
        dropout: probability of dropout between the layers, in training.
        bidirectional: a second set of cells reads the sequence backwards; outputs are (..., 2 H).
    """

    kind = "RNN"

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False,
    ) -> None:  # fmt: skip
        if min(input_size, hidden_size, num_layers) < 1:
            raise SettingError(f"{type(self).__name__}: sizes {input_size}, {hidden_size}, {num_layers} layers: "
                               f"expected at least 1")  # fmt: skip
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout, self.relu = float(dropout), False
        rows = GATES[self.kind] * hidden_size
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                width = input_size if layer == 0 else hidden_size * (1 + bidirectional)
                setattr(self, f"weight_ih_{suffix}", _uniform(hidden_size, rows, width))
                setattr(self, f"weight_hh_{suffix}", _uniform(hidden_size, rows, hidden_size))
                if bias:
                    setattr(self, f"bias_ih_{suffix}", _uniform(hidden_size, rows))
                    setattr(self, f"bias_hh_{suffix}", _uniform(hidden_size, rows))

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: 1 + self.bidirectional]

    def flatten_parameters(self) -> None:
        """Do nothing: PyTorch needs it on GPUs."""

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the top layer's outputs (T, B, H), and the last state of all layers, (layers, B, H).

        `x` may be a single sequence (T, D). `state` is h, or (h, c) of an LSTM; zeros by default.
        """
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(f"{type(self).__name__}: input of shape {x.shape}: expected (..., {self.input_size}) with "
                             f"two or three dimensions")  # fmt: skip
        single = x.ndim == 2
        x = x.unsqueeze(1) if single else x.transpose(0, 1) if self.batch_first else x
        count = self.num_layers * (1 + self.bidirectional)
        first = self._first(state, count, x, single)
        last: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = Dropout(self.dropout)(x)
            parts = []
            for suffix in self._suffixes(layer):
                y, end = self._run(x, first[len(last)], suffix)
                parts.append(y)
                last.append(end)
            x = parts[0] if len(parts) == 1 else T.cat(parts, -1)
        ends = tuple(T.stack([state[i] for state in last]) for i in range(len(last[0])))
        if single:
            x, ends = x.squeeze(1), tuple(e.squeeze(1) for e in ends)
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, ends if self.kind == "LSTM" else ends[0]

    def _first(self, state: Any, count: int, x: Tensor, single: bool) -> list[State]:
        """Return the first state of each layer and direction."""
        parts = 2 if self.kind == "LSTM" else 1
        if state is None:
            zeros = Tensor(np.zeros((x.shape[1], self.hidden_size), x.dtype))
            return [(zeros,) * parts] * count
        given = tuple(state) if self.kind == "LSTM" else (state,)
        given = tuple(s.unsqueeze(1) for s in given) if single else given
        expected = (count, x.shape[1], self.hidden_size)
        for s in given:
            if s.shape != expected:
                raise ShapeError(f"{type(self).__name__}: state of shape {s.shape}: expected {expected}")
        return [tuple(s[i] for s in given) for i in range(count)]

    def _run(self, x: Tensor, state: State, suffix: str) -> tuple[Tensor, State]:
        """Run one layer in one direction over x (T, B, D); return all outputs (T, B, H) and the last state."""
        own = vars(self)
        inputs = _product(x, own[f"weight_ih_{suffix}"], own.get(f"bias_ih_{suffix}"))  # (T, B, G H)
        order = range(len(x)) if not suffix.endswith("reverse") else range(len(x) - 1, -1, -1)
        outputs: dict[int, Tensor] = {}
        for t in order:
            recurrent = own[f"weight_hh_{suffix}"], own.get(f"bias_hh_{suffix}")
            state = _step(self.kind, inputs[t], state, *recurrent, self.relu)
            outputs[t] = state[0]
        return T.stack([outputs[t] for t in range(len(x))]), state


class RNN(_Recurrent):
    """A recurrent network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or with nonlinearity="relu"."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 **settings: Any) -> None:  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise SettingError(f"RNN: nonlinearity {nonlinearity!r}: expected 'tanh' or 'relu'")
        super().__init__(input_size, hidden_size, num_layers, **settings)
        self.relu = nonlinearity == "relu"


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), with the gates in the order i, f, g, o.

    i, f, o = sigmoid(...), g = tanh(...), each of W_ih x + b_ih + W_hh h + b_hh;  c' = f c + i g,  h' = o tanh(c').
    """

    kind = "LSTM"


class GRU(_Recurrent):
    """Gated recurrent units (Cho et al. 2014, https://arxiv.org/abs/1406.1078), with the gates in the order r, z, n.

    r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh);  n = tanh(W_in x + b_in + r (W_hn h + b_hn));  h' = (1 - z) n + z h.
    """

    kind = "GRU"


class _Cell(Module, metaclass=Longer):
    """One step of a recurrent layer."""

    kind = "RNN"

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh") -> None:
        self.input_size, self.hidden_size, self.relu = input_size, hidden_size, nonlinearity == "relu"
        rows = GATES[self.kind] * hidden_size
        self.weight_ih = _uniform(hidden_size, rows, input_size)
        self.weight_hh = _uniform(hidden_size, rows, hidden_size)
        self.bias_ih = _uniform(hidden_size, rows) if bias else None
        self.bias_hh = _uniform(hidden_size, rows) if bias else None

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Return the next state from inputs (..., D) and the state (..., H); zeros by default."""
        parts = 2 if self.kind == "LSTM" else 1
        if state is None:
            given: State = (Tensor(np.zeros((*x.shape[:-1], self.hidden_size), x.dtype)),) * parts
        else:
            given = tuple(state) if self.kind == "LSTM" else (state,)
        if len(given) != parts:
            raise ShapeError(f"LSTMCell: state of {len(given)} tensors: expected 2, (h, c)")
        inputs = _product(x, self.weight_ih, self.bias_ih)
        new = _step(self.kind, inputs, given, self.weight_hh, self.bias_hh, self.relu)
        return new if self.kind == "LSTM" else new[0]


class RNNCell(_Cell):
    """One step of an RNN."""


class LSTMCell(_Cell):
    """One step of an LSTM: (h, c) -> (h', c')."""

    kind = "LSTM"


class GRUCell(_Cell):
    """One step of a GRU."""

    kind = "GRU"
