"""`predictor(model)`: the one public way to run a trained model fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import numpy as np

from tinytorch.acceleration import trace
from tinytorch.autograd import no_grad
from tinytorch.base.errors import GradientError, InputTypeError
from tinytorch.base.words import described
from tinytorch.inference.by_numpy import Kernels
from tinytorch.inference.by_onednn import OneDnn
from tinytorch.inference.choosing import Choice, same_bits
from tinytorch.inference.fusing import fused
from tinytorch.inference.nodes import Call, Softmax
from tinytorch.inference.plan import CannotPlanError, Plan
from tinytorch.inference.reading import read
from tinytorch.inference.texts import TextPredictor
from tinytorch.inference.watching import Prepared, Watch, checked_array
from tinytorch.layers import Module, evaluating
from tinytorch.native import backend
from tinytorch.native.library import UnsupportedError
from tinytorch.native.program import pays_threads
from tinytorch.tensor import Array, Tensor
from tinytorch.transformers import GPT

SHAPES = 32  # input shapes whose plans are kept
TOGETHER = 2**20  # values of an input that are computed together; a larger batch is split, to save memory


class Predictor(Prepared[Module]):
    """A function from an input array to the output array of a model in inference mode.

    The model is prepared once: batch norm is folded into convolutions, weights are packed for their kernels, and each
    input shape gets fixed buffers. Threads may share a predictor; they take turns. A copy in another process (a fork,
    or by pickle) prepares the model again.

    The weights of known layers are copied. If a tensor gets another array, as by `load_state_dict`, or is changed in
    place by an optimizer or an operation such as `add_`, or if a module gets another layer, parameter, hook, or
    setting, the next call prepares the model again. Values that are written into an array directly, and entries of a
    list of layers, are not noticed: call `predictor` again.

    Attributes:
        as_modules: the names of the parts that run as modules, without preparation, because their types are unknown.
    """

    def __call__(self, x: Array) -> Array:
        plan = self._plans.get(x.shape) if type(x) is np.ndarray else None
        if plan is None or x.dtype != np.float32:
            return self._other(checked_array("predictor", x))
        self._lock.acquire()  # with try and finally: `with` takes 0.1 µs more
        try:
            y = None if self._watch.changed() else plan(x)
        finally:
            self._lock.release()
        return self._other(x) if y is None else y

    def __repr__(self) -> str:
        unknown = f", as modules: {', '.join(self.as_modules)}" if self.as_modules else ""
        return f"<predictor of {type(self.model).__name__} by {self._backend}{unknown}>"

    def _prepare(self) -> None:
        """Read the model. Plans are made when a shape is first used."""
        super()._prepare()
        given, output = read(self.model)
        self._nodes, self._output = fused(given, output)
        self.as_modules = tuple(node.name for node in self._nodes if isinstance(node, Call))
        self._backend = backend.backend()
        self._plans: dict[tuple[int, ...], Plan | Choice] = {}
        self._whole = _traced(self.model) if len(self._nodes) == len(self.as_modules) == 1 else None
        if self._whole is not None:
            self._watch = Watch(self.model, every=True)

    def _other(self, x: Array) -> Array:
        """Compute an input for which there is no plan yet, or never will be."""
        with self._lock:
            if self._watch.changed():
                self._prepare()
            known = x.shape in self._plans
            if self._whole is not None and x.dtype.kind == "f" and x.size:
                return self._whole(x)
        if x.dtype != np.float32 or not x.size or not x.ndim or known:  # known: it is not finite
            return self._as_module(x)
        rows = self._rows(x)
        if len(x) > rows:
            return np.concatenate([self(x[i : i + rows]) for i in range(0, len(x), rows)])
        with self._lock:
            y = self._plans[x.shape](x) if self._plan(x.shape) else None
        return self._as_module(x) if y is None else y

    def _plan(self, shape: tuple[int, ...]) -> bool:
        """Make a plan for a shape, and return whether that is possible."""
        try:
            alone = self._steps(shape, alone=True)
            shared = self._steps(shape, alone=False) if pays_threads(alone.primitives) else None
            plan = alone if shared is None else Choice(shared, alone) if same_bits(shared, alone) else shared
        except (CannotPlanError, UnsupportedError):
            return False
        while len(self._plans) >= SHAPES:
            del self._plans[next(iter(self._plans))]
        self._plans[shape] = plan
        return True

    def _steps(self, shape: tuple[int, ...], alone: bool) -> Plan:
        kernels = OneDnn(alone) if self._backend == "onednn" else Kernels()
        return Plan(self._nodes, self._output, shape, kernels.add)

    def _rows(self, x: Array) -> int:
        """Return how many rows are computed together: all of them unless each row is independent of the others."""
        apart = all(not isinstance(n, Call) and (not isinstance(n, Softmax) or n.dim in (-1, 1)) for n in self._nodes)
        return max(1, TOGETHER * len(x) // x.size) if apart and x.ndim > 1 else len(x)

    def _as_module(self, x: Array) -> Array:
        with self._lock, no_grad(), evaluating(self.model):  # the mode of the model is one for all threads
            y: Array = self.model(Tensor(x)).data
        return y


def _traced(model: Module) -> Callable[[Array], Array]:
    """Return a function that replays a model's operations, or calls it once they were not the same for all inputs."""
    traced, differs = trace(model), False

    def run(x: Array) -> Array:
        nonlocal differs
        try:
            if not differs:
                return traced(x)
        except GradientError:
            differs = True
        with no_grad(), evaluating(model):
            y: Array = model(Tensor(x)).data
        return y

    return run


@overload
def predictor(model: GPT) -> TextPredictor: ...  # type: ignore[overload-overlap]
@overload
def predictor(model: Module) -> Predictor: ...
def predictor(model: Module) -> Predictor | TextPredictor:
    """Return a function from input array to output array that computes what `model.eval()` does, as fast as it can.

    With oneDNN, bias, ReLU, and residual sums are fused into products and convolutions, and INT8 layers pass integers
    to each other; with NumPy, the same steps run on fixed buffers. The model is put in inference mode. `Predictor`
    describes what happens if it changes.

    An input that is not float32 (float64, integers), or does not fit, is passed to the model itself. The input of a GPT
    is an array of tokens: see `TextPredictor`.

    Raises:
        InputTypeError: this is not a Module; or, when the result is called, not an array.
    """
    if not isinstance(model, Module):
        raise InputTypeError(f"predictor: model is {described(model)}: expected a Module, such as Sequential(...)")
    return TextPredictor(model) if isinstance(model, GPT) else Predictor(model)
