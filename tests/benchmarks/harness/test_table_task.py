"""A user's table as a task: what of it is given to models, and what their errors are computed from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.core.errors import UserError
from benchmarks.harness.entries import ENTRIES
from benchmarks.harness.plan import Plan, plan_runs
from benchmarks.harness.run import fit_model
from benchmarks.harness.series import TaskData, fill
from benchmarks.harness.table_task import Lengths, read_table, table_task
from benchmarks.harness.task import Task
from seq_plugins.tables import TableOptions

LENGTHS = Lengths(horizon=3, input_length=6)
N_TRAIN, N_TEST = 42, 9  # of 60 steps


def _table(begins: tuple[int, ...] = (0, 5, 38), n_days: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    tables = []
    for number, begin in enumerate(begins):
        days = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=n_days), "shop": f"S{number}"})
        days["size"] = 10.0 * number
        days["sold"] = 10.0**number * generator.uniform(1, 2, n_days)
        days["price"] = generator.uniform(1, 2, n_days)
        tables.append(days[begin:])
    return pd.concat(tables, ignore_index=True)


def _task(table: pd.DataFrame, lengths: Lengths = LENGTHS, notes: list[str] | None = None, **options: Any) -> Task:
    table.to_csv("shops.csv", index=False)
    columns = TableOptions(["sold"], id="shop", static=["size"], past=["price"], **options)
    return table_task(read_table(Path("shops.csv"), columns), lengths, [] if notes is None else notes)


class _Model:
    """Keeps what it is fitted on, and cannot deal with missing values."""

    supports_past_covariates = supports_future_covariates = supports_static_covariates = True
    min_train_series_length = 9

    def fit(self, series: Any, past_covariates: Any = None, sample_weight: Any = None, stride: int = 1) -> None:
        self.series, self.past_covariates, self.sample_weight = series, past_covariates, sample_weight


def _fitted(task: Task, name: str = "LinearRegressionModel") -> tuple[_Model, list[str]]:
    ((run,),) = plan_runs(Plan(task), [ENTRIES[name]], 1)
    model, data, settings = _Model(), TaskData(task), run.entry.settings_in(task)
    inputs = data.inputs_of(model, fills=run.entry.fills_gaps)
    fit_model(data, replace(run.entry, is_network=False), settings, model, inputs, run)
    return model, inputs.cannot_take


def test_each_series_of_a_panel_has_its_own_columns_and_begins_where_it_was_first_observed() -> None:
    table = _table((0, 5, 20))
    task = _task(table)
    model, cannot_take = _fitted(task)
    assert cannot_take == []
    assert model.sample_weight is None
    for i, (series, past, begin) in enumerate(zip(model.series, model.past_covariates, (0, 5, 20), strict=True)):
        own = table[table["shop"] == f"S{i}"][: N_TRAIN - begin]
        assert series.start_time() == pd.Timestamp("2024-01-01") + pd.Timedelta(days=begin)
        scaled = (own["sold"] - own["sold"].mean()) / own["sold"].std(ddof=0)  # each by itself
        np.testing.assert_allclose(series.values()[:, 0], scaled, atol=1e-5)
        np.testing.assert_allclose(
            series.static_covariates_values().item(), (10 * i - 10) / np.std([0, 10, 20]), rtol=1e-6
        )
        assert past.end_time() == pd.Timestamp("2024-02-29")
    prices = table["price"][table["day"] < "2024-02-12"]  # over all series
    first = (table["price"][:N_TRAIN] - prices.mean()) / prices.std(ddof=0)
    np.testing.assert_allclose(model.past_covariates[0].values()[:N_TRAIN, 0], first, atol=1e-5)
    assert task.names == ["S0", "S1", "S2"]
    np.testing.assert_allclose(
        TaskData(task).truth(task.tests[0])[0, :, 1], table[table["shop"] == "S1"]["sold"][-N_TEST:][:3], rtol=1e-5
    )


def test_what_a_rival_cannot_do_without_is_filled_and_has_no_weight_and_ours_see_the_gaps() -> None:
    table = _table()
    table.loc[[10, 11], "sold"] = np.nan
    table = table.drop(index=70)  # no row at all
    task = _task(table)
    assert task.has_gaps
    model, cannot_take = _fitted(task)
    assert cannot_take == ["missing values and short histories (filled by what was known before, and never scored)"]
    for series, weight, first in zip(model.series, model.sample_weight, (0, 5, N_TRAIN - 9), strict=True):
        assert np.isfinite(series.values()).all()
        assert weight.time_index.equals(series.time_index)
        assert series.start_time() == pd.Timestamp("2024-01-01") + pd.Timedelta(days=first)
    assert np.flatnonzero(model.sample_weight[0].values() == 0).tolist() == [10, 11]
    values = model.series[0].values()[:, 0]
    assert values[10:12].tolist() == values[3:5].tolist()  # of the week before
    assert (model.series[2].values()[:6] == model.series[2].values()[5]).all()  # four days are too few
    assert model.sample_weight[2].values()[:, 0].tolist() == 5 * [0] + 4 * [1]
    ours, cannot_take = _fitted(task, "LinearModel")
    assert cannot_take == []
    assert ours.sample_weight is None
    assert np.flatnonzero(np.isnan(ours.series[0].values())).tolist() == [10, 11]
    assert task.models["LinearModel"]["missing"] == "mask"


@pytest.mark.parametrize("season", [1, 3])
def test_gaps_are_filled_by_nothing_that_comes_later(season: int) -> None:
    generator = np.random.default_rng(0)
    values = generator.random((20, 4)).astype("float32")
    values[generator.random(values.shape) < 0.4] = np.nan
    values[:6, 0] = np.nan
    values[:, 1] = np.nan
    filled = fill(values, season)
    for column in range(4):
        first = next((value for value in values[:, column] if np.isfinite(value)), 0)
        expected: list[float] = []
        for row, value in enumerate(values[:, column]):
            begun = np.isfinite(values[: row + 1, column]).any()
            before = [expected[row - lag] for lag in (season, 1) if row >= lag]
            were_known = [np.isfinite(values[: row - lag + 1, column]).any() for lag in (season, 1) if row >= lag]
            known = [one for one, was in zip(before, were_known, strict=True) if was]
            expected.append(value if np.isfinite(value) else known[0] if begun and known else first)
        np.testing.assert_array_equal(filled[:, column], np.array(expected, "float32"))


def test_errors_are_never_computed_on_what_was_filled() -> None:
    table = _table((0, 0, 0))
    last = table.index[table["day"] >= "2024-02-23"]
    table.loc[last[:3], "sold"] = np.nan
    truth = {}
    for missing in ("keep", "interpolate", "zero"):
        task = _task(table, missing=missing)
        truth[missing] = TaskData(task).truth(task.tests[0])
        assert np.isfinite(TaskData(task).target.values()).all() == (missing != "keep")
    is_missing = np.isnan(truth["keep"])
    assert is_missing[:, :, 1:].sum() == 0
    observed = pd.Series(table["sold"][:60]).to_numpy()[-N_TEST:]
    windows = np.lib.stride_tricks.sliding_window_view(observed, 3)
    np.testing.assert_array_equal(is_missing[:, :, 0], np.isnan(windows))
    starts_in_gap = np.isnan(np.concatenate([[0.0], observed]))[: len(windows)]
    assert starts_in_gap.sum() == 3
    # what a gap was interpolated with has seen its end, so nothing that starts within it counts
    np.testing.assert_array_equal(np.isnan(truth["interpolate"])[:, :, 0], np.isnan(windows) | starts_in_gap[:, None])
    np.testing.assert_allclose(truth["zero"][:, :, 0], np.nan_to_num(truth["keep"][:, :, 0]), atol=1e-5)


def test_the_periods_are_told_and_can_be_given() -> None:
    notes: list[str] = []
    _task(_table(), notes=notes)
    assert notes[-2] == "Season: 7 time steps (--season-length)."
    assert notes[-1] == (
        "Training from 2024-01-01 to 2024-02-11, early stopping to 2024-02-20 (--stopping-length), test to 2024-02-29 "
        "(--test-length); forecasts of 3 time steps are made from 6 (--input-length)."
    )
    task = _task(_table(), replace(LENGTHS, stopping_length=5, test_length=20))
    assert [(period.start.day_of_year, period.end.day_of_year) for period in (task.train, *task.tests)] == [
        (1, 35),
        (41, 60),
    ]


def test_seasons_that_fit_the_window_are_those_of_ours_and_the_naive_forecast_repeats_the_longest() -> None:
    found = {}
    for seasons in ([1], [3], [3, 2], [7, 3], [7]):
        task = _task(_table(), replace(LENGTHS, season_length=seasons))
        found[task.season_length] = task.models["LinearModel"].get("season_length")
    assert found == {1: None, 3: [2, 3], 7: None}
    both = _task(_table(), replace(LENGTHS, season_length=[7, 3])).models["LinearModel"]["season_length"]
    assert both == [3]


def test_a_short_table_has_periods_of_a_horizon_at_the_least_and_a_shorter_window() -> None:
    task = _task(_table((0, 0), 24), Lengths())
    assert (task.output_chunk_length, task.input_chunk_length) == (6, 6)
    assert len(pd.date_range(task.tests[0].start, task.tests[0].end)) == 6
    with pytest.raises(UserError, match=r"24 time steps are too few for 12 steps of input.* least 30"):
        _task(_table((0, 0), 24), Lengths(input_length=12))


def test_series_of_unlike_sizes_are_compared_in_units_of_the_naive_forecast_s_errors() -> None:
    task = _task(_table())
    assert (task.is_panel, task.ranked_by, task.is_scaled) == (True, "mase", True)
    assert task.models["TiDEModel"]["use_reversible_instance_norm"]
    assert task.models["Seq2SeqRNNModel"]["local_normalization"] == "level_scale"
    constant = _table().assign(sold=3.0)
    assert (_task(constant).ranked_by, _task(constant).is_scaled) == ("mae", False)
