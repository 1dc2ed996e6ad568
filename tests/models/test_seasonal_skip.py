"""The skip connection from the last season to the forecast."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from darts.models import NaiveSeasonal
from darts.utils.likelihood_models.torch import (
    GaussianLikelihood,
    LaplaceLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)

import seq_plugins
from seq_plugins.layers.missing_values import fill_from_earlier_seasons
from seq_plugins.layers.seasonal_skip import SeasonalSkip
from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of


def _silenced(model: SequenceModel) -> SequenceModel:
    """Return `model` with a network that adds nothing to the season."""
    for weight in model.model.parameters():
        torch.nn.init.zeros_(weight)
    return model


@pytest.mark.parametrize(("season_length", "shift"), [(7, 0), (3, 0), (INPUT, 0), (1, 0), (7, 2), (3, 5)])
def test_a_network_of_zeros_forecasts_the_last_season(model_name: str, season_length: int, shift: int) -> None:
    series = make_series(components=2)
    model = make_model(model_name, season_length=season_length, output_chunk_shift=shift).fit(series)
    naive = NaiveSeasonal(K=season_length).fit(series).predict(shift + OUTPUT)[shift:]
    np.testing.assert_array_equal(values_of(_silenced(model).predict(OUTPUT)), values_of(naive))


def test_a_missing_value_of_the_season_is_that_of_the_season_before(model_name: str) -> None:
    series = make_series(components=2)
    values = values_of(series).copy()
    values[-6, 1] = np.nan
    model = make_model(model_name, input_chunk_length=16, season_length=7, missing="mask").fit(
        series.with_values(values)
    )
    expected = values_of(NaiveSeasonal(K=7).fit(series).predict(OUTPUT)).copy()
    expected[1, 1] = values_of(series)[-13, 1]
    np.testing.assert_array_equal(values_of(_silenced(model).predict(OUTPUT)), expected)


def test_missing_values_are_taken_from_the_newest_season_that_has_them_and_from_nothing_later() -> None:
    generator = np.random.default_rng(0)
    target = torch.tensor(generator.normal(size=(3, 17, 2)))
    target[torch.tensor(generator.random(target.shape) < 0.4)] = torch.nan
    filled = fill_from_earlier_seasons(target, 5)
    for window, step, component in np.ndindex(*target.shape):
        phase = target[window, step % 5 : step + 1 : 5, component]
        so_far = target[window, : step + 1, component]
        phase, so_far = phase[~phase.isnan()], so_far[~so_far.isnan()]
        expected = phase[-1] if len(phase) else so_far.mean() if len(so_far) else torch.tensor(0.0)
        assert float(filled[window, step, component]) == pytest.approx(float(expected), rel=1e-12)


def test_a_season_with_holes_is_forecast_on_the_level_of_the_series(recurrent_model_name: str) -> None:
    series = make_series(200) + 20.0
    values = values_of(series).copy()
    values[np.random.default_rng(1).random(len(values)) < 0.1] = np.nan
    model = make_model(recurrent_model_name, season_length=7, missing="mask").fit(series.with_values(values)[:150])
    history = model.historical_forecasts(
        series.with_values(values), start=150, forecast_horizon=OUTPUT, retrain=False, verbose=False
    )
    assert np.abs(values_of(history) - values_of(series.slice_intersect(history))).max() < 10


def test_beyond_the_horizon_the_season_goes_on(model_name: str) -> None:
    series = make_series()
    model = _silenced(make_model(model_name, season_length=7).fit(series))
    naive = NaiveSeasonal(K=7).fit(series).predict(23)
    np.testing.assert_array_equal(values_of(model.predict(23)), values_of(naive))


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("season_length", [1, 4, 9])
def test_each_state_is_given_the_newest_value_of_the_same_phase_that_it_has_seen(
    season_length: int, shift: int
) -> None:
    ends, horizon = [9, 11, 14], 6
    past_target = torch.arange(2 * 15 * 3.0).reshape(2, 15, 3)
    skip = SeasonalSkip([season_length], shift, horizon, state_dim=0, likelihood=None)
    expected = torch.empty(2, len(ends), horizon, 3)
    for state, end in enumerate(ends):
        for step in range(horizon):
            time = end + shift + 1 + step
            while time > end:
                time -= season_length
            expected[:, state, step] = past_target[:, time]
    torch.testing.assert_close(skip(past_target, torch.tensor(ends))[..., 0], expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("likelihood", "shares"),
    [
        (QuantileRegression([0.1, 0.5, 0.9]), [1, 1, 1]),
        (GaussianLikelihood(), [1, 0]),
        (LaplaceLikelihood(), [1, 0]),
    ],
)
def test_the_season_is_added_to_quantiles_and_locations_only(likelihood: Any, shares: list[int]) -> None:
    skip = SeasonalSkip([2], 0, 1, state_dim=0, likelihood=likelihood)
    seasons = skip(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]]), torch.tensor([3]))
    added = skip.added_to(torch.zeros(1, 1, 1, 1, len(shares)), seasons)
    assert added.flatten().tolist() == [3.0 * share for share in shares]


@pytest.mark.parametrize("likelihood", [QuantileRegression([0.1, 0.5, 0.9]), LaplaceLikelihood()])
def test_quantiles_and_locations_of_a_network_of_zeros_are_the_last_season(model_name: str, likelihood: Any) -> None:
    series = make_series()
    model = _silenced(make_model(model_name, season_length=7, likelihood=likelihood).fit(series))
    found = values_of(model.predict(OUTPUT, predict_likelihood_parameters=True))[..., 0]
    naive = values_of(NaiveSeasonal(K=7).fit(series).predict(OUTPUT))[..., 0]
    is_quantile = isinstance(likelihood, QuantileRegression)
    np.testing.assert_array_equal(found if is_quantile else found[:, :1], naive.repeat(3 if is_quantile else 1, axis=1))


@pytest.mark.parametrize("name", ["Seq2SeqRNNModel", "Conv1DGRUModel"])
def test_states_that_have_not_seen_a_season_do_not_count_in_the_loss(name: str) -> None:
    model = make_model(name, season_length=7).fit(make_series())
    ends = [model.model.step_ends[step] for step in model.model._loss_steps]
    assert min(ends) >= 6
    assert max(ends) == INPUT - 1
    assert len(ends) < len(make_model(name).fit(make_series()).model._loss_steps)


def test_every_step_of_the_loss_has_its_own_season() -> None:
    """With a network of zeros the loss is that of the seasonal naive forecasts from each step."""
    series = make_series(length=INPUT + OUTPUT)
    model = make_model("Seq2SeqRNNModel", season_length=3, n_epochs=1)
    model.fit(series)
    values = values_of(series)[:, 0, 0]
    errors = [
        values[end + 1 + step] - values[end + 1 - 3 + step % 3] for end in range(2, INPUT) for step in range(OUTPUT)
    ]
    _silenced(model).fit(series)
    loss = model.trainer.callback_metrics["train_loss"]
    assert float(loss) == pytest.approx(float(np.square(errors).mean()), rel=1e-5)


def test_a_model_with_a_season_trains_alike_on_both_paths_and_is_saved_with_it(model_name: str, tmp_path: Path) -> None:
    series, forecasts = make_series(), []
    for fast in (True, False):
        model = make_model(model_name, season_length=7)
        model.fast_training = model.fast_prediction = fast
        model.fit(series)
        forecasts.append(values_of(model.predict(OUTPUT)))
    np.testing.assert_allclose(forecasts[0], forecasts[1], rtol=1e-5)
    model.save(tmp_path / "model.pt")
    loaded = getattr(seq_plugins, model_name).load(tmp_path / "model.pt")
    np.testing.assert_array_equal(values_of(loaded.predict(OUTPUT)), forecasts[1])


@pytest.mark.slow
@pytest.mark.filterwarnings(
    # PyTorch's exporter calls what it has deprecated itself, and names one dimension for several inputs
    "ignore:_check_is_size will be removed:FutureWarning",
    "ignore:# The axis name. batch will not be used",
    # Darts' instance normalisation keeps the statistics of its batch
    "ignore:The tensor attributes? self.pl_module.rin",
)
def test_an_exported_network_adds_the_season(model_name: str, tmp_path: Path) -> None:
    series = make_series()
    model = make_model(model_name, season_length=7).fit(series)
    model.to_onnx(tmp_path / "model.onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    windows = np.stack([values_of(series)[start : start + INPUT, :, 0] for start in (0, 5, 9)])
    exported = session.run(None, {session.get_inputs()[0].name: windows})[0]
    for start, found in zip((0, 5, 9), exported, strict=True):
        expected = values_of(model.predict(OUTPUT, series[start : start + INPUT]))
        np.testing.assert_allclose(found[..., 0], expected[..., 0], rtol=1e-4, atol=1e-5)


def test_scaling_and_shifting_a_window_scales_and_shifts_a_normalised_forecast_with_a_season(model_name: str) -> None:
    series = make_series()
    model = make_model(model_name, season_length=7, use_reversible_instance_norm=True).fit(series)
    expected = values_of(model.predict(OUTPUT)) * 3 + 10
    np.testing.assert_allclose(values_of(model.predict(OUTPUT, series * 3 + 10)), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"season_length": 0}, "`season_length` to be an integer of at least 1, got 0"),
        ({"season_length": 2.5}, "`season_length` to be an integer of at least 1, got 2.5"),
        (
            {"season_length": INPUT + 1},
            f"at most input_chunk_length={INPUT}.*got {INPUT + 1}. Make the input chunk longer",
        ),
        ({"season_length": 7, "likelihood": PoissonLikelihood()}, "`likelihood` to be None, .*got PoissonLikelihood"),
    ],
)
def test_a_season_that_cannot_be_added_is_refused(model_name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(model_name, **arguments)


def test_a_weekly_pattern_on_a_rising_level_is_learned_better_with_a_season(recurrent_model_name: str) -> None:
    steps = np.arange(400)
    series = make_series(400) + make_series(400).with_values((0.05 * steps)[:, None, None].astype(np.float32))
    errors = []
    for season_length in (None, 7):
        model = make_model(recurrent_model_name, season_length=season_length, n_epochs=5).fit(series[:300])
        history = model.historical_forecasts(series, start=300, forecast_horizon=OUTPUT, retrain=False, verbose=False)
        truth = series.slice_intersect(history)
        errors.append(np.abs(values_of(history) - values_of(truth)).mean())
    assert errors[1] < errors[0] / 2
