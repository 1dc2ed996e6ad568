"""The command ``python -m benchmarks backtest``, on small series of our own."""

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.backtest import TaskData, fit_model, forecast_period, make_model
from benchmarks.models import ENTRIES
from benchmarks.tasks import csv_task, read_task, task_names


def _write_csv(path: Path, n_rows: int = 120, freq: str = "D") -> pd.DataFrame:
    generator = np.random.default_rng(0)
    steps = np.arange(n_rows)
    frame = pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=n_rows, freq=freq),
            "sold": 10 + np.sin(2 * np.pi * steps / 7) + 0.1 * generator.standard_normal(n_rows),
            "price": generator.random(n_rows),
            "open": (steps % 7 < 6).astype(int),
        }
    )
    frame.to_csv(path, index=False)
    return frame


COLUMNS = ["--time", "day", "--target", "sold", "--horizon", "3", "--input-length", "10"]


@pytest.fixture
def _few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    training = read_task("chicago").training | {"n_epochs": 2}
    monkeypatch.setattr("benchmarks.tasks.shared_training", lambda: training)


@pytest.mark.usefixtures("_few_epochs")
def test_a_csv_file_is_backtested_into_rows_a_table_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_csv(tmp_path / "sales.csv")
    models = ["NaiveSeasonal", "LinearRegressionModel", "Seq2SeqRNNModel"]
    arguments = ["--dataset", "sales.csv", *COLUMNS, "--past", "price", "--future", "open", "--seeds", "2"]
    code = main(["backtest", *arguments, "--models", *models, "--output", "out"])
    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"rows.jsonl", "table.csv", "backtest.png"}
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [(row["model"], row["seed"]) for row in rows] == [
        ("NaiveSeasonal", None),
        ("LinearRegressionModel", None),
        ("Seq2SeqRNNModel", 1),
        ("Seq2SeqRNNModel", 2),
    ]
    for row in rows:
        assert row["error"] is None
        assert len(row["mae"]) == len(row["rmse"]) == 3
        assert np.isfinite(row["mae"]).all()
        assert row["n_forecasts"] == 18 - 3 + 1
        assert row["versions"]["darts"].startswith("0.48")
        assert row["threads"] == 1
        assert row["task_settings"]["target"] == ["sold"]
        assert row["task_settings"]["dataset"] == "sales.csv"
        assert len(row["task_settings"]["sha256"]) == 64
    assert rows[0]["covariates"] == []
    assert rows[1]["covariates"] == ["future_covariates", "past_covariates"]
    assert rows[2]["n_epochs"] <= 2
    assert rows[2]["model_settings"]["hidden_dim"] == 32
    assert rows[2]["mae"] != rows[3]["mae"]
    with (tmp_path / "out" / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {line["model"]: line["seeds"] for line in table} == {
        "NaiveSeasonal": "1",
        "LinearRegressionModel": "1",
        "Seq2SeqRNNModel": "2",
    }
    errors = [float(line["mean_mae"]) for line in table]
    assert errors == sorted(errors)
    printed = capsys.readouterr().out
    assert all(model in printed for model in models)
    assert (tmp_path / "out" / "backtest.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("model", ["NaiveSeasonal", "LinearRegressionModel", "Seq2SeqRNNModel"])
@pytest.mark.usefixtures("_few_epochs")
def test_errors_are_those_of_forecasts_made_one_by_one_within_the_test_period(model: str, tmp_path: Path) -> None:
    frame = _write_csv(tmp_path / "sales.csv")
    task = csv_task(tmp_path / "sales.csv", "day", ["sold"], ["price"], ["open"], horizon=3, input_length=10)
    data, entry = TaskData(task), ENTRIES[model]
    fitted = make_model(task, entry, 1, str(tmp_path), print)
    fit_model(data, entry, fitted)
    forecasts = forecast_period(data, entry, fitted, task.tests[0])
    sold = frame["sold"].to_numpy()
    first = 120 - 18
    assert len(forecasts.predicted) == 16
    for position in range(16):
        end = first + position
        assert forecasts.starts[position] == frame["day"][end]
        np.testing.assert_allclose(forecasts.true[position, :, 0], sold[end : end + 3], rtol=1e-5)
        history = data.target[:end]
        given = {} if entry.is_refitted else {"past_covariates": data.past_covariates, "series": history}
        if entry.is_refitted:
            fitted.fit(history)
        else:
            given["future_covariates"] = data.future_covariates
        mean, deviation = data.scale
        alone = fitted.predict(3, **given).values() * deviation + mean
        np.testing.assert_allclose(forecasts.predicted[position], alone, rtol=1e-4)
    np.testing.assert_allclose(forecasts.mae(), np.abs(forecasts.predicted - forecasts.true).mean(axis=(0, 2)))


def test_the_periods_of_every_task_follow_each_other_without_overlap() -> None:
    for name in task_names():
        task = read_task(name)
        periods = [task.train, task.early_stopping, *task.tests]
        for earlier, later in pairwise(periods):
            assert earlier.start < earlier.end < later.start, (name, later.name)


def test_nothing_of_the_test_period_is_used_to_scale_or_train(tmp_path: Path) -> None:
    frame = _write_csv(tmp_path / "sales.csv")
    changed = frame.copy()
    changed.loc[changed.index[-18:], ["sold", "price"]] *= 1000
    changed.to_csv(tmp_path / "changed.csv", index=False)
    tasks = [
        csv_task(tmp_path / name, "day", ["sold"], ["price"], ["open"], horizon=3, input_length=10)
        for name in ("sales.csv", "changed.csv")
    ]
    first, second = (TaskData(task) for task in tasks)
    assert first.target[:-18] == second.target[:-18]
    assert first.past_covariates is not None
    assert second.past_covariates is not None
    assert first.past_covariates[:-18] == second.past_covariates[:-18]
    np.testing.assert_array_equal(first.scale, second.scale)


@pytest.mark.usefixtures("_few_epochs")
def test_a_model_that_fails_has_a_row_that_says_so_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_csv(tmp_path / "sales.csv")

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
        (None, ["--dataset", "nowhere"], "expected chicago, cta or a CSV file, got 'nowhere'"),
        (None, ["--dataset", "none.csv", *COLUMNS], "none.csv: cannot be read as a CSV file"),
        (None, ["--dataset", "sales.csv"], "needs --time and --target"),
        (None, [*COLUMNS, "--future", "weather"], "no column 'weather'; its columns are 'day', 'sold'"),
        (None, [*COLUMNS, "--future", "sold"], "--target and --future: column 'sold' can be only one of them"),
        (None, [*COLUMNS, "--past", "price", "price"], "--past and --past: column 'price' can be only one of them"),
        ("numbers", COLUMNS, "column 'day' holds numbers. Give dates"),
        (None, [*COLUMNS, "--models", "TransformerModel"], "--models: no model 'TransformerModel'"),
        (None, [*COLUMNS, "--freq", "fortnight"], "--freq fortnight"),
        (None, [*COLUMNS, "--freq", "h"], "with --freq h, 2024-01-01 01:00:00 is missing"),
        ("gap", COLUMNS, "with --freq D, 2024-01-06 00:00:00 is missing"),
        ("twice", COLUMNS, "2024-01-06 00:00:00 stands twice in column 'day'"),
        ("unsorted", COLUMNS, "column 'day' is not sorted"),
        ("no date", COLUMNS, "column 'day' makes no dates"),
        ("no number", COLUMNS, "no number in column 'sold', row 7"),
        ("empty", COLUMNS, "cannot be read as a CSV file"),
        ("short", COLUMNS, "18 rows are too few for 10 steps of input and 3 of forecast: expected at least 20"),
    ],
)
def test_wrong_input_ends_with_one_line_that_says_what_to_do_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str | None, arguments: list[str], told: str
) -> None:
    frame = _write_csv(tmp_path / "sales.csv").astype({"day": str, "sold": object})
    if change == "gap":
        frame = frame.drop(index=5)
    elif change == "twice":
        frame.loc[6, "day"] = "2024-01-06"
    elif change == "unsorted":
        frame = frame.iloc[::-1]
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


@pytest.mark.usefixtures("_few_epochs")
def test_results_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_csv(tmp_path / "sales.csv")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rows.jsonl").write_text("earlier\n")
    (tmp_path / "file").write_text("a file in place of a folder")
    arguments = ["backtest", "--dataset", "sales.csv", *COLUMNS, "--models", "NaiveSeasonal", "--output"]
    assert main([*arguments, "out"]) == 2
    assert "out holds results already" in capsys.readouterr().err
    assert (tmp_path / "out" / "rows.jsonl").read_text() == "earlier\n"
    assert main([*arguments, "file"]) == 2
    assert "cannot write to file" in capsys.readouterr().err
