"""The project's commands: `nox -l` lists them, `nox -s NAME` runs one, arguments go after `--`.

Environments are created once and reused. Each session installs everything it needs.
"""

import shutil
from pathlib import Path

import nox
from nox.command import CommandFailed
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
GROUPS = nox.project.dependency_groups
PROJECT = nox.project.load_toml("pyproject.toml")
AXE = "axe-core@4.14.1"  # checks the accessibility of the pages in tests/report
SOURCES = ["tinytorch", "tito", "suites", "modules", "examples", "tests", "tools", "conftest.py", "noxfile.py"]
FORMS = Path(".github/ISSUE_TEMPLATE")
SCHEMAS = {
    "github-workflows": sorted(Path(".github/workflows").glob("*.yml")),
    "github-issue-forms": sorted(path for path in FORMS.glob("*.yml") if path.stem != "config"),
    "github-issue-config": [FORMS / "config.yml"],
    "citation-file-format": [Path("CITATION.cff")],
}


def install(session: nox.Session, *groups: str, native: bool = False) -> None:
    """Install the project from this checkout, with groups of pyproject.toml and optionally native kernels.

    With `--mine` among the arguments, install what tests a learner's own modules as well.
    """
    extras = [*(["onednn"] if native else []), *(["course"] if "--mine" in session.posargs else [])]
    session.install("-e", f".[{','.join(extras)}]" if extras else ".", *GROUPS(PROJECT, *groups) if groups else ())


def lowest(requirements: list[str]) -> list[str]:
    """Return `name==X` for each `name>=X`: the oldest version that pyproject.toml allows."""
    parsed = [Requirement(text) for text in requirements]
    return [f"{known.name}=={bound.version}" for known in parsed for bound in known.specifier if bound.operator == ">="]


def fetch_axe(session: nox.Session) -> None:
    """Fetch axe-core from npm into build/axe; without it, the tests of accessibility are skipped."""
    try:
        session.run(
            "npm", "install", "--prefix", "build/axe", "--no-audit", "--no-fund", AXE, external=True, silent=True
        )
    except CommandFailed:
        session.log("axe-core could not be fetched from npm: the tests of accessibility are skipped if it is not there")


def milestone(session: nox.Session, suite: str, native: bool = False) -> None:
    """Run one suite: train, check the gates, profile, write record and page; fail if a gate is missed."""
    install(session, native=native)
    session.run("tito", "suite", "run", suite, *session.posargs)


def tinymlperf(session: nox.Session, native: bool) -> None:
    """Run the suite tinymlperf, and install what it compares with.

    That is ONNX Runtime, and PyTorch unless `--without-pytorch` or `--quick` is given.
    """
    rest = [argument for argument in session.posargs if argument != "--without-pytorch"]
    install(session, native=native)
    rival(session, "runtime", "ONNX Runtime", "its columns are left out")
    if rest == session.posargs and "--quick" not in rest:
        session.log("installing PyTorch for comparison (large; `-- --without-pytorch` leaves it out)")
        rival(session, "versus", "PyTorch", "the case that compares with it is left out")
    session.run("tito", "suite", "run", "tinymlperf", *rest)


def rival(session: nox.Session, group: str, name: str, without: str) -> None:
    """Install a rival, if possible: the run continues without it, and its record says what is left out."""
    try:
        session.install(*GROUPS(PROJECT, group))
    except CommandFailed:
        session.log(f"{name} could not be installed: {without}")


@nox.session(name="milestone-perceptron")
def milestone_perceptron(session: nox.Session) -> None:
    """1957: Rosenblatt's perceptron on separable points and MNIST zeros against ones."""
    milestone(session, "perceptron")


@nox.session(name="milestone-xor")
def milestone_xor(session: nox.Session) -> None:
    """1969: XOR, which one layer cannot learn and a hidden layer can, with 100 seeds."""
    milestone(session, "xor")


@nox.session(name="milestone-mnist")
def milestone_mnist(session: nox.Session) -> None:
    """1986: an MLP on all of MNIST, three seeds, profiled, with an HTML report."""
    milestone(session, "mnist")


