"""The command ``python -m benchmarks backtest``, on small series of our own."""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.harness.entries import ENTRIES
from benchmarks.harness.forecasts import Failure, RunResult
from benchmarks.harness.metrics import measure
from benchmarks.harness.plan import Plan, Run, fold_periods, plan_runs
from benchmarks.harness.run import fit_model, forecast_period, make_model, make_run, stop_early
from benchmarks.harness.series import TaskData
from benchmarks.harness.task import Candidate, read_task, task_names
from tests.benchmarks.harness.small_tasks import COLUMNS, N_TEST, small_task, write_csv


@pytest.mark.usefixtures("few_epochs")
def test_a_csv_file_is_backtested_into_rows_a_table_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path / "sales.csv")
    models = ["NaiveSeasonal", "LinearRegressionModel", "Seq2SeqRNNModel-GRU"]
    arguments = ["--dataset", "sales.csv", *COLUMNS, "--past", "price", "--future", "open", "--seeds", "2"]
    code = main(["backtest", *arguments, "--models", *models, "--output", "out", "--forecasts", "csv"])
    assert code == 0
    of_seeds = [pd.read_csv(f"out/forecasts/Seq2SeqRNNModel-GRU-seed-{seed}.csv")["forecast"] for seed in (1, 2)]
    mean = pd.read_csv("out/forecasts/Seq2SeqRNNModel-GRU-mean-of-2-seeds.csv")["forecast"]
    np.testing.assert_allclose(mean, np.mean(of_seeds, axis=0), rtol=1e-5)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".lock",
        "evaluations.jsonl",
        "settings.json",
        "rows.jsonl",
        "forecasts",
        "table.csv",
        "report.html",
        "best_model.json",
    }
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [(row["model"], row["seed"]) for row in rows] == [
        ("NaiveSeasonal", None),
        ("LinearRegressionModel", None),
        ("Seq2SeqRNNModel-GRU", 1),
        ("Seq2SeqRNNModel-GRU", 2),
        ("Seq2SeqRNNModel-GRU", None),
    ]
    for row in rows:
        assert row["error"] is None
        assert len(row["mae"]) == len(row["rmse"]) == len(row["mase"]) == len(row["smape"]) == 3
        assert row["means"]["mae"] == pytest.approx(np.mean(row["mae"]))
        assert row["evaluations"] == 1
        assert np.isfinite(row["mae"]).all()
        assert row["n_forecasts"] == 18 - 3 + 1
        assert row["versions"]["darts"].startswith("0.48")
        assert row["threads"] == 1
        assert row["task_settings"]["target"] == ["sold"]
        assert row["task_settings"]["dataset"] == "sales.csv"
        assert len(row["task_settings"]["sha256"]) == 64
    assert rows[0]["covariates"] == []
    assert rows[0]["cannot_take"] == ["past covariates", "future covariates"]
    assert rows[1]["cannot_take"] == []
    assert rows[1]["covariates"] == ["future_covariates", "past_covariates"]
    assert rows[2]["n_epochs"] <= 2
    assert rows[2]["model_settings"]["hidden_dim"] == 32
    assert rows[2]["mae"] != rows[3]["mae"]
    assert rows[4]["members"] == [1, 2]
    # a mean of forecasts is never worse than their errors' mean
    assert rows[4]["means"]["mae"] <= np.mean([rows[2]["means"]["mae"], rows[3]["means"]["mae"]])
    with (tmp_path / "out" / "table.csv").open() as file:
        about = [file.readline() for _ in range(5)]
        table = list(csv.DictReader(file))
    assert [line.split(":")[0] for line in about] == ["# command", "# processor", "# date", "# threads", "# versions"]
    assert {line["model"] for line in table if line["ours"] == "yes"} == {"Seq2SeqRNNModel-GRU"}
    assert {(line["model"], line["averaged"]): line["seeds"] for line in table} == {
        ("NaiveSeasonal", "no"): "1",
        ("LinearRegressionModel", "no"): "1",
        ("Seq2SeqRNNModel-GRU", "no"): "2",
        ("Seq2SeqRNNModel-GRU", "yes"): "2",
    }
    errors = [float(line["mean_mae"]) for line in table]
    assert errors == sorted(errors)
    printed = capsys.readouterr().out
    assert all(model in printed for model in models)
    assert "Seq2SeqRNNModel-GRU x2" in printed


