"""Errors of forecasts, compared with Darts' and obvious loops, and the interval of a difference of errors."""

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.metrics import mae, mase, mql, rmse, smape

from benchmarks.harness.metrics import measure, paired_difference, quantile_loss, revision, seasonal_naive_error


@pytest.fixture
def values() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    true = 5 + generator.random((6, 4, 2))
    return true, true + 0.3 * generator.standard_normal(true.shape)


def _series(values: np.ndarray) -> TimeSeries:
    return TimeSeries.from_values(values)


def test_errors_are_those_of_darts_at_each_step(values: tuple[np.ndarray, np.ndarray]) -> None:
    true, predicted = values
    history = 5 + np.random.default_rng(1).random((40, 2))
    errors = measure(true, predicted, seasonal_naive_error(history, 7))
    for step in range(4):
        # the forecasts' step as a series of its own; Darts returns the mean over components
        truth, forecast = _series(true[:, step]), _series(predicted[:, step])
        assert errors.mae[step] == pytest.approx(mae(truth, forecast))
        assert errors.smape[step] == pytest.approx(smape(truth, forecast))
        start = TimeSeries.from_values(history)
        later = [
            TimeSeries.from_times_and_values(_after(start, len(true)), values)
            for values in (true[:, step], predicted[:, step])
        ]
        assert errors.mase[step] == pytest.approx(mase(*later, insample=start, m=7))
        squared = [rmse(_series(true[:, step, [c]]), _series(predicted[:, step, [c]])) ** 2 for c in range(2)]
        assert errors.rmse[step] == pytest.approx(np.sqrt(np.mean(squared)))
    assert errors.crps is None
    assert errors.coverage is None


def _after(series: TimeSeries, length: int) -> pd.RangeIndex:
    return pd.RangeIndex(len(series), len(series) + length)


def test_quantile_losses_are_those_of_darts(values: tuple[np.ndarray, np.ndarray]) -> None:
    true, predicted = values
    levels = [0.1, 0.5, 0.9]
    quantiles = np.stack([predicted - 0.4, predicted, predicted + 0.4], axis=-1)
    errors = measure(true, predicted, np.ones(2), quantiles, levels)
    assert errors.crps is not None
    assert errors.coverage is not None
    for step in range(4):
        names = [f"{component}_q{level:.3f}" for component in "ab" for level in levels]
        forecast = TimeSeries.from_values(quantiles[:, step].reshape(6, -1), columns=names)
        truth = TimeSeries.from_values(true[:, step], columns=["a", "b"])
        assert errors.crps[step] == pytest.approx(np.mean(mql(truth, forecast, q=levels)))
        inside = [
            quantiles[w, step, c, 0] <= true[w, step, c] <= quantiles[w, step, c, 2] for w in range(6) for c in range(2)
        ]
        assert errors.coverage[step] == pytest.approx(np.mean(inside))


def test_the_loss_of_the_median_is_half_the_absolute_error() -> None:
    true = np.array([[[3.0]], [[5.0]]])
    loss = quantile_loss(true, np.array([[[[4.0]]], [[[4.0]]]]), [0.5])
    np.testing.assert_allclose(loss.ravel(), [0.5, 0.5])


def test_a_symmetric_percentage_error_of_zeros_is_zero() -> None:
    zeros = np.zeros((2, 1, 1))
    assert measure(zeros, zeros, np.ones(1)).smape == [0.0]


def test_a_clear_lead_has_an_interval_below_zero_and_the_same_each_time() -> None:
    generator = np.random.default_rng(0)
    rival = 10 + generator.random(100)
    errors = rival - 1 + 0.1 * generator.standard_normal(100)
    found = paired_difference(errors, rival, 14)
    assert found.low < found.mean < found.high < 0
    assert found.mean == pytest.approx(-1, abs=0.1)
    assert found == paired_difference(errors, rival, 14)


def test_equal_errors_have_no_difference() -> None:
    errors = np.arange(20.0)
    found = paired_difference(errors, errors, 5)
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_errors_that_stay_alike_for_long_make_a_wider_interval_in_blocks_than_one_by_one() -> None:
    generator = np.random.default_rng(0)
    errors = np.repeat(generator.standard_normal(10), 20)  # neighbours err together
    in_blocks = paired_difference(errors, np.zeros(200), 20)
    alone = paired_difference(errors, np.zeros(200), 1)
    assert in_blocks.high - in_blocks.low > 2 * (alone.high - alone.low)


def test_blocks_of_one_give_the_interval_of_the_plain_bootstrap() -> None:
    errors = np.random.default_rng(0).standard_normal(400)
    found = paired_difference(errors, np.zeros(400), 1)
    half_width = 1.96 * errors.std() / np.sqrt(400)
    assert found.high - found.low == pytest.approx(2 * half_width, rel=0.1)


def test_fewer_forecasts_than_two_blocks_have_no_interval() -> None:
    found = paired_difference(np.array([1.0, 3.0]), np.zeros(2), 14)
    assert found.mean == 2
    assert np.isnan([found.low, found.high]).all()


def test_a_forecast_of_which_nothing_is_known_has_no_part_in_a_difference() -> None:
    errors = np.random.default_rng(0).standard_normal(40)
    holes = np.insert(errors, [3, 20], np.nan)
    assert paired_difference(holes, np.zeros(42), 4) == paired_difference(errors, np.zeros(40), 4)


def test_a_truth_that_is_missing_counts_in_no_error(values: tuple[np.ndarray, np.ndarray]) -> None:
    true, predicted = values
    levels = [0.1, 0.9]
    quantiles = np.stack([predicted - 0.2, predicted + 0.2], axis=-1)
    whole = measure(true[1:], predicted[1:], np.ones(2), quantiles[1:], levels)
    true[0] = np.nan
    found = measure(true, predicted, np.ones(2), quantiles, levels)
    for name, expected in vars(whole).items():
        np.testing.assert_allclose(getattr(found, name), expected, err_msg=name)
    true[:, 2] = np.nan
    assert np.isnan(measure(true, predicted, np.ones(2)).mae).tolist() == [False, False, True, False]


def test_a_series_that_never_changes_has_no_scale() -> None:
    assert np.isnan(seasonal_naive_error(np.ones((20, 1)), 7)).all()


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_revision_is_the_mean_change_of_the_forecasts_of_the_same_date(stride: int) -> None:
    predicted = np.random.default_rng(0).normal(size=(6, 4, 2))
    changes = [
        np.abs(predicted[forecast, step - stride] - predicted[forecast - 1, step])  # the same date, a forecast later
        for forecast in range(1, 6)
        for step in range(stride, 4)
    ]
    assert revision(predicted, stride) == pytest.approx(np.mean(changes))


def test_forecasts_that_do_not_overlap_have_no_revision() -> None:
    predicted = np.zeros((6, 4, 2))
    assert revision(predicted, 4) is None
    assert revision(predicted[:1], 1) is None