@nox.session(name="milestone-cifar10")
def milestone_cifar10(session: nox.Session) -> None:
    """2012: a CNN on all of CIFAR-10; `-- --reference` trains ResNet-8, `-- --record` aims for the highest accuracy.

    With native kernels where they exist; `-- --backend numpy` trains without them.
    """
    suites = {"--reference": "cifar10_resnet8", "--record": "cifar10_record"}
    chosen = [suites[argument] for argument in session.posargs if argument in suites] or ["cifar10"]
    rest = [argument for argument in session.posargs if argument not in suites]
    install(session, native=True)
    for suite in chosen:
        session.run("tito", "suite", "run", suite, *rest)


@nox.session(name="milestone-tinygpt")
def milestone_tinygpt(session: nox.Session) -> None:
    """2018: GPTs on Shakespeare's plays, evaluated by their loss and by the text they generate."""
    milestone(session, "tinygpt")


@nox.session(name="milestone-tinymlperf")
def milestone_tinymlperf(session: nox.Session) -> None:
    """2025: the references made smaller and faster, against FP32, with native kernels; `-- --without-pytorch`."""
    tinymlperf(session, native=True)


@nox.session(name="milestone-tinymlperf-numpy")
def milestone_tinymlperf_numpy(session: nox.Session) -> None:
    """2025 without native kernels: as small and as accurate, but slower."""
    tinymlperf(session, native=False)


@nox.session(name="tinymlperf-recipes")
def tinymlperf_recipes(session: nox.Session) -> None:
    """Compare the candidates for TinyMLPerf's recipes on held-out training images; takes half an hour."""
    milestone(session, "tinymlperf_recipes", native=True)


@nox.session
def acceleration(session: nox.Session) -> None:
    """Measure one matrix product in eight versions, from three Python loops to oneDNN."""
    milestone(session, "acceleration", native=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests; arguments go to pytest, e.g. `nox -s tests -- modules/06_autograd`."""
    install(session, "tests", native=True)  # without oneDNN, its tests are skipped and state the reason
    if shutil.which("chromium") is None and shutil.which("google-chrome") is None:
        session.log("no Chromium found: the tests that open pages in a browser will be skipped")
    fetch_axe(session)
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session(python="3.11")  # the oldest Python that pyproject.toml allows, too
def minimums(session: nox.Session) -> None:
    """Run all tests with the oldest Python and the oldest versions that pyproject.toml allows."""
    # Plain pip with exact versions: this needs no second installer, and a bound that was never released is an error
    pinned = lowest([*PROJECT["project"]["dependencies"], *GROUPS(PROJECT, "tests")])
    session.install("-e", ".[onednn]", *pinned)
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check Python style and formatting, spelling, and GitHub's files; `-- --fix` fixes what Ruff can fix."""
    session.install(*GROUPS(PROJECT, "lint"))
    session.run("ruff", "check", *SOURCES, *session.posargs)
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]), *SOURCES)
    session.run("codespell")
    for schema, files in SCHEMAS.items():
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files))


