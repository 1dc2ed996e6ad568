"""People's tables become series: holes, local times, dates of any order, texts, many series; and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seq_plugins._command_line import UserError
from seq_plugins.tables import Panel, Rows, TableOptions, join_rows, make_panel, read_rows
from seq_plugins.tables.times import find_frequency
from tests.tables.made_tables import energy, products, shop


def _read(frame: pd.DataFrame | str, **options: Any) -> tuple[Panel, Rows, list[str]]:
    """Write a table, read it, and return its series, its rows and what was told."""
    path = Path("table.csv")
    if isinstance(frame, str):
        path.write_text(frame, encoding="utf-8")
    else:
        frame.to_csv(path, index=False)
    rows = read_rows(path, TableOptions(**options))
    notes = list(rows.notes)
    panel, rows = make_panel(rows, notes)
    return panel, rows, notes


def _values(panel: Panel, i: int = 0) -> np.ndarray:
    values: np.ndarray = panel.targets[i].values()[:, 0]
    return values


def test_absent_days_are_missing_values_and_rows_after_the_last_observation_are_known_ahead() -> None:
    table = shop()
    panel, _, notes = _read(table, target=["sold"], future=["promotion"])
    assert panel.length == 120
    assert str(panel.end.date()) == "2024-04-29"
    assert panel.n_known == 14
    assert np.isnan(_values(panel)).sum() == 120 - table["sold"].notna().sum() == 17
    assert panel.future is not None
    np.testing.assert_array_equal(panel.future[0].values()[-14:, 0], table["promotion"][-14:])
    assert any("Missing values: 17 of 120" in note for note in notes)


@pytest.mark.parametrize(("missing", "expected"), [("zero", 0.0), ("interpolate", 2.0)])
def test_missing_values_become_what_is_asked_for(missing: str, expected: float) -> None:
    panel, _, _ = _read("day,sold\n2024-01-01,1\n2024-01-03,3\n2024-01-04,4\n", target=["sold"], missing=missing)
    np.testing.assert_array_equal(_values(panel), [1, expected, 3, 4])


def test_the_order_of_rows_does_not_matter() -> None:
    table = products()
    options: Any = {"target": ["sold"], "id": "product", "static": ["category"]}
    panel, _, _ = _read(table, **options)
    shuffled, _, _ = _read(table.sample(frac=1, random_state=0), **options)
    assert panel.targets == shuffled.targets
    assert panel.ids == shuffled.ids == [f"P{number:03}" for number in range(5)]


@pytest.mark.parametrize("order", ["oldest first", "newest first"])
def test_an_hour_that_the_clock_shows_twice_is_kept_and_one_that_it_skips_is_no_gap(order: str) -> None:
    table = energy("2024-03-25", 24 * 230)
    local = pd.to_datetime(table["hour"])
    assert local.duplicated().sum() == 1
    newest_first = order == "newest first"
    panel, rows, _ = _read(table[::-1] if newest_first else table, target=["load"], time_zone="Europe/Berlin")
    np.testing.assert_array_equal(_values(panel), table["load"])
    assert panel.targets[0].start_time() == pd.Timestamp("2024-03-24 23:00")  # UTC
    assert rows.options.axis_zone == "Europe/Berlin"


def test_times_with_offsets_are_utc() -> None:
    panel, rows, notes = _read(
        "time,load\n2024-10-27T02:00:00+02:00,1\n2024-10-27T02:00:00+01:00,2\n2024-10-27T03:00:00+01:00,3\n",
        target=["load"],
    )
    assert list(panel.targets[0].time_index.hour) == [0, 1, 2]
    assert rows.options.axis_zone == "UTC"
    assert any("--time-zone names a zone" in note for note in notes)


def test_a_time_zone_changes_nothing_about_dates() -> None:
    panel, rows, notes = _read(shop(), target=["sold"], time_zone="America/New_York")
    assert panel.targets[0].start_time() == pd.Timestamp("2024-01-01")
    assert rows.options.axis_zone is None
    assert any("--time-zone changes nothing" in note for note in notes)


@pytest.mark.parametrize(
    ("texts", "day_first", "second"),
    [
        (["12/01/2024", "13/01/2024"], None, "2024-01-13"),
        (["01/12/2024", "01/13/2024"], None, "2024-01-13"),
        (["01.02.2024", "02.02.2024"], None, "2024-02-02"),
        (["1/2/2024", "2/2/2024"], True, "2024-02-02"),
        (["1/2/2024", "2/2/2024"], False, "2024-02-02"),
        (["2024-01-02", "2024-01-03"], True, "2024-01-03"),
        (["20240102", "20240103"], None, "2024-01-03"),
        (["2024-01", "2024-02"], None, "2024-02-01"),
        (["Jan 2 2024", "Jan 3 2024"], None, "2024-01-03"),
        (["1704153600", "1704240000"], None, "2024-01-03"),
        (["1704153600000", "1704240000000"], None, "2024-01-03"),
    ],
)
def test_dates_are_read_as_they_are_meant(texts: list[str], day_first: bool | None, second: str) -> None:
    panel, _, _ = _read(f"when,sold\n{texts[0]},1\n{texts[1]},2\n", target=["sold"], time="when", day_first=day_first)
    assert str(panel.end.date()) == second


@pytest.mark.parametrize(
    "freq", ["15min", "h", "6h", "D", "2D", "B", "W-MON", "W-SUN", "MS", "ME", "QS-FEB", "QE-DEC", "YS-JAN", "YE-DEC"]
)
def test_the_frequency_is_found_where_rows_are_absent(freq: str) -> None:
    times = pd.date_range("2020-01-01", periods=50, freq=freq)
    kept = np.random.default_rng(0).random(50) < 0.8
    kept[[0, -1]] = True
    found = find_frequency(times[kept])
    assert pd.date_range(times[0], times[-1], freq=found).equals(times)


def test_whole_numbers_are_time_stamps_too() -> None:
    panel, _, _ = _read("step,sold\n10,1\n20,2\n50,5\n", target=["sold"], time="step")
    assert (panel.freq, panel.length, list(panel.times_after(2))) == (10, 5, [60, 70])


def test_where_most_time_steps_have_no_row_longer_ones_are_offered() -> None:
    text = "step,sold\n" + "".join(f"{step},1\n" for step in (1, 40, 81, 123))
    _, _, notes = _read(text, target=["sold"], time="step")
    assert "Missing values: 119 of 123, 119 time steps without a row; kept as missing (--missing)." in notes
    assert any("Most of the 123 time steps have no row: --freq and --resample" in note for note in notes)
    panel, _, notes = _read(text, target=["sold"], time="step", freq="40", resample="sum")
    np.testing.assert_array_equal(_values(panel), [1, 1, 1, 1])
    assert not any("Most of" in note for note in notes)


def test_values_are_resampled_by_the_aggregation_that_is_named() -> None:
    text = "time,sold,rain\n2024-01-01 09:00,1,0\n2024-01-01 17:30,2,1\n2024-01-03 10:00,4,1\n"
    panel, _, notes = _read(text, target=["sold"], past=["rain"], freq="D", resample="sum")
    np.testing.assert_array_equal(_values(panel), [3, np.nan, 4])
    assert panel.past is not None
    np.testing.assert_array_equal(panel.past[0].values()[:, 0], [0.5, np.nan, 1])
    assert "Resampled to D: targets by sum, covariates by their mean." in notes
    assert any("may not be over yet" in note for note in notes)


def test_days_of_local_times_begin_at_local_midnight() -> None:
    table = energy("2024-10-26", 72)
    panel, rows, _ = _read(table, target=["load"], time_zone="Europe/Berlin", freq="D", resample="mean")
    np.testing.assert_allclose(_values(panel)[:2], [table["load"][:24].mean(), table["load"][24:49].mean()])
    assert rows.options.axis_zone is None


def test_semicolons_and_decimal_commas_are_understood() -> None:
    panel, _, notes = _read("day;sold\n2024-01-01;1,5\n2024-01-02;1.002,5\n2024-01-03;3\n", target=["sold"])
    np.testing.assert_array_equal(_values(panel), [1.5, 1002.5, 3])
    assert "Column 'sold' has decimal commas." in notes


def test_texts_are_categories_and_ids_stay_as_they_are_written() -> None:
    text = "day, shop ,sky,kind,sold\n"
    for day in ("2024-01-01", "2024-01-02"):
        text += f"{day},007,sun,NA,1\n{day},NA,rain,big,2\n"
    text += "2024-01-03,007,,,1\n"  # empty: none of them
    panel, rows, _ = _read(text, target=["sold"], id="shop", past=["sky"], static=["kind"])
    assert panel.ids == ["007", "NA"]
    assert panel.past is not None
    assert list(panel.past[0].components) == ["sky=rain", "sky=sun"]
    np.testing.assert_array_equal(panel.past[0].values(), [[0, 1], [0, 1], [0, 0]])
    np.testing.assert_array_equal(panel.past[1].values(), [[1, 0], [1, 0], [np.nan, np.nan]])
    assert list(panel.targets[0].static_covariates.loc["sold"]) == [1, 0]  # NA, big
    assert rows.options.categories == {"sky": ["rain", "sun"], "kind": ["NA", "big"]}


def test_parquet_is_read_as_csv_is() -> None:
    pytest.importorskip("pyarrow")
    table = energy(n_hours=100)
    expected, _, _ = _read(table, target=["load"])
    pd.DataFrame({"hour": pd.to_datetime(table["hour"]), "load": table["load"]}).to_parquet("table.parquet")
    panel, _ = make_panel(read_rows(Path("table.parquet"), TableOptions(["load"])), [])
    assert panel.targets == expected.targets


def test_rows_of_a_later_table_take_the_place_of_earlier_ones() -> None:
    _, before, _ = _read("day,sold\n2024-01-01,1\n2024-01-02,2\n2024-01-03,\n", target=["sold"])
    _, later, _ = _read("day,sold\n2024-01-02,20\n2024-01-03,30\n", target=["sold"])
    panel, _ = make_panel(join_rows(before, later), [])
    np.testing.assert_array_equal(_values(panel), [1, 20, 30])


TWO_DAYS = "day,sold\n2024-01-01,1\n2024-01-02,2\n"


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        (TWO_DAYS, {"target": ["Sold"]}, "no column 'Sold'; its columns are 'day', 'sold'. Did you mean 'sold'?"),
        (
            "day,hour,sold\n2024-01-01,0,1\n2024-01-01,1,2\n",
            {"time": "day"},
            "Join columns 'day' and 'hour' in one of times, such as 2024-01-31 14:00.",
        ),
        (TWO_DAYS, {"future": ["sold"]}, "--target and --future: column 'sold' can be only one of them"),
        (TWO_DAYS, {"static": ["day"]}, "Name the column of their ids with --id"),
        (TWO_DAYS, {"freq": "fortnight"}, "--freq: expected one of pandas' names"),
        (TWO_DAYS, {"freq": "2"}, "such as D, for dates in column 'day', got '2'"),
        (TWO_DAYS, {"resample": "sum"}, "--resample: give the steps to resample to with --freq"),
        (TWO_DAYS, {"time_zone": "Berlin"}, "got 'Berlin'. Did you mean Europe/Berlin?"),
        ("", {}, "cannot be read as a CSV file"),
        ("day,sold\n", {}, "holds no rows"),
        ("day,sold\n2024-01-01,1,2\n", {}, "cannot be read as a CSV file"),
        ("a,sold\n1.5,1\n2.5,2\n", {}, "no column holds dates. Name the column of the time stamps with --time"),
        ("a,b,sold\n2024-01-01,2024-01-01,1\n", {}, "columns 'a', 'b' hold dates. Name the column"),
        ("day,sold\n2024-01-01,1\n,2\n,3\n", {}, "column 'day' has no time stamp in 2 rows: line 3 (empty, 2)"),
        ("day,sold\n2024-01-01,1\nTotal,9\n", {"time": "day"}, "holds 1 text where dates are expected: line 3 (Total)"),
        (
            "day,sold\n2/1/2024,1\n2/2/2024,2\n",
            {},
            "can be read in two ways: line 2 (2/1/2024), line 3 (2/2/2024). Give",
        ),
        ("day,sold\n31/1/2024,1\n1/31/2024,2\n", {}, "line 3 (1/31/2024). They were read with the day first"),
        (
            "time,sold\n2024-01-01 00:00Z,1\n2024-01-01 01:00,2\n",
            {},
            "has no offset in 1 row, unlike in others: line 3",
        ),
        ("step,sold\n1,1\n2.5,2\n", {"time": "step"}, "holds 1 number with a fraction: line 3 (2.5)"),
        ("step,sold\n1,1\n", {"time": "step"}, "holds one time stamp alone"),
        (
            "day,sold\n2024-01-01,1\n2024-01-02,a\n\n2024-01-03,b\n2024-01-04,c\n2024-01-05,d\n2024-01-06,1\n"
            "2024-01-07,2\n2024-01-08,3\n2024-01-09,4\n2024-01-10,5\n",
            {},
            "column 'sold' holds 4 texts where numbers are expected: line 3 (a), line 5 (b), line 6 (c) and 1 more.",
        ),
        ("day,sold\n2024-01-01,inf\n2024-01-02,2\n", {}, "holds 1 infinite value: line 2 (inf)"),
        ("day,sold\n2024-01-01,\n2024-01-02,\n", {}, "nothing stands in 'sold'"),
        (
            "day,shop,sold\n2024-01-01,a,1\n2024-01-01,b,2\n2024-01-02,a,1\n2024-01-02,b,2\n",
            {},
            "repeats a time stamp in 2 rows: line 3 (2024-01-01), line 5 (2024-01-02). Column 'shop' tells them apart: "
            "if it says which series a row is of, give --id shop. To make one value of them, give --resample",
        ),
        (
            "day,shop,sold\n2024-01-01,a,1\n2024-01-01,a,2\n",
            {"id": "shop"},
            "repeats a time stamp for the same 'shop' in 1 row: line 3 (a, 2024-01-01). To make one value",
        ),
        (
            "hour,sold\n2024-10-27 01:00,1\n2024-10-27 02:00,2\n2024-10-27 02:00,3\n2024-10-27 03:00,4\n",
            {},
            "line 4 (2024-10-27 02:00). They are in nights in which summer time ends, when the clock shows an hour "
            "twice: name its zone, such as --time-zone Europe/Berlin, and all are kept.",
        ),
        (
            "hour,sold\n2024-03-31 01:00,1\n2024-03-31 02:00,2\n2024-03-31 03:00,3\n",
            {"time_zone": "Europe/Berlin"},
            "holds 1 time stamp that Europe/Berlin skips when summer time begins: line 3 (2024-03-31 02:00). Give "
            "--time-zone the zone of the clock that wrote them: one without summer time",
        ),
        (
            "time,sold\n2024-01-01 00:00:00,1\n2024-01-01 01:00:00,1\n2024-01-01 02:00:00,1\n2024-01-01 02:59:57,1\n"
            "2024-01-01 04:00:04,1\n",
            {},
            "are irregular: 2 of 4 steps are not 0 days 01:00:00: 2024-01-01 02:59:57, 2024-01-01 04:00:04. "
            "Bring them to one, such as with --freq h --resample mean (or sum, or last).",
        ),
        ("day,sold\n2024-01-01,1\n2024-01-03,2\n", {"freq": "2W-MON"}, "1 time stamp off the steps of --freq 2W-MON"),
        ("day,shop,sold\n2024-01-01,a,1\n2024-01-02,,2\n", {"id": "shop"}, "column 'shop' has no id in 1 row: line 3"),
        (
            "day,shop,size,sold\n2024-01-01,a,1,1\n2024-01-02,a,2,2\n",
            {"id": "shop", "static": ["size"]},
            "--static size: it changes within 1 series: a. Name it with --future",
        ),
        (
            "day,shop,size,sold\n2024-01-01,a,,1\n2024-01-02,a,,2\n2024-01-01,b,1,1\n2024-01-02,b,1,1\n",
            {"id": "shop", "static": ["size"]},
            "--static: nothing stands there for 1 series: 'a'",
        ),
    ],
)
def test_what_is_wrong_is_counted_placed_and_told_with_the_option_that_helps(
    text: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError) as caught:
        _read(text, **({"target": ["sold"]} | options))
    message = str(caught.value)
    assert told in message
    assert "\n" not in message


def test_a_category_that_the_model_does_not_know_is_refused() -> None:
    text = "day,sky,sold\n2024-01-01,sun,1\n2024-01-02,hail,2\n"
    with pytest.raises(
        UserError, match=r"'sky' holds 1 text that the model does not know: line 3 \(hail\). Add --refit"
    ):
        _read(text, target=["sold"], past=["sky"], categories={"sky": ["rain", "sun"]})


def test_spreadsheets_and_files_that_are_not_there_are_told() -> None:
    for name, told in (("table.xlsx", "Save the sheet as a CSV file"), ("none.csv", "cannot be read as a CSV file")):
        with pytest.raises(UserError, match=told):
            read_rows(Path(name), TableOptions(["sold"]))


def test_an_interpolated_panel_as_it_was_before_is_that_of_the_rows_there_were() -> None:
    table = shop()
    table["weather"] = np.arange(float(len(table)))
    table.loc[table.index[60:66], ["sold", "weather"]] = np.nan  # a gap with the time of the forecast in it
    options = TableOptions(["sold"], time="day", past=["weather"], freq="D", missing="interpolate")
    table.to_csv("whole.csv", index=False)
    whole, _ = make_panel(read_rows(Path("whole.csv"), options), [])
    cut = pd.to_datetime(table["day"].iloc[64])
    table[pd.to_datetime(table["day"]) <= cut].to_csv("cut.csv", index=False)
    n_later = len(pd.date_range(cut, whole.end)) - 1
    before = whole.before_last(n_later)
    then, _ = make_panel(read_rows(Path("cut.csv"), options), [])  # it ends with the last observation
    length = len(then.targets[0])
    assert before.past is not None
    assert then.past is not None
    assert before.targets[0][:length] == then.targets[0]
    assert before.past[0][:length] == then.past[0]
    assert (before.targets[0].values()[length:] == then.targets[0].values()[-1]).all()  # nothing of what came later
    assert np.isnan(before.truth[0].values()[length:]).all()
    assert np.isnan(whole.truth[0].values()).sum() > 6  # and the closed days
    assert not whole.has_gaps


@pytest.mark.parametrize("freq", ["h", "15min"])
def test_the_hour_that_a_clock_skips_in_spring_is_told_where_no_zone_is_named(freq: str) -> None:
    hours = pd.date_range("2024-03-20", "2024-04-04", freq=freq, tz="Europe/Berlin")
    table = pd.DataFrame({"time": hours.strftime("%Y-%m-%d %H:%M"), "load": np.arange(float(len(hours)))})
    told = "hours that clocks skip when summer time begins"
    assert told in "\n".join(_read(table, target=["load"])[2])
    assert told not in "\n".join(_read(table, target=["load"], time_zone="Europe/Berlin")[2])
    assert told not in "\n".join(_read(table.drop(index=5), target=["load"])[2])
    assert told not in "\n".join(_read(table.assign(load=1.0)[:50], target=["load"])[2])


@pytest.mark.skipif(int(pd.__version__.split(".")[0]) < 3, reason="pandas before 3 knows these names")
@pytest.mark.parametrize(("former", "now"), [("H", "h"), ("2M", "2ME"), ("q-dec", "QE-DEC"), ("15T", "15min")])
def test_a_former_name_of_a_frequency_is_told_with_the_present_one(former: str, now: str) -> None:
    with pytest.raises(UserError, match=rf"got '{former}'\. Did you mean {now}\?"):
        _read(shop(), target=["sold"], freq=former)
