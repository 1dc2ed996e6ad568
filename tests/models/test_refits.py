"""Backtests that refit: on several processes as on one, and from the weights of the refit before."""

import copy
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.utils.likelihood_models.torch import QuantileRegression

from seq_plugins import DivergenceError
from seq_plugins.models import SequenceModel
from seq_plugins.models._refits import Fold, _run_fold
from tests.conftest import OUTPUT, make_model, make_series


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As many threads here as in each of the processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


LENGTH = 40


def _every_other_time(
    counter: int, pred_time: Any, train_series: Any, past_covariates: Any, future_covariates: Any
) -> bool:
    return counter % 4 in (0, 1)


CASES: dict[str, dict[str, Any]] = {
    "each time": {},
    "last points only": {"last_points_only": True},
    "every third time": {"retrain": 3},
    "as a function says": {"retrain": _every_other_time},
    "moving window": {"train_length": 30, "stride": 2},
    "validated": {"train_length": 25, "val_length": 8},
    "beyond the end": {"overlap_end": True},
    "transformed": {"data_transformers": {"series": Scaler()}, "retrain": 2},
    "several series": {"series": [make_series(LENGTH), make_series(LENGTH, seed=3) * 2]},
    "several series at once": {
        "series": [make_series(LENGTH), make_series(LENGTH, seed=3) * 2],
        "apply_globally": True,
    },
    "covariates": {"future_covariates": make_series(60, seed=5), "past_covariates": make_series(60, seed=6)},
    "samples": {"num_samples": 3},
    "parameters": {"predict_likelihood_parameters": True},
    "further than a chunk": {"forecast_horizon": OUTPUT + 2},
}


def _arguments(**changed: Any) -> dict[str, Any]:
    return {
        "series": make_series(LENGTH),
        "start": 34,
        "start_format": "position",
        "forecast_horizon": OUTPUT,
        "last_points_only": False,
        "show_warnings": False,
        **changed,
    }


def _flat(forecasts: Any) -> list[TimeSeries]:
    return [forecasts] if isinstance(forecasts, TimeSeries) else [one for part in forecasts for one in _flat(part)]


@pytest.mark.parametrize("case", CASES)
def test_forecasts_with_refits_on_two_processes_are_those_on_one(case: str) -> None:
    arguments = _arguments(**CASES[case])
    likelihood = QuantileRegression([0.1, 0.5, 0.9]) if case in ("samples", "parameters") else None
    model = make_model("SimpleRNNModel", n_epochs=2, likelihood=likelihood)
    expected = model.historical_forecasts(**arguments)
    forecasts = model.historical_forecasts(**arguments, n_jobs=2)
    assert forecasts == expected
    assert len(_flat(forecasts)) >= 1
    assert not model.model_created


def test_folds_that_are_sent_together_each_begin_with_a_new_model() -> None:
    """joblib sends quick ones in batches, in which the model is one object."""
    model = make_model("SimpleRNNModel", n_epochs=1)
    arguments = _arguments(series=make_series(90), train_length=30)
    expected = model.historical_forecasts(**arguments)
    for _ in range(2):
        assert model.historical_forecasts(**arguments, n_jobs=2) == expected
    fold = Fold({"series": make_series(30)}, [{"n": OUTPUT, "series": make_series(30)}])
    (first, _), (second, _) = (_run_fold(model, fold, 1, os.getpid()) for _ in range(2))
    assert first == second


def test_a_fitted_model_forecasts_until_its_first_refit(model_name: str) -> None:
    def later(counter: int, pred_time: Any, train_series: Any, past_covariates: Any, future_covariates: Any) -> bool:
        return counter == 2

    model = make_model(model_name).fit(make_series(30))
    other = copy.deepcopy(model)
    arguments = _arguments(retrain=later)
    assert model.historical_forecasts(**arguments, n_jobs=2) == other.historical_forecasts(**arguments)


@pytest.mark.parametrize("method", ["backtest", "residuals"])
def test_errors_of_refits_on_two_processes_are_those_on_one(method: str) -> None:
    model = make_model("LinearModel")
    arguments = _arguments()
    expected = getattr(model, method)(**arguments)
    result = getattr(model, method)(**arguments, n_jobs=2)
    assert result == expected


def test_a_bar_shows_all_refits(capsys: pytest.CaptureFixture[str]) -> None:
    make_model("LinearModel").historical_forecasts(**_arguments(verbose=True), n_jobs=2)
    assert "historical forecasts: 100%" in capsys.readouterr().err
    make_model("LinearModel").historical_forecasts(**_arguments(), n_jobs=2)
    assert capsys.readouterr().err == ""


def test_an_error_says_in_which_refit_it_arose() -> None:
    series = make_series(LENGTH)
    values = series.all_values().copy()
    values[35:] = np.nan
    broken = series.with_values(values)
    with pytest.raises(ValueError, match="NaN") as raised:
        make_model("LinearModel").historical_forecasts(**_arguments(series=broken), n_jobs=2)
    assert raised.value.__notes__ == [f"In the refit for the forecast from {series.time_index[36]} on."]
    wild = make_model("LinearModel", optimizer_kwargs={"lr": 1e30}, n_epochs=5)
    with pytest.raises(DivergenceError) as diverged:
        wild.historical_forecasts(**_arguments(), n_jobs=2)
    assert diverged.value.__notes__


@pytest.mark.parametrize("n_jobs", [0, -2, 1.5, "2", True, None])
def test_a_wrong_number_of_processes_is_refused(n_jobs: Any) -> None:
    if n_jobs is not None:
        with pytest.raises(ValueError, match="Expected `n_jobs`"):
            make_model("LinearModel").historical_forecasts(**_arguments(), n_jobs=n_jobs)
    with pytest.raises(ValueError, match="Expected `n_jobs`"):
        make_model("LinearModel").backtest(**_arguments(), n_jobs=n_jobs)


