"""The series of a task as models are given them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.models import NBEATSModel

from benchmarks.harness.series import TaskData
from tests.benchmarks.harness.small_tasks import N_TEST, small_task


def test_nothing_of_the_test_period_is_used_to_scale_or_train(tmp_path: Path) -> None:
    first = TaskData(small_task(tmp_path))
    frame = pd.read_csv(tmp_path / "sales.csv")
    frame.loc[frame.index[-N_TEST:], ["sold", "price"]] *= 1000
    changed = first.task.source.to_dataframe()  # type: ignore[union-attr]
    changed.iloc[-N_TEST:, :2] *= 1000
    second = TaskData(replace(first.task, source=TimeSeries.from_dataframe(changed, freq="D")))
    assert first.target[:-N_TEST] == second.target[:-N_TEST]
    assert first.past_covariates is not None
    assert second.past_covariates is not None
    assert first.past_covariates[:-N_TEST] == second.past_covariates[:-N_TEST]
    np.testing.assert_array_equal(first.scale, second.scale)
    np.testing.assert_array_equal(first.naive_error(), second.naive_error())


def test_a_model_without_future_covariates_has_seen_the_known_future_of_all_steps_and_no_more(tmp_path: Path) -> None:
    data = TaskData(small_task(tmp_path))
    inputs = data.inputs_of(NBEATSModel(10, 3))
    assert inputs.future_covariates is None
    assert inputs.past_covariates is not None
    (past,) = inputs.past_covariates
    assert data.future_covariates is not None
    assert inputs.cannot_take == ["future covariates (given as past covariates, shifted by the horizon)"]
    newest = data.target.time_index[50]  # the newest input of some forecast
    seen = past.slice(data.target.time_index[41], newest)["open"].values()
    known = data.future_covariates.slice(data.target.time_index[44], data.target.time_index[53])["open"].values()
    np.testing.assert_array_equal(seen, known)
    # far enough for the last forecast of the test period
    assert past.end_time() == data.target.time_index[-4]


@pytest.mark.parametrize(
    ("past", "future", "told"),
    [
        (True, True, []),
        (False, True, ["past covariates"]),
        (False, False, ["past covariates", "future covariates"]),
    ],
)
def test_kinds_of_covariates_that_a_model_cannot_take_are_told(
    past: bool, future: bool, told: list[str], tmp_path: Path
) -> None:
    model = SimpleNamespace(supports_past_covariates=past, supports_future_covariates=future)
    inputs = TaskData(small_task(tmp_path)).inputs_of(model)
    assert inputs.cannot_take == told
    assert (inputs.past_covariates is not None) == past
    assert (inputs.future_covariates is not None) == future


def test_indicators_that_follow_from_the_others_are_left_out_where_a_model_fails_on_them(tmp_path: Path) -> None:
    task = small_task(tmp_path)
    frame = task.source.to_dataframe()  # type: ignore[union-attr]
    frame["closed"] = 1 - frame["open"]
    task = replace(
        task,
        source=TimeSeries.from_dataframe(frame, freq="D"),
        future_covariates=["open", "closed"],
        past_covariates=[],
    )
    model = SimpleNamespace(supports_past_covariates=False, supports_future_covariates=True)
    whole = TaskData(task).inputs_of(model).future_covariates
    independent = TaskData(task).inputs_of(model, independent=True).future_covariates
    assert whole is not None
    assert independent is not None
    assert list(whole[0].components) == ["open", "closed"]
    assert list(independent[0].components) == ["open"]


def test_truth_is_what_came_true_at_every_step_of_every_forecast(tmp_path: Path) -> None:
    task = small_task(tmp_path)
    sold = pd.read_csv(tmp_path / "sales.csv")["sold"].to_numpy()
    truth = TaskData(task).truth(task.tests[0])
    assert truth.shape == (N_TEST - 2, 3, 1)
    for position in range(len(truth)):
        first = 120 - N_TEST + position
        np.testing.assert_allclose(truth[position, :, 0], sold[first : first + 3], rtol=1e-5)
