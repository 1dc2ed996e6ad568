"""What is behind mean errors, and which forecasts a page holds."""

import base64
from dataclasses import replace

import numpy as np

from benchmarks.backtest.browser import choose, pack
from benchmarks.backtest.diagnostics import Grouping, autocorrelation, diagnose, worst_forecasts
from benchmarks.harness.forecasts import PeriodForecasts

W, H, C = 20, 3, 2


def _forecasts(offset: float) -> tuple[np.ndarray, PeriodForecasts]:
    true = np.random.default_rng(0).normal(size=(W, H, C))
    quantiles = np.stack([true - 1, true + 1], axis=-1)
    return true, PeriodForecasts("test", np.arange(W), true + offset, quantiles, 0.0)


def test_diagnostics_are_those_of_the_obvious_sums() -> None:
    true, low = _forecasts(-1.0)
    _, high = _forecasts(3.0)
    codes = np.arange(W * H).reshape(W, H, 1) % 2
    codes[0] = -1
    found = diagnose(true, [low, high], [Grouping("half", ["even", "odd"], codes)], np.array([1.0, 2.0]))
    assert np.allclose(found.bias, (3 - 1) / 2 * (1 + 1 / 2) / 2)  # mean over seeds and components
    assert np.allclose(found.by_component, [2, 1])
    assert np.allclose(found.by_category, [[1.5, 1.5]])
    assert np.allclose(found.of_forecasts, [[2, 1]] * W)
    assert found.reached is not None
    assert found.reached.tolist() == [0, 1]


def test_a_grouping_takes_the_mean_of_each_category_and_passes_over_what_has_none() -> None:
    grouping = Grouping("day", ["Monday", "Tuesday"], np.array([[0, 1], [1, -1]])[..., None])
    values = np.array([[1.0, 2.0], [4.0, 100.0]])[..., None]
    assert grouping.counts(values).tolist() == [1, 2]
    assert grouping.means(values).tolist() == [1, 3]
    of_two = np.concatenate([values, np.array([[3.0, np.nan], [np.nan, 100.0]])[..., None]], axis=2)
    assert grouping.counts(of_two).tolist() == [2, 2]
    assert grouping.means(of_two).tolist() == [2, 3]
    of_each = Grouping("day", grouping.labels, np.concatenate([grouping.codes, grouping.codes[::-1]], axis=2))
    assert of_each.means(of_two).tolist() == [1, (2 + 4 + 3 + 100) / 4]


def test_truths_that_are_missing_count_nowhere() -> None:
    true, forecasts = _forecasts(1.0)
    halves = [Grouping("half", ["even", "odd"], np.arange(W * H).reshape(W, H, 1) % 2)]
    whole = diagnose(true[:, :, :1], [_only(forecasts, 0)], halves, np.ones(1))
    true[:, :, 1] = np.nan
    found = diagnose(true, [forecasts], halves, np.ones(2))
    for name in ("by_category", "bias", "reached"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name))
    assert np.isnan(found.by_component[1])
    assert {component for _, component in worst_forecasts(found.of_forecasts, H)} == {0}


def _only(forecasts: PeriodForecasts, component: int) -> PeriodForecasts:
    quantiles = forecasts.quantiles
    assert quantiles is not None
    of_one = slice(component, component + 1)
    return replace(forecasts, predicted=forecasts.predicted[:, :, of_one], quantiles=quantiles[:, :, of_one])


def test_the_autocorrelation_of_a_weekly_pattern_is_high_at_lag_seven_only() -> None:
    found = autocorrelation(np.sin(2 * np.pi * np.arange(70) / 7)[:, None])
    assert len(found) == 70 // 4
    assert found[6] > 0.85
    assert abs(found[:6]).max() < 0.95
    assert found[2] < 0
    assert autocorrelation(np.zeros((5, 1))).size == 0


def test_worst_forecasts_are_the_largest_errors_that_do_not_overlap() -> None:
    errors = np.zeros((10, 2))
    errors[4, 0], errors[5, 0], errors[5, 1], errors[8, 0] = 9, 8, 7, 6
    assert worst_forecasts(errors, 3)[:3] == [(4, 0), (5, 1), (8, 0)]
    assert worst_forecasts(np.zeros((1, 2)), 1) == [(0, 0), (0, 1)]


def test_packed_values_come_back_to_one_part_in_sixty_thousand_of_their_range() -> None:
    values = np.array([-5.0, np.nan, 0.123, 95.0])
    packed = pack(values)
    numbers = np.frombuffer(base64.b64decode(packed["numbers"]), dtype="<u2")
    restored = np.where(numbers == 65535, np.nan, packed["low"] + packed["step"] * numbers)
    assert np.allclose(restored, values, atol=100 / 60_000, equal_nan=True)
    assert pack(np.array([3.0]))["low"] == 3


def test_a_page_without_room_holds_spaced_forecasts_and_the_worst_ones() -> None:
    whole = choose((50, 4, 3), 2, [(7, 1)], np.arange(3.0), n_values=50 * 4 * 3 * 2)
    assert len(whole.origins) == 50
    assert whole.components.tolist() == [0, 1, 2]
    fewer = choose((50, 4, 3), 2, [(7, 1)], np.arange(3.0), n_values=20 * 4 * 3 * 2)
    assert len(fewer.origins) in (20, 21)
    assert {0, 7, 49} <= set(fewer.origins.tolist())
    least = choose((50, 4, 300), 2, [(7, 251)], np.arange(300.0), n_values=12 * 4 * 10 * 2)
    assert len(least.components) in (10, 11)
    assert 251 in least.components
    assert len(least.origins) in (12, 13)
