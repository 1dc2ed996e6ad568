"""Tasks of many series, of forecasts some steps apart, and of what others have published."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

import seq_plugins.datasets
from benchmarks.backtest.evaluation import evaluate
from benchmarks.core.errors import UserError
from benchmarks.harness.entries import ENTRIES, find_entries
from benchmarks.harness.forecasts import PeriodForecasts, RunResult
from benchmarks.harness.plan import Plan, fold_periods, plan_runs
from benchmarks.harness.rows import BacktestRow, RowMaker, read_published
from benchmarks.harness.run import fit_model, make_model, make_run
from benchmarks.harness.scaling import TargetScaling
from benchmarks.harness.seasonal_blend import SeasonalBlend
from benchmarks.harness.series import TaskData
from benchmarks.harness.task import Period, Published, Task, read_task
from tests.benchmarks.harness.small_tasks import small_task

HORIZON, INPUT = 6, 18
LENGTHS = (90, 60, 70)

FOLDER = Path(os.environ.get("SEQ_PLUGINS_DATA", ""))
with_data = pytest.mark.skipif(
    not (FOLDER / "m4" / "Hourly-test.csv").is_file() or not (FOLDER / "epf" / "NP.csv").is_file(),
    reason="SEQ_PLUGINS_DATA names no folder with M4 Hourly and the electricity prices",
)


def _panel_series() -> list[TimeSeries]:
    generator = np.random.default_rng(0)
    series = []
    for number, length in enumerate(LENGTHS):
        pattern = 10 ** (number + 1) * (2 + np.sin(2 * np.pi * np.arange(length) / 6))
        series.append(TimeSeries.from_values(pattern * generator.uniform(0.9, 1.1, length), columns=[f"S{number}"]))
    return series


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> Task:
    """A panel of three series of unlike lengths and sizes, forecast once."""

    class Small:
        def load(self) -> list[TimeSeries]:
            return _panel_series()

    monkeypatch.setattr(seq_plugins.datasets, "Small", Small, raising=False)
    task = read_task("m4-hourly")
    times = pd.date_range("2000-01-01", periods=max(LENGTHS), freq="h")
    return replace(
        task,
        dataset="Small",
        input_chunk_length=INPUT,
        output_chunk_length=HORIZON,
        season_length=6,
        train=Period("train", times[0], times[-HORIZON - 1]),
        tests=[Period("end", times[-HORIZON], times[-1])],
        training=task.training | {"n_epochs": 2, "train_stride": 1, "hidden_dim": 4},
        models={"Seq2SeqRNNModel": {"season_length": 6, "local_normalization": "level_scale"}},
    ).load()


def _made(plan: Plan, names: Sequence[str]) -> list[tuple[str, RunResult]]:
    found = []
    for (run,) in plan_runs(plan, find_entries(names, plan.task), 1):
        result = make_run(plan, run)
        assert isinstance(result, RunResult), result
        found.append((run.model, result))
    return found


def test_series_of_unlike_lengths_end_together_and_are_all_targets(panel: Task) -> None:
    assert panel.source is not None
    assert panel.target == ["S0", "S1", "S2"]
    values = panel.source.values()
    for column, one in enumerate(_panel_series()):
        np.testing.assert_array_equal(values[-len(one) :, column], one.values()[:, 0])
        assert np.isnan(values[: -len(one), column]).all()


def test_each_series_of_a_panel_is_fitted_and_forecast_from_its_own_values(panel: Task) -> None:
    plan = Plan(panel)
    entry = ENTRIES["Seq2SeqRNNModel-GRU"]
    (run,) = plan_runs(plan, [entry], 1)[0]
    result = make_run(plan, run)
    assert isinstance(result, RunResult)
    data = TaskData(panel)
    settings = entry.settings_in(panel)
    model = make_model(plan, entry, settings, 1, [])
    fit_model(data, entry, settings, model, data.inputs_of(model), run)
    for column, one in enumerate(_panel_series()):
        logarithms = one.astype(np.float32).map(np.log)
        alone = np.exp(model.predict(HORIZON, series=logarithms[:-HORIZON]).values()[:, 0].astype(float))
        np.testing.assert_allclose(result.forecasts[0].predicted[0, :, column], alone, rtol=1e-4)
    assert result.n_epochs == result.best_epoch == 2
    assert result.early_stopping_error is None
    assert np.isnan(result.validation_losses).all()


def test_errors_of_a_panel_are_those_of_the_competition(panel: Task) -> None:
    plan = Plan(panel)
    ((_, result),) = _made(plan, ["NaiveSeasonal"])
    row = RowMaker(plan).make_rows(plan_runs(plan, find_entries(["NaiveSeasonal"], panel), 1)[0], [result], {"end": 1})[
        0
    ]
    smape, mase = [], []
    for one in _panel_series():
        values = one.values()[:, 0]
        seen, true = values[:-HORIZON], values[-HORIZON:]
        naive = seen[-6:]
        smape.append(np.mean(200 * np.abs(true - naive) / (np.abs(true) + np.abs(naive))))
        mase.append(np.mean(np.abs(true - naive)) / np.mean(np.abs(seen[6:] - seen[:-6])))
    assert row.means["smape"] == pytest.approx(np.mean(smape), rel=1e-4)
    assert row.means["mase"] == pytest.approx(np.mean(mase), rel=1e-4)
    assert row.means["owa"] == pytest.approx((np.mean(smape) / 18.383 + np.mean(mase) / 2.395) / 2, rel=1e-4)
    assert row.means["rmae"] == pytest.approx(1, rel=1e-4)
    assert row.mae_by_component == {}


def test_models_of_a_panel_are_ranked_by_its_error_and_compared_series_by_series(panel: Task) -> None:
    plan = Plan(panel)
    names = ["NaiveSeasonal", "Seq2SeqRNNModel-GRU", "LinearModel"]
    made = dict(_made(plan, names))
    maker = RowMaker(plan)
    rows: list[BacktestRow] = []
    for group in plan_runs(plan, find_entries(names, panel), 1):
        rows += maker.make_rows(group, [made[group[0].model]], {"end": 1})
    evaluation = evaluate(plan, maker, rows, lambda run: made[run.model])
    run_here = [summary for summary in evaluation.summaries if not summary.is_published]
    assert [summary.ranking for summary in run_here] == sorted(row.means["owa"] for row in rows)
    published = [summary for summary in evaluation.summaries if summary.is_published]
    assert {summary.rows[0].model for summary in published} == {entry.model for entry in panel.published}
    for summary in run_here:
        if summary.rows[0].is_ours:
            rival = made["NaiveSeasonal"].forecasts[0]
            of_each = maker.error_of_each(made[summary.rows[0].model].forecasts[0]) - maker.error_of_each(rival)
            assert of_each.shape == (3,)
            assert summary.lead is not None
            assert summary.lead.mean == pytest.approx(of_each.mean())


def test_forecasts_a_day_apart_are_made_and_refitted_a_day_apart(tmp_path: Path) -> None:
    task = replace(small_task(tmp_path), stride=3, early_stopping=None)
    period = task.tests[0]
    plan = Plan(task)
    ((_, result),) = _made(plan, ["LinearRegressionModel"])
    forecasts = result.forecasts[0]
    n_steps = len(pd.date_range(period.start, period.end))
    assert len(forecasts.starts) == n_steps // 3 == len(TaskData(task).truth(period))
    np.testing.assert_array_equal(np.diff(forecasts.starts), np.timedelta64(3, "D"))
    folds = fold_periods(task, period, 2)
    starts = []
    for train, stop, test in folds:
        assert stop is None
        assert train.end + pd.Timedelta(days=1) == test.start
        starts += list(pd.date_range(test.start, test.end, freq="3D"))
    np.testing.assert_array_equal(pd.DatetimeIndex(starts), pd.DatetimeIndex(forecasts.starts))


def test_the_calendar_is_known_in_advance(tmp_path: Path) -> None:
    task = small_task(tmp_path)
    loaded = replace(
        read_task("chicago"), calendar={"dayofweek": "one_hot", "month": "cyclic"}, future_covariates=[]
    ).load()
    assert loaded.future_covariates == [*(f"dayofweek_{day}" for day in range(7)), "month_0", "month_1"]
    assert loaded.source is not None
    weekday = loaded.source.time_index.dayofweek
    np.testing.assert_array_equal(loaded.source["dayofweek_3"].values()[:, 0], weekday == 3)
    assert task.calendar == {}


def test_a_target_that_is_named_like_the_calendar_is_not_known_in_advance(
    panel: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(panel, source=None, target=[], calendar={"hour": "cyclic"}).load()
    assert task.target == ["S0", "S1", "S2"]
    assert task.future_covariates == ["hour_0", "hour_1"]


def test_a_series_ends_with_the_last_test_period() -> None:
    task = read_task("chicago").choosing
    assert task is not None
    source = task.load().source
    assert source is not None
    assert source.end_time() == task.tests[-1].end


def test_standardised_errors_of_refits_are_in_the_unit_of_the_task(tmp_path: Path) -> None:
    task = small_task(tmp_path)
    trend = task.source.map(lambda values: values + np.linspace(0, 5, len(values))[:, None, None])  # type: ignore[union-attr]
    found = []
    for every in (None, 4):
        plan = Plan(replace(task, source=trend, is_standardised=True), retrain_every=every)
        (group,) = plan_runs(plan, find_entries(["NaiveSeasonal"], plan.task), 1)
        results = [made for made in (make_run(plan, run) for run in group) if isinstance(made, RunResult)]
        (row,) = RowMaker(plan).make_rows(group, results, {"test": 1})
        found.append(row.means["mae"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_task_that_extends_another_changes_only_what_it_says() -> None:
    first, second = read_task("epf-np"), read_task("epf-pjm")
    assert second.dataset_arguments == {"market": "PJM"}
    assert (first.training, first.stride) == (second.training, second.stride)
    assert first.published[0].file != second.published[0].file
    assert first.choosing is not None
    assert second.choosing is not None
    assert first.choosing.models == second.choosing.models  # what was chosen on other series stays there
    assert second.choosing.future_covariates == second.future_covariates == ["load_forecast", "zonal_load_forecast"]
    assert [read_task(f"etth1-{horizon}").output_chunk_length for horizon in (192, 336, 720)] == [192, 336, 720]


@pytest.mark.parametrize("kind", ["log", "arcsinh"])
def test_what_is_scaled_is_restored_and_missing_values_are_passed_over(kind: str) -> None:
    values = np.random.default_rng(0).lognormal(3, 1, (200, 2))
    values[:50, 1] = np.nan
    scaling = TargetScaling(kind, values[:150])
    np.testing.assert_allclose(scaling.restore(scaling.scale(values)), values)
    whole = TargetScaling(kind, values[50:150, 1:])
    np.testing.assert_allclose(scaling.scale(values)[50:, 1:], whole.scale(values[50:, 1:]))


def test_a_blend_of_seasons_is_their_mean_at_today_s_level() -> None:
    values = np.random.default_rng(0).normal(size=(40, 2)).cumsum(axis=0)
    forecast = SeasonalBlend([3, 7]).fit(TimeSeries.from_values(values)).predict(9).values()
    level, before = values[-3:].mean(axis=0), values[-10:-7].mean(axis=0)
    for step in range(9):
        short, long = values[-3 + step % 3], values[-7 + step % 7] + level - before
        np.testing.assert_allclose(forecast[step], (short + long) / 2)


def test_published_forecasts_are_read_as_forecasts_and_told_where_they_are_missing(tmp_path: Path) -> None:
    task = replace(small_task(tmp_path), stride=3, output_chunk_length=3)
    times = pd.date_range("2024-01-01", periods=6, freq="h")
    pd.DataFrame({"theirs": np.arange(6.0)}, index=times).to_csv(tmp_path / "theirs.csv")
    period = Period("test", times[0], times[-1])
    found = read_published(tmp_path / "theirs.csv", "theirs", task, period)
    np.testing.assert_array_equal(found[..., 0], [[0, 1, 2], [3, 4, 5]])
    later = Period("test", times[0], times[-1] + pd.Timedelta(hours=3))
    with pytest.raises(UserError, match=r"no forecast of 2024-01-01 06:00"):
        read_published(tmp_path / "theirs.csv", "theirs", task, later)
    with pytest.raises(UserError, match="no column 'ours'; its columns are 'theirs'"):
        read_published(tmp_path / "theirs.csv", "ours", task, period)


def test_published_errors_stand_in_rows_of_their_own_kind(tmp_path: Path) -> None:
    published = [Published("theirs", "a paper", {"mae": 1.5}), Published("a file's", "a paper", file="x", column="y")]
    task = replace(small_task(tmp_path), published=published)
    maker = RowMaker(Plan(task))  # rows of files that are not there are left out
    assert [(row.model, row.published_in, row.means) for row in maker.published] == [
        ("theirs", "a paper", {"mae": 1.5})
    ]
    assert [path.name for path in maker.not_found] == ["x"]


@with_data
def test_the_seasonal_naive_and_the_blend_have_the_competition_s_errors() -> None:
    plan = Plan(read_task("m4-hourly").load())
    means = {}
    for model, result in _made(plan, ["NaiveSeasonal", "SeasonalBlend"]):
        (runs,) = plan_runs(plan, find_entries([model], plan.task), 1)
        means[model] = RowMaker(plan).make_rows(runs, [result], {"competition": 1})[0].means
    assert means["NaiveSeasonal"]["smape"] == pytest.approx(13.912, abs=5e-4)
    assert means["NaiveSeasonal"]["mase"] == pytest.approx(1.193, abs=5e-4)
    assert means["NaiveSeasonal"]["owa"] == pytest.approx(0.62745, abs=1e-4)
    assert means["SeasonalBlend"]["owa"] == pytest.approx(0.577, abs=5e-4)


@with_data
@pytest.mark.parametrize(
    ("name", "dnn", "lear", "naive"),
    [("np", 1.683, 1.738, 4.125), ("pjm", 2.862, 3.013, 6.294), ("fr", 3.866, 3.98, 7.341)],
)
def test_published_forecasts_of_prices_have_their_published_errors(
    name: str, dnn: float, lear: float, naive: float
) -> None:
    plan = Plan(read_task(f"epf-{name}").load())
    maker = RowMaker(plan)
    rows = {row.model.split(",")[0]: row for row in maker.published}
    assert rows["DNN"].means["mae"] == pytest.approx(dnn, abs=5e-4)
    assert rows["LEAR"].means["mae"] == pytest.approx(lear, abs=5e-4)
    assert rows["DNN"].means["rmae"] == pytest.approx(dnn / naive, abs=5e-4)
    assert rows["DNN"].n_forecasts == 728


def test_the_error_of_each_forecast_is_its_mean(tmp_path: Path) -> None:
    plan = Plan(small_task(tmp_path))
    maker = RowMaker(plan)
    truth = maker.truth[plan.task.tests[0].name]
    predicted = truth + np.arange(len(truth))[:, None, None]
    forecasts = PeriodForecasts(plan.task.tests[0].name, np.array([]), predicted, None, 0.0)
    np.testing.assert_allclose(maker.error_of_each(forecasts), np.arange(len(truth)), atol=1e-5)
