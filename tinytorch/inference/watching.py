"""Whether the weights that a prepared model was made from are still the model's."""

from __future__ import annotations

from tinytorch.base import changes
from tinytorch.layers import Module


class Watch:
    """The arrays of a model's tensors, as they were when it was prepared."""

    def __init__(self, model: Module) -> None:
        self._time = changes.clock
        self._tensors = [tensor for _, tensor in model.named_tensors()]
        self._arrays = [tensor.data for tensor in self._tensors]

    def changed(self) -> bool:
        """Return whether the model's tensors have other arrays or were changed in place."""
        try:
            same = [tensor.data for tensor in self._tensors] == self._arrays  # compares identities first
        except ValueError:  # two arrays
            same = False
        if not same or changes.clock == self._time:
            return not same
        if any(changes.changed_since(array, self._time) for array in self._arrays):
            return True
        self._time = changes.clock  # something else was changed
        return False
