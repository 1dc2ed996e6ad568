"""The forecasts of the test periods as tables: what stands in them is what errors are computed from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from benchmarks.backtest.evaluation import evaluate
from benchmarks.backtest.forecast_tables import write_tables
from benchmarks.core.progress import Progress
from benchmarks.harness.entries import find_entries
from benchmarks.harness.forecasts import RunResult
from benchmarks.harness.plan import Plan, plan_runs
from benchmarks.harness.rows import RowMaker
from benchmarks.harness.run import make_run
from benchmarks.harness.task import Task
from tests.benchmarks.harness.small_tasks import COLUMNS, N_TEST, write_csv
from tests.benchmarks.harness.test_panel import HORIZON, LENGTHS
from tests.benchmarks.harness.test_panel import panel as panel

MODELS = ["--models", "NaiveSeasonal", "LinearRegressionModel", "--retrain-every", "7", "--likelihood", "quantile"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_forecasts_of_each_model_are_a_table_with_dates_from_which_its_errors_follow(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr("benchmarks.backtest.forecast_tables._MOST_ROWS", 10)  # three forecasts at a time
    frame = write_csv(Path("sales.csv"))
    assert main(["backtest", "--dataset", "sales.csv", *COLUMNS, *MODELS, "--output", "out", "--forecasts", kind]) == 0
    n_rows = 2 * 3 * (N_TEST - 2)
    assert f"Forecasts of the test periods: 2 tables in out/forecasts, {n_rows} rows, " in capsys.readouterr().out
    rows = {row["model"]: row for row in map(json.loads, Path("out/rows.jsonl").read_text().splitlines())}
    for model, row in rows.items():
        path = Path("out/forecasts", f"{model}.{kind}")
        table: Any = pd.read_csv(path, parse_dates=["start", "time"]) if kind == "csv" else pd.read_parquet(path)
        point = "median" if row["quantile_levels"] else "forecast"
        levels = [f"q{level:g}" for level in row["quantile_levels"] if level != 0.5]
        assert list(table.columns) == ["period", "start", "time", "target", "step", "observed", point, *levels]
        assert (set(table["period"]), set(table["target"])) == ({"test"}, {"sold"})
        assert list(table["start"].unique()) == list(frame["day"][-N_TEST:-2])
        assert (table["time"] == table["start"] + pd.to_timedelta(table["step"] - 1, unit="D")).all()
        sold = frame.set_index("day")["sold"][table["time"]].to_numpy()
        np.testing.assert_allclose(table["observed"], sold, rtol=1e-5)
        errors = (table["observed"] - table[point]).abs().groupby(table["step"]).mean()
        np.testing.assert_allclose(errors, row["mae"], rtol=1e-3)
        assert (table[levels].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    if kind == "csv":  # days, without a time of day
        assert Path("out/forecasts/NaiveSeasonal.csv").read_text().splitlines()[1].split(",")[1] == "2024-04-12"


def test_the_table_of_a_panel_has_ids_and_counts_the_steps_of_series_without_dates(panel: Task) -> None:
    plan = Plan(panel)
    ((run,),) = plan_runs(plan, find_entries(["NaiveSeasonal"], panel), 1)
    made = make_run(plan, run)
    assert isinstance(made, RunResult)
    maker = RowMaker(plan)
    rows = maker.make_rows([run], [made], {"end": 1})
    write_tables(Path(), evaluate(plan, maker, rows, lambda run: made), "csv", Progress("table"))
    table = pd.read_csv("NaiveSeasonal.csv")
    assert list(table["id"]) == ["S0", "S1", "S2"] * HORIZON
    assert list(table["time"].unique()) == list(range(max(LENGTHS) - HORIZON, max(LENGTHS)))
    np.testing.assert_allclose(table["forecast"], made.forecasts[0].predicted.ravel(), rtol=1e-6)
