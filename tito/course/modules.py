"""The tables of the course: 20 modules, 16 checkpoints, and 6 milestones."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from tito.errors import CourseError, did_you_mean


@dataclass(frozen=True)
class Module:
    """One module of the course. `name` is its file in tinytorch/, `folder` its folder in modules/."""

    number: int
    name: str
    folder: str
    title: str
    era: str  # the `Era.name` that it belongs to

    @property
    def key(self) -> str:
        """How commands and states name the module: "02"."""
        return f"{self.number:02}"

    @property
    def label(self) -> str:
        """How messages name the module: "02 tensor"."""
        return f"{self.key} {self.name}"

    @property
    def file(self) -> str:
        """The learner's file in the workspace: "02_tensor.py"."""
        return f"{self.key}_{self.name}.py"


@dataclass(frozen=True)
class Checkpoint:
    """A question that the learner can answer with yes after `modules`."""

    number: int
    name: str
    question: str
    modules: tuple[int, ...]

    @property
    def key(self) -> str:
        """How commands name the checkpoint: "02"."""
        return f"{self.number:02}"


@dataclass(frozen=True)
class Milestone:
    """A suite of the benchmark that module `after_module` unlocks."""

    suite: str
    year: int
    after_module: int


@dataclass(frozen=True)
class Era:
    """A period of the field's history, and the modules from `first` to `last` that led to its milestone."""

    name: str
    year: int
    first: int
    last: int


ERAS = (
    Era("Perceptrons", 1957, 1, 4),
    Era("Hidden layers", 1969, 5, 6),
    Era("Backpropagation", 1986, 7, 8),
    Era("Deep vision", 2012, 9, 10),
    Era("Transformers", 2018, 11, 14),
    Era("Efficiency", 2025, 15, 20),
)


def _modules() -> tuple[Module, ...]:
    named = {
        "environment": "Setup",
        "tensor": "Tensor",
        "activations": "Activations",
        "layers": "Layers",
        "losses": "Losses",
        "autograd": "Autograd",
        "optimizers": "Optimizers",
        "training": "Training",
        "spatial": "Spatial",
        "dataloader": "DataLoader",
        "tokenization": "Tokenization",
        "embeddings": "Embeddings",
        "attention": "Attention",
        "transformers": "Transformers",
        "mixed_precision": "Mixed precision",
        "acceleration": "Acceleration",
        "quantization": "Quantization",
        "compression": "Compression",
        "caching": "Caching",
        "benchmarking": "Benchmarking",
    }
    made = []
    for number, (name, title) in enumerate(named.items(), start=1):
        folder = "01_setup" if number == 1 else f"{number:02}_{name}"
        era = next(era.name for era in ERAS if era.first <= number <= era.last)
        made.append(Module(number, name, folder, title, era))
    return tuple(made)


MODULES = _modules()

CHECKPOINTS = (
    Checkpoint(0, "Setup", "Can I set up my environment?", (1,)),
    Checkpoint(1, "Foundation", "Can I manipulate tensors?", (2,)),
    Checkpoint(2, "Intelligence", "Can I add nonlinearity?", (3,)),
    Checkpoint(3, "Components", "Can I build network layers?", (4,)),
    Checkpoint(4, "Networks", "Can I measure loss?", (5,)),
    Checkpoint(5, "Learning", "Can I compute gradients?", (6,)),
    Checkpoint(6, "Optimization", "Can I optimize parameters?", (7,)),
    Checkpoint(7, "Training", "Can I train models?", (8,)),
    Checkpoint(8, "Vision", "Can I process images?", (9,)),
    Checkpoint(9, "Data", "Can I load data efficiently?", (10,)),
    Checkpoint(10, "Language", "Can I process text?", (11,)),
    Checkpoint(11, "Representation", "Can I create embeddings?", (12,)),
    Checkpoint(12, "Attention", "Can I implement attention?", (13,)),
    Checkpoint(13, "Architecture", "Can I build transformers?", (14,)),
    Checkpoint(14, "Systems", "Can I profile performance?", (15, 16, 17, 18, 19)),
    Checkpoint(15, "Mastery", "Can I optimize and compete?", (20,)),
)

MILESTONES = (
    Milestone("perceptron", 1957, 4),
    Milestone("xor", 1969, 6),
    Milestone("mnist", 1986, 8),
    Milestone("cifar10", 2012, 10),
    Milestone("tinygpt", 2018, 14),
    Milestone("tinymlperf", 2025, 20),
)


def module_number(number: int) -> Module:
    """Return the module with this number, from 1 to 20."""
    return MODULES[number - 1]


def find_module(text: str) -> Module:
    """Return the module that a user names: "2", "02", "02_tensor", "02_tensor.py", or "tensor".

    Raises:
        CourseError: there is no such module.
    """
    known: dict[str, Module] = {}
    for module in MODULES:
        for name in (str(module.number), module.key, module.name, module.folder, module.file, module.file[:-3]):
            known[name] = module
    known["setup"] = MODULES[0]
    wanted = text.strip().lower()
    if wanted in known:
        return known[wanted]
    close = difflib.get_close_matches(wanted.lstrip("0123456789_"), known, n=1)
    guess = f"did you mean {known[close[0]].label}? " if close else ""
    raise CourseError(
        f"module {text!r}: expected a number from 1 to 20 or a name such as tensor; {guess}tito module list shows all"
    )


def find_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that a user names: "7", "07", or "training".

    Raises:
        CourseError: there is no such checkpoint.
    """
    known: dict[str, Checkpoint] = {}
    for checkpoint in CHECKPOINTS:
        for name in (str(checkpoint.number), checkpoint.key, checkpoint.name.lower()):
            known[name] = checkpoint
    wanted = text.strip().lower()
    if wanted in known:
        return known[wanted]
    close = difflib.get_close_matches(wanted.lstrip("0123456789_"), known, n=1)
    guess = f"did you mean {known[close[0]].name}? " if close else ""
    raise CourseError(
        f"checkpoint {text!r}: expected a number from 0 to 15 or a name such as vision; {guess}"
        "tito checkpoint status shows all"
    )


def find_milestone(text: str) -> Milestone:
    """Return the milestone that a user names: "mnist", "1986_mnist", or "1986".

    Raises:
        CourseError: there is no such milestone.
    """
    known: dict[str, Milestone] = {}
    for milestone in MILESTONES:
        for name in (milestone.suite, str(milestone.year), f"{milestone.year}_{milestone.suite}"):
            known[name] = milestone
    wanted = text.strip().lower()
    if wanted in known:
        return known[wanted]
    hint = did_you_mean(wanted, known)
    raise CourseError(f"milestone {text!r}: expected one of {', '.join(one.suite for one in MILESTONES)}{hint}")
