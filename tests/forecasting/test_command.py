"""The command ``forecast``: a table in; forecasts, a picture and a model out, or one line that says what to do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seq_plugins.__main__ import main
from tests.documents import ROOT, blocks
from tests.tables.made_tables import energy, products, shop

QUICK = ["--model", "LinearModel", "--epochs", "1", "--folds", "1", "--set", "ensemble_size=1"]
TABLES: dict[str, tuple[Any, list[str]]] = {
    "shop": (shop, ["--target", "sold", "--future", "promotion"]),
    "energy": (
        energy,
        ["--target", "load", "--time-zone", "Europe/Berlin", "--input-length", "48", "--season-length", "24"],
    ),
    "products": (products, ["--target", "sold", "--id", "product", "--static", "category"]),
}
RESULTS = ["forecast.csv", "forecast.png", "model", "scores.csv"]


def _forecast(name: str, *options: str) -> int:
    make, arguments = TABLES[name]
    make().to_csv(f"{name}.csv", index=False)
    return main(["forecast", f"{name}.csv", *arguments, *QUICK, "--output", "out", *options])


def _read(folder: str = "out") -> pd.DataFrame:
    return pd.read_csv(Path(folder) / "forecast.csv")


def _names(folder: str = ".") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.mark.parametrize(
    ("name", "n_rows", "first", "last"),
    [
        ("shop", 14, "2024-04-30", "2024-05-13"),
        ("energy", 24, "2024-11-03 07:00:00+01:00", "2024-11-04 06:00:00+01:00"),
        ("products", 5 * 8, "2024-02-26", "2024-04-15"),
    ],
)
def test_a_table_is_forecast_and_every_guess_is_told(
    name: str, n_rows: int, first: str, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _forecast(name) == 0
    told = capsys.readouterr()
    for words in (
        "Time stamps are in column",
        "Frequency: ",
        "Horizon: ",
        "LinearModel forecasts",
        "Forecasts are in out",
    ):
        assert words in told.out
    assert "%" not in told.err  # no progress bar where nobody looks
    assert _names("out") == RESULTS
    forecasts = _read()
    times = forecasts.iloc[:, 0]
    assert (len(forecasts), times.iloc[0], times.iloc[-1]) == (n_rows, first, last)
    assert list(forecasts.columns[-5:]) == ["target", "step", "median", "q0.1", "q0.9"]
    assert (forecasts["q0.1"] <= forecasts["median"]).all()
    assert (forecasts["median"] <= forecasts["q0.9"]).all()
    assert (forecasts["q0.1"] >= 0).all()  # as in the tables
    scores = pd.read_csv("out/scores.csv")
    assert list(scores["model"]) == ["SeasonalNaive", "LinearModel"]
    assert list(scores["forecasts"]) == [False, True]
    assert np.isfinite(scores[["mase", "mae", "coverage"]].to_numpy()).all()


@pytest.mark.parametrize("name", TABLES)
def test_a_saved_model_forecasts_the_same_again(name: str) -> None:
    assert _forecast(name) == 0
    pd.read_csv(f"{name}.csv", dtype=str)[:1].to_csv("nothing_new.csv", index=False)  # a row that was there
    assert main(["forecast", "--model", "out", "--update", "nothing_new.csv", "--output", "again"]) == 0
    pd.testing.assert_frame_equal(_read("again"), _read(), rtol=1e-5)
    assert _names("again") == ["forecast.csv", "forecast.png", "model"]


@pytest.mark.parametrize("refit", [[], ["--refit"]])
def test_a_saved_model_goes_on_from_new_rows(refit: list[str]) -> None:
    assert _forecast("shop") == 0
    rows = [f"2024-04-30,{sold},1\n2024-05-14,,0\n" for sold in (60, 90)]
    medians = []
    for row in rows:
        Path("new.csv").write_text("day,sold,promotion\n" + row)
        assert main(["forecast", "--model", "out", "--update", "new.csv", "--output", "later", *refit]) == 0
        forecasts = _read("later")
        assert (forecasts["day"].iloc[0], forecasts["day"].iloc[-1]) == ("2024-05-01", "2024-05-14")
        medians.append(forecasts["median"].mean())
    assert medians[0] != medians[1]
    assert main(["forecast", "--model", "later", "--update", "new.csv", "--output", "again"]) == 0
    pd.testing.assert_frame_equal(_read("again"), _read("later"), rtol=1e-5)


def test_an_update_that_needs_other_options_says_that_they_are_those_of_the_first_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _forecast("shop") == 0
    Path("new.csv").write_text("day,sold,promotion\n2024-04-30,60,1\n")
    assert main(["forecast", "--model", "out", "--update", "new.csv", "--output", "later"]) == 2
    error = capsys.readouterr().err
    assert "--future promotion: not known at 1 of 14 time steps to forecast" in error
    assert error.endswith(
        "With --update, options are those of the first run: for others, forecast a table of all rows anew.\n"
    )
    assert error.count("\n") == 1


def test_the_same_seed_forecasts_the_same_and_another_does_not() -> None:
    found = []
    for seed in ("1", "1", "2"):
        assert _forecast("shop", "--seed", seed) == 0
        found.append(_read()["median"].to_numpy())
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_where_nothing_is_better_than_the_last_season_the_command_says_so_and_forecasts_with_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    days = pd.date_range("2024-01-01", periods=60)
    pd.DataFrame({"day": days, "sold": days.day_of_week + 1.0}).to_csv("weeks.csv", index=False)
    arguments = ["forecast", "weeks.csv", "--target", "sold", "--horizon", "7", "--minimum", "none", *QUICK[2:]]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "SeasonalNaive has the smallest error: no model tried is better" in told
    assert re.search(r"SeasonalNaive +- +0 ", told)  # no error in training to divide by
    assert _names("weeks-forecast/model") == ["forecaster.json", "history.csv"]
    assert json.loads(Path("weeks-forecast/model/forecaster.json").read_text())["plan"]["minimum"] is None
    np.testing.assert_array_equal(_read("weeks-forecast")["median"], (np.arange(60, 67) % 7) + 1)
    Path("new.csv").write_text("day,sold\n2024-03-01,5\n2024-03-02,60\n")
    assert main(["forecast", "--model", "weeks-forecast", "--update", "new.csv"]) == 0
    assert list(_read("new-forecast")["median"]) == [7, 1, 2, 3, 4, 5, 60]


def test_several_targets_and_categories_known_in_advance() -> None:
    table = shop().assign(
        profit=lambda frame: 0.3 * frame["sold"], kind=lambda frame: frame["promotion"].map({0: "no", 1: "yes"})
    )
    table.to_csv("table.csv", index=False)
    arguments = [
        "table.csv",
        "--target",
        "sold",
        "profit",
        "--future",
        "kind",
        "--quantiles",
        "0.25",
        "--minimum",
        "45",
        "--output",
        "out",
    ]
    assert main(["forecast", *arguments, *QUICK]) == 0
    forecasts = _read()
    assert list(forecasts["target"]) == ["sold", "profit"] * 14
    assert list(forecasts.columns) == ["day", "target", "step", "median", "q0.25"]
    assert forecasts["q0.25"].min() == 45
    about = json.loads(Path("out/model/forecaster.json").read_text())
    assert about["table"]["categories"] == {"kind": ["no", "yes"]}
    assert set(about["scaling"]["targets"]) == {"sold", "profit"}


def test_an_interrupted_run_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    assert _forecast("shop") == 0
    before = Path("out/forecast.csv").read_bytes()
    monkeypatch.setattr("seq_plugins.forecasting.writing.draw_forecasts", interrupt)
    assert _forecast("shop", "--seed", "5") == 130
    assert capsys.readouterr().err.endswith("interrupted: nothing was written.\n")
    assert Path("out/forecast.csv").read_bytes() == before
    assert _names() == ["out", "shop.csv"]


def test_an_interruption_that_lightning_turns_into_an_exit_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave(*args: object, **kwargs: object) -> None:
        sys.exit(1)

    monkeypatch.setattr("seq_plugins.LinearModel.fit", leave)
    assert _forecast("shop") == 130
    assert capsys.readouterr().err.endswith("interrupted: nothing was written.\n")
    assert _names() == ["shop.csv"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected a table to forecast"),
        (["shop.csv"], "--target: name the column to forecast"),
        (["shop.csv", "--target", "sales"], "no column 'sales'"),
        (["shop.csv", "--target", "sold", "--refit"], "--refit: it trains a saved model again"),
        (["shop.csv", "--target", "sold", "--model", "Seq2Seq"], "got 'Seq2Seq'. Did you mean Seq2SeqRNNModel?"),
        (
            ["shop.csv", "--target", "sold", "--set", "lr=0.1"],
            "has no argument `lr` (did you mean --set 'optimizer_kwargs={\"lr\": 0.1}'?)",
        ),
        (["shop.csv", "--target", "sold", "--set", "hidden_dims=8"], "`hidden_dims` (did you mean `hidden_dim`?)"),
        (
            ["shop.csv", "--target", "sold", "--set", "hidden_dim=0"],
            "Expected `hidden_dim` to be an integer of at least 1",
        ),
        (["shop.csv", "--target", "sold", "--set", "n_epochs=5"], "--set: n_epochs is given with --epochs"),
        (["shop.csv", "--target", "sold", "--set", "hidden_dim"], "--set: expected NAME=VALUE"),
        (
            ["shop.csv", "--target", "sold", "--set", "a=1", "--model", "SeasonalNaive"],
            "SeasonalNaive has no arguments",
        ),
        (
            ["shop.csv", "--target", "sold", "--future", "promotion", "--horizon", "16"],
            "not known at 2 of 16 time steps to forecast, the last of which is 2024-05-15: 2024-05-14, 2024-05-15. Add",
        ),
        (["shop.csv", "--target", "sold", "--horizon", "50"], "--horizon: 120 time steps are too few to train on"),
        (
            ["shop.csv", "--target", "sold", "--input-length", "100"],
            "--input-length: 100 steps of input and 14 of forecast",
        ),
        (
            ["shop.csv", "--target", "sold", "--input-length", "3", "--season-length", "7"],
            "--input-length: expected at least 7 steps for seasons",
        ),
        (["shop.csv", "--targte", "sold"], "there is no option --targte (did you mean --target?). All options: "),
        (["shop.csv", "--target", "sold", "--timezone=UTC"], "no option --timezone (did you mean --time-zone?)"),
        (["shop.csv", "--target", "sold", "--lr", "0.1"], "there is no option --lr. All options: "),
        (["shop.csv", "--target", "sold", "--missing", "drop"], "--missing: invalid choice: 'drop'"),
        (["shop.csv", "--target", "sold", "--horizon", "30d"], "--horizon: invalid whole number value: '30d'"),
        (["--target", "sold", "shop.csv"], "expected a table to forecast, CSV or Parquet, before the options"),
        (["shop.csv", "--target", "sold", "--output", "."], "--output: . holds shop.csv"),
        (["shop.csv", "--target", "sold", "--output", "no/where"], "--output: the folder of no/where does not exist"),
        (["shop.csv", "--target", "sold", "--output", "shop.csv"], "--output: shop.csv is a file"),
        (["--model", "nowhere", "--update", "shop.csv"], "--model: nowhere is no folder that this command has written"),
        (["--update", "shop.csv"], "--update: name the folder of the saved model with --model"),
        (["--model", "out", "--update", "shop.csv", "--target", "sold"], "Leave --target out"),
    ],
)
def test_wrong_input_ends_with_one_line_that_says_what_to_do_and_writes_nothing(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop().to_csv("shop.csv", index=False)
    assert main(["forecast", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error
    assert _names() == ["shop.csv"]


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("forecaster.json", b"}\n}\n", b"", "out/model is damaged"),
        (
            "forecaster.json",
            b'"forecaster": "LinearModel"',
            b'"forecaster": "os.system"',
            "there is no model 'os.system'",
        ),
        ("forecaster.json", b'"format": 1', b'"format": 2', "in format 2, expected 1. Create it again from the table"),
        ("model.pt", b"PK", b"", "out/model is damaged"),
        ("history.csv", b"promotion", b"price", "out/model is damaged"),
    ],
)
def test_a_damaged_folder_is_told(
    name: str, old: bytes, new: bytes, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _forecast("shop") == 0
    path = Path("out/model", name)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    assert main(["forecast", "--model", "out", "--update", "shop.csv", "--output", "later"]) == 2
    assert told in capsys.readouterr().err
    assert not Path("later").exists()


def test_holes_are_refused_by_a_model_that_has_learnt_from_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert _forecast("shop", "--missing", "interpolate") == 0
    about = Path("out/model/forecaster.json")
    about.write_text(about.read_text().replace('"interpolate"', '"keep"').replace("interpolate", "keep"))
    Path("new.csv").write_text("day,sold,promotion\n2024-05-02,60,1\n2024-05-16,,0\n")
    assert main(["forecast", "--model", "out", "--update", "new.csv", "--output", "later"]) == 2
    assert "the model was trained on none that are. Add --refit." in capsys.readouterr().err
    assert _forecast("products") == 0
    Path("new.csv").write_text("week,product,category,sold\n26.02.2024,P003,toys,9\n")
    assert main(["forecast", "--model", "out", "--update", "new.csv", "--output", "later"]) == 2
    assert "time steps of 4 series ('P000', 'P001', 'P002' and 1 more), and the model" in capsys.readouterr().err


def test_the_command_line_says_what_it_can_do(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for arguments, words in (
        (["--help"], "forecast a table"),
        (["forecast", "--help"], "--time-zone"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "seq_plugins", *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=environment,
        )
        assert words in done.stdout
        assert done.stderr == ""


def test_the_errors_that_the_page_quotes_are_raised_word_for_word(capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / "docs" / "forecast-a-table.md"
    exec(next(blocks(page, "python")).code, {})  # noqa: S102 our own page, which makes the tables
    capsys.readouterr()
    main(["forecast", "load.csv", "--target", "load"])
    main(["forecast", "products.csv", "--target", "sold"])
    main(["forecast", "sales.csv", "--target", "sold", "--set", "lr=0.1"])
    raised = capsys.readouterr().err.splitlines()
    quoted = re.findall(r"^(error: .*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(quoted) == len(raised) == 3
    for words, message in zip(quoted, raised, strict=True):
        assert re.fullmatch(re.escape(words).replace("…", ".*"), message), message
