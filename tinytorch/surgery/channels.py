"""Module 18: structured pruning. Whole channels are removed, so the arrays become smaller and the network faster."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinytorch.activations import GELU, ReLU, Tanh, gelu, relu, tanh
from tinytorch.autograd import no_grad
from tinytorch.base.errors import SettingError
from tinytorch.layers import Dropout, Flatten, Linear, Module, Parameter, Sequential
from tinytorch.spatial import AdaptiveAvgPool2d, AvgPool2d, BasicBlock, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Array, Tensor

# Functions that treat channels separately and map 0 to 0, so that a channel of zeros stays zero and can be removed
_ACTIVATIONS = (ReLU, GELU, Tanh)
_ACTIVATION_FUNCTIONS = (relu, gelu, tanh)
_APART = (*_ACTIVATIONS, Dropout, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d)


@dataclass
class Channels:
    """The channels that one layer (the writer) computes and only one other layer (the reader) reads.

    norms: the batch norms between the two. after: the functions after the last norm, or after the writer if there is
    no norm.
    """

    writer: Linear | Conv2d
    norms: Sequence[BatchNorm2d]
    after: Sequence[Callable[[Tensor], Tensor]]
    reader: Linear | Conv2d

    def __len__(self) -> int:
        return len(self.writer.weight)

    def tensors(self) -> list[Tensor]:
        """Return all tensors that shrink when a channel is removed. The reader's weight is the last."""
        own: list[Tensor | None] = [self.writer.weight, self.writer.bias]
        for norm in self.norms:
            own += [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return [tensor for tensor in own if tensor is not None] + [self.reader.weight]

    def importance(self) -> Array:
        """Return (channels,): the magnitude that each channel sends, times the L1 norm of the weights that read it.

        The magnitude is the L1 norm of the filter (Li et al. 2017, https://arxiv.org/abs/1608.08710). With batch norms,
        it is |weight| of the last one, which undoes any scale before it (Liu et al. 2017,
        https://arxiv.org/abs/1708.06519). If a channel is scaled up and its readers are scaled down by the same factor,
        the network computes the same function, and the product does not change.

        If the channel's constant (see `constant`) is lost with the channel, its absolute value is added to the
        magnitude.
        """
        if self.norms:
            sent = np.abs(self.norms[-1].weight.data)
        else:
            sent = np.abs(self.writer.weight.data.reshape(len(self), -1)).sum(axis=1)
        lost = 0 if self.arrives_everywhere() else np.abs(self.constant())
        return (sent + lost) * np.abs(self._read()).sum(axis=(0, 2))

    def constant(self) -> Array:
        """Return (channels,): what each channel would send if its filter, or the last norm's weight, were 0.

        This is the bias of the last norm, or of the writer without a norm, after the activations.
        """
        last = self.norms[-1] if self.norms else self.writer
        if last.bias is None:
            return np.zeros(len(self), self.writer.weight.dtype)
        sent: Tensor = last.bias
        with no_grad():
            for layer in self.after:
                if isinstance(layer, _ACTIVATIONS) or layer in _ACTIVATION_FUNCTIONS:  # pooling leaves constants alone
                    sent = layer(sent)
        return sent.data

    def arrives_everywhere(self) -> bool:
        """Return whether a constant channel is constant everywhere in the reader's input: there is no zero padding."""
        around = [layer for layer in (*self.after, self.reader) if isinstance(layer, (AvgPool2d, Conv2d))]
        return not any(np.any(layer.padding) for layer in around)

    def keep(self, kept: Array) -> None:
        """Remove all channels except those with the given indices, in place.

        If `arrives_everywhere`, the constants of the removed channels are added to the reader's bias.
        """
        gone = np.setdiff1d(np.arange(len(self)), kept)
        if self.arrives_everywhere():
            shift = self._read()[:, gone].sum(axis=2) @ self.constant()[gone]
            if shift.any():
                old = 0 if self.reader.bias is None else self.reader.bias.data
                self.reader.bias = Parameter(np.zeros(len(shift), np.float32))  # new: another layer may share the old
                self.reader.bias.data = (old + shift).astype(self.reader.weight.dtype)
        self.reader.weight.data = self._read()[:, kept].reshape(-1, *self._read_shape(len(kept)))
        for tensor in self.tensors()[:-1]:
            tensor.data = tensor.data[kept]
        for norm in self.norms:
            norm.num_features = len(kept)
        if isinstance(self.writer, Linear):
            self.writer.out_features = len(kept)
        if isinstance(self.reader, Linear):
            self.reader.in_features = self.reader.weight.shape[1]

    def _read(self) -> Array:
        """Return the reader's weight as (outputs, channels, weights per channel): after Flatten, H W per channel."""
        return self.reader.weight.data.reshape(len(self.reader.weight), len(self), -1)

    def _read_shape(self, channels: int) -> tuple[int, ...]:
        _, into, *kernel = self.reader.weight.shape
        return (into // len(self) * channels, *kernel)


def prunable_channels(model: Module) -> list[Channels]:
    """Return the channels that `prune_channels` may remove.

    These are the inner channels of residual blocks, and in a Sequential the channels between two linear layers, two
    convolutions, or a convolution and the linear layer after Flatten. Only ReLU, GELU, tanh, dropout, pooling, and
    batch norm may be between the two. The outer channels of residual blocks, grouped convolutions, and shared weights
    are not pruned.
    """
    uses = Counter(id(tensor) for _, tensor in model.named_tensors())
    return [channels for channels in _found(model) if all(uses[id(tensor)] == 1 for tensor in channels.tensors())]


def prune_channels(model: Module, share: float) -> Module:
    """Return a smaller copy of the model without the least important channels (see `Channels.importance`).

    In each layer, round(share * C) of C channels are removed, but at least one channel remains. With their weights (the
    norm's weight, or the filter without a norm) at 0, the removed channels would send a constant. If neither the reader
    nor an average pooling before it has zero padding, this constant is added to the reader's bias, and the copy
    computes what the model would compute with these weights at 0. Otherwise, it computes what the model would compute
    with the channels themselves at 0. Train the copy afterwards to recover accuracy.

    Raises:
        SettingError: share is not 0 to 1, or the model has no channels that can be removed.
    """
    check_share("share", share)
    smaller = copy.deepcopy(model)
    smaller.zero_grad()
    found = prunable_channels(smaller)
    if not found:
        raise SettingError(f"prune_channels: {type(model).__name__} has no channels that can be removed")
    for channels in found:
        removed = min(round(share * len(channels)), len(channels) - 1)
        order = np.argsort(channels.importance(), kind="stable")
        channels.keep(np.sort(order[removed:]))
    return smaller


def _found(module: Module) -> Iterator[Channels]:
    if isinstance(module, Sequential):
        layers = list(_innermost(module))
        yield from _between(layers)
    elif isinstance(module, BasicBlock):
        yield from _between([module.conv1, module.bn1, relu, module.conv2])
        layers = [module.shortcut]
    else:
        layers = [part for _, part in module.named_children()]
    for layer in layers:
        if isinstance(layer, Module):
            yield from _found(layer)


def _innermost(chain: Sequential) -> Iterator[Callable[[Tensor], Tensor]]:
    for layer in chain.layers:
        if isinstance(layer, Sequential):
            yield from _innermost(layer)
        else:
            yield layer


def _between(layers: Sequence[Callable[[Tensor], Tensor]]) -> Iterator[Channels]:
    """Yield the channels of each pair of a writer and its reader in a chain of layers."""
    writer: Linear | Conv2d | None = None
    norms: list[BatchNorm2d] = []
    after: list[Callable[[Tensor], Tensor]] = []
    flattened = False
    for layer in layers:
        # exact types: a subclass may have other tensors that would have to shrink
        if type(layer) in (Linear, Conv2d):
            assert isinstance(layer, (Linear, Conv2d))
            if writer is not None and _fits(writer, layer, flattened):
                yield Channels(writer, norms, after, layer)
            writer = layer if getattr(layer, "groups", 1) == 1 else None
            norms, after, flattened = [], [], False
        elif isinstance(layer, Flatten):
            flattened = True
        elif type(layer) is BatchNorm2d:
            norms.append(layer)
            after = []
        elif isinstance(layer, _APART) or layer in _ACTIVATION_FUNCTIONS:
            after.append(layer)
        else:
            writer = None


def _fits(writer: Linear | Conv2d, reader: Linear | Conv2d, flattened: bool) -> bool:
    channels = len(writer.weight)
    if isinstance(reader, Conv2d):
        return isinstance(writer, Conv2d) and reader.groups == 1 and not flattened
    if isinstance(writer, Linear):  # with more features, several positions were flattened, with channels last
        return reader.in_features == channels
    return flattened and reader.in_features % channels == 0


def check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingError(f"pruning: {name} {value}: expected 0 to 1")
