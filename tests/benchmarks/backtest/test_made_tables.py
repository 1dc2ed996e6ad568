"""The tables of the tests, from a backtest to a forecast and on: read once, as the package reads them."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.__main__ import main
from seq_plugins.__main__ import main as package_main
from tests.tables.made_tables import energy, products, shop

MODELS = ["--models", "NaiveSeasonal", "LinearRegressionModel", "LinearModel"]
TABLES: dict[str, tuple[pd.DataFrame, list[str], list[str]]] = {
    "shop": (
        shop().sample(frac=1, random_state=0),  # rows in no order
        ["--target", "sold", "--future", "promotion"],
        ["2024-04-30,60,1", "2024-05-14,,0"],
    ),
    "energy": (
        energy(),
        ["--target", "load", "--time-zone", "Europe/Berlin", "--horizon", "12", "--input-length", "24"],
        ["2024-11-03 07:00,100"],
    ),
    **{
        f"{n_products} products": (
            products(n_products),
            ["--target", "sold", "--id", "product", "--static", "category"],
            [f"26.02.2024,P{number:03},{['food', 'toys'][number % 2]},12" for number in range(n_products)],
        )
        for n_products in (8, 200)
    },
}


def _rows(folder: str = "out") -> dict[str, dict[str, Any]]:
    return {row["model"]: row for row in map(json.loads, Path(folder, "rows.jsonl").read_text().splitlines())}


@pytest.mark.usefixtures("few_epochs")
@pytest.mark.parametrize("name", ["shop", "energy", "8 products", pytest.param("200 products", marks=pytest.mark.slow)])
def test_a_table_goes_from_a_backtest_to_a_forecast_and_on_to_new_rows(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table, columns, new_rows = TABLES[name]
    table.to_csv("table.csv", index=False)
    Path("new.csv").write_text("\n".join([",".join(table.columns), *new_rows]))
    options = ["--output", "out", "--then-forecast", "--forecasts", "csv"]
    assert main(["backtest", "--dataset", "table.csv", *columns, *MODELS, *options]) == 0
    told = capsys.readouterr().out
    for words in ("Time stamps are in column", "Frequency: ", "Training from ", "Forecasts are in out/forecast: "):
        assert words in told

    # errors follow from the tables of forecasts, in which nothing stands where nothing was observed
    for model, row in _rows().items():
        (path,) = Path("out/forecasts").glob(f"{model}*.csv")
        made = pd.read_csv(path)
        errors = (made["observed"] - made["forecast"]).abs().groupby(made["step"]).mean()
        np.testing.assert_allclose(errors, row["mae"], rtol=1e-3)
        assert made["observed"].isna().any() == (name == "shop")
        assert np.isfinite(made["forecast"]).all()
        filled = {"shop": "missing values (filled", "energy": ""}.get(name, "short histories (filled")
        assert (filled in " ".join(row["cannot_take"])) != (bool(filled) and row["is_ours"])

    forecasts = pd.read_csv("out/forecast/forecast.csv")
    assert package_main(["forecast", "table.csv", *columns, "--model", "out", "--folds", "1", "--output", "same"]) == 0
    pd.testing.assert_frame_equal(pd.read_csv("same/forecast.csv"), forecasts)
    assert package_main(["forecast", "--model", "out/forecast", "--update", "new.csv", "--output", "later"]) == 0
    later = pd.read_csv("later/forecast.csv")
    assert list(later.columns) == list(forecasts.columns)
    time = forecasts.columns[0]
    n_steps = len(forecasts[time].unique())
    assert list(later[time].unique()[: n_steps - 1]) == list(forecasts[time].unique()[1:])


@pytest.mark.usefixtures("few_epochs")
def test_hours_that_stand_twice_are_two_hours_and_forecasts_have_the_clock_s_times() -> None:
    energy(n_hours=700).to_csv("energy.csv", index=False)
    columns = ["--target", "load", "--time-zone", "Europe/Berlin", "--horizon", "4", "--test-length", "130"]
    options = ["--models", "NaiveSeasonal", "--output", "out", "--forecasts", "csv"]
    assert main(["backtest", "--dataset", "energy.csv", *columns, *options]) == 0
    made = pd.read_csv("out/forecasts/NaiveSeasonal.csv")
    starts = list(made["start"].unique())
    assert len(starts) == 130 - 4 + 1
    assert "2024-10-27 02:00:00+02:00" in starts
    assert "2024-10-27 02:00:00+01:00" in starts
    page = Path("out/report.html").read_text()
    assert "Periods: training 2024-10-01 to " in page
    hours = re.search(r'"title":"hour","labels":\[(.*?)\],"counts":\[(.*?)\]', page)
    assert hours is not None
    counts = dict(zip(json.loads(f"[{hours[1]}]"), json.loads(f"[{hours[2]}]"), strict=True))
    by_clock = made["time"].str[11:13].value_counts()
    assert counts == {hour: by_clock[hour] for hour in counts}


@pytest.mark.usefixtures("few_epochs")
def test_series_of_several_targets_with_covariates_of_their_own_and_whole_numbers_for_times(
    capsys: pytest.CaptureFixture[str],
) -> None:
    generator = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {
                "step": np.arange(10 * number, 600, 10),
                "shop": name,
                "sold": generator.random(60 - number) * 10**number,
                "back": generator.random(60 - number),
                "price": generator.random(60 - number),
                "open": generator.integers(0, 2, 60 - number),
            }
        )
        for number, name in enumerate(["a", "b", "c"])
    ]
    late = tables[0].assign(shop="new")[-5:]
    pd.concat([*tables, late]).to_csv("shops.csv", index=False)
    columns = ["--target", "sold", "back", "--id", "shop", "--past", "price", "--future", "open"]
    options = ["--horizon", "3", "--input-length", "6", "--output", "out", "--forecasts", "csv"]
    assert main(["backtest", "--dataset", "shops.csv", *columns, *options, *MODELS]) == 0
    assert "Not backtested, since not observed in the training period: 'new'." in capsys.readouterr().out
    made = pd.read_csv("out/forecasts/LinearModel-seed-1.csv")
    assert set(zip(made["id"], made["target"], strict=True)) == {(i, t) for i in "abc" for t in ("sold", "back")}
    assert sorted(made["time"].unique()) == list(range(510, 600, 10))
    observed = pd.concat(tables).melt(["shop", "step"], ["sold", "back"], "target", "value")
    both = made.merge(observed, left_on=["id", "time", "target"], right_on=["shop", "step", "target"])
    assert len(both) == len(made)
    np.testing.assert_allclose(both["observed"], both["value"], rtol=1e-5)
    rows = _rows()
    assert rows["NaiveSeasonal"]["cannot_take"] == ["past covariates", "future covariates"]
    assert rows["LinearModel"]["covariates"] == ["future_covariates", "past_covariates"]
    naive = observed.groupby(["shop", "target"])["value"].apply(lambda of: of.iloc[: len(of) - 18].diff().abs().mean())
    scales = naive[list(zip(made["id"], made["target"], strict=True))].to_numpy()
    errors = (made["observed"] - made["forecast"]).abs() / scales
    assert errors.mean() == pytest.approx(rows["LinearModel"]["means"]["mase"], rel=1e-3)


def test_a_file_of_ours_that_is_missing_is_no_fault_of_the_folder_for_results(monkeypatch: pytest.MonkeyPatch) -> None:
    shop().to_csv("shop.csv", index=False)
    monkeypatch.setattr("benchmarks.core.page._HERE", Path("nowhere"))
    arguments = ["--dataset", "shop.csv", "--target", "sold", "--models", "NaiveSeasonal", "--output", "out"]
    with pytest.raises(OSError, match=r"page\.css"):
        main(["backtest", *arguments])


@pytest.mark.usefixtures("few_epochs")
def test_a_run_is_resumed_with_a_table_that_is_read_in_the_same_way_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shop().to_csv("shop.csv", index=False)
    arguments = [
        "backtest",
        "--dataset",
        "shop.csv",
        "--target",
        "sold",
        "--models",
        "NaiveSeasonal",
        "--output",
        "out",
    ]
    assert main(arguments) == 0
    assert main([*arguments, "--resume"]) == 0
    assert main([*arguments, "--resume", "--missing", "zero"]) == 2
    assert "--resume: task.table.missing was 'keep' there and is 'zero' now." in capsys.readouterr().err
