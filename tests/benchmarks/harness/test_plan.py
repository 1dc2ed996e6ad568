"""What a backtest consists of."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.core.errors import UserError
from benchmarks.harness.entries import ENTRIES
from benchmarks.harness.plan import Plan, check_periods, fold_periods, plan_runs
from benchmarks.harness.task import Period
from tests.benchmarks.harness.small_tasks import N_TEST, small_task


def test_a_network_runs_once_a_seed_and_a_model_without_chance_once(tmp_path: Path) -> None:
    plan = Plan(small_task(tmp_path))
    groups = plan_runs(plan, [ENTRIES["NaiveSeasonal"], ENTRIES["TiDEModel"]], 3)
    assert [run.key for group in groups for run in group] == [
        "NaiveSeasonal",
        "TiDEModel-seed-1",
        "TiDEModel-seed-2",
        "TiDEModel-seed-3",
    ]


def test_runs_with_settings_that_are_tried_have_names_of_their_own(tmp_path: Path) -> None:
    tried = [replace(ENTRIES["TiDEModel"], candidate={"dropout": rate, "hidden_size": 8}) for rate in (0.1, 0.2)]
    runs = [run for group in plan_runs(Plan(small_task(tmp_path)), [ENTRIES["TiDEModel"], *tried], 1) for run in group]
    assert [run.key for run in runs] == [
        "TiDEModel-seed-1",
        "TiDEModel dropout=0.1,hidden_size=8-seed-1",
        "TiDEModel dropout=0.2,hidden_size=8-seed-1",
    ]
    assert [run.entry.candidate for run in runs] == [{}, tried[0].candidate, tried[1].candidate]


@pytest.mark.parametrize("every", [1, 4, 5, 16, 100])
def test_folds_have_all_forecasts_once_and_a_model_that_has_seen_nothing_of_them(tmp_path: Path, every: int) -> None:
    task = small_task(tmp_path)
    period, horizon = task.tests[0], task.output_chunk_length
    day = pd.Timedelta(days=1)
    assert task.early_stopping is not None
    starts = []
    folds = fold_periods(task, period, every)
    for train, stop, test in folds:
        assert train.start == task.train.start
        assert stop is not None
        assert train.end + day == stop.start
        assert stop.end + day == test.start
        assert stop.end - stop.start == task.early_stopping.end - task.early_stopping.start
        of_fold = pd.date_range(test.start, test.end - (horizon - 1) * day)
        assert len(of_fold) <= every
        starts += list(of_fold)
    assert starts == list(pd.date_range(period.start, period.end - (horizon - 1) * day))
    assert len(folds) == -(-(N_TEST - horizon + 1) // every)


def test_each_fold_is_a_run_of_its_own(tmp_path: Path) -> None:
    (group,) = plan_runs(Plan(small_task(tmp_path), retrain_every=8), [ENTRIES["NaiveSeasonal"]], 3)
    assert [run.key for run in group] == ["NaiveSeasonal-test-fold-0", "NaiveSeasonal-test-fold-1"]


def test_a_period_without_room_for_a_forecast_is_told(tmp_path: Path) -> None:
    task = small_task(tmp_path)
    short = Period("short", task.tests[0].start, task.tests[0].start + pd.Timedelta(days=1))
    with pytest.raises(UserError, match="period short has 2 steps, fewer than the 3 of a forecast"):
        check_periods(Plan(replace(task, tests=[short])))
