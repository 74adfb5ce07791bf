"""The import overlay: the learner's files are used wherever they should be, and never the reference by accident."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tito import overlay
from tito.overlay import Plan, describe, environment

ROOT = Path(__file__).parents[1]
RULES = tomllib.loads((ROOT / "tests" / "architecture.toml").read_text())
REFERENCE = str(ROOT)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Return a learner's tensor.py, in a folder with a space and an umlaut; it differs from the reference by a name."""
    folder = tmp_path / "my wörk"
    folder.mkdir()
    path = folder / "02_tensor.py"
    path.write_text((ROOT / "tinytorch" / "tensor.py").read_text() + "\nMINE = True\n")
    return path


def python(code: str, plan: Plan, folder: Path, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a new process with this plan."""
    variables = {**os.environ, **environment(plan, folder), **more}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=variables)


def test_tables_agree_with_the_architecture() -> None:
    assert RULES["modules"] == overlay.NUMBERS
    above = {name: room["module"] for name, room in RULES["rooms"].items() if room["module"]}
    assert above == overlay.PACKAGES


def test_planned_module_is_the_learners_and_the_rest_is_the_reference(mine: Path, tmp_path: Path) -> None:
    code = (
        "import tinytorch as tt, tinytorch.tensor as T, tinytorch.spatial as S; print(T.__file__, S.__file__, T.MINE)"
    )
    done = python(code, Plan({"tensor": str(mine)}, REFERENCE), tmp_path / "stand in")
    assert done.stderr == ""
    assert done.stdout.strip() == f"{mine} {ROOT / 'tinytorch' / 'spatial.py'} True"


def test_program_in_the_checkout_would_find_the_reference_without_the_safe_path(mine: Path, tmp_path: Path) -> None:
    code = "import tinytorch.tensor as T; print(hasattr(T, 'MINE'))"
    plan = Plan({"tensor": str(mine)}, REFERENCE)
    assert python(code, plan, tmp_path / "s").stdout.strip() == "True"
    assert python(code, plan, tmp_path / "s", PYTHONSAFEPATH="").stdout.strip() == "False"


def test_folder_that_cannot_be_on_the_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be on Python's path"):
        environment(Plan({}, REFERENCE), tmp_path / "a:b")


def test_processes_of_a_process_inherit_the_plan(mine: Path, tmp_path: Path) -> None:
    inner = "import tinytorch.tensor as T; print(T.__file__)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    done = python(code, Plan({"tensor": str(mine)}, REFERENCE), tmp_path / "s")
    assert done.stdout.strip() == str(mine)


def test_overlay_in_a_running_process_needs_no_stand_in(mine: Path) -> None:
    code = f"""
from tito import overlay
plan = overlay.Plan({{"tensor": {str(mine)!r}}}, {REFERENCE!r})
overlay.install(plan)
import tinytorch
print(tinytorch.Tensor.__module__, tinytorch.tensor.MINE, overlay.misplaced(plan), tinytorch.__file__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == f"tinytorch.tensor True [] {ROOT / 'tinytorch' / '__init__.py'}"


def test_overlay_after_tinytorch_is_an_error(mine: Path) -> None:
    import tinytorch  # noqa: F401

    with pytest.raises(ImportError, match="already imported"):
        overlay.install(Plan({"tensor": str(mine)}, REFERENCE))


def test_reference_in_place_of_a_planned_module_is_noticed(mine: Path) -> None:
    import tinytorch.tensor

    wrong = overlay.misplaced(Plan({"tensor": str(mine), "caching": "/nowhere.py"}, REFERENCE))
    assert wrong[0] == f"tensor from {tinytorch.tensor.__file__}"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import tinytorch.attention", "module 13 attention comes after 02"),
        ("from tinytorch import activations", "module 03 activations comes after 02"),
        ("import tinytorch; tinytorch.relu", "module 03 activations comes after 02"),
        ("from tinytorch import Conv2d", "module 09 spatial comes after 02"),
        ("import tinytorch.saved.reading", "package saved uses modules up to 19, which come after 02"),
    ],
)
def test_later_modules_are_hidden(mine: Path, tmp_path: Path, code: str, message: str) -> None:
    done = python(code, Plan({"tensor": str(mine)}, REFERENCE, hide_after=2), tmp_path / "s")
    assert done.stderr.splitlines()[-1] == f"ImportError: {message}"


def test_what_comes_before_is_not_hidden(mine: Path, tmp_path: Path) -> None:
    code = "import tinytorch as tt, tinytorch.base.errors, tinytorch.environment; print(tt.zeros(2), tt.MINE)"
    done = python(code.replace(", tt.MINE", ""), Plan({"tensor": str(mine)}, REFERENCE, hide_after=2), tmp_path / "s")
    assert done.stdout.strip() == "Tensor([0., 0.], dtype=float32)", done.stderr


def test_every_public_name_is_available_if_nothing_is_hidden(mine: Path, tmp_path: Path) -> None:
    code = "import tinytorch; print(len([getattr(tinytorch, n) for n in tinytorch.__all__]), tinytorch.__version__)"
    done = python(code, Plan({"tensor": str(mine)}, REFERENCE), tmp_path / "s")
    import tinytorch

    assert done.stdout.split() == [str(len(tinytorch.__all__)), tinytorch.__version__], done.stderr


def test_edit_of_the_same_length_in_the_same_second_is_seen(mine: Path, tmp_path: Path) -> None:
    plan = Plan({"tensor": str(mine)}, REFERENCE)
    code = "import tinytorch.tensor as T; print(T.ANSWER)"
    text = mine.read_text()
    for answer in ("1", "2"):
        mine.write_text(f"{text}\nANSWER = {answer}\n")
        os.utime(mine, (10**9, 10**9))
        assert python(code, plan, tmp_path / "s").stdout.strip() == answer
    assert not (mine.parent / "__pycache__").exists()


def test_a_library_is_not_replaced_by_a_file_next_to_the_learners(mine: Path, tmp_path: Path) -> None:
    (mine.parent / "random.py").write_text("raise SystemExit('the wrong random')")
    code = "import random, tinytorch as tt; print(random.__file__ != '', tt.zeros(1).shape)"
    done = python(code, Plan({"tensor": str(mine)}, REFERENCE), tmp_path / "s", cwd=mine.parent)
    assert done.stdout.strip() == "True (1,)", done.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", '{"modules": 1, "reference": "x"}', '{"modules": {}, "other": 1}'])
def test_broken_plan_never_falls_back_to_the_reference(tmp_path: Path, text: str) -> None:
    done = python("import tinytorch", Plan({}, REFERENCE), tmp_path / "s", TINYTORCH_MINE=text)
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: TINYTORCH_MINE={text!r}: expected a plan")


def test_first_line_names_the_learners_modules_in_order() -> None:
    modules = {"activations": "b", "tensor": "a"}
    assert describe(Plan(modules, "/r")) == "tinytorch: yours: 02 tensor, 03 activations; reference: the rest"
    assert describe(Plan({}, "/r")) == "tinytorch: yours: none; reference: the rest"
