"""A GPT on whole texts: tokens (B, T) to the logits of each next token, or only of the last one.

Everything between two attentions is one oneDNN program, if all layers are float32: see `gpt_native`. Otherwise NumPy
runs the products of `gpt_step`, with INT8 layers by their own kernels. Weights are folded and packed once, and each
shape gets fixed buffers. Attention is that of `native.attention`, or without oneDNN that of `arrays.attention`, with
large batches shared between the cores.

Shapes: B texts, T positions, C width, V tokens in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinytorch.arrays import attention
from tinytorch.arrays.parallel import in_parallel
from tinytorch.autograd import no_grad
from tinytorch.base.promotion import like
from tinytorch.embeddings import Embedding, LearnedPositions, checked_tokens
from tinytorch.inference.drawing import RowSampler
from tinytorch.inference.gpt_native import Layers, Products, fits_texts
from tinytorch.inference.gpt_step import SILENT, Blocks, is_plain
from tinytorch.inference.reading import is_replaced
from tinytorch.inference.watching import Prepared, checked_array
from tinytorch.layers import evaluating
from tinytorch.native import backend
from tinytorch.native.attention import Attention
from tinytorch.native.program import Program, pays_threads
from tinytorch.tensor import Array
from tinytorch.transformers import GPT, window_start, write

SHAPES = 8  # shapes whose buffers are kept
TOGETHER = 2**22  # values of the widest layer that are computed together; a larger batch is split, to save memory


class TextPredictor(Prepared[GPT]):
    """A function from tokens (B, T) to logits (B, T, V) of a GPT in inference mode, prepared once.

    `next_logits` computes only the logits after the last token, (B, V). Changed weights are noticed, threads take
    turns, and a copy in another process prepares the model again, as with `Predictor`. A model whose blocks are not
    those of `GPT` runs as a module.

    >>> model = GPT(vocab_size=65, block_size=8, n_layer=1, n_head=2, n_embd=16)
    >>> predict = TextPredictor(model)
    >>> predict(np.array([[1, 2, 3]])).shape, predict.next_logits(np.array([[1, 2, 3]])).shape
    ((1, 3, 65), (1, 65))
    """

    def __call__(self, tokens: Array) -> Array:
        """Return the logits of the token after each one: (B, T) -> (B, T, V).

        Raises:
            ShapeError: the sequence is empty or longer than block_size.
            SettingError: a token is not in the vocabulary.
        """
        return self._computed(tokens, last=False)

    def next_logits(self, tokens: Array) -> Array:
        """Return the logits of the token after the last one, (B, T) -> (B, V), with the errors of a call."""
        return self._computed(tokens, last=True)

    def generate(
        self,
        tokens: Array | Sequence[int] | Sequence[Sequence[int]],
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: int | None = None,
        hop: int = 1,
    ) -> Array:
        """Generate the text of `GPT.generate`, with its arguments and errors, without a cache.

        A causal model reads each context with some tokens after it, which change nothing before them, up to one of
        `SHAPES` lengths: so few lengths are prepared. Logits differ by float32 rounding from the module's.
        """
        block_size, sampler = self.model.block_size, RowSampler(temperature, top_k, top_p, seed)
        if isinstance(hop, bool) or not isinstance(hop, int | np.integer) or not 1 <= hop <= block_size:
            return self.model.generate(tokens, max_new_tokens, hop=hop)  # explains what is wrong
        causal, step = all(block.attn.causal for block in self.model.transformer.h), -(-block_size // SHAPES)

        def next_logits(text: Array) -> Array:
            context = text[:, window_start(text.shape[1], block_size, hop) :]
            length = context.shape[1]
            padding = min(-(-length // step) * step, block_size) - length
            if not padding or not causal or not self.is_prepared:
                return self.next_logits(context)
            return self._computed(np.pad(context, [(0, 0), (0, padding)]), True, length - 1)

        return write(self.model, tokens, max_new_tokens, sampler, stop, next_logits)

    def __repr__(self) -> str:
        how = f"by {self._backend}" if self.is_prepared else "as a module"
        return f"<predictor of {type(self.model).__name__} {how}>"

    def _prepare(self) -> None:
        super()._prepare()
        self._backend = backend.backend()
        self.is_prepared = is_plain(self.model) and not is_replaced()
        self._plans: dict[tuple[int, int, bool], _Texts] = {}
        native = self.is_prepared and fits_texts(self.model, _dtype(self.model))
        self._layers = Layers(self.model) if native else None

    def _computed(self, tokens: Array, last: bool, place: int = -1) -> Array:
        """Return all logits, or with `last` only those after the token at `place`."""
        tokens = checked_array("predictor of a GPT", tokens)
        with self._lock:
            if self._watch.changed():
                self._prepare()
        if not self.is_prepared:
            return self._as_module(tokens if place < 0 else tokens[:, : place + 1], last)
        shape = tokens.shape
        if len(shape) != 2 or not shape[0] or not 1 <= shape[1] <= self.model.block_size:
            y = self._as_module(tokens, last=False)  # explains what is wrong
            return y[:, -1] if last else y
        tokens = checked_tokens(tokens, self.model.vocab_size)
        wide = 4 * shape[1] * self.model.transformer.wpe.weight.shape[1]
        rows = max(1, TOGETHER // wide)
        parts = [tokens[i : i + rows] for i in range(0, len(tokens), rows)]
        found = [self._part(part, last, place) for part in parts]
        logits = found[0] if len(found) == 1 else np.concatenate(found)
        return like(logits, self.model.transformer.wpe.weight.data)

    def _part(self, tokens: Array, last: bool, place: int) -> Array:
        key = (*tokens.shape, last)
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                if len(self._plans) >= SHAPES:
                    del self._plans[next(iter(self._plans))]
                plan = self._plans[key] = _Texts(self.model, self._layers, *key)
            return plan(tokens, place).copy()

    def _as_module(self, tokens: Array, last: bool) -> Array:
        with self._lock, no_grad(), evaluating(self.model):  # the mode of the model is one for all threads
            if last:
                return self.model.next_logits(tokens)
            y: Array = self.model(tokens).data
        return y


def _dtype(model: GPT) -> np.dtype[np.floating]:
    dtype: np.dtype[np.floating] = np.result_type(model.transformer.wpe.weight.dtype, np.float32)
    return dtype


class _Texts:
    """The buffers and products for one shape of tokens."""

    def __init__(self, model: GPT, layers: Layers | None, texts: int, length: int, last: bool) -> None:
        parts = model.transformer
        self._parts, self._shape, self._n_head = parts, (texts, length), parts.h[0].attn.n_head
        dtype = _dtype(model)
        c, rows = parts.wpe.weight.shape[1], texts * length
        self._x, self._y, self._qkv = (np.empty((rows, width), dtype) for width in (c, c, 3 * c))
        self._mean = np.full(c, 1 / c, dtype)
        self._last = np.empty((texts, c), dtype) if last else None
        table, places = parts.wte, parts.wpe
        self._table: Array | None = table.weight.data if type(table) is Embedding else None
        self._positions = places.weight.data[:length].astype(dtype) if type(places) is LearnedPositions else None
        self._native: Products | None = None
        self._plain: Blocks | None = None
        if layers is not None:
            self._native = Products(layers, self._x, self._y, self._qkv, self._last, alone=None)
        else:
            self._plain = Blocks(model, self._x, self._qkv, self._last)
        self._attention: dict[bool, Program] = {}
        if dtype == np.float32 and backend.native(np.float32):
            for causal in {block.attn.causal for block in parts.h}:
                self._attention[causal] = self._program(causal)

    def _program(self, causal: bool) -> Program:
        """Return the native attention from qkv to y."""
        qkv, y = self._qkv.reshape(*self._shape, -1), self._y.reshape(*self._shape, -1)
        made = Attention(qkv, y, self._n_head, causal)
        return Program(made.primitives(alone=not pays_threads(made.primitives(alone=True))))

    @SILENT
    def __call__(self, tokens: Array, place: int) -> Array:
        """Return the logits of tokens of this shape, with `last` those after the token at `place`.

        They are valid until the next call.
        """
        self._embed(tokens)
        texts, length = self._shape
        for i, block in enumerate(self._parts.h):
            if self._native is not None:
                self._native.programs[i]()
                self._attend(block.attn.causal)
            elif self._plain is not None:
                self._plain.enter(i)
                self._attend(block.attn.causal)
                self._plain.leave(i, self._y)
        if self._native is not None:
            self._native.programs[-1]()
        if self._last is not None:
            np.copyto(self._last, self._x.reshape(texts, length, -1)[:, place])
        if self._native is not None:
            if self._native.head is not None:
                self._native.head()
            logits = self._native.logits
        else:
            assert self._plain is not None
            logits = self._plain.head()
        return logits if self._last is not None else logits.reshape(texts, length, -1)

    def _embed(self, tokens: Array) -> None:
        """Write the embeddings and positions of the tokens to x, with mean 0 in each row, as `Blocks` expects."""
        x = self._x.reshape(*self._shape, -1)
        if self._table is not None and self._positions is not None:
            np.add(self._table[tokens], self._positions, x)
        else:
            np.copyto(x, self._parts.wpe(self._parts.wte(tokens)).data)
        np.subtract(self._x, np.dot(self._x, self._mean)[:, None], self._x)

    def _attend(self, causal: bool) -> None:
        """Write the attention of qkv to y. 1 / sqrt(D) is part of the queries' weights."""
        if causal in self._attention:
            self._attention[causal]()
            return
        qkv, y, n_head = self._qkv.reshape(*self._shape, -1), self._y.reshape(*self._shape, -1), self._n_head

        def work(begin: int, end: int) -> None:
            queries, keys, values = attention.heads(qkv[begin:end], n_head)
            attention.attend_scaled(queries, keys, values, causal, attention.joined(y[begin:end], n_head))

        in_parallel(qkv, work)
