"""MLflow through Darts: what is logged, and models that come back from it; a database in a folder, no server."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from darts.metrics import mae
from darts.utils.mlflow import autolog, load_model, log_model

import seq_plugins
from seq_plugins.models import SequenceModel
from tests.conftest import OUTPUT, make_model, make_series, values_of, with_static_covariates

EPOCHS = 2


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make one database for all tests: MLflow takes seconds to set it up."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(autouse=True)
def _experiment(database: str, tmp_path: Path) -> Iterator[None]:
    """Keep runs in an experiment of the test's own, and switch logging off after the test."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(database)
    folder = (tmp_path / "artifacts").as_uri()
    mlflow.set_experiment(experiment_id=mlflow.create_experiment(str(tmp_path), artifact_location=folder))
    yield
    autolog(disable=True)
    mlflow.set_tracking_uri(before)


def _fit(name: str) -> SequenceModel:
    model: SequenceModel = make_model(name, n_epochs=EPOCHS).fit(make_series(), val_series=make_series(seed=1))
    return model


def test_a_model_loaded_back_forecasts_the_same(model_name: str) -> None:
    series, covariates = with_static_covariates(make_series()), make_series(60, seed=1)
    model = make_model(model_name).fit(series, past_covariates=covariates, future_covariates=covariates)
    with mlflow.start_run():
        logged = log_model(model, name="forecaster", extra_pip_requirements=[f"seq-plugins=={seq_plugins.__version__}"])
    loaded = load_model(logged.model_uri, pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False})
    assert type(loaded) is type(model)
    given: dict[str, Any] = {"series": series, "past_covariates": covariates, "future_covariates": covariates}
    np.testing.assert_array_equal(values_of(loaded.predict(OUTPUT, **given)), values_of(model.predict(OUTPUT, **given)))


@pytest.mark.slow
def test_a_logged_model_names_the_package_that_it_needs_and_loads_in_a_fresh_process(tmp_path: Path) -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    with mlflow.start_run():
        logged = log_model(model, name="forecaster", extra_pip_requirements=[f"seq-plugins=={seq_plugins.__version__}"])
    requirements = next((tmp_path / "artifacts").rglob("requirements.txt")).read_text(encoding="utf-8").split()
    assert f"seq-plugins=={seq_plugins.__version__}" in requirements
    np.save("series.npy", values_of(make_series()))
    script = """
import json, sys
import mlflow, numpy as np
from darts import TimeSeries
from darts.utils.mlflow import load_model
mlflow.set_tracking_uri(sys.argv[1])
model = load_model(sys.argv[2], pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False})
print(json.dumps(model.predict(4, TimeSeries.from_values(np.load("series.npy"))).values().ravel().tolist()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, mlflow.get_tracking_uri(), logged.model_uri],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(values_of(model.predict(OUTPUT)).ravel().tolist())


def test_autologging_records_settings_losses_of_every_epoch_metrics_and_the_model(
    caplog: pytest.LogCaptureFixture,
) -> None:
    autolog(log_models=True)
    with caplog.at_level(logging.DEBUG, "seq_plugins"), mlflow.start_run() as active:
        model = _fit("Seq2SeqRNNModel")
        error = mae(make_series()[-OUTPUT:], model.predict(OUTPUT, make_series()[:-OUTPUT]))
        backtested = model.backtest(make_series(), start=-8, forecast_horizon=OUTPUT, retrain=False, metric=mae)
    # MLflow's own callback looks at every batch
    assert "Training takes the ordinary path: the callback __MlflowPLCallback sees every batch." in caplog.messages
    run = mlflow.get_run(active.info.run_id)
    history = mlflow.MlflowClient().get_metric_history(active.info.run_id, "val_loss")
    assert [entry.step for entry in history] == list(range(EPOCHS))
    assert history[-1].value == pytest.approx(float(model.trainer.callback_metrics["val_loss"]))
    assert run.data.metrics["mae"] == pytest.approx(error)
    assert run.data.metrics["backtest_mae"] == pytest.approx(backtested)
    assert run.data.params["hidden_dim"] == "8"
    assert run.data.tags["model_reference"] == "seq_plugins.models.seq2seq_rnn.Seq2SeqRNNModel"
    assert run.outputs is not None
    (output,) = run.outputs.model_outputs
    loaded = load_model(f"models:/{output.model_id}", pl_trainer_kwargs={"accelerator": "cpu", "logger": False})
    np.testing.assert_array_equal(
        values_of(loaded.predict(OUTPUT, make_series(), verbose=False)), values_of(model.predict(OUTPUT))
    )


def test_without_the_losses_of_every_epoch_training_stays_on_the_fast_path(
    model_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    getattr(seq_plugins, model_name)  # MLflow watches classes that have been imported
    autolog(log_torch_metrics=False)
    with caplog.at_level(logging.DEBUG, "seq_plugins"), mlflow.start_run() as active:
        _fit(model_name)
    assert "Training takes the fast path." in caplog.messages
    run = mlflow.get_run(active.info.run_id)
    assert run.data.tags["model_class"] == model_name
    assert "val_loss" not in run.data.metrics


def test_switching_autologging_off_leaves_the_models_as_they_were() -> None:
    model_class = seq_plugins.SimpleRNNModel
    before = (model_class.fit, model_class.historical_forecasts, model_class.backtest)
    autolog()
    assert model_class.fit is not before[0]
    autolog(disable=True)
    assert (model_class.fit, model_class.historical_forecasts, model_class.backtest) == before
