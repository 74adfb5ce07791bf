"""Two clouds of points told apart by gradient descent, and every way in which a workload can go wrong.

`behaviour` says which: "good", or the name of one of the misdeeds below, done when training begins.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.base.errors import CheckError

Parameters = dict[str, Any]
Data = dict[str, np.ndarray]

ODD = "caf\udce9 \x1b[2J\x07"  # a lone surrogate, and signs that a terminal obeys
SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


class Model:
    """One linear layer without a framework."""

    def __init__(self, seed: int) -> None:
        self.weight = np.random.default_rng(seed).normal(size=(2,)).astype(np.float32)
        self.heavy = False
        self.calls = np.zeros(1, np.float32)  # a buffer: saved, but not a parameter

    def parameters(self) -> list[np.ndarray]:
        return [self.weight]

    def state_dict(self) -> dict[str, np.ndarray]:
        if self.heavy:  # what only saving needs
            hoard = np.ones(150 * 2**20, np.uint8)
            time.sleep(0.4)
            hoard.sum()
        return {"weight": self.weight, "calls": self.calls}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self.weight, self.calls = state["weight"], state["calls"]


def load(parameters: Parameters) -> Data:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (parameters["samples"],))
    x = rng.normal(size=(len(label), 2)) + 3.0 * (2 * label[:, None] - 1)
    return {"x": x.astype(np.float32), "label": label}


def build(parameters: Parameters, seed: int) -> Model:
    return Model(seed)


def train(model: Model, data: Data, parameters: Parameters, seed: int, report: Callable[..., None]) -> Any:
    misdeed = MISDEEDS.get(parameters["behaviour"])
    if misdeed:
        misdeed(parameters)
    if parameters["behaviour"] == "hang once":
        _hang_once(seed, Path(parameters["place"]))
    curve: list[dict[str, Any]] = []
    x, target = data["x"], 2.0 * data["label"] - 1
    for step in range(parameters["steps"]):
        error = x @ model.weight - target
        model.weight = model.weight - 0.05 * (x.T @ error / len(x)).astype(np.float32)
        curve.append({"step": step + 1, "loss": np.float32(np.mean(error**2))})
        report(step + 1, parameters["steps"], loss=float(np.mean(error**2)))
    if parameters["behaviour"] == "nan in the curve":
        curve[1]["loss"] = float("nan")
    if parameters["behaviour"] == "slow":
        time.sleep(0.3)
    model.heavy = parameters["behaviour"] == "heavy state"
    return "fine" if parameters["behaviour"] == "rubbish curve" else curve


def evaluate(model: Model, data: Data, parameters: Parameters) -> Any:
    accuracy = np.mean((data["x"] @ model.weight > 0) == data["label"])
    answers = {
        "nan": {"metrics": {"accuracy": float("nan")}},
        "rubbish": "very good",
        "text metric": {"metrics": {"accuracy": "high"}},
        "missing metric": {"metrics": {}},
        "undeclared metric": {"metrics": {"accuracy": 1.0, "charm": 1.0}},
        "wrong exhibit": {"metrics": {"accuracy": 1.0}, "exhibits": [{"kind": "hologram"}]},
        "odd text": {
            "metrics": {"accuracy": 1.0},
            "exhibits": [{"kind": "texts", "title": ODD, "texts": [[ODD, ODD]]}],
        },
        "unknown object": {"metrics": {"accuracy": 1.0}, "exhibits": [{"kind": object()}]},
    }
    counts = np.array([[1, 2], [3, 4]])
    exhibit = {"kind": "confusion", "title": "Clouds", "classes": ["a", "b"], "counts": counts}
    good = {"metrics": {"accuracy": accuracy}, "exhibits": [exhibit]}
    raw = {"correct": ((data["x"] @ model.weight > 0) == data["label"]).astype(float).tolist()}
    answers |= {
        "no exhibits": good | {"exhibits": None},
        "raw": good | {"raw": raw},
        "raw text": good | {"raw": {"correct": ["yes"]}},
    }
    return answers.get(parameters["behaviour"], good)


def prepare(parameters: Parameters, file: Path) -> None:
    file.write_bytes(str(parameters["samples"]).encode())


def save(model: Model, folder: Path) -> None:
    folder.mkdir()
    (folder / "weight").write_bytes(model.weight.tobytes())


def predictor(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: x @ model.weight


def queries(data: Data, parameters: Parameters) -> np.ndarray:
    return np.zeros((0, 2)) if parameters["behaviour"] == "no queries" else data["x"]


def _raise(parameters: Parameters) -> None:
    raise ValueError("the clouds\nhave gone")


def _fork_sleeper(parameters: Parameters) -> None:
    sleeper = os.fork()
    if sleeper == 0:
        os.execv(SLEEPER[0], SLEEPER)
    Path(parameters["place"]).write_text(str(sleeper))


def _fork_daemon(parameters: Parameters) -> None:
    """A sleeper in a session of its own, which signals to the workload's group don't reach."""
    sleeper = subprocess.Popen(SLEEPER, start_new_session=True)
    Path(parameters["place"]).write_text(str(sleeper.pid))
    time.sleep(60)


def _double_fork(parameters: Parameters) -> None:
    """A daemon: in a session of its own, and its parent has ended."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(parameters["place"]).write_text(str(os.getpid()))
            os.execv(SLEEPER[0], SLEEPER)
        os._exit(0)
    os.wait()
    while not (Path(parameters["place"]).exists() and Path(parameters["place"]).read_text()):
        time.sleep(0.01)


