"""Local normalisation: forecasts that follow a series wherever it goes, from nothing later than the step."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import (
    CauchyLikelihood,
    GaussianLikelihood,
    GumbelLikelihood,
    LaplaceLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)

import seq_plugins
from seq_plugins.layers.local_normalization import LocalNormalization
from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, OUTPUT, make_model, make_series, takes, values_of

KINDS = ["level", "level_scale"]
SEASONS: list[Any] = [None, 3, [3, 7]]
QUANTILES = QuantileRegression([0.1, 0.5, 0.9])
WITH_WIDTH = [GaussianLikelihood(), LaplaceLikelihood(), CauchyLikelihood(), GumbelLikelihood()]


def _moved(series: TimeSeries, kind: str) -> tuple[TimeSeries, float, float]:
    """Return the series moved and, if the forecast is to follow, multiplied, with what by."""
    factor = 250.0 if kind == "level_scale" else 1.0
    return series * factor + 40.0, factor, 40.0


@pytest.mark.parametrize("season_length", SEASONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift", [0, 2])
def test_a_series_that_is_moved_and_multiplied_is_forecast_so(
    model_name: str, kind: str, season_length: Any, shift: int
) -> None:
    series, covariates = make_series(components=2, dtype=np.float64), make_series(60, seed=1, dtype=np.float64)
    model = make_model(model_name, local_normalization=kind, season_length=season_length, output_chunk_shift=shift)
    model.fit(series, past_covariates=covariates, future_covariates=covariates)
    moved, factor, offset = _moved(series, kind)
    given = {"past_covariates": covariates, "future_covariates": covariates}
    forecast = values_of(model.predict(OUTPUT, series, **given))
    np.testing.assert_allclose(values_of(model.predict(OUTPUT, moved, **given)), forecast * factor + offset, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_that_is_moved_and_multiplied_trains_the_same_network(model_name: str, kind: str) -> None:
    series = make_series(dtype=np.float64)
    moved, _, _ = _moved(series, kind)
    # values at their level are zero but for rounding, where ReLU has no derivative
    smooth = {"activation": "Tanh"} if takes(model_name, "activation") else {}
    first, second = (
        make_model(model_name, local_normalization=kind, season_length=7, **smooth).fit(given)
        for given in (series, moved)
    )
    for weights, others in zip(first.model.parameters(), second.model.parameters(), strict=True):
        torch.testing.assert_close(weights, others, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "likelihood", [QuantileRegression([0.1, 0.5, 0.9]), *WITH_WIDTH], ids=lambda of: type(of).__name__
)
def test_location_quantiles_and_width_follow_the_series(model_name: str, kind: str, likelihood: Any) -> None:
    series = make_series(dtype=np.float64)
    model = make_model(model_name, local_normalization=kind, season_length=7, likelihood=likelihood).fit(series)
    moved, factor, offset = _moved(series, kind)
    found = values_of(model.predict(OUTPUT, moved, predict_likelihood_parameters=True))[..., 0]
    expected = values_of(model.predict(OUTPUT, series, predict_likelihood_parameters=True))[..., 0] * factor
    expected[:, : 1 if isinstance(likelihood, tuple(map(type, WITH_WIDTH))) else 3] += offset
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    samples = model.predict(OUTPUT, moved, num_samples=20)
    assert np.isfinite(values_of(samples)).all()


def test_values_of_any_size_need_no_scaler(model_name: str, caplog: pytest.LogCaptureFixture) -> None:
    series = make_series(120) * 1e4 + 1e6
    model = make_model(
        model_name, local_normalization="level_scale", season_length=7, n_epochs=60, optimizer_kwargs={"lr": 1e-2}
    )
    forecast = model.fit(series[:100]).predict(OUTPUT)
    assert np.abs(values_of(forecast) - values_of(series[100 : 100 + OUTPUT])).max() < 5e3
    assert "Scale the series" not in caplog.text


def test_series_of_unlike_sizes_count_alike_in_the_loss() -> None:
    """Multiplied series have the same loss as they are: no series outweighs the others."""
    losses = []
    for factor in (1.0, 1e4):
        model = make_model("Seq2SeqRNNModel", local_normalization="level_scale", season_length=7)
        series = make_series(dtype=np.float64)
        model.fit([series, series * factor], val_series=series * factor, verbose=False)
        losses.append(model.trainer.callback_metrics["val_loss"])
    assert losses[0] == pytest.approx(float(losses[1]), rel=1e-6)


@pytest.mark.parametrize("season_lengths", [[], [3], [3, 5]])
def test_level_and_scale_are_means_of_what_a_step_has_seen(season_lengths: list[int]) -> None:
    season = season_lengths[0] if season_lengths else 1
    target = torch.tensor(np.random.default_rng(0).normal(size=(2, 17, 3))).cumsum(dim=1)
    local = LocalNormalization("level_scale", season_lengths, None)(target)
    for window, step, component in np.ndindex(*target.shape):
        seen = target[window, : step + 1, component]
        level = float(seen[-season:].mean())
        assert float(local.level[window, step, component]) == pytest.approx(level, rel=1e-12)
        if step:
            before = torch.stack([seen[max(0, i - season) : i].mean() for i in range(1, step + 1)])
            scale = float((seen[1:] - before).abs().mean())
            assert float(local.scale[window, step, component]) == pytest.approx(scale, rel=1e-12)


def test_what_has_not_changed_has_the_scale_of_its_level_or_one() -> None:
    normalization = LocalNormalization("level_scale", [3], None)
    for value, expected in [(0.1, 0.1), (-2e6, 2e6), (0.0, 1.0)]:
        local = normalization(torch.full((1, 12, 1), value))
        np.testing.assert_allclose(local.level.numpy(), value, rtol=1e-6)
        np.testing.assert_allclose(local.scale.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("season_length", SEASONS, ids=str)
def test_missing_values_and_short_histories_are_learnt_from(model_name: str, season_length: Any) -> None:
    series = make_series(100, components=2) * 30 + 500
    values = values_of(series).copy()
    values[np.random.default_rng(2).random(values.shape) < 0.2] = np.nan
    holes = series.with_values(values)
    model = make_model(
        model_name, missing="mask", local_normalization="level_scale", season_length=season_length, n_epochs=3
    )
    model.fit([holes[:60], holes[:6]], val_series=holes[60:])
    for history in (holes, holes[:1], holes[:5]):
        forecast = values_of(model.predict(OUTPUT, history))
        known = values_of(history)[~np.isnan(values_of(history))]
        assert np.isfinite(forecast).all()
        if known.size > 2:
            assert np.abs(forecast - 500).max() < 300


@pytest.mark.parametrize("kind", KINDS)
def test_without_missing_values_masking_changes_no_level(kind: Any) -> None:
    target = torch.tensor(np.random.default_rng(0).normal(size=(2, 17, 3)))
    normalization = LocalNormalization(kind, [3], None)
    for plain, masked in zip(normalization(target), normalization(target, torch.ones_like(target) > 0), strict=True):
        torch.testing.assert_close(plain, masked)


@pytest.mark.filterwarnings(
    # PyTorch's exporter, of its own code
    "ignore:_check_is_size will be removed:FutureWarning",
    "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
)
@pytest.mark.parametrize(
    "arguments",
    [pytest.param({}, id="points"), pytest.param({"likelihood": GaussianLikelihood()}, id="Gaussian")],
)
@pytest.mark.slow
def test_a_saved_and_an_exported_network_forecast_the_same(
    model_name: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    series = make_series() * 20 + 300
    model = make_model(model_name, local_normalization="level_scale", season_length=[3, 7], **arguments).fit(series)
    parameters = {"predict_likelihood_parameters": True} if arguments else {}
    expected = values_of(model.predict(OUTPUT, **parameters))
    model.save(str(tmp_path / "model.pt"))
    loaded: SequenceModel = getattr(seq_plugins, model_name).load(str(tmp_path / "model.pt"))
    np.testing.assert_array_equal(values_of(loaded.predict(OUTPUT, **parameters)), expected)
    model.to_onnx(tmp_path / "model.onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    window = values_of(series)[-INPUT:].transpose(2, 0, 1)
    (exported,) = session.run(None, {"past_target": window})
    if not arguments:
        np.testing.assert_allclose(exported[0, ..., 0], expected[..., 0], rtol=1e-4)
    else:
        np.testing.assert_allclose(exported[0, :, 0, 0], expected[:, 0, 0], rtol=1e-4)
        np.testing.assert_allclose(np.logaddexp(exported[0, :, 0, 1], 0), expected[:, 1, 0], rtol=1e-3)


def test_a_backtest_equals_forecasts_one_by_one(model_name: str) -> None:
    series = make_series(60) * 20 + 300
    model = make_model(model_name, local_normalization="level_scale", season_length=7).fit(series[:40])
    history = model.historical_forecasts(
        series, start=40, forecast_horizon=OUTPUT, retrain=False, last_points_only=False, verbose=False
    )
    for forecast in history[::5]:
        alone = model.predict(OUTPUT, series.drop_after(forecast.start_time()))
        np.testing.assert_allclose(values_of(forecast), values_of(alone), rtol=1e-5)


@pytest.mark.parametrize("name", ["Seq2SeqRNNModel", "Conv1DGRUModel"])
def test_a_sample_weight_of_zero_leaves_a_step_out(name: str) -> None:
    series = make_series(40, dtype=np.float64)
    spoiled = values_of(series).copy()
    spoiled[-1] += 1e3  # the last target of the last window
    weight = np.ones((40, 1, 1))
    weight[-1] = 0.0
    models = []
    for values in (values_of(series), spoiled):
        model = make_model(name, local_normalization="level_scale", season_length=3)
        models.append(model.fit(series.with_values(values), sample_weight=series.with_values(weight)))
    for weights, others in zip(models[0].model.parameters(), models[1].model.parameters(), strict=True):
        torch.testing.assert_close(weights, others, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"local_normalization": "mean"}, "level_scale"),
        ({"local_normalization": "level", "use_reversible_instance_norm": True}, "Leave one of the two out"),
        ({"local_normalization": "level", "likelihood": PoissonLikelihood()}, "Leave `local_normalization` out"),
        ({"local_normalization": "level", "likelihood": GaussianLikelihood(prior_mu=1.0)}, "no prior"),
        ({"season_length": [3, 3]}, "each season once"),
        ({"season_length": []}, "each season once"),
        ({"season_length": [3, "7"]}, r"season_length\[1\]"),
        ({"season_length": [3, 10]}, "at least 13 long"),
    ],
)
def test_what_does_not_go_together_is_told_with_what_helps(
    model_name: str, arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        make_model(model_name, **arguments)


def test_each_forecast_chooses_among_the_seasons() -> None:
    """One series repeats itself after 3 steps and one after 7: one network learns which is which."""
    generator = np.random.default_rng(0)
    patterns = [np.tile(generator.normal(size=season) * 3, 200)[:200] for season in (3, 7)]
    series = [TimeSeries.from_values(pattern.astype(np.float32)) for pattern in patterns]
    model = make_model(
        "Seq2SeqRNNModel", model="GRU", season_length=[3, 7], n_epochs=40, optimizer_kwargs={"lr": 1e-2},
        local_normalization="level_scale", input_chunk_length=21, loss_fn=torch.nn.L1Loss(),
    )  # fmt: skip
    forecasts = model.fit([s[:180] for s in series]).predict(OUTPUT, [s[:180] for s in series])
    for forecast, one in zip(forecasts, series, strict=True):
        assert np.abs(values_of(forecast) - values_of(one[180 : 180 + OUTPUT])).mean() < 0.3


def test_few_digits_do_not_make_a_series_look_unchanged() -> None:
    target = 100 + 5 * torch.sin(2 * torch.pi * torch.arange(28.0) / 7)[None, :, None]
    normalization = LocalNormalization("level_scale", [7], None)
    exact, rounded = normalization(target), normalization(target.bfloat16())
    assert rounded.scale.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.scale.float(), exact.scale, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("season_length", [np.int64(7), [np.int64(3), np.int64(7)]], ids=str)
def test_seasons_may_be_integers_of_numpy(season_length: Any, tmp_path: Path) -> None:
    model = make_model("Seq2SeqRNNModel", season_length=season_length).fit(make_series())
    model.save(str(tmp_path / "model.pt"))
    loaded = seq_plugins.Seq2SeqRNNModel.load(str(tmp_path / "model.pt"))
    np.testing.assert_array_equal(values_of(loaded.predict(OUTPUT)), values_of(model.predict(OUTPUT)))


@pytest.mark.parametrize(("size", "warns"), [(0.0, False), (30.0, True)])
def test_what_follows_a_window_that_hardly_changes_is_told(
    size: float, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    values = 100 + 0.001 * np.random.default_rng(0).normal(size=60)
    values[50:] += size
    make_model("SimpleRNNModel", local_normalization="level_scale").fit(TimeSeries.from_values(values))
    assert ("L1Loss" in caplog.text) == warns


def test_the_validation_loss_does_not_depend_on_how_windows_without_values_fall_into_batches() -> None:
    series = make_series(80, dtype=np.float64)
    values = values_of(series).copy()
    values[:30] = np.nan
    losses = []
    for batch_size in (4, 1000):
        model = make_model(
            "Seq2SeqRNNModel",
            batch_size=batch_size,
            missing="mask",
            local_normalization="level_scale",
            season_length=3,
            optimizer_kwargs={"lr": 1e-12},  # the same network, whatever it is trained on
        )
        model.fit(series, val_series=series.with_values(values))
        losses.append(float(model.trainer.callback_metrics["val_loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
