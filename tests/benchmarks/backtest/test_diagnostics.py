"""What is behind mean errors, and which forecasts a page holds."""

import base64

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
    codes = np.arange(W * H).reshape(W, H) % 2
    codes[0] = -1
    found = diagnose(true, [low, high], [Grouping("half", ["even", "odd"], codes)], np.array([1.0, 2.0]))
    assert np.allclose(found.bias, (3 - 1) / 2 * (1 + 1 / 2) / 2)  # mean over seeds and components
    assert np.allclose(found.by_component, [2, 1])
    assert np.allclose(found.by_category, [[1.5, 1.5]])
    assert np.allclose(found.of_forecasts, [[2, 1]] * W)
    assert found.reached is not None
    assert found.reached.tolist() == [0, 1]


def test_a_grouping_takes_the_mean_of_each_category_and_passes_over_what_has_none() -> None:
    grouping = Grouping("day", ["Monday", "Tuesday"], np.array([[0, 1], [1, -1]]))
    assert grouping.counts.tolist() == [1, 2]
    assert grouping.means(np.array([[1.0, 2.0], [4.0, 100.0]])).tolist() == [1, 3]


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
