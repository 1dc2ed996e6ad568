"""Dated texts as a covariate."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

from seq_plugins import SimpleRNNModel
from seq_plugins.text import SentimentClassifier, sentiment_series
from tests.conftest import make_series
from tests.text.samples import make_classifier, make_texts

TEXTS, LABELS = make_texts()


@pytest.fixture(scope="module")
def classifier() -> SentimentClassifier:
    """A trained classifier."""
    return make_classifier(n_epochs=20).fit(TEXTS, LABELS)


def make_frame(days: list[Any], texts: list[str] | None = None) -> pd.DataFrame:
    """Make a frame of dated texts."""
    return pd.DataFrame({"day": pd.to_datetime(days), "headline": texts or TEXTS[: len(days)]})


DAYS = [
    "2024-03-05 09:00",
    "2024-03-01 10:00",
    "2024-03-01 23:59",
    "2024-03-02 00:00",
    "2024-03-05 08:00",
    "2024-03-01 00:00",
]


def score(frame: pd.DataFrame, classifier: Any, **arguments: Any) -> TimeSeries:
    """Make a series of a frame from above."""
    return sentiment_series(frame, time="day", text="headline", classifier=classifier, **arguments)


def test_scores_are_averaged_and_counted_by_day(classifier: SentimentClassifier) -> None:
    frame = make_frame(DAYS)
    series = score(frame, classifier, missing="nan")
    assert list(series.components) == ["sentiment", "count"]
    assert series.freq_str == "D"
    assert (series.start_time(), series.end_time()) == (pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-05"))
    scores = classifier.predict_proba(frame["headline"])[:, 1]
    nan = float("nan")
    expected = [scores[[1, 2, 5]].mean(), scores[3], nan, nan, scores[[0, 4]].mean()]
    np.testing.assert_allclose(series["sentiment"].values()[:, 0], expected)
    assert series["count"].values()[:, 0].tolist() == [3, 1, 0, 0, 2]


@pytest.mark.parametrize(("missing", "filled"), [("previous", None), (0.5, 0.5), (0, 0.0)])
def test_missing_days_are_filled_as_asked(missing: Any, filled: float | None, classifier: SentimentClassifier) -> None:
    values = score(make_frame(DAYS), classifier, missing=missing)["sentiment"].values()[:, 0]
    expected = values[1] if filled is None else filled
    assert values[2:4].tolist() == [expected] * 2
    assert score(make_frame(DAYS), classifier)["sentiment"].values()[2] == values[1] or missing != "previous"


@pytest.mark.parametrize("agg", ["mean", "median", "min", "max", "sum"])
def test_scores_of_a_day_become_one_as_asked(agg: str, classifier: SentimentClassifier) -> None:
    frame = make_frame(DAYS)
    scores = classifier.predict_proba(frame["headline"])[[1, 2, 5], 1]
    series = score(frame, classifier, agg=agg, missing="nan")
    assert series.values()[0, 0] == pytest.approx(getattr(np, agg)(scores))
    assert np.isnan(series.values()[2, 0])


def test_other_steps_and_classes(classifier: SentimentClassifier) -> None:
    hours = score(make_frame(DAYS), classifier, freq="h", missing=0.0)
    assert len(hours) == 4 * 24 + 10
    weeks = score(make_frame(DAYS), classifier, freq="W")
    assert weeks.freq_str == "W-SUN"
    good, bad = (score(make_frame(DAYS), classifier, label=label).values()[:, 0] for label in ("good", "bad"))
    np.testing.assert_allclose(good + bad, 1)
    assert len(score(make_frame(DAYS[:1]), classifier)) == 1


def test_times_in_a_zone_are_taken_as_the_clock_there_shows_them(classifier: SentimentClassifier) -> None:
    frame = make_frame(DAYS)
    expected = score(frame, classifier)
    assert score(frame.assign(day=frame["day"].dt.tz_localize("Asia/Tokyo")), classifier) == expected
    assert score(frame.assign(day=frame["day"].astype(str)), classifier) == expected


def test_a_model_of_ours_is_trained_with_it(classifier: SentimentClassifier) -> None:
    """Sales of a day follow the sentiment of the day before; a model that sees it does better."""
    generator = np.random.default_rng(3)
    days = pd.date_range("2020-01-01", periods=140, freq="D")
    texts, labels = make_texts(140, seed=5)
    order = generator.permutation(140)
    frame = pd.DataFrame({"day": days, "headline": [texts[number] for number in order]})
    news = sentiment_series(frame, time="day", text="headline", classifier=classifier)
    is_good = np.array([labels[number] == "good" for number in order], float)
    sales = TimeSeries.from_times_and_values(days, np.concatenate([[0.0], is_good[:-1]]))
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    errors = []
    for covariate in (news, make_series(140).slice_n_points_after(pd.Timestamp("2020-01-01"), 140).astype(np.float64)):
        model = SimpleRNNModel(
            4, 1, hidden_dim=8, n_epochs=40, batch_size=16, random_state=1, pl_trainer_kwargs=trainer,
            optimizer_kwargs={"lr": 1e-2},
        )  # fmt: skip
        model.fit(sales[:110], past_covariates=covariate[:110])
        forecasts = model.historical_forecasts(
            sales, past_covariates=covariate, start=110, retrain=False, last_points_only=True
        )
        errors.append(float(np.abs(forecasts.values() - sales[110:].values()).mean()))
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.filterwarnings("ignore:Could not infer format")  # pandas', before it gives up
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"time": "date"},
            ValueError,
            r"Expected time to be a column of frame, one of \['day', 'headline'\], got 'date'",
        ),
        ({"text": "body"}, ValueError, "Expected text to be a column of frame"),
        ({"agg": "mode"}, ValueError, "Expected agg to be one of 'mean', 'median', 'min', 'max', 'sum', got 'mode'"),
        ({"missing": "guess"}, ValueError, "Expected missing to be one of 'previous', 'nan', got 'guess'"),
        ({"missing": None}, ValueError, "Expected missing to be one of"),
        ({"freq": "fortnight"}, ValueError, "Expected freq to be a frequency of pandas, such as 'D' or 'h'"),
        ({"label": "fine"}, ValueError, r"Expected label to be one of \['bad', 'good'\], got 'fine'"),
        ({"frame": [1]}, TypeError, "Expected frame to be a pandas DataFrame, got list"),
        ({"frame": make_frame([])}, ValueError, "Expected at least one row in frame"),
        ({"frame": make_frame([DAYS[0], ""])}, ValueError, "none in row 1 of the column 'day'"),
        (
            {"frame": make_frame(DAYS[:2]).assign(day=[1, 2])},
            ValueError,
            "Expected dates in the column 'day'.*got numbers",
        ),
        (
            {"frame": make_frame(DAYS[:2]).assign(day=["soon", "later"])},
            ValueError,
            "Expected dates in the column 'day'",
        ),
        (
            {"frame": make_frame(DAYS[:2]).assign(headline=pd.Series(["a", None], dtype=object))},
            TypeError,
            "every entry of X to be a string",
        ),
    ],
)
def test_what_does_not_fit_is_told(
    change: dict[str, Any], error: type[Exception], message: str, classifier: SentimentClassifier
) -> None:
    arguments: dict[str, Any] = {"frame": make_frame(DAYS), "time": "day", "text": "headline", "classifier": classifier}
    arguments |= change
    with pytest.raises(error, match=message):
        sentiment_series(arguments.pop("frame"), **arguments)


HOLIDAYS = pd.offsets.CustomBusinessDay(holidays=["2024-01-08"])
START = {"start": "2024-01-02", "end": pd.Timestamp("2024-01-07")}


@pytest.mark.parametrize(("freq", "next_day"), [("B", "2024-01-08"), (HOLIDAYS, "2024-01-09")])
def test_texts_of_days_off_count_for_the_next_business_day(
    freq: Any, next_day: str, classifier: SentimentClassifier
) -> None:
    frame = make_frame(
        ["2024-01-05 09:00", "2024-01-06 12:00", "2024-01-07 23:00", f"{next_day} 08:00"]
    )  # from Friday on
    series = score(frame, classifier, freq=freq)
    assert series.time_index.strftime("%Y-%m-%d").tolist() == ["2024-01-05", next_day]
    assert series["count"].values().ravel().tolist() == [1, 3]


def test_a_series_reaches_from_start_to_end(classifier: SentimentClassifier) -> None:
    frame = make_frame(["2024-01-03 09:00", "2024-01-05 18:00"])
    series = score(frame, classifier, **START, missing=0.5)
    assert (series.start_time(), series.end_time()) == (pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-07"))
    assert series["count"].values().ravel().tolist() == [0, 1, 0, 1, 0, 0]
    assert series["sentiment"].values().ravel()[[0, 4, 5]].tolist() == [0.5, 0.5, 0.5]
    later = score(frame, classifier, start="2024-01-04", end="2024-01-05")
    assert later["count"].values().ravel().tolist() == [0, 1]  # the whole of the last day
    assert np.isnan(later["sentiment"].values()[0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"freq": None}, "Expected freq to be a frequency of pandas, such as 'D' or 'h', got None"),
        ({"start": "soon"}, "Expected start to be a time, got 'soon'"),
        ({"end": pd.NaT}, "Expected end to be a time"),
        ({"start": "2024-02-01", "end": "2024-01-01"}, "Expected start to be no later than end"),
        ({"start": "2024-02-01"}, "Expected texts between start and end"),
    ],
)
def test_wrong_steps_and_ends_are_told(
    arguments: dict[str, Any], message: str, classifier: SentimentClassifier
) -> None:
    with pytest.raises(ValueError, match=message):
        score(make_frame(["2024-01-03"]), classifier, **arguments)
