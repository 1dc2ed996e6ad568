"""The package as a whole: imports, names, and the wheel."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import seq_plugins
from tests.conftest import MODEL_NAMES, THREADS
from tests.documents import blocks

ROOT = Path(__file__).parents[1]


def _run(script: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {"OMP_NUM_THREADS": str(THREADS)}
        | environment,
    )


def test_importing_prints_nothing_imports_no_pytorch_and_leaves_logging_as_it_was(tmp_path: Path) -> None:
    script = """
import logging, sys, warnings
import darts

def state():
    loggers = {name: logger for name, logger in logging.root.manager.loggerDict.items() if hasattr(logger, "handlers")}
    loggers["root"] = logging.root
    return {name: (logger.level, list(logger.handlers)) for name, logger in loggers.items()}, list(warnings.filters)

loggers, filters = state()
import seq_plugins, seq_plugins.models, seq_plugins.datasets
dir(seq_plugins), seq_plugins.__all__, seq_plugins.models.__all__
loggers_after, filters_after = state()
changed = {name for name, values in loggers.items() if loggers_after[name] != values}
changed |= {name for name in loggers_after if name.startswith("seq_plugins") and loggers_after[name] != (0, [])}
assert not changed, changed
assert filters == filters_after
too_much = {"torch", "pytorch_lightning", "matplotlib"} & set(sys.modules)
assert not too_much, too_much
"""
    done = _run(script, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_code_in_the_readme_runs_in_a_fresh_interpreter(tmp_path: Path) -> None:
    proof, first_forecast = (block.code for block in blocks(ROOT / "README.md", "python"))
    done = _run(proof, tmp_path)
    assert done.returncode == 0, done.stderr
    moved = re.findall(r"(\w+RNNModel) (\[.*\])", done.stdout)  # as the text below it says
    assert moved == [("BlockRNNModel", str([*[False] * 6, True])), ("SimpleRNNModel", str([True] * 7))]
    draws_a_band = """
import matplotlib.pyplot as plt
from darts.metrics import mae
axes = plt.gca()
assert [line.get_label() for line in axes.lines] == ["riders", "forecast and 90 % interval"]
assert len(axes.collections) == 1, axes.collections
print(mae(riders, forecast) / riders[-14:].values().mean())
"""
    done = _run(first_forecast + draws_a_band, tmp_path, MPLBACKEND="agg")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < 0.15


def test_the_readme_is_short_and_begins_with_what_there_is_to_see() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.split()) <= 900
    assert readme.index("docs/pictures/forecast.png") < readme.index("## Why")
    _, eight_lines = (block.code for block in blocks(ROOT / "README.md", "python"))
    statements = [line for line in eight_lines.splitlines() if line and not line.startswith("from ")]
    assert len(statements) == 8


def test_every_public_name_can_be_imported_from_the_top() -> None:
    for name in vars(seq_plugins)["__all__"]:
        assert getattr(seq_plugins, name) is not None
        assert name in dir(seq_plugins)
    assert issubclass(seq_plugins.DivergenceError, ValueError)
    for name in MODEL_NAMES:
        assert getattr(seq_plugins, name) is getattr(seq_plugins.models, name)
        assert name in dir(seq_plugins.models)
    assert set(MODEL_NAMES) >= {
        "LinearModel",
        "SimpleRNNModel",
        "DeepRNNModel",
        "Seq2SeqRNNModel",
        "Conv1DGRUModel",
        "WaveNetModel",
        "EncoderDecoderRNNModel",
    }


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(AttributeError, match="TransformerModel"):
        getattr(seq_plugins, "TransformerModel")  # noqa: B009 mypy knows that it is not there
    with pytest.raises(AttributeError, match="TransformerModel"):
        getattr(seq_plugins.models, "TransformerModel")  # noqa: B009


def test_models_forecast_where_no_package_is_that_is_not_declared(tmp_path: Path) -> None:
    extras = (
        "gensim",
        "lightgbm",
        "mlflow",
        "nltk",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "optuna",
        "ray",
        "statsforecast",
    )
    script = f"""
import sys
for name in {extras!r}:
    sys.modules[name] = None
import numpy as np
from darts import TimeSeries
import seq_plugins

series = TimeSeries.from_values(np.arange(30, dtype=np.float32) % 7)
for name in seq_plugins.models.MODEL_MODULES:
    model_class = getattr(seq_plugins, name)
    model = model_class(8, 2, n_epochs=1, pl_trainer_kwargs={{"enable_progress_bar": False}}).fit(series)
    model.save("model.pt")
    assert len(model_class.load("model.pt").predict(2)) == 2
"""
    done = _run(script, tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_what_its_user_needs_and_works_outside_the_checkout(tmp_path: Path) -> None:
    build = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(installed)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"seq_plugins"}
    sources = {
        f"seq_plugins/{path.relative_to(ROOT / 'seq_plugins')}" for path in (ROOT / "seq_plugins").rglob("*.py*")
    }
    sources = {source for source in sources if "__pycache__" not in source}
    assert sources <= names
    assert {"seq_plugins/py.typed", "seq_plugins/_data/chicago_ridership.csv", "seq_plugins/_data/README.md"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("entry_points.txt") for name in names)  # the command seq-plugins
    script = """
import sys
sys.path.insert(0, "installed")
import seq_plugins
assert "installed" in seq_plugins.__file__, seq_plugins.__file__
from seq_plugins import SimpleRNNModel
from seq_plugins.datasets import ChicagoRidershipDataset
riders = ChicagoRidershipDataset().load()["ridership"].astype("float32")[-100:] / 1e4
model = SimpleRNNModel(14, 7, n_epochs=1, pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False})
print(len(model.fit(riders).predict(7)), "days forecast")

from seq_plugins.__main__ import main
riders.to_dataframe().to_csv("riders.csv")
arguments = ["--target", "ridership", "--horizon", "7", "--model", "SeasonalNaive", "--output", "forecast"]
assert main(["forecast", "riders.csv", *arguments]) == 0
"""
    done = _run(script, tmp_path)
    assert "7 days forecast\n" in done.stdout, done.stderr
    assert "Forecasts are in forecast: forecast.csv, forecast.png" in done.stdout, done.stderr


def test_the_linter_before_a_commit_has_the_version_of_the_pinned_one() -> None:
    pinned = re.findall(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    hook = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"ruff-pre-commit\n    rev: v(.+)$", hook, flags=re.MULTILINE) == pinned


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, flags=re.MULTILINE) == [seq_plugins.__version__]
