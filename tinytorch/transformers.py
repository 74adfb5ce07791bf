"""Module 14: transformers. A GPT with the architecture of GPT-2.

    GPT: tokens -> wte + wpe -> h[0] ... h[n_layer - 1] -> ln_f -> logits
    each h[i]: x = x + attn(ln_1(x)), then x = x + mlp(ln_2(x))

Sizes, initialization, and weight names are those of nanoGPT (https://github.com/karpathy/nanoGPT), so its trained
weights load unchanged. nanoGPT uses the exact GELU. TinyTorch uses the tanh form, as GPT-2 does; the two differ by at
most 5e-4. Shapes: B samples, T positions, C width, V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tinytorch.activations import gelu
from tinytorch.attention import MultiHeadAttention
from tinytorch.autograd import joint_derivative, no_grad
from tinytorch.base.errors import NonFiniteError, SettingError, ShapeError, StateError
from tinytorch.base.numbers import python_number
from tinytorch.base.promotion import widening, widening_rule
from tinytorch.base.random import default_generator
from tinytorch.embeddings import Embedding, LearnedPositions, checked_tokens
from tinytorch.fast.rows import speed_up_layer_norm
from tinytorch.graph.reads import reads
from tinytorch.inputs.prompts import checked_prompt
from tinytorch.layers import Dropout, Linear, Module, Parameter, evaluating
from tinytorch.losses import cross_entropy
from tinytorch.tensor import Array, Op, Tensor, apply


def _row_means(x: Array) -> Array:
    """Return the mean of each row, (N, 1), as a product: five times as fast as `mean` for rows of 128."""
    return (x @ np.full(x.shape[1], 1 / x.shape[1], x.dtype))[:, None]


def _layer_norm(x: Array, weight: Array, bias: Array | None = None, *, eps: float) -> tuple[Array, tuple[Array, Array]]:
    """Return y = n weight + bias, of x's shape (..., D) and dtype, and (n, scale), which the derivative needs.

        n = (x - mean) scale,  scale = 1 / sqrt(variance + eps)

    Mean and variance are those of each row, over the last dimension; the variance is mean((x - mean)^2). With N rows,
    n is (N, D) and scale (N, 1). weight and bias are (D,).

    Raises:
        ShapeError: x does not end with a dimension of weight's size.
    """
    if x.ndim == 0 or x.shape[-1:] != weight.shape:
        raise ShapeError(f"layer_norm: input of shape {x.shape}: expected (..., {weight.shape[0]})")
    rows = x.reshape(-1, x.shape[-1])  # (N, D)
    normed = rows - _row_means(rows)
    variance = np.vecdot(normed, normed) / x.dtype.type(x.shape[-1])
    scale = (1 / np.sqrt(variance + x.dtype.type(eps)))[:, None]  # (N, 1)
    normed *= scale
    y = normed * weight
    if bias is not None:
        y += bias
    return y.reshape(x.shape), (normed, scale)


def _layer_norm_back(
    g: Array, kept: tuple[Array, Array], x: Array, weight: Array, bias: Array | None = None, **_: object
) -> list[Array]:
    """Return [dx, dweight, dbias] for the gradient g (..., D) of y. With n and scale as kept, and h = g weight:

        dx = scale (h - mean(h) - n mean(h n)),  dweight = sum over rows of g n,  dbias = sum over rows of g

    The means are over the last dimension, and dx has x's shape. Without a bias, dbias is not used.
    """
    normed, scale = kept
    rows = g.reshape(normed.shape)
    ones = np.ones(len(rows), g.dtype)
    dx = rows * normed
    dweight = ones @ dx
    means = dx @ (weight / weight.size)  # (N,): mean(h n)
    np.multiply(normed, -means[:, None], out=dx)
    h = rows * weight
    dx += h
    dx -= _row_means(h)
    dx *= scale
    return [dx.reshape(x.shape), dweight, ones @ rows]


layer_norm = Op("layer_norm", widening(_layer_norm))  # 16-bit numbers are computed in float32
joint_derivative(layer_norm, widening_rule(_layer_norm_back))
reads(layer_norm, (1,), ())
speed_up_layer_norm(layer_norm)


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias, with mean and variance over the last dimension.

    It is one op instead of six: forward and backward over (768, 128) take 0.40 ms, and the composition 0.69 ms.
    weight (normalized_shape,) starts at 1, and bias (normalized_shape,) at 0. `bias=False` omits the bias.
    Source: Ba et al. 2016, https://arxiv.org/abs/1607.06450.
    """

    def __init__(self, normalized_shape: int, eps: float = 1e-5, bias: bool = True) -> None:
        if normalized_shape < 1:
            raise SettingError(f"LayerNorm: size {normalized_shape}: expected at least 1")
        self.eps = eps
        self.weight = Parameter(np.ones(normalized_shape, np.float32))
        self.bias = Parameter(np.zeros(normalized_shape, np.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None:
            return apply(layer_norm, x, self.weight, eps=self.eps)
        return apply(layer_norm, x, self.weight, self.bias, eps=self.eps)


class MLP(Module):
    """Two linear layers with GELU between them and a hidden width of 4 C: (B, T, C) -> (B, T, C).

    Attributes:
        c_fc: Linear, C to 4 C. c_proj: Linear, 4 C to C. Both have a bias or not, as `bias` says.
        dropout: Dropout, for the result.
    """

    def __init__(self, n_embd: int, dropout: float = 0.0, bias: bool = True) -> None:
        n_embd = python_number(n_embd)
        self.c_fc = Linear(n_embd, 4 * n_embd, bias)
        self.c_proj = Linear(4 * n_embd, n_embd, bias)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return dropout(c_proj(gelu(c_fc(x))))."""
        return self.dropout(self.c_proj(gelu(self.c_fc(x))))


class TransformerBlock(Module):
    """x = x + attention(norm(x)), then x = x + mlp(norm(x)): each part adds to its input.

    Normalizing before each part (Xiong et al. 2020, https://arxiv.org/abs/2002.04745) lets the gradient reach the first
    block through the additions alone.

    Attributes:
        ln_1, ln_2: LayerNorm, before the attention and before the MLP.
        attn: MultiHeadAttention, causal. mlp: MLP. Each gets `dropout`, and each of the four parts gets `bias`.
    """

    def __init__(self, n_embd: int, n_head: int, dropout: float = 0.0, bias: bool = True) -> None:
        self.ln_1 = LayerNorm(n_embd, bias=bias)
        self.attn = MultiHeadAttention(n_embd, n_head, causal=True, dropout=dropout, bias=bias)
        self.ln_2 = LayerNorm(n_embd, bias=bias)
        self.mlp = MLP(n_embd, dropout, bias)

    def forward(self, x: Tensor, mask: Array | None = None) -> Tensor:
        """Map x (B, T, C) to (B, T, C). `mask` is that of `MultiHeadAttention`."""
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class Transformer(Module):
    """A GPT without its last product: tokens (B, T) -> hidden states (B, T, C).

    Attributes:
        wte: Embedding of the tokens. wpe: LearnedPositions for `block_size` positions. drop: Dropout, after both.
        h: a list of `n_layer` TransformerBlocks. ln_f: LayerNorm, after the last block.
    """

    def __init__(
        self, vocab_size: int, block_size: int, n_layer: int, n_head: int, n_embd: int, dropout: float, bias: bool
    ) -> None:
        self.wte = Embedding(vocab_size, n_embd)
        self.wpe = LearnedPositions(block_size, n_embd)
        self.drop = Dropout(dropout)
        self.h = [TransformerBlock(n_embd, n_head, dropout, bias) for _ in range(n_layer)]
        self.ln_f = LayerNorm(n_embd, bias=bias)

    def forward(self, tokens: Tensor | Array, mask: Array | None = None) -> Tensor:
        """Map tokens (B, T) to hidden states (B, T, C): drop(wpe(wte(tokens))), the blocks in order, ln_f."""
        x = self.drop(self.wpe(self.wte(tokens)))
        for block in self.h:
            x = block(x, mask)
        return self.ln_f(x)


class GPT(Module):
    """A language model: for each position, the logits of the next token.

    The last product uses the weight of the token embedding (Press and Wolf 2017, https://arxiv.org/abs/1608.05859),
    so `state_dict` contains it once, as `transformer.wte.weight`.

    Args:
        vocab_size: V. block_size: the longest context. n_layer, n_head, n_embd: number of blocks, number of heads,
            width C.
        dropout: the probability of dropout in training. bias: whether Linear and LayerNorm have a bias; nanoGPT trains
            without.

    >>> model = GPT(vocab_size=65, block_size=8, n_layer=1, n_head=2, n_embd=16)
    >>> model(np.array([[1, 2, 3]])).shape
    (1, 3, 65)
    """

    def __init__(
        self,
        vocab_size: int,
        block_size: int,
        n_layer: int = 4,
        n_head: int = 4,
        n_embd: int = 128,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        if n_layer < 1:
            raise SettingError(f"GPT: n_layer {n_layer}: expected at least 1")
        self.vocab_size, self.block_size = python_number(vocab_size), python_number(block_size)
        self.transformer = Transformer(vocab_size, block_size, n_layer, n_head, n_embd, dropout, bias)
        _initialize(self, n_layer)

    def forward(self, tokens: Tensor | Array, mask: Array | None = None) -> Tensor:
        """Map tokens (B, T) to logits (B, T, V). `mask` as in `MultiHeadAttention`.

        Raises:
            ShapeError: the sequence is empty or longer than block_size.
            SettingError: a token is not in the vocabulary.
        """
        shape = tokens.shape
        if len(shape) != 2 or not 1 <= shape[1] <= self.block_size:
            raise ShapeError(f"GPT: tokens of shape {shape}: expected (B, T) with T from 1 to {self.block_size}")
        return self.head(self.transformer(tokens, mask))

    def head(self, x: Tensor) -> Tensor:
        """Map hidden states (..., C) to logits (..., V) with the weight of the token embedding."""
        return self.transformer.wte.project(x)

    def load_state_dict(self, state: Mapping[str, Tensor | Array]) -> None:
        """Load parameters as `Module.load_state_dict` does, with or without `lm_head.weight`.

        This is the second name of the tied weight in PyTorch's models. It may also be the only one.

        Raises:
            StateError: `lm_head.weight` and `transformer.wte.weight` differ.
        """
        state = dict(state)
        twin, tied = state.pop("lm_head.weight", None), "transformer.wte.weight"
        if twin is not None and not np.array_equal(_values(state.setdefault(tied, twin)), _values(twin)):
            raise StateError(f"GPT: lm_head.weight and {tied} differ; expected one tied weight")
        super().load_state_dict(state)

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
        """Continue a prompt, one token at a time. The model reads at most the last `block_size` tokens.

        Args:
            tokens: the prompt, (T,) or (B, T).
            max_new_tokens: the number of tokens to generate. Fewer are generated if all rows end with `stop`.
            temperature: divides the logits before softmax. Below 1 favors likely tokens, above 1 flattens the
                distribution, and 0 always chooses the likeliest token.
            top_k: sample only from the k likeliest tokens, and from those with the same logit as the k-th.
            top_p: sample only from the smallest set of likeliest tokens whose probabilities sum to at least top_p.
            seed: makes the text reproducible. Without a seed, the default generator is used.
            stop: a token that ends a sequence. In a batch, rows that have ended are padded with it.
            hop: the number of tokens that the context drops at once when the block is full; see `window_start`.

        Returns:
            The prompt followed by the new tokens, int64: (T + new,) for a prompt (T,), else (B, T + new).

        Raises:
            SettingError: the prompt is empty, a token is not in the vocabulary, or a setting is out of range.
            ShapeError: the prompt has neither shape (T,) nor (B, T).
            NonFiniteError: the model's logits are NaN or infinite.
        """
        hop = _check_integer("hop", hop, 1, self.block_size)

        def next_logits(text: Array) -> Array:
            return self.next_logits(text[:, window_start(text.shape[1], self.block_size, hop) :])

        return write(self, tokens, max_new_tokens, Sampler(temperature, top_k, top_p, seed), stop, next_logits)

    @no_grad()
    def next_logits(self, tokens: Array) -> Array:
        """Return the logits of the token after the last one: (B, T) -> (B, V).

        No gradients are recorded. Call `eval()` first.
        """
        return self.head(self.transformer(tokens)[:, -1]).data


def window_start(length: int, block_size: int, hop: int) -> int:
    """Return the first position of the context: the smallest multiple of hop that leaves at most `block_size` tokens.

        start = max(0, ceil((length - block_size) / hop) hop)

    With hop 1, the context is always the last `block_size` tokens. With a larger hop, its start stays the same for
    `hop` tokens, and the context only grows at its end, from block_size - hop + 1 to block_size tokens: see module 19.
    """
    block_size, hop = python_number(block_size), python_number(hop)
    return max(0, -(-(length - block_size) // hop) * hop)


def write(
    model: GPT,
    tokens: Array | Sequence[int] | Sequence[Sequence[int]],
    max_new_tokens: int,
    sampler: Sampler,
    stop: int | None,
    next_logits: Callable[[Array], Array],
) -> Array:
    """Run the loop of `GPT.generate`, with its arguments.

    As long as fewer than `max_new_tokens` tokens were generated, and not all rows have ended, one token is added to
    each row: `sampler(next_logits(text))`. A row ends with its first generated `stop`; in a batch, it then gets `stop`
    in every later column. The model is in evaluation mode meanwhile (`evaluating`), and its own modes are restored.

    Args:
        next_logits: maps the whole text so far, (B, T), to the logits of its next token, (B, V).

    Returns:
        The prompt (`context`, int64 (B, T)) followed by the new tokens; without the first dimension if the prompt has
        none.
    """
    prompt = checked_prompt(tokens)
    context = np.atleast_2d(checked_tokens(prompt, model.vocab_size))  # (B, T)
    max_new_tokens = _check_integer("max_new_tokens", max_new_tokens, 0)
    if stop is not None:
        _check_integer("stop", stop, 0, model.vocab_size - 1)
    length = context.shape[1]
    out = np.empty((len(context), length + max_new_tokens), np.int64)
    out[:, :length] = context
    done = np.zeros(len(context), bool)
    with evaluating(model):
        while length < out.shape[1] and not done.all():
            new = sampler(next_logits(out[:, :length]))
            if stop is not None:
                new[done] = stop
                done |= new == stop
            out[:, length] = new
            length += 1
    out = out[:, :length]
    return out[0] if prompt.ndim == 1 else out


class Sampler:
    """A sampler that draws tokens from logits. See `GPT.generate` for its settings.

    Source of top-p: Holtzman et al. 2020, https://arxiv.org/abs/1904.09751.
    """

    def __init__(self, temperature: float, top_k: int | None, top_p: float | None, seed: int | None) -> None:
        if not temperature >= 0:
            raise SettingError(f"generate: temperature {temperature}: expected at least 0")
        if top_k is not None:
            top_k = _check_integer("top_k", top_k, 1)
        if top_p is not None and not 0 < top_p <= 1:
            raise SettingError(f"generate: top_p {top_p}: expected 0 < top_p <= 1")
        if seed is not None:
            _check_integer("seed", seed, 0)
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.rng = default_generator() if seed is None else np.random.default_rng(seed)

    def __call__(self, logits: Array) -> Array:
        """Draw one token for each row: (B, V) -> (B,), integers.

        With temperature 0, it is the token with the largest logit. Otherwise, each row gets one number u from
        `self.rng.random`, uniform from 0 to 1, and the token is the first whose cumulative probability exceeds u.

        Raises:
            NonFiniteError: a logit is NaN or infinite.
        """
        if not np.isfinite(logits).all():
            raise NonFiniteError("generate: the model's logits are NaN or infinite; are its weights finite?")
        if self.temperature == 0:
            return logits.argmax(axis=1)
        steps = self.probabilities(logits).cumsum(axis=1)
        draws = self.rng.random((len(logits), 1)) * steps[:, -1:]
        return (steps <= draws).sum(axis=1)  # the first token whose cumulative probability exceeds the draw

    def probabilities(self, logits: Array) -> Array:
        """Return softmax(logits / temperature), float64 (B, V), restricted by top_k and top_p. Each row sums to 1.

        `top_k`: only the k likeliest tokens, and those with the same logit as the k-th, keep a probability above 0.
        `top_p` below 1: of these probabilities, only the fewest largest keep theirs (`_keep_fewest`). The temperature
        is above 0, but may be so small that logits / temperature is infinite; the result is never NaN.
        """
        scaled = logits.astype(np.float64)
        if self.top_k is not None and self.top_k < logits.shape[1]:
            kth = np.partition(scaled, -self.top_k, axis=1)[:, -self.top_k, None]
            scaled[scaled < kth] = -np.inf
        scaled -= scaled.max(axis=1, keepdims=True)  # first, so that a tiny temperature yields 0 and -inf, not NaN
        with np.errstate(over="ignore"):
            scaled /= self.temperature
        p = np.exp(scaled)
        p /= p.sum(axis=1, keepdims=True)
        if self.top_p is not None and self.top_p < 1:
            for row in p:
                self._keep_fewest(row)
            p /= p.sum(axis=1, keepdims=True)
        return p

    def _keep_fewest(self, p: Array) -> None:
        """Keep the smallest set of likeliest tokens whose probabilities sum to at least top_p; set the others to 0.

        p (V,) is changed in place. The kept probabilities stay as they are, so they sum to at least top_p, not to 1.
        """
        assert self.top_p is not None
        # The probabilities below (1 - top_p) / 2V sum to less than 1 - top_p, so they are excluded before sorting: of
        # 4,256 tokens, about 600 remain. This takes 22 µs, and sorting all of them 103 µs.
        likely = np.flatnonzero(p > (1 - self.top_p) / (2 * p.size))
        order = likely[np.argsort(-p[likely], kind="stable")]
        falling = p[order]
        kept = falling.cumsum() - falling < self.top_p  # the sum of the larger ones is still below top_p
        p[:] = 0
        p[order[kept]] = falling[kept]


def _check_integer(name: str, value: int, least: int, most: int | None = None) -> int:
    """Return the value as a Python integer, after checking its range."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        expected = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise SettingError(f"generate: {name} {value}: expected an integer {expected}")
    return int(value)


def next_token_loss(logits: Tensor, targets: Tensor | Array) -> Tensor:
    """Return the mean `cross_entropy` over all B x T positions: logits (B, T, V), targets (B, T), result ()."""
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def _initialize(model: GPT, n_layer: int) -> None:
    """Initialize the parameters as nanoGPT does: weights normal with standard deviation 0.02, biases 0.

    The weights whose product is added to the residual stream (`c_proj`) get 0.02 / sqrt(2 n_layer).
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            sd = 0.02 / math.sqrt(2 * n_layer) if name.endswith("c_proj.weight") else 0.02
            parameter.data = default_generator().standard_normal(parameter.shape, np.float32) * np.float32(sd)
        elif name.endswith("bias"):
            parameter.data = np.zeros_like(parameter.data)


def _values(x: Tensor | Array) -> Array:
    return x.data if isinstance(x, Tensor) else x