def _raise_odd(parameters: Parameters) -> None:
    raise ValueError(ODD)


def _hang_once(seed: int, place: Path) -> None:
    """Note each seed in a file; the first time that it is seed 2, wait to be interrupted."""
    trained = place.read_text() if place.exists() else ""
    with place.open("a") as file:
        file.write(f"{seed} ")
    if seed == 2 and "2" not in trained:
        time.sleep(60)


def _hang_deaf(parameters: Parameters) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(parameters["place"]).write_text(str(os.getpid()))
    time.sleep(60)


def _fork_hog(parameters: Parameters) -> None:
    """A child of the workload, not the workload itself, takes the memory."""
    if os.fork() == 0:
        _eat(parameters)
    time.sleep(60)


def _ask_for_100_gb(parameters: Parameters) -> None:
    np.ones(100 * 2**30, np.uint8)


def _turn_back_the_clocks(parameters: Parameters) -> None:
    for name in ("perf_counter", "perf_counter_ns", "monotonic"):
        setattr(time, name, lambda: -3000)


def _ask_the_user(parameters: Parameters) -> None:
    input("continue? ")


def _leave_a_thread(parameters: Parameters) -> None:
    threading.Thread(target=time.sleep, args=(60,)).start()


def _name_the_files(parameters: Parameters) -> None:
    import tinytorch.activations
    import tinytorch.tensor

    modules = (tinytorch.activations, tinytorch.tensor)
    Path(parameters["place"]).write_text("\n".join(str(module.__file__) for module in modules))


def _refuse(parameters: Parameters) -> None:
    raise CheckError("answers", "the clouds differ from the model's")


def _eat(parameters: Parameters) -> None:
    hoard = np.ones(400 * 2**20, np.uint8)
    time.sleep(60)
    hoard.sum()


def _print_much(parameters: Parameters) -> None:
    for _ in range(3000):
        print("x" * 99)  # noqa: T201 (the misdeed)
        print('{"event": "result"}', file=sys.stderr)  # noqa: T201


def _write_to_every_pipe(parameters: Parameters, line: bytes = b"hello") -> None:
    for descriptor in range(3, 20):
        try:
            os.write(descriptor, line + b"\n")
        except OSError:
            continue


def _forge(parameters: Parameters) -> None:
    """The event that `place` holds, then the end."""
    _write_to_every_pipe(parameters, parameters["place"].encode())
    os._exit(0)


MISDEEDS: dict[str, Callable[[Parameters], Any]] = {
    "turned clocks": _turn_back_the_clocks,
    "question": _ask_the_user,
    "thread": _leave_a_thread,
    "files": _name_the_files,
    "raise": _raise,
    "exit": lambda parameters: sys.exit(0),
    "leave": lambda parameters: os._exit(0),
    "hang": lambda parameters: time.sleep(60),
    "hang deaf": _hang_deaf,
    "kill": lambda parameters: os.kill(os.getpid(), signal.SIGKILL),
    "real-time signal": lambda parameters: os.kill(os.getpid(), 40),
    "raise odd": _raise_odd,
    "double fork": _double_fork,
    "forge": _forge,
    "segfault": lambda parameters: ctypes.string_at(0),
    "fork sleeper": _fork_sleeper,
    "fork daemon": _fork_daemon,
    "eat": _eat,
    "ask for 100 GB": _ask_for_100_gb,
    "refuse": _refuse,
    "fork hog": _fork_hog,
    "print": _print_much,
    "write to every pipe": _write_to_every_pipe,
}