def test_the_transformer_task_has_the_field_s_periods() -> None:
    task = read_task("etth1")
    assert task.early_stopping is not None
    periods = [task.train, task.early_stopping, *task.tests]
    assert [len(pd.date_range(period.start, period.end, freq="h")) for period in periods] == [8640, 2880, 2880]
    assert periods[0].start == pd.Timestamp("2016-07-01 00:00")  # the series' first hour
    assert (task.input_chunk_length, task.output_chunk_length, len(task.target)) == (96, 96, 7)
    assert task.is_standardised


@pytest.mark.parametrize("name", ["NaiveSeasonal", "LinearRegressionModel", "Seq2SeqRNNModel-GRU", "NBEATSModel"])
def test_errors_are_those_of_forecasts_made_one_by_one_within_the_test_period(name: str, tmp_path: Path) -> None:
    task = small_task(tmp_path)
    plan, entry, data = Plan(task), ENTRIES[name], TaskData(task)
    (run,) = plan_runs(plan, [entry], 1)[0]
    result = make_run(plan, run)
    assert isinstance(result, RunResult)
    (forecasts,) = result.forecasts
    settings = entry.settings_in(task)
    stopping = stop_early(settings, str(tmp_path / "checkpoints")) if entry.is_network else []
    model = make_model(plan, entry, settings, 1, stopping)
    inputs = data.inputs_of(model)
    if not settings.refit_every:
        fit_model(data, entry, settings, model, inputs, run)
    first = 120 - N_TEST
    assert len(forecasts.predicted) == N_TEST - 2
    mean, deviation = data.scale
    for position in range(N_TEST - 2):
        end = first + position
        assert forecasts.starts[position] == data.target.time_index[end]
        history = data.target[:end]
        if settings.refit_every:
            model.fit(history)
            alone = model.predict(3)
        else:
            alone = model.predict(3, series=history, **inputs.arguments())
        np.testing.assert_allclose(forecasts.predicted[position], alone.values() * deviation + mean, rtol=1e-4)
    errors = measure(data.truth(task.tests[0]), forecasts.predicted, data.naive_error())
    sold = pd.read_csv(tmp_path / "sales.csv")["sold"].to_numpy()
    distances = [
        abs(forecasts.predicted[position, step, 0] - sold[first + position + step])
        for position in range(N_TEST - 2)
        for step in range(3)
    ]
    assert np.mean(errors.mae) == pytest.approx(np.mean(distances), rel=1e-4)


@pytest.mark.parametrize(
    "name", ["LinearRegressionModel", "ExponentialSmoothing", "RNNModel", "Seq2SeqRNNModel-GRU", "NLinearModel"]
)
def test_quantiles_are_in_order_and_the_median_is_the_point_forecast(name: str, tmp_path: Path) -> None:
    plan = Plan(small_task(tmp_path), levels=(0.1, 0.5, 0.9))
    result = make_run(plan, plan_runs(plan, [ENTRIES[name]], 1)[0][0])
    assert isinstance(result, RunResult), result
    (forecasts,) = result.forecasts
    assert forecasts.quantiles is not None
    assert forecasts.quantiles.shape == (N_TEST - 2, 3, 1, 3)
    assert (np.diff(forecasts.quantiles, axis=-1) >= 0).all()
    np.testing.assert_array_equal(forecasts.quantiles[..., 1], forecasts.predicted)


def test_a_linear_regression_of_quantiles_is_not_held_back_by_a_penalty(tmp_path: Path) -> None:
    predicted = []
    for levels in ((), (0.1, 0.5, 0.9)):
        plan = Plan(small_task(tmp_path), levels=levels)
        result = make_run(plan, plan_runs(plan, [ENTRIES["LinearRegressionModel"]], 1)[0][0])
        assert isinstance(result, RunResult), result
        predicted.append(result.forecasts[0].predicted)
    means, medians = predicted
    assert medians.std() > 0.7 * means.std()  # with the penalty, all medians are next to the same