@nox.session
def types(session: nox.Session) -> None:
    """Run mypy on everything: the packages, the programs, the tests, and each suite's workload."""
    install(session, "types", "tests")
    session.run("mypy", *session.posargs)
    session.run("mypy", "--explicit-package-bases", "tests", "tools", "conftest.py", "noxfile.py", *session.posargs)
    session.run("mypy", *map(str, [*ROOT.glob("modules/*/test_*.py"), *ROOT.glob("examples/*.py")]), *session.posargs)
    # A suite folder begins with its year, but a package name must not begin with a digit: mypy reads it through a link
    links = Path(session.create_tmp())
    for folder in sorted({path.parent for path in ROOT.glob("suites/*/*.py")}):
        link = links / f"suite_{folder.name}"
        link.unlink(missing_ok=True)
        link.symlink_to(folder, target_is_directory=True)
        with session.chdir(links):
            config = f"--config-file={ROOT / 'pyproject.toml'}"
            session.run("mypy", config, "--namespace-packages", "-p", link.name, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into build/site and check its links; every warning is an error."""
    install(session, "docs")
    session.run("python", "tools/site_pages.py", "build/pages")
    # the variable hides a notice about the end of Material's support; see CONTRIBUTING.md
    session.run("mkdocs", "build", "-f", "build/mkdocs.yml", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})
    session.run("python", "tools/check_links.py", "build/site")


@nox.session
def report(session: nox.Session) -> None:
    """Rewrite the HTML pages from the records in reports/; `-- --open` opens them."""
    install(session)
    session.run("tito", "report", *session.posargs)


@nox.session
def submit(session: nox.Session) -> None:
    """Submit a saved model: `-- MODEL --track mnist --division closed --as alice/int8`."""
    install(session, native=True)
    session.run("tito", "submit", *session.posargs)


@nox.session
def leaderboard(session: nox.Session) -> None:
    """Rank the verified entries and write reports/leaderboard.html; `-- mnist` shows only that track."""
    install(session)
    session.run("tito", "leaderboard", "--html", *session.posargs)


@nox.session
def parity(session: nox.Session) -> None:
    """Compare values and gradients of each layer with PyTorch's, and load PyTorch's weights."""
    install(session, "tests", "versus")
    session.run("python", "-m", "pytest", "tests/parity", *session.posargs)


@nox.session
def versus(session: nox.Session) -> None:
    """Compare the speed with ONNX Runtime and PyTorch, as ratios with intervals; `-- mlp` runs only that work."""
    install(session, "versus", native=True)
    session.run("python", "-m", "tito.versus", *session.posargs)


def compete_tests(session: nox.Session, file: str, **amount: str) -> None:
    """Run one file of the competition's tests with more repetitions than usual, and print what it counted."""
    install(session, "tests")
    session.run("python", "-m", "pytest", "-rP", f"tests/compete/{file}", *session.posargs, env=amount)


@nox.session
def learner(session: nox.Session) -> None:
    """Work on the course: `-- module start 02`, `-- module test 02`, and every other command of tito."""
    session.install("-e", ".[course]")
    session.run("tito", *session.posargs)


@nox.session
def course(session: nox.Session) -> None:
    """Prove the exercises and walk through them; `-- 02 03` proves some, `-- --milestones` runs milestones too."""
    install(session, "tests")
    milestones = [argument for argument in session.posargs if argument == "--milestones"]
    chosen = [argument for argument in session.posargs if argument != "--milestones"]
    session.run("python", "-m", "tito.course.proof", *chosen)
    if not chosen:
        session.run("python", "-m", "tito.course.walk", *milestones)


@nox.session(name="history-selftest")
def history_selftest(session: nox.Session) -> None:
    """Resample 200 histories of recorded noise: count false alarms, and planted slow-downs of 25% and 10% found."""
    install(session, "tests")
    session.run("python", "-m", "pytest", "-rP", "tests/bench/test_recorded_noise.py", *session.posargs)


@nox.session(name="compete-mutations")
def compete_mutations(session: nox.Session) -> None:
    """Change 10,000 entries by chance: each one is accepted, or refused with a code."""
    compete_tests(session, "test_mutations.py", TITO_MUTATIONS="10000")


@nox.session(name="compete-selftest")
def compete_selftest(session: nox.Session) -> None:
    """Record 60 processes of each reference and of its slowed twin, and count how often 200 pairs are misjudged."""
    install(session, native=True)
    session.run("python", "-m", "tito.compete.calibration", *session.posargs)


@nox.session(name="compete-kills")
def compete_kills(session: nox.Session) -> None:
    """Kill 200 submissions, 50 verifications, 50 leaderboards at random moments: nothing is half-written or lost."""
    compete_tests(session, "test_races.py", TITO_KILLS="200")
    compete_tests(session, "test_verify_kills.py", TITO_KILLS="50")
    compete_tests(session, "test_leaderboard_kills.py", TITO_KILLS="50")


@nox.session(name="compete-cluster")
def compete_cluster(session: nox.Session) -> None:
    """Verify six entries on three Dask workers of this host, one of which is killed in the middle."""
    install(session, "tests", native=True)
    session.install(".[cluster]")
    session.run(
        "python", "-m", "pytest", "-rP", "tests/compete/test_cluster.py", *session.posargs, env={"TITO_CLUSTER": "1"}
    )


@nox.session(name="compete-walkthrough")
def compete_walkthrough(session: nox.Session) -> None:
    """Run the commands of submissions/README.md in a copy of the checkout: nine entries, verified and ranked."""
    install(session, "tests", native=True)
    session.run(
        "python",
        "-m",
        "pytest",
        "-rP",
        "tests/compete/test_walkthrough.py",
        *session.posargs,
        env={"TITO_WALKTHROUGH": "1"},
    )
