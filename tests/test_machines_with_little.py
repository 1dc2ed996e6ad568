"""Folders that can't be written to, no compiler, and no thread more than needed."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import seq_plugins
from seq_plugins.layers.recurrent_kernels import SWITCH
from tests.conftest import OUTPUT, make_model, make_series
from tests.text.samples import make_classifier, make_texts

ON_PYTORCH = """
import numpy as np
import torch
from seq_plugins.layers import GRU, LSTM, SimpleRNN
from seq_plugins.text import pooled_convolution
from seq_plugins.text import logistic_regression
from seq_plugins.text.documents import Documents
from seq_plugins.text.ngrams import NgramMatrix
for layer in (SimpleRNN(2, 4), LSTM(2, 4), GRU(2, 4)):
    states = layer(torch.randn(3, 5, 2))
    states.sum().backward()
    assert "CompiledRecurrence" not in type(states.grad_fn).__name__
batch = pooled_convolution.Batch(Documents.from_lists([np.array([0, 1, 2, 1])]), 5)
for dtype in (torch.float32, torch.float64):
    words, weight = torch.randn(3, 2, dtype=dtype), torch.randn(2, 4, 2, dtype=dtype, requires_grad=True)
    pooled_convolution.convolve_and_pool(words, batch, weight)[0].sum().backward()
    assert pooled_convolution.load_loops(dtype) is None
ones = np.array([[1, 0], [1, 0]])
contained = NgramMatrix(np.array([0, 1], np.int32), ones, ones, 2, 2)
found, _ = logistic_regression.fit_logistic_regression(contained, np.ones(2), np.array([True, False]), np.ones(2))
assert found[0] > 0 > found[1]
assert logistic_regression.load_loop() is None
"""


def run_on_a_copy(folder: Path, **environment: str) -> str:
    """Run with a copy of the package and a home that can't be written to; return the standard error stream."""
    source = Path(seq_plugins.__file__).parent
    shutil.copytree(source, folder / "seq_plugins", ignore=shutil.ignore_patterns("__pycache__", "_data"))
    for name in ("layers", "text"):
        (folder / "seq_plugins" / name / "__pycache__").write_text("no folder")
    home = folder / "home"
    home.write_text("no folder")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "SEQ_PLUGINS_"))}
    done = subprocess.run(
        [sys.executable, "-B", "-c", ON_PYTORCH],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=kept | {"PYTHONPATH": str(folder), "HOME": str(home), "XDG_CACHE_HOME": str(home)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("names_a_folder", [False, True])
def test_without_a_folder_for_machine_code_pytorch_runs_and_the_remedy_is_told_once(
    names_a_folder: bool, tmp_path: Path
) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "home")} if names_a_folder else {}
    lines = run_on_a_copy(tmp_path, **environment).splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "The recurrent layers run on PyTorch's slower kernels",
        "The text classifier runs on PyTorch's slower operations",
        "The linear classifier of texts is scikit-learn's",
    ]
    assert all("NUMBA_CACHE_DIR" in line for line in lines)
    assert SWITCH in lines[0]


def test_where_numba_is_switched_off_pytorch_runs_without_a_word(tmp_path: Path) -> None:
    assert run_on_a_copy(tmp_path, NUMBA_DISABLE_JIT="1") == ""


# --- threads


def test_where_no_bar_is_shown_no_thread_watches_bars() -> None:
    texts, labels = make_texts()
    with _no_monitor():
        model = make_model("LinearModel").fit(make_series())
        model.predict(OUTPUT)
        model.historical_forecasts(make_series(), retrain=False, show_warnings=False)
        make_classifier(n_epochs=1).fit(texts, labels).predict(texts[:2])


@contextmanager
def _no_monitor() -> Iterator[None]:
    """Check that no thread stays, whatever other tests have left."""
    from tqdm import tqdm

    if tqdm.monitor is not None:
        tqdm.monitor.exit()  # type: ignore[no-untyped-call]
        tqdm.monitor = None
    before = set(threading.enumerate())
    yield
    assert not {thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()}


# --- folders that can't be written to


def _save_model(path: Path) -> None:
    make_model("LinearModel").fit(make_series()).save(path)


def _export_model(path: Path) -> None:
    make_model("LinearModel").fit(make_series()).to_onnx(path)


def _save_classifier(path: Path) -> None:
    texts, labels = make_texts()
    make_classifier(n_epochs=1).fit(texts, labels).save(path)


def _refuse(path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system refuse whatever is to be made in a folder, also to those whom it refuses nothing."""

    def is_refused(place: Any) -> bool:
        return isinstance(place, str | os.PathLike) and Path(place).parent == path

    def refusing(function: Any, is_making: Any) -> Any:
        def call(place: Any, *args: Any, **kwargs: Any) -> Any:
            if is_refused(place) and is_making(*args, **kwargs):
                raise OSError(code, os.strerror(code), str(place))
            return function(place, *args, **kwargs)

        return call

    def opens_to_write(*args: Any, **kwargs: Any) -> bool:
        return "w" in (args[0] if args else kwargs.get("mode", "r"))

    monkeypatch.setattr("io.open", refusing(open, opens_to_write))
    monkeypatch.setattr("builtins.open", refusing(open, opens_to_write))
    monkeypatch.setattr("os.mkdir", refusing(os.mkdir, lambda *args, **kwargs: True))


@pytest.mark.filterwarnings(
    # PyTorch's exporter calls what it has deprecated itself
    "ignore:_check_is_size will be removed:FutureWarning"
)
@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("save", [_save_model, _export_model, _save_classifier], ids=["model", "onnx", "classifier"])
def test_a_folder_that_cannot_be_written_to_is_told_with_the_path_that_was_given(
    save: Any, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with monkeypatch.context() as patch:
        _refuse(folder, code, patch)
        with pytest.raises(OSError, match="not written") as refused:
            save(folder / "thing")
    assert refused.value.errno == code
    assert refused.value.filename == str(folder / "thing")
    assert ".part" not in str(refused.value)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("save", [_save_model, _export_model], ids=["model", "onnx"])
def test_a_folder_in_a_file_s_place_is_told_by_its_name(save: Any, tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    with pytest.raises(IsADirectoryError, match=f"{tmp_path / 'thing'} is a folder. Name a file in it"):
        save(tmp_path / "thing")
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]