def test_a_model_that_forecasts_no_quantiles_forecasts_points(tmp_path: Path) -> None:
    plan = Plan(small_task(tmp_path), levels=(0.1, 0.5, 0.9))
    result = make_run(plan, plan_runs(plan, [ENTRIES["NaiveSeasonal"]], 1)[0][0])
    assert isinstance(result, RunResult)
    assert result.forecasts[0].quantiles is None


def test_components_forecast_one_by_one_are_series_of_their_own(tmp_path: Path) -> None:
    settings = {"Seq2SeqRNNModel": {"by_component": True}, "LinearRegressionModel": {"by_component": True}}
    task = small_task(tmp_path, target=["sold", "price"], past_covariates=[], models=settings)
    for name in ("Seq2SeqRNNModel-GRU", "LinearRegressionModel"):
        plan = Plan(task)
        result = make_run(plan, plan_runs(plan, [ENTRIES[name]], 1)[0][0])
        assert isinstance(result, RunResult), result
        assert result.forecasts[0].predicted.shape == (N_TEST - 2, 3, 2)
        # another component changes nothing of a forecast but what its training taught
        alone = replace(task, target=["sold"])
        parameters = make_run(Plan(alone), plan_runs(Plan(alone), [ENTRIES[name]], 1)[0][0])
        assert isinstance(parameters, RunResult)
        assert result.n_parameters == parameters.n_parameters


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # which the first fit has filled
def test_forecasts_of_a_model_that_is_updated_are_those_of_updates_by_hand(tmp_path: Path) -> None:
    task = small_task(tmp_path)
    plan, entry = Plan(task, retrain_every=6, warm_epochs=2), ENTRIES["LinearModel"]
    (group,) = plan_runs(plan, [entry], 1)
    (run,) = group
    result = make_run(plan, run)
    assert isinstance(result, RunResult), result
    data, settings = TaskData(plan.task, run.train), entry.settings_in(plan.task)
    model: Any = make_model(plan, entry, settings, 1, stop_early(settings, str(tmp_path / "work")))
    inputs = data.inputs_of(model)
    fit_model(data, entry, settings, model, inputs, run)
    assert run.early_stopping is not None
    made = [forecast_period(plan, data, entry, settings, model, inputs, run.early_stopping).predicted[:0]]
    for fold, (train, stop, test) in enumerate(fold_periods(task, task.tests[0], 6)):
        assert stop is not None
        if fold:
            model.update(data.target.slice(train.start, stop.end), epochs=2, **inputs.arguments())
        made.append(forecast_period(plan, data, entry, settings, model, inputs, test).predicted)
    np.testing.assert_array_equal(result.forecasts[0].predicted, np.concatenate(made))
    anew = plan_runs(plan, [ENTRIES["LinearRegressionModel"]], 1)
    assert len(anew[0]) == 3  # rivals can't be updated


def test_forecasts_of_a_model_that_is_refitted_are_those_of_each_fold_fitted_alone(tmp_path: Path) -> None:
    plan = Plan(small_task(tmp_path), retrain_every=6)
    entry = ENTRIES["LinearRegressionModel"]
    (group,) = plan_runs(plan, [entry], 1)
    results = [make_run(plan, run) for run in group]
    made = [result.forecasts[0] for result in results if isinstance(result, RunResult)]
    assert [len(forecasts.predicted) for forecasts in made] == [6, 6, 4]
    for run, forecasts in zip(group, made, strict=True):
        data = TaskData(plan.task, run.train)
        settings = entry.settings_in(plan.task)
        model = make_model(plan, entry, settings, None, [])
        inputs = data.inputs_of(model)
        fit_model(data, entry, settings, model, inputs, run)
        history = data.target[: data.target.get_index_at_point(run.tests[0].start)]
        mean, deviation = data.scale
        alone = model.predict(3, series=history, **inputs.arguments()).values() * deviation + mean
        np.testing.assert_allclose(forecasts.predicted[0], alone, rtol=1e-4)


