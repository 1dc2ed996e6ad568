"""What is not asked for is guessed from the frequency and the length of the series, and fits them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

from seq_plugins._command_line import UserError
from seq_plugins.forecasting.choosing import Score, backtest, best_of, score_lines
from seq_plugins.forecasting.naive import SeasonalNaive, last_season
from seq_plugins.forecasting.plan import Plan, Wishes, make_plan
from seq_plugins.forecasting.scaling import Scaling
from seq_plugins.tables import Panel


def _panel(n_steps: int, freq: str | int = "D", n_series: int = 1, values: np.ndarray | None = None) -> Panel:
    numbers = np.arange(n_steps) - 1.0 if values is None else values
    if isinstance(freq, int):
        times: pd.Index = pd.RangeIndex(0, n_steps * freq, freq)
    else:
        times = pd.date_range("2020-01-01", periods=n_steps, freq=freq)
    one = TimeSeries.from_times_and_values(times, numbers, columns=["sold"])
    return Panel([one] * n_series, None, None, [f"P{i}" for i in range(n_series)])


def _plan(panel: Panel, **wishes: Any) -> Plan:
    guessed: dict[str, Any] = dict.fromkeys(("horizon", "input_length", "seasons", "n_folds", "minimum"))
    given: dict[str, Any] = {"quantiles": [0.1, 0.9], "n_epochs": 2, "seed": 0, "settings": {}}
    return make_plan(Wishes(**(guessed | given | wishes)), panel, None, [])


@pytest.mark.parametrize(
    ("freq", "n_steps", "horizon", "seasons", "calendar"),
    [
        ("15min", 5000, 96, [96], ["hour", "day_of_week"]),
        ("h", 5000, 24, [24, 168], ["hour", "day_of_week"]),
        ("h", 400, 24, [24], ["hour", "day_of_week"]),
        ("D", 400, 14, [7], ["day_of_week"]),
        ("D", 800, 14, [7], ["day_of_week", "day_of_year"]),
        ("B", 400, 10, [5], ["day_of_week"]),
        ("W-MON", 200, 8, [52], ["day_of_year"]),
        ("W-MON", 80, 8, [], []),
        ("MS", 100, 12, [12], ["day_of_year"]),
        ("QE-DEC", 60, 4, [4], ["day_of_year"]),
        ("YS-JAN", 20, 3, [], ["day_of_year"]),
        (10, 100, 12, [], []),
    ],
)
def test_horizon_seasons_and_calendar_follow_from_the_frequency(
    freq: str | int, n_steps: int, horizon: int, seasons: list[int], calendar: list[str]
) -> None:
    plan = _plan(_panel(n_steps, freq))
    assert (plan.horizon, plan.seasons, plan.calendar) == (horizon, seasons, calendar)


@pytest.mark.parametrize("n_steps", [3, 6, 12, 30, 50, 200])
@pytest.mark.parametrize("freq", ["h", "D", "MS"])
def test_a_plan_fits_series_of_any_length(n_steps: int, freq: str) -> None:
    panel = _panel(n_steps, freq)
    plan = _plan(panel, horizon=max(1, n_steps // 6))
    assert plan.input_length + plan.horizon <= n_steps - plan.n_folds * plan.horizon
    assert plan.input_length >= sum({*plan.seasons[:1], *plan.seasons[-1:]})


def test_windows_of_long_series_are_some_steps_apart_but_at_every_hour() -> None:
    plan = _plan(_panel(20_000, "h"))
    assert plan.stride > 1
    assert np.gcd(plan.stride, 24) == 1


def test_a_table_that_is_too_short_is_told_with_a_horizon_that_fits() -> None:
    with pytest.raises(UserError, match=r"expected at least 60\. Give --horizon 10"):
        _plan(_panel(30), horizon=20)
    assert _plan(_panel(30), horizon=10).n_folds == 1


def test_quantiles_are_forecast_with_the_median_and_as_many_on_either_side() -> None:
    assert _plan(_panel(100), quantiles=[0.05, 0.8]).levels == [0.05, 0.2, 0.5, 0.8, 0.95]


def test_nothing_falls_below_zero_where_nothing_was() -> None:
    assert _plan(_panel(100)).minimum is None  # the first value is negative
    assert _plan(_panel(100, values=np.arange(100.0))).minimum == 0
    assert _plan(_panel(100, values=np.arange(100.0)), minimum=-np.inf).minimum is None


def test_the_last_season_is_repeated_and_where_it_is_missing_the_one_before() -> None:
    values = np.array([[1.0], [2], [3], [4], [np.nan], [6]])
    np.testing.assert_array_equal(last_season(values, 3, 5)[:, 0], [4, 2, 6, 4, 2])
    np.testing.assert_array_equal(last_season(values[-2:], 3, 3)[:, 0], [6, 6, 6])


def test_the_naive_quantiles_are_those_of_its_past_errors() -> None:
    trend = np.arange(200.0)
    plan = _plan(_panel(200, values=trend), seasons=[7], horizon=14)
    forecast = SeasonalNaive(plan).forecast(_panel(200, values=trend))  # always 7 too low after a week
    np.testing.assert_array_equal(forecast[0, :, 0], np.tile(193.0 + np.arange(14) % 7, (3, 1)).T)
    noise = np.random.default_rng(0).normal(size=2000)
    plan = _plan(_panel(2000, values=noise), seasons=[1], horizon=1)
    quantiles = SeasonalNaive(plan).forecast(_panel(2000, values=noise))[0, 0, 0]
    np.testing.assert_allclose(quantiles - quantiles[1], [-1.8, 0, 1.8], atol=0.15)  # of a difference of two


def test_scores_are_in_units_of_the_seasonal_naive_error() -> None:
    values = np.tile([1.0, 2, 3, 4, 5, 6, 7], 20) + np.repeat(np.arange(20.0), 7)  # each week one more
    panel = _panel(140, values=values, n_series=2)
    plan = _plan(panel, seasons=[7], horizon=7)
    (score,) = backtest([SeasonalNaive(plan)], panel, plan, lambda: None)
    assert (score.mase, score.mae) == (1.0, 1.0)
    assert score.coverage == 0.0
    others = [Score("a", 0.5, 3.0, 0.8), Score("b", 0.4, 4.0, 0.7)]
    assert best_of(others).model == "b"
    assert best_of([Score("a", np.nan, 3.0, 0.8), Score("b", 0.4, 4.0, 0.7)]).model == "a"
    assert [line.split()[0] for line in score_lines(others, plan)] == ["model", "b", "a"]


def test_scaling_is_undone_and_leaves_indicators_alone() -> None:
    values = np.stack([np.arange(10.0) * 100, np.arange(10) % 2], axis=1)
    values[3, 0] = np.nan
    one = TimeSeries.from_times_and_values(pd.RangeIndex(10), values, columns=["sold", "open"])
    statics = pd.DataFrame({"size": [5.0]})
    panel = Panel(
        [one.with_static_covariates(statics), one.with_static_covariates(statics * 3)], None, None, ["a", "b"]
    )
    scaling = Scaling.of(panel)
    assert scaling.targets["open"] == [0.0, 1.0]
    scaled = scaling.inputs(panel)["series"]
    assert scaled[0].dtype == np.float32
    assert [series.static_covariates.to_numpy().ravel()[0] for series in scaled] == [-1, 1]
    np.testing.assert_allclose(np.nanmean(scaled[0].values()[:, 0]), 0, atol=1e-6)
    np.testing.assert_allclose(scaling.restore(scaled[0].values()[..., None])[..., 0], values, atol=1e-3)
