"""The environments of ``matrix.toml``: other versions, in which a part of the tests is run, and other machines.

Environments of versions are made and the package is installed in them. Those of machines are this one's, with variables
that limit the processor or set the number of threads; the whole quick suite is run in them.

``python tests/matrix.py [NAME ...]`` runs all of them, or those that are named, and prints a table. What an environment
has printed is in ``.matrix/NAME.log``. One that fails stops no other; the exit code is 1, then.
"""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".matrix"
VERSIONS = """
import json, platform, sys
from importlib.metadata import version
print(json.dumps({"python": platform.python_version()} | {name: version(name) for name in sys.argv[1:]}))
"""


class Result(NamedTuple):
    """What became of an environment."""

    name: str
    versions: dict[str, str]
    outcome: str
    failed: bool
    seconds: float


class _StepFailedError(Exception):
    """A step of an environment ended with an error; its text says which."""


def run_environment(name: str, matrix: dict[str, Any]) -> Result:
    """Make an environment, install, test, and tell what came of it."""
    environment = matrix["environments"][name]
    start, versions = time.monotonic(), {}
    is_machine = "variables" in environment
    python = Path(sys.executable) if is_machine else FOLDER / name / "bin" / "python"
    variables = os.environ | environment.get("variables", {})
    with (FOLDER / f"{name}.log").open("w", encoding="utf-8") as log:
        step = partial(_step, log=log, variables=variables)
        try:
            if is_machine:
                # the machine code of one processor is not that of another
                variables["NUMBA_CACHE_DIR"] = str(FOLDER / name / "numba")
                step("variables without effect", [python, "-c", environment["check"]])
            else:
                step("no such Python", [environment.get("python", sys.executable), "-m", "venv", FOLDER / name])
                step("not installed", _install(python, environment["pins"], matrix["packages"]))
                step("requirements in conflict", [python, "-m", "pip", "check"])
            printed = subprocess.run([python, "-c", VERSIONS, *matrix["report"]], capture_output=True, check=True)
            versions = json.loads(printed.stdout)
            step("tests failed", _test_all(python) if is_machine else _test(python, matrix["tests"]))
            outcome, failed = _last_line_of_tests(name), False
        except _StepFailedError as error:
            outcome, failed = f"{error}: {_last_line_of_tests(name)}" if versions else str(error), True
    return Result(name, versions, outcome, failed, time.monotonic() - start)


def _install(python: Path, pins: list[str], packages: list[str]) -> list[Any]:
    return [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "-e", ROOT, *packages, *pins]


def _test(python: Path, tests: list[str]) -> list[Any]:
    # a warning that other packages give each other is not what is tried here; those of our own code are errors
    own_warnings = ["-o", "filterwarnings=error:::seq_plugins"]
    return [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *own_warnings, *tests]


def _test_all(python: Path) -> list[Any]:
    return [
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        "auto",
        "--dist",
        "worksteal",
        "-m",
        "not slow",
    ]


def _step(failure: str, command: list[Any], log: Any, variables: dict[str, str]) -> None:
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False, env=variables)
    except OSError as error:
        raise _StepFailedError(f"{failure} ({error})") from error
    if done.returncode != 0:
        raise _StepFailedError(failure)


def _last_line_of_tests(name: str) -> str:
    lines = re.findall(r"\d+ (?:passed|failed|error).*? in ", (FOLDER / f"{name}.log").read_text(encoding="utf-8"))
    return lines[-1].removesuffix(" in ") if lines else "no test ran"


def table(results: list[Result], report: list[str]) -> str:
    """Return the results as a table in Markdown."""
    header = ["environment", "Python", *report, "result", "minutes"]
    rows = [
        [result.name, *(result.versions.get(name, "") for name in ["python", *report]), result.outcome,
         f"{result.seconds / 60:.1f}"]
        for result in results
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])


def main(names: list[str]) -> int:
    """Run the environments that are named, or all, and return the exit code."""
    matrix = tomllib.loads((Path(__file__).parent / "matrix.toml").read_text(encoding="utf-8"))
    known = matrix["environments"]
    if unknown := set(names) - known.keys():
        print(f"Expected names among {', '.join(known)}, got {', '.join(sorted(unknown))}.")
        return 2
    FOLDER.mkdir(exist_ok=True)
    results = []
    for name in names or known:
        print(f"{name}: {known[name]['about']} ...", flush=True)
        results.append(run_environment(name, matrix))
        print(f"{name}: {results[-1].outcome}", flush=True)
    print(table(results, matrix["report"]))
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
