"""`nn.utils.rnn`: sequences of different lengths in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from tinytorch import tensor as T
from tinytorch.base.errors import SettingError, ShapeError
from tinytorch.base.words import all_in_words
from tinytorch.nn.conv import pad
from tinytorch.tensor import Tensor


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Return the sequences (T_i, ...) as one tensor (T, B, ...), or (B, T, ...), padded to the longest.

    Raises:
        ShapeError: there are none, or they differ in more than their lengths.
        SettingError: padding_side is neither right nor left.
    """
    if padding_side not in ("right", "left"):
        raise SettingError(f"pad_sequence: padding_side {padding_side!r}: expected 'right' or 'left'")
    if len({s.shape[1:] for s in sequences}) != 1:
        raise ShapeError(
            f"pad_sequence: shapes {[s.shape for s in sequences]}: expected at least one, equal but for lengths"
        )
    longest = max(len(s) for s in sequences)
    padded = []
    for s in sequences:
        width = (0, longest - len(s)) if padding_side == "right" else (longest - len(s), 0)
        padded.append(pad(s, (0, 0) * (s.ndim - 1) + width, value=padding_value))
    return T.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """Return the sequences without their padding: the inverse of `pad_sequence`."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    sizes = np.asarray(lengths.data if isinstance(lengths, Tensor) else lengths)
    return [rows[i, : int(n)] for i, n in enumerate(sizes)]


class PackedSequence:
    """Refused with an explanation: sequences stay padded."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse("PackedSequence")


def pack_padded_sequence(*_: Any, **__: Any) -> NoReturn:
    """Refuse, with an explanation."""
    _refuse("pack_padded_sequence")


def pad_packed_sequence(*_: Any, **__: Any) -> NoReturn:
    """Refuse, with an explanation."""
    _refuse("pad_packed_sequence")


def pack_sequence(*_: Any, **__: Any) -> NoReturn:
    """Refuse, with an explanation."""
    _refuse("pack_sequence")


def _refuse(name: str) -> NoReturn:
    raise SettingError(f"{name}: packed sequences are not supported: pass the padded tensor to the RNN, and read the "
                       f"output of sample i at its last step, y[i, lengths[i] - 1]")  # fmt: skip


all_in_words(globals(), "tinytorch.nn.utils.rnn")
