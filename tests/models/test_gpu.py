"""A GPU gives what a CPU gives; `SEQ_PLUGINS_TEST_ACCELERATOR=gpu` tries all models of the other tests on one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import LaplaceLikelihood

from seq_plugins.models import SequenceModel
from tests.conftest import OUTPUT, make_model, make_series, takes, values_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def _series(**arguments: Any) -> TimeSeries:
    given: dict[str, Any] = {"length": 60, "components": 2, "dtype": np.float64}
    return make_series(**given | arguments)


def _model(name: str, accelerator: str, **arguments: Any) -> SequenceModel:
    trainer = {"accelerator": accelerator} | arguments.pop("pl_trainer_kwargs", {})
    return make_model(name, **{"n_epochs": 3} | arguments, pl_trainer_kwargs=trainer)


def _given() -> dict[str, Any]:
    covariates = {
        "past_covariates": _series(length=60 + OUTPUT, seed=1),
        "future_covariates": _series(length=60 + OUTPUT, components=1, seed=2),
    }
    validation = {f"val_{name}": series for name, series in covariates.items()}
    return {"series": _series(), "val_series": _series(seed=3)} | covariates | validation


def _assert_close(one: TimeSeries, other: TimeSeries) -> None:
    np.testing.assert_allclose(values_of(one), values_of(other), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"ensemble_size": 3},
        {"local_normalization": "level_scale", "season_length": 7},
        {"missing": "mask"},
        {"pl_trainer_kwargs": {"gradient_clip_val": 0.05}},
    ],
    ids=lambda arguments: " ".join(arguments) or "as they are",
)
@pytest.mark.parametrize("model", ["RNN", "LSTM", "GRU"])
def test_a_gpu_learns_and_forecasts_as_a_cpu(model_name: str, model: str, arguments: dict[str, Any]) -> None:
    if takes(model_name, "model"):
        arguments = arguments | {"model": model}
    elif model != "GRU":
        pytest.skip("the model has no cells")
    given = _given()
    if "missing" in arguments:
        values = values_of(given["series"]).copy()
        values[np.random.default_rng(1).random(values.shape) < 0.1] = np.nan
        given["series"] = given["series"].with_values(values)
    forecasts = [
        _model(model_name, accelerator, **arguments).fit(**given).predict(OUTPUT) for accelerator in ("gpu", "cpu")
    ]
    _assert_close(*forecasts)


def test_members_on_a_gpu_are_the_models_that_their_seeds_give_alone(model_name: str) -> None:
    arguments = {"dropout": 0.3} if takes(model_name, "dropout") else {}
    ensemble = _model(model_name, "gpu", ensemble_size=2, **arguments).fit(_series())
    for seed, member in enumerate(ensemble.members, start=1):
        alone = _model(model_name, "gpu", random_state=seed, **arguments).fit(_series())
        _assert_close(member.predict(OUTPUT, _series()), alone.predict(OUTPUT, _series()))


def test_a_model_from_a_gpu_loads_on_a_cpu_and_goes_on_there(model_name: str, tmp_path: Path) -> None:
    model = _model(model_name, "gpu").fit(_series())
    model.save(tmp_path / "model.pt")
    trainer = {"accelerator": "cpu", "enable_progress_bar": False}
    loaded = type(model).load(tmp_path / "model.pt", map_location="cpu", pl_trainer_kwargs=trainer)
    _assert_close(loaded.predict(OUTPUT), model.predict(OUTPUT))
    loaded.fit(_series(), epochs=1)
    assert {parameter.device.type for parameter in loaded.model.parameters()} == {"cpu"}


def test_a_model_from_a_cpu_is_fine_tuned_on_a_gpu(model_name: str, tmp_path: Path) -> None:
    model = _model(model_name, "cpu").fit(_series())
    model.save(tmp_path / "model.pt")
    trainer = {"accelerator": "gpu", "enable_progress_bar": False}
    loaded = type(model).load(tmp_path / "model.pt", pl_trainer_kwargs=trainer)
    _assert_close(loaded.predict(OUTPUT), model.predict(OUTPUT))
    assert np.isfinite(values_of(loaded.fit(_series(), epochs=1).predict(OUTPUT))).all()


def test_backtests_on_a_gpu_are_those_of_predict(model_name: str) -> None:
    model = _model(model_name, "gpu").fit(_series())
    forecasts = model.historical_forecasts(
        _series(), start=-3 * OUTPUT, start_format="position", forecast_horizon=OUTPUT, retrain=False,
        last_points_only=False, stride=OUTPUT,
    )  # fmt: skip
    for forecast in forecasts:
        _assert_close(forecast, model.predict(OUTPUT, _series().drop_after(forecast.start_time())))


def test_refits_on_a_gpu_are_the_same_on_several_processes() -> None:
    refits: dict[str, Any] = {
        "series": _series(), "start": -8, "start_format": "position", "forecast_horizon": OUTPUT, "retrain": True,
        "last_points_only": True,
    }  # fmt: skip
    model = _model("SimpleRNNModel", "gpu")
    np.testing.assert_allclose(
        values_of(model.historical_forecasts(**refits, n_jobs=2)), values_of(model.historical_forecasts(**refits)),
        rtol=1e-6,
    )  # fmt: skip


def test_likelihoods_and_dropout_draw_on_a_gpu_what_the_seed_says(model_name: str) -> None:
    arguments = {"dropout": 0.3} if takes(model_name, "dropout") else {}
    models = [_model(model_name, "gpu", likelihood=LaplaceLikelihood(), **arguments).fit(_series()) for _ in range(2)]
    drawn = [values_of(model.predict(2 * OUTPUT, num_samples=20)) for model in models]
    assert np.isfinite(drawn[0]).all()
    assert drawn[0].std(axis=2).min() > 0
    np.testing.assert_allclose(drawn[0], drawn[1], rtol=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true"])
def test_low_precisions_train_and_forecast_on_a_gpu(model_name: str, precision: str) -> None:
    model = _model(model_name, "gpu", pl_trainer_kwargs={"precision": precision})
    model.fit(_series(dtype=np.float32), future_covariates=_series(length=64, dtype=np.float32))
    assert np.isfinite(values_of(model.predict(OUTPUT))).all()
