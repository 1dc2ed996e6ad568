"""README and docs/ are true: code runs, commands and options exist, links lead somewhere, errors say what is quoted."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MODEL_NAMES
from tests.documents import PAGES, ROOT, blocks, links
from tests.notebooks import NOTEBOOKS, code_cells, run, texts


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


# README's is run by test_package.py, each block in an interpreter of its own
@pytest.mark.parametrize("page", [page for page in PAGES[1:] if any(blocks(page, "python"))], ids=_name)
def test_the_code_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {"__name__": "document"}
    for block in blocks(page, "python"):
        if block.missing:
            continue
        if block.file:
            path = tmp_path / Path(block.file).name
            path.write_text(block.code, encoding="utf-8")
        else:
            # line numbers of errors are those of the page
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)  # noqa: S102 our own pages


_NUMBER = re.compile(r"\d[\d,.]*")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_notebook_prints_and_draws_what_is_stored_with_it(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell, outputs in zip(code_cells(notebook), run(notebook), strict=True):
        said, stored = texts(outputs), texts(cell["outputs"])
        assert len(outputs) == len(cell["outputs"])
        if "varies" not in cell["metadata"].get("tags", []):
            assert said == stored
            continue
        # errors of what has been trained differ a little from processor to processor
        assert re.sub(r" +", " ", _NUMBER.sub("1", said)) == re.sub(r" +", " ", _NUMBER.sub("1", stored))
        assert _numbers(said) == pytest.approx(_numbers(stored), rel=0.3)


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _NUMBER.findall(text)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_notebook_is_small_and_its_links_lead_somewhere(path: Path) -> None:
    assert path.stat().st_size < 300_000
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert not [link for link in re.findall(r"\]\((?!https?:)([^)#]+)", text) if not (path.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    missing = [path for path in links(page) if not (page.parent / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", [*PAGES, ROOT / "benchmarks" / "README.md"], ids=_name)
def test_commands_and_their_options_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for command in re.findall(r"(?:^|`)make ([^`\n]+)", text, flags=re.MULTILINE):
        assert {word for word in shlex.split(command) if "=" not in word} <= targets, command
    commands = re.findall(r"(?:^|`)python -m (benchmarks|seq_plugins)(?: (\w+))?([^`\n]*)", text, flags=re.MULTILINE)
    for package, name, rest in commands:
        assert set(re.findall(r"(--[\w-]+)", rest)) <= _options(package, name), name + rest


@cache
def _options(package: str, command: str) -> set[str]:
    """Return the options that ``python -m PACKAGE COMMAND --help`` names."""
    arguments = [sys.executable, "-m", package, *([command] if command else []), "--help"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    return set(re.findall(r"(--[\w-]+)", done.stdout))


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_model_has_a_page_with_a_described_picture_an_example_and_its_arguments(name: str) -> None:
    pages = [page for page in PAGES if page.read_text(encoding="utf-8").startswith(f"# {name}\n")]
    assert len(pages) == 1
    text = pages[0].read_text(encoding="utf-8")
    description, picture = re.findall(r"!\[([^\]]+)\]\((\.\./pictures/\w+\.svg)\)", text)[0]
    assert len(description) > 40
    assert (pages[0].parent / picture).exists()
    assert any(name in block.code for block in blocks(pages[0], "python"))
    assert f".. autoclass:: seq_plugins.{name}\n" in text


def _put_new_model_into_a_copy(folder: Path) -> str:
    """Copy the package, put the new model of the page about it into the copy, and return the model's name."""
    page = ROOT / "docs" / "adding-a-model.md"
    for name in ("seq_plugins", "benchmarks", "tests", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (block,) = (block for block in blocks(page, "python") if block.file)
    (folder / str(block.file)).write_text(block.code, encoding="utf-8")
    (line,) = (block.code for block in blocks(page, "") if block.code.startswith("from ."))
    with (folder / "seq_plugins" / "models" / "__init__.pyi").open("a", encoding="utf-8") as stub:
        stub.write(line)
    return line.split()[-1]


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def test_one_file_and_one_line_make_a_model_that_is_saved_loads_and_is_compared(tmp_path: Path) -> None:
    name = _put_new_model_into_a_copy(tmp_path)
    script = f"""
import numpy as np
import seq_plugins
from benchmarks.harness.entries import OURS
from darts.models import NaiveEnsembleModel
from tests.conftest import make_model, make_series
assert seq_plugins.__file__.startswith({str(tmp_path)!r})
assert {name!r} in [entry.class_name for entry in OURS]
model = make_model({name!r}).fit(make_series(), future_covariates=make_series(60))
model.save("model.pt")
loaded = seq_plugins.{name}.load("model.pt")
assert np.array_equal(loaded.predict(4).values(), model.predict(4).values())
print("the same")
"""
    assert _run(tmp_path, "-c", script).endswith("the same\n")


@pytest.mark.slow
def test_the_new_model_passes_the_contract_of_all_models(tmp_path: Path) -> None:
    name = _put_new_model_into_a_copy(tmp_path)
    output = _run(
        tmp_path, "-m", "pytest", "-q", "tests/models", "-k", name, "-m", "not slow", "-p", "no:cacheprovider"
    )
    assert int(re.findall(r"(\d+) passed", output)[0]) > 150


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]], ids=" ".join)
def test_the_new_model_is_written_as_the_package_is(check: list[str], tmp_path: Path) -> None:
    _put_new_model_into_a_copy(tmp_path)
    _run(tmp_path, "-m", "ruff", *check, "seq_plugins/models/temporal_convolution.py")