@pytest.mark.parametrize("epochs", [0, 1.5, "2"])
def test_a_wrong_number_of_warm_epochs_is_refused(epochs: Any) -> None:
    with pytest.raises(ValueError, match="Expected `warm_epochs`"):
        make_model("LinearModel").historical_forecasts(**_arguments(), warm_epochs=epochs)


@pytest.mark.parametrize("rate", [0, -0.1, "fast", True, float("nan"), float("inf")])
def test_a_wrong_learning_rate_of_warm_refits_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match="Expected `warm_learning_rate` to be a number above 0"):
        make_model("LinearModel").historical_forecasts(**_arguments(), warm_epochs=1, warm_learning_rate=rate)


def test_a_learning_rate_of_refits_that_are_not_warm_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected `warm_epochs` with warm_learning_rate"):
        make_model("LinearModel").backtest(**_arguments(), warm_learning_rate=0.1)


def test_refits_that_need_the_one_before_are_not_divided() -> None:
    with pytest.raises(ValueError, match="`n_jobs` to be 1 with warm_epochs=1, got 2"):
        make_model("LinearModel").historical_forecasts(**_arguments(), n_jobs=2, warm_epochs=1)


@pytest.mark.parametrize("writing", ["save_checkpoints", "log_tensorboard"])
def test_refits_that_write_to_one_folder_are_not_divided(writing: str, tmp_path: Path) -> None:
    model = make_model("LinearModel", work_dir=str(tmp_path), **{writing: True})
    with pytest.raises(ValueError, match=f"`{writing}` to be False with n_jobs=2"):
        model.historical_forecasts(**_arguments(), n_jobs=2)


def test_what_cannot_be_sent_to_another_process_is_told() -> None:
    model = make_model("LinearModel")
    unsent = {"dataloader_kwargs": {"generator": threading.Lock()}}
    with pytest.raises(ValueError, match="can be sent to other processes with n_jobs=2"):
        model.historical_forecasts(**_arguments(fit_kwargs=unsent), n_jobs=2)


@pytest.mark.parametrize("name", ["historical_forecasts", "backtest", "residuals"])
def test_the_arguments_of_refits_stand_in_signature_and_docstring(name: str) -> None:
    method = getattr(SequenceModel, name)
    assert [*inspect.signature(method).parameters][-3:] == [
        "n_jobs",
        "warm_epochs",
        "warm_learning_rate",
    ]
    before, _, after = (inspect.getdoc(method) or "").partition("\nReturns\n")
    assert "\nn_jobs\n    Number of processes" in before
    assert after


# --- from the weights of the refit before


def _warm_by_hand(model: SequenceModel, series: TimeSeries, **update: Any) -> list[TimeSeries]:
    forecasts, one = [], model.untrained_model()
    for end in range(34, LENGTH - OUTPUT + 1):
        if end == 34:
            one.fit(series[:end])
        else:
            one.update(series[:end], **update)
        forecasts.append(one.predict(OUTPUT, series[:end]))
    return forecasts


def test_warm_refits_go_on_from_the_weights_of_the_one_before(model_name: str) -> None:
    model, series = make_model(model_name, n_epochs=3), make_series(LENGTH)
    forecasts = model.historical_forecasts(**_arguments(), warm_epochs=2)
    assert forecasts == _warm_by_hand(model, series, epochs=2)
    assert forecasts != model.historical_forecasts(**_arguments())
    given_rate = model.historical_forecasts(**_arguments(), warm_epochs=2, warm_learning_rate=0.01)
    assert given_rate == _warm_by_hand(model, series, epochs=2, learning_rate=0.01)
    assert given_rate != forecasts
    assert model.historical_forecasts(**_arguments()) == model.historical_forecasts(**_arguments())


def test_each_series_begins_with_a_whole_fit() -> None:
    model, several = make_model("LinearModel", n_epochs=3), [make_series(LENGTH), make_series(LENGTH, seed=3) * 2]
    forecasts = model.historical_forecasts(**_arguments(series=several), warm_epochs=1)
    assert forecasts == [_warm_by_hand(model, series, epochs=1) for series in several]
    assert _flat(model.residuals(**_arguments(), warm_epochs=1))


def test_darts_advises_nothing_against_warm_refits(caplog: pytest.LogCaptureFixture) -> None:
    make_model("LinearModel").historical_forecasts(**_arguments(), warm_epochs=1)
    assert not caplog.records


# --- when told to stop

LONG = """
from darts.utils.timeseries_generation import sine_timeseries
from seq_plugins import LinearModel
if __name__ == "__main__":
    series = sine_timeseries(length=400).astype("float32")
    model = LinearModel(8, 2, n_epochs=10**6, pl_trainer_kwargs={"enable_progress_bar": False})
    print("begins", flush=True)
    model.historical_forecasts(series, start=300, start_format="position", n_jobs=2)
"""


def _descendants(process: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_backtest_that_is_stopped_leaves_no_process_behind(sent: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "long.py"
    script.write_text(LONG)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ.copy()
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begins\n"
        deadline = time.monotonic() + 120
        while len(children := _descendants(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        children = _descendants(process.pid)
        assert len(children) >= 2
        process.send_signal(sent)
        assert process.wait(60) != 0
        while any(map(_is_running, children)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not [child for child in children if _is_running(child)]
    finally:
        process.kill()
        process.communicate()
