"""What comes next, after a backtest: the best of ours fitted on all of the table, by the package's own command."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.backtest.best import as_best_model, best_model, rivals_ahead
from benchmarks.backtest.evaluation import Evaluation, evaluate
from benchmarks.harness.entries import find_entries
from benchmarks.harness.forecasts import PeriodForecasts, RunResult
from benchmarks.harness.plan import Plan, Run, plan_runs
from benchmarks.harness.rows import RowMaker
from benchmarks.harness.run import make_model
from seq_plugins.__main__ import main as package_main
from seq_plugins.forecasting.network import make_model as make_in_package
from seq_plugins.forecasting.plan import make_plan
from seq_plugins.tables import TableOptions, make_panel, read_rows
from tests.benchmarks.harness.small_tasks import COLUMNS, N_TEST, small_task, write_csv

OURS = ["--models", "NaiveSeasonal", "LinearModel"]


def _with_rows_ahead(path: Path, n: int = 4) -> pd.DataFrame:
    """Write a table whose last rows are known in advance alone, and return these."""
    frame = write_csv(path)
    ahead = pd.DataFrame({"day": pd.date_range("2024-04-30", periods=n), "open": 1})
    pd.concat([frame, ahead]).to_csv(path, index=False)
    return ahead


@pytest.mark.usefixtures("few_epochs")
def test_the_best_of_ours_forecasts_what_comes_next_as_the_package_does_and_goes_on_from_new_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ahead = _with_rows_ahead(Path("sales.csv"))
    arguments = ["--dataset", "sales.csv", *COLUMNS, "--future", "open", "--past", "price", *OURS]
    assert main(["backtest", *arguments, "--output", "out", "--then-forecast"]) == 0
    told = capsys.readouterr().out
    assert "After the backtest, our best model is fitted on all data" in told
    assert "LinearModel is fitted on all 120 time steps, for " in told
    assert sorted(path.name for path in Path("out/forecast").iterdir()) == ["forecast.csv", "forecast.png", "model"]
    forecasts = pd.read_csv("out/forecast/forecast.csv")
    assert list(forecasts.columns) == ["day", "target", "step", "median", "q0.1", "q0.9"]
    assert list(forecasts["day"]) == ["2024-04-30", "2024-05-01", "2024-05-02"]
    assert np.isfinite(forecasts["median"]).all()

    columns = ["--target", "sold", "--future", "open", "--past", "price"]
    assert package_main(["forecast", "sales.csv", *columns, "--model", "out", "--folds", "1", "--output", "same"]) == 0
    assert "LinearModel has the settings of the backtest in out" in capsys.readouterr().out
    assert Path("same/forecast.csv").read_bytes() == Path("out/forecast/forecast.csv").read_bytes()

    ahead.assign(sold=[12.0] + 3 * [np.nan], price=0.5).to_csv("new.csv", index=False)
    assert package_main(["forecast", "--model", "out/forecast", "--update", "new.csv", "--output", "later"]) == 0
    assert list(pd.read_csv("later/forecast.csv")["day"]) == ["2024-05-01", "2024-05-02", "2024-05-03"]


@pytest.mark.usefixtures("few_epochs")
def test_where_all_of_ours_fail_nothing_is_forecast(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no such luck")

    write_csv(Path("sales.csv"))
    monkeypatch.setattr("seq_plugins.LinearModel.fit", fail)
    assert main(["backtest", "--dataset", "sales.csv", *COLUMNS, *OURS, "--output", "out", "--then-forecast"]) == 1
    assert "No forecast is made, since none of our models has finished." in capsys.readouterr().err
    assert not Path("out/forecast").exists()
    assert not Path("out/best_model.json").exists()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("LinearModel", {}),
        ("Seq2SeqRNNModel-GRU", {"hidden_dim": 8, "season_length": 7, "weight_decay": 0.1}),
        ("WaveNetModel-x2", {"n_epochs": 9, "schedule": "cosine", "train_stride": 3}),
        ("SimpleRNNModel-LSTM", {"optimizer": "SGD", "momentum": 0.5, "use_reversible_instance_norm": True}),
    ],
)
def test_the_package_makes_the_model_with_the_arguments_that_it_had_in_the_backtest(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    task = small_task(tmp_path)
    task = replace(task, training=task.training | settings)
    plan = Plan(task, levels=(0.1, 0.5, 0.9))
    (entry,) = find_entries([name], task)
    in_backtest = make_model(plan, entry, entry.settings_in(task), 1, []).model_params
    best = as_best_model(entry, plan, n_epochs=4)
    assert (best.n_epochs, best.stride) == (4, settings.get("train_stride", 1))
    best = replace(best, **json.loads(json.dumps(vars(best))))  # as it is read from its file
    options = TableOptions(["sold"], time="day", past=["price"], future=["open"], freq="D")
    panel, _ = make_panel(read_rows(tmp_path / "sales.csv", options), [])
    in_package = make_in_package(entry.class_name, make_plan(best.wishes(), panel, None, []), lambda: None).model_params
    clip = [params.pop("pl_trainer_kwargs")["gradient_clip_val"] for params in (in_backtest, in_package)]
    assert clip[0] == clip[1]
    assert in_backtest.pop("likelihood").quantiles == in_package.pop("likelihood").quantiles
    assert in_package.pop("n_epochs") == 4
    del in_backtest["n_epochs"]
    assert {key: value for key, value in in_package.items() if value != in_backtest.get(key)} == {}
    assert {key: value for key, value in in_backtest.items() if value is not None and key not in in_package} == {}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Plan, Callable[[Plan, float], Evaluation]]:
    """A plan, and what gives a backtest of it, in which a rival has a given error and ours are off by 1."""
    task = small_task(tmp_path)
    plan, maker = Plan(task), RowMaker(Plan(task))
    stopping = {"SimpleRNNModel-GRU": 2.0, "LinearModel": 1.0, "NaiveSeasonal": None}

    def evaluation(plan: Plan, error: float) -> Evaluation:
        results, rows = {}, []
        for (run,) in plan_runs(plan, find_entries(list(stopping), task), 3):
            off_by = error if run.model == "NaiveSeasonal" else 1.0
            results[run.key] = _result(run, stopping[run.model], maker.truth["test"] + off_by)
            rows += maker.make_rows([run], [results[run.key]], {"test": 1})
        return evaluate(plan, maker, rows, lambda run: results[run.key])

    return plan, evaluation


def _result(run: Run, stopping_mae: float | None, predicted: np.ndarray) -> RunResult:
    starts = pd.date_range(run.tests[0].start, periods=N_TEST - 2).to_numpy()
    forecasts = [PeriodForecasts("test", starts, predicted, None, 0.1)]
    best_epoch = None if run.seed is None else 10 * run.seed
    return RunResult(run.key, 0.1, 1, 40, best_epoch, [], [], stopping_mae, [], [], forecasts)


def test_the_best_model_is_trained_for_as_many_epochs_as_the_backtest_kept(made: Any) -> None:
    plan, evaluation = made
    best = best_model(evaluation(plan, 2.0))
    assert best is not None
    assert (best.name, best.n_epochs, best.quantiles) == ("LinearModel", 20, [])  # of 10, 20 and 30
    by_component = replace(plan.task, models={"LinearModel": {"by_component": True}})
    assert best_model(evaluation(replace(plan, task=by_component), 2.0)) is None


def test_a_rival_that_was_ahead_in_the_test_period_is_told(made: Any) -> None:
    plan, evaluation = made
    assert rivals_ahead(evaluation(plan, 2.0)) == []
    assert rivals_ahead(evaluation(plan, 0.5)) == ["In test, NaiveSeasonal was ahead of LinearModel: MAE 0.5 versus 1."]