def test_the_periods_of_every_task_follow_each_other_without_overlap() -> None:
    for name in task_names():
        task = read_task(name)
        for periods in (task, task.choosing):
            if periods is not None:
                stopping = [] if periods.early_stopping is None else [periods.early_stopping]
                in_order = [periods.train, *stopping, *periods.tests]
                for earlier, later in pairwise(in_order):
                    assert earlier.start < earlier.end < later.start, (name, later.name)
        if task.choosing is not None:
            assert task.choosing.tests[-1].end < task.tests[0].start


@pytest.mark.usefixtures("few_epochs")
def test_a_model_that_fails_has_a_row_that_says_so_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path / "sales.csv")

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("darts.models.LinearRegressionModel.fit", fail)
    models = ["LinearRegressionModel", "NaiveSeasonal"]
    code = main(["backtest", "--dataset", "sales.csv", *COLUMNS, "--models", *models, "--output", "out"])
    assert code == 1
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [(row["model"], row["error"]) for row in rows] == [
        ("LinearRegressionModel", "RuntimeError: no such luck"),
        ("NaiveSeasonal", None),
    ]
    assert "LinearRegressionModel failed: RuntimeError: no such luck" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "arguments", "told"),
    [
        (None, ["--dataset", "nowhere"], "or a CSV or Parquet file, got 'nowhere'"),
        (None, ["--dataset", "none.csv", *COLUMNS], "none.csv: cannot be read as a CSV file"),
        (None, ["--dataset", "sales.csv"], "--target: name the column to forecast, or several"),
        (
            None,
            ["--dataset", "chicago", "--target", "sold"],
            "--target: it is for a table of yours, and chicago has its own",
        ),
        (None, ["--dataset", "chicago", "--horizon", "3"], "--horizon: it is for a table of yours"),
        (None, [*COLUMNS, "--future", "weather"], "no column 'weather'; its columns are 'day', 'sold'"),
        (None, [*COLUMNS, "--future", "sold"], "--target and --future: column 'sold' can be only one of them"),
        (None, [*COLUMNS, "--past", "price", "price"], "--past and --past: column 'price' can be only one of them"),
        ("numbers", [*COLUMNS, "--freq", "D"], "--freq: expected a whole number for whole numbers in column 'day'"),
        (None, [*COLUMNS, "--models", "Oracle"], "--models: no model 'Oracle'"),
        (None, [*COLUMNS, "--freq", "fortnight"], "--freq: expected one of pandas' names such as h, 15min, D"),
        (None, [*COLUMNS, "--static", "open"], "--static: what never changes tells series apart"),
        (None, [*COLUMNS, "--missing", "drop"], "--missing: invalid choice: 'drop'"),
        (None, [*COLUMNS, "--time-zone", "Berlin"], "--time-zone: expected a zone such as Europe/Berlin"),
        (None, [*COLUMNS, "--test-length", "2"], "--test-length: expected at least a horizon, 3 time steps, got 2"),
        ("twice", COLUMNS, "column 'day' repeats a time stamp in 1 row: line 8 (2024-01-06)"),
        ("no date", COLUMNS, "column 'day' holds 1 text where dates are expected: line 7 (someday)"),
        ("no number", COLUMNS, "column 'sold' holds 1 text where numbers are expected: line 7 (many)"),
        ("empty", COLUMNS, "cannot be read as a CSV file"),
        (None, [*COLUMNS, "--address", "10.0.0.5:6379"], "Also give --engine ray"),
        (None, [*COLUMNS, "--engine", "ray", "--address", "auto", "--jobs", "2"], "Leave --jobs out"),
        (None, [*COLUMNS, "--choosing"], "sales names no periods for choosing settings"),
        (None, [*COLUMNS, "--set", "hidden_dim"], "--set: expected NAME=VALUE"),
        (None, [*COLUMNS, "--resume"], "there are no results of sales in results/"),
        (None, [*COLUMNS, "--resume", "--output", "none"], "none holds no results to resume"),
        (None, ["--dataset", "chicago", "--then-forecast"], "nothing is known of what comes after chicago"),
        (None, [*COLUMNS, "--then-forecast", "--models", "NaiveSeasonal"], "--models names none of ours. Add one"),
        (None, [*COLUMNS, "--then-forecast", "--set", "shuffle_buffer=9"], "has shuffle_buffer, which only backtests"),
        (None, [*COLUMNS, "--then-forecast", "--future", "open"], "not known at 3 of 3 time steps to forecast"),
        ("short", COLUMNS, "18 time steps are too few for 10 steps of input and 3 of forecast, with periods for early"),
        ("short", COLUMNS, "stopping and testing: expected at least 19. Make --horizon or --input-length smaller"),
    ],
)
def test_wrong_input_ends_with_one_line_that_says_what_to_do_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str | None, arguments: list[str], told: str
) -> None:
    frame = write_csv(tmp_path / "sales.csv").astype({"day": str, "sold": object})
    if change == "twice":
        frame.loc[6, "day"] = "2024-01-06"
    elif change == "no date":
        frame.loc[5, "day"] = "someday"
    elif change == "no number":
        frame.loc[5, "sold"] = "many"
    elif change == "numbers":
        frame["day"] = range(120)
    elif change == "short":
        frame = frame[:18]
    frame.to_csv(tmp_path / "sales.csv", index=False)
    if change == "empty":
        (tmp_path / "sales.csv").write_text("")
    if "--dataset" not in arguments:
        arguments = ["--dataset", "sales.csv", *arguments]
    assert main(["backtest", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error
    assert [path.name for path in tmp_path.iterdir()] == ["sales.csv"]


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("few_epochs")
def test_a_run_that_was_killed_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "sales.csv")
    models = ["NaiveSeasonal", "Seq2SeqRNNModel-GRU", "TiDEModel"]
    arguments = ["backtest", "--dataset", "sales.csv", *COLUMNS, "--models", *models, "--seeds", "2", "--output", "out"]
    made: list[str] = []

    def make_or_die(plan: Plan, run: Run, show: Any = None) -> RunResult | Failure:
        if len(made) == 3 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            raise KeyboardInterrupt
        made.append(run.key)
        return make_run(plan, run)

    monkeypatch.setattr("benchmarks.harness.engines.make_run", make_or_die)
    assert main(arguments) == 130
    before = (tmp_path / "out" / "rows.jsonl").read_text()
    assert [row["model"] for row in _rows(tmp_path / "out")] == [models[0], models[1], models[1]]
    # the kill cut off a row whose forecasts are there
    cut_off = before.splitlines()[:2]
    (tmp_path / "out" / "rows.jsonl").write_text("\n".join(cut_off) + "\n" + before.splitlines()[2][:50])
    assert main(arguments) == 2
    assert main([*arguments, "--resume"]) == 0
    assert made == ["NaiveSeasonal", *(f"{model}-seed-{seed}" for model in models[1:] for seed in (1, 2))]
    rows = _rows(tmp_path / "out")
    assert [json.dumps(row) for row in rows[:2]] == cut_off
    assert [(row["model"], row["seed"]) for row in rows] == [
        (models[0], None),
        (models[1], 1),
        (models[1], 2),
        (models[2], 1),
        (models[2], 2),
        (models[1], None),
        (models[2], None),
    ]
    whole = (tmp_path / "out" / "table.csv").read_text()
    assert main([*arguments, "--resume"]) == 0  # nothing is left to do
    assert len(made) == 5
    assert (tmp_path / "out" / "table.csv").read_text() == whole
    assert main([*arguments, "--resume", "--threads", "2"]) == 2
    # models that are not named stay in the tables
    few = ["--models", "NaiveSeasonal", "--seeds", "1", "--output", "out", "--resume"]
    assert main(["backtest", "--dataset", "sales.csv", *COLUMNS, *few]) == 0
    assert (tmp_path / "out" / "table.csv").read_text() == whole


@pytest.mark.usefixtures("few_epochs")
def test_settings_that_are_tried_have_rows_of_their_own_and_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    candidates = [Candidate(["networks"], {"hidden_size": 4}), Candidate(["networks"], {"hidden_size": 8})]
    task = small_task(tmp_path, candidates=candidates)
    monkeypatch.setattr("benchmarks.backtest.command._task", lambda *_: task)
    arguments = ["backtest", "--models", "NaiveSeasonal", "TiDEModel", "--seeds", "2", "--output", "out"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    rows = [(row["model"], row["candidate"], row["seed"]) for row in _rows(tmp_path / "out")]
    tried: list[dict[str, Any]] = [{}, {"hidden_size": 4}, {"hidden_size": 8}]
    of_seeds = [("TiDEModel", settings, seed) for settings in tried for seed in (1, 2)]
    assert rows == [("NaiveSeasonal", {}, None), *of_seeds, *(("TiDEModel", settings, None) for settings in tried)]
    assert len({row["n_parameters"] for row in _rows(tmp_path / "out") if row["model"] == "TiDEModel"}) == 3
    assert "\nTiDEModel hidden_size=4 x2 " in printed
    (told,) = [line for line in printed.splitlines() if line.startswith("TiDEModel: ")]
    assert all(name in told for name in ("as fixed ", "hidden_size=4 ", "hidden_size=8 "))
    monkeypatch.setattr("benchmarks.harness.engines.make_run", None)  # nothing is left to do
    assert main([*arguments, "--resume"]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.usefixtures("few_epochs")
def test_a_backtest_that_refits_writes_one_row_of_all_folds_and_resumes_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "sales.csv")
    arguments = ["backtest", "--dataset", "sales.csv", *COLUMNS, "--models", "Seq2SeqRNNModel-GRU", "--output", "out"]
    assert main([*arguments, "--retrain-every", "6"]) == 0
    (row,) = _rows(tmp_path / "out")
    assert (row["n_fits"], row["retrain_every"], row["n_forecasts"]) == (3, 6, N_TEST - 2)
    files = sorted(path.name for path in (tmp_path / "out" / "forecasts").iterdir())
    assert files == [f"Seq2SeqRNNModel-GRU-seed-1-test-fold-{fold}.npz" for fold in range(3)]
    (tmp_path / "out" / "forecasts" / files[1]).unlink()
    made: list[str] = []

    def make(plan: Plan, run: Run, show: Any = None) -> RunResult | Failure:
        made.append(run.key)
        return make_run(plan, run)

    monkeypatch.setattr("benchmarks.harness.engines.make_run", make)
    assert main([*arguments, "--retrain-every", "6", "--resume"]) == 0
    assert made == ["Seq2SeqRNNModel-GRU-seed-1-test-fold-1"]
    (again,) = _rows(tmp_path / "out")
    assert again["mae"] == row["mae"]
    assert again["evaluations"] == 2


@pytest.mark.usefixtures("few_epochs")
def test_a_backtest_that_updates_says_so_in_its_rows_and_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path / "sales.csv")
    arguments = ["backtest", "--dataset", "sales.csv", *COLUMNS, "--output", "out", "--warm-epochs", "1"]
    arguments += ["--models", "LinearModel", "LinearRegressionModel"]
    assert main([*arguments, "--retrain-every", "6"]) == 0
    told = {row["model"]: (row["n_fits"], row["retrain_every"], row["warm_epochs"]) for row in _rows(tmp_path / "out")}
    assert told == {"LinearModel": (1, 6, 1), "LinearRegressionModel": (3, 6, None)}
    assert "1 epoch from their current weights" in (tmp_path / "out" / "report.html").read_text()
    capsys.readouterr()
    assert main([*arguments, "--output", "other"]) == 2
    assert "--warm-epochs: say with --retrain-every" in capsys.readouterr().err


@pytest.mark.usefixtures("few_epochs")
def test_results_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(tmp_path / "sales.csv")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rows.jsonl").write_text("earlier\n")
    (tmp_path / "file").write_text("a file in place of a folder")
    arguments = ["backtest", "--dataset", "sales.csv", *COLUMNS, "--models", "NaiveSeasonal", "--output"]
    assert main([*arguments, "out"]) == 2
    assert "out holds results already" in capsys.readouterr().err
    assert (tmp_path / "out" / "rows.jsonl").read_text() == "earlier\n"
    assert main([*arguments, "file"]) == 2
    assert "cannot write to file" in capsys.readouterr().err
