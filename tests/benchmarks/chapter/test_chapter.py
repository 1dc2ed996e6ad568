"""The command ``python -m benchmarks chapter``, on a small table of our own and, where it is there, the lecture's."""

import json
import multiprocessing
import os
import signal
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.models import NaiveSeasonal
from pytorch_lightning.callbacks import Callback
from torch import nn

import benchmarks.chapter.command
import benchmarks.chapter.runs
from benchmarks.__main__ import main
from benchmarks.chapter.callbacks import BufferedSampler, EveryStepError, TimeOrderedTraining
from benchmarks.chapter.protocol import Chapter, Entry, Metric, load_columns, read_chapter
from benchmarks.chapter.runs import (
    Result,
    Run,
    append_result,
    errors_of,
    fit_network,
    forecast,
    make_network,
    run_all,
    run_seed,
    runs_of,
)
from benchmarks.core.errors import UserError
from benchmarks.core.processes import DIED
from benchmarks.harness.task import Period, task_names
from seq_plugins.datasets import CTARidershipDataset

KERAS = json.loads(Path(__file__).with_name("keras_numbers.json").read_text())
RIDERS = 1e6
VALIDATION_START, SHORT, LONG = pd.Timestamp("2016-03-01"), 10, 16
NEEDS_DATA = pytest.mark.skipif(
    not os.environ.get("SEQ_PLUGINS_DATA"), reason="needs the CTA data in the folder that SEQ_PLUGINS_DATA names"
)


def _small(entry: Entry) -> Entry:
    """Return a row with fewer days, units and steps."""
    settings, length = dict(entry.settings), SHORT
    if entry.is_network:
        length = LONG if entry.name == "conv1d-gru" else SHORT
        settings["input_chunk_length"] = length
    settings |= {name: 4 for name in ("hidden_dim", "num_filters") if name in settings}
    metrics = [replace(metric, step=min(metric.step, 3)) for metric in entry.metrics]
    horizon = min(entry.horizon, 3)
    first_forecast = f"{VALIDATION_START + pd.Timedelta(days=length):%Y-%m-%d}"
    return replace(entry, settings=settings, metrics=metrics, horizon=horizon, first_forecast=first_forecast)


def small_chapter(n_epochs: int = 2) -> Chapter:
    """Return the chapter with few days and small networks."""
    chapter = read_chapter()
    return replace(
        chapter,
        train=Period("train", pd.Timestamp("2016-01-01"), pd.Timestamp("2016-02-29")),
        validation=Period("validation", VALIDATION_START, pd.Timestamp("2016-03-31")),
        first_forecasts=[f"{VALIDATION_START + pd.Timedelta(days=days):%Y-%m-%d}" for days in (SHORT, LONG)],
        n_epochs=n_epochs,
        rows=[_small(entry) for entry in chapter.rows],
    )


def small_source() -> TimeSeries:
    """Return a table like the CTA's, of few days."""
    times = pd.date_range("2015-12-01", "2016-04-15")
    generator = np.random.default_rng(0)
    weekend = times.dayofweek.to_numpy() >= 5
    riders = (7e5 - 3e5 * weekend)[:, None] + 5e4 * generator.standard_normal((len(times), 2))
    kinds = [times.dayofweek < 5, times.dayofweek == 5, times.dayofweek == 6]
    values = np.column_stack([riders, *kinds]).astype(float)
    columns = ["bus", "rail", "day_type_W", "day_type_A", "day_type_U"]
    return TimeSeries.from_times_and_values(times, values, columns=columns)


def with_columns_of(source: TimeSeries, monkeypatch: pytest.MonkeyPatch) -> TimeSeries:
    monkeypatch.setattr(CTARidershipDataset, "load", lambda self: source)
    return load_columns(small_chapter())


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> TimeSeries:
    """Columns of the small table, which the command is given too."""
    monkeypatch.setattr(benchmarks.chapter.command, "read_chapter", small_chapter)
    return with_columns_of(small_source(), monkeypatch)


def _rows(folder: str = "results/chapter") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(folder) / "rows.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("columns")
def test_every_row_and_seed_gives_a_result_and_every_metric_a_median(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chapter", "--seeds", "3", "--json", "table.json"]) == 0
    written = json.loads(Path("table.json").read_text())
    chapter = small_chapter()
    networks = [entry.name for entry in chapter.rows if entry.name != "naive"]
    expected = [("naive", None), *((name, seed) for name in networks for seed in (1, 2, 3))]
    assert [(row["name"], row["seed"]) for row in written["rows"]] == expected
    assert written["rows"] == _rows()
    for row in written["rows"]:
        assert row["error"] is None
        assert row["threads"] == 1
        assert row["versions"]["darts"].startswith("0.48")
        if row["seed"] is not None:
            assert 1 <= row["best_epoch"] <= row["n_epochs"] == 2
            assert row["fit_seconds"] > 0
            assert row["settings"]["momentum"] == 0.9
    assert {(row["name"], row["seed"]): row["mae"] for row in written["rows"]}["linear", 1] != written["rows"][2]["mae"]
    summary = {(entry["name"], entry["metric"]): entry for entry in written["summary"]}
    assert list(summary) == [(entry.name, metric.name) for entry in chapter.rows for metric in entry.metrics]
    assert {"name", "metric", "median", "lecture", "keras", "met"} <= written["summary"][0].keys()
    first_forecast = next(entry.first_forecast for entry in chapter.rows if entry.name == "multivariate")
    errors = [row["mae"][first_forecast]["bus"][0] for row in written["rows"] if row["name"] == "multivariate"]
    assert summary["multivariate", "bus t+1"]["errors"] == errors
    assert summary["multivariate", "bus t+1"]["median"] == sorted(errors)[1]
    whole = [
        statistics.fmean(row["mae"][first_forecast]["rail"]) for row in written["rows"] if row["name"] == "seq2seq"
    ]
    assert summary["seq2seq", "rail mean"]["median"] == pytest.approx(sorted(whole)[1])
    assert written["threads"] == 1
    assert written["seconds"] > 0
    assert written["settings"]["linear"]["learning_rate"] == 0.02
    printed = capsys.readouterr().out
    assert all(name in printed for name in networks)
    assert f"The same {31 - LONG - 2} forecasts, from 2016-03-{1 + LONG} on" in printed


@pytest.mark.parametrize("name", ["naive", "multivariate", "seq2seq", "conv1d-gru"])
def test_errors_are_those_of_forecasts_made_one_by_one(name: str, columns: TimeSeries, tmp_path: Path) -> None:
    chapter = small_chapter()
    (entry,) = chapter.find_rows([name])
    if entry.is_network:
        model = make_network(chapter, entry, 1, str(tmp_path), lambda text: None)
        fit_network(chapter, columns, entry, model)
    else:
        model = NaiveSeasonal(**entry.settings)
    found = errors_of(chapter, columns, entry, forecast(chapter, columns, entry, model))
    target = columns[entry.target]
    for first in {*chapter.first_forecasts, entry.first_forecast}:
        starts = pd.date_range(first, chapter.validation.end - pd.Timedelta(days=entry.horizon - 1))
        assert found["n_forecasts"][first] == len(starts)
        errors = []
        for start in starts:
            past = target.drop_after(start)
            covariates = {"past_covariates": columns[entry.past_covariates]} if entry.past_covariates else {}
            if entry.is_network:
                predicted = model.predict(entry.horizon, series=past, **covariates).values()
            else:
                predicted = target.slice(start - pd.Timedelta(days=7), start - pd.Timedelta(days=7)).values()
            true = target.slice(start, start + pd.Timedelta(days=entry.horizon - 1)).values()
            errors.append(np.abs(predicted - true) * RIDERS)
        for place, component in enumerate(entry.target):
            np.testing.assert_allclose(found["mae"][first][component], np.mean(errors, axis=0)[:, place], rtol=1e-4)


def test_inputs_are_the_riders_and_the_next_day_s_type(columns: TimeSeries) -> None:
    source = small_source().to_dataframe()
    frame = columns.to_dataframe()
    np.testing.assert_allclose(frame[["bus", "rail"]] * RIDERS, source.loc[frame.index, ["bus", "rail"]], rtol=1e-6)
    for kind in "WAU":
        next_day = source[f"day_type_{kind}"].loc[frame.index + pd.Timedelta(days=1)]
        assert (frame[f"next_day_type_{kind}"].to_numpy() == next_day.to_numpy()).all()
    assert len(frame) == len(source) - 1


class _KerasWeights(Callback):
    """Starts training from the weights in the file."""

    def __init__(self, weights: list[np.ndarray]) -> None:
        self.weights = weights

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        *weights, kernel, bias = self.weights
        encoder = pl_module.encoder
        with torch.no_grad():
            if hasattr(encoder, "down_sampling"):
                convolution, encoder = encoder.down_sampling.convolution, encoder.recurrent
                convolution.weight.copy_(torch.tensor(weights[0]).permute(2, 1, 0))
                convolution.bias.copy_(torch.tensor(weights[1]))
                weights = weights[2:]
            encoder[0].load_keras_weights(*weights)
            dense: nn.Linear = pl_module.head.layers[0]
            dense.weight.copy_(torch.tensor(kernel).T)
            dense.bias.copy_(torch.tensor(bias))


class _Errors(Callback):
    """Keeps the validation error by which training is stopped."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.errors.append(float(trainer.callback_metrics[self.name]))


@pytest.mark.parametrize("name", list(KERAS["networks"]))
@pytest.mark.parametrize("is_fast", [True, False])
def test_from_the_same_weights_and_batches_training_is_keras_training(name: str, is_fast: bool, tmp_path: Path) -> None:
    """Loss, momentum, targets of every step, down-sampling, validation error: all agree with Keras, epoch by epoch."""
    numbers, settings = KERAS["networks"][name], KERAS["settings"]
    train, validation = np.array(KERAS["train"]), np.array(KERAS["validation"])
    times = pd.date_range("2016-01-01", periods=len(train) + len(validation))
    names = ["bus", "rail", "next_day_type_W", "next_day_type_A", "next_day_type_U"]
    columns = TimeSeries.from_times_and_values(times, np.concatenate([train, validation]), columns=names)
    chapter = small_chapter()
    chapter = replace(
        chapter,
        train=Period("train", times[0], times[len(train) - 1]),
        validation=Period("validation", times[len(train)], times[-1]),
        shuffle_buffer=1,  # the order of time, unshuffled
        **{key: settings[key] for key in ("batch_size", "n_epochs", "momentum")},
    )
    (entry,) = chapter.find_rows([name])
    sizes = {key: settings[key] for key in ("input_chunk_length", "hidden_dim")}
    sizes |= {"num_filters": 3} if name == "conv1d-gru" else {}
    horizon = 1 if name == "multivariate" else settings["horizon"]
    entry = replace(entry, settings=entry.settings | sizes, horizon=horizon, learning_rate=settings["learning_rate"])
    model: Any = make_network(chapter, entry, 1, str(tmp_path), lambda text: None)
    model.fast_training = is_fast
    errors = _Errors(EveryStepError.name if entry.sequence_to_sequence else "val_MeanAbsoluteError")
    callbacks = model.trainer_params["callbacks"]
    callbacks += [_KerasWeights([np.array(weight) for weight in numbers["weights"]]), errors]
    if not entry.sequence_to_sequence:
        callbacks.append(TimeOrderedTraining(1))
    fit_network(chapter, columns, entry, model)
    np.testing.assert_allclose(errors.errors, numbers["errors"], rtol=1e-6)  # the error is added up in float32


def test_a_buffered_order_holds_each_window_once_oldest_first_and_never_ahead_of_its_buffer() -> None:
    def draw(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return list(BufferedSampler(100, 10))

    order = draw(1)
    assert sorted(order) == list(range(100))
    ages = [99 - window for window in order]
    assert all(age < place + 10 for place, age in enumerate(ages))
    assert order == draw(1)
    assert order != draw(2)
    assert list(BufferedSampler(5, 1)) == [4, 3, 2, 1, 0]
    assert sorted(BufferedSampler(5, 100)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("metric", "median", "is_met"),
    [
        (Metric("rail", 1, lecture=100.0, goal="lecture"), 100.4, True),
        (Metric("rail", 1, lecture=100.0, goal="lecture"), 100.6, False),
        (Metric("rail", 1, lecture=100.0, goal="lecture", slack=0.01), 101.4, True),
        (Metric("rail", 1, lecture=100.0, goal="lecture", slack=0.01), 101.6, False),
        (Metric("rail", 1, lecture=100.0, keras=[130.0, 110.0, 120.0], goal="keras"), 120.0, True),
        (Metric("rail", 1, lecture=100.0, keras=[130.0, 110.0, 120.0], goal="keras"), 121.0, False),
        (Metric("rail", 1, lecture=100.0), 50.0, None),
    ],
)
def test_a_goal_is_met_at_or_below_its_figure_to_the_rider(metric: Metric, median: float, is_met: bool | None) -> None:
    assert metric.is_met(median) is is_met


def test_the_chapter_is_no_data_set_of_backtests() -> None:
    assert "chapter" not in task_names()


def test_the_goals_are_the_lecture_s_or_where_it_is_missed_by_keras_keras_own() -> None:
    goals = {
        (entry.name, metric.name): (metric.goal, metric.lecture)
        for entry in read_chapter().rows
        for metric in entry.metrics
        if metric.goal
    }
    assert goals == {
        ("naive", "rail t+1"): ("lecture", 42143),
        ("naive", "bus t+1"): ("lecture", 43916),
        ("linear", "rail t+1"): ("lecture", 37866),
        ("simple-rnn", "rail t+1"): ("keras", 27703),
        ("deep-rnn", "rail t+1"): ("lecture", 31211),
        ("multivariate", "rail t+1"): ("lecture", 25330),
        ("multivariate", "bus t+1"): ("lecture", 26369),
        ("seq2seq", "rail t+1"): ("lecture", 25519),
        ("seq2seq", "rail t+2"): ("keras", 26274),
        ("seq2seq", "rail t+14"): ("lecture", 34322),
    }


@pytest.fixture
def runs_made(columns: TimeSeries, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None]]:
    """Names and seeds of what the command has run."""
    made: list[tuple[str, int | None]] = []

    def run_and_note(chapter: Chapter, columns: TimeSeries, run: Run, show: Callable[[str], None]) -> Any:
        made.append(run.key)
        return run_seed(chapter, columns, run, show)

    monkeypatch.setattr(benchmarks.chapter.runs, "run_seed", run_and_note)
    return made


LINEAR = ["chapter", "--rows", "linear", "--json", "table.json"]


def test_a_run_that_goes_on_runs_only_what_is_missing(
    runs_made: list[tuple[str, int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*LINEAR, "--seeds", "1"]) == 0
    with Path("results/chapter/rows.jsonl").open("a") as file:
        file.write('{"name": "linear", "seed": 2, "mae"')  # a run that was killed while it wrote
    assert main([*LINEAR, "--seeds", "2", "--resume"]) == 0
    assert runs_made == [("linear", 1), ("linear", 2)]
    assert [(row["name"], row["seed"]) for row in _rows()] == [("linear", 1), ("linear", 2)]
    assert len(json.loads(Path("table.json").read_text())["summary"][0]["errors"]) == 2
    monkeypatch.setattr(benchmarks.chapter.command, "read_chapter", lambda: small_chapter(n_epochs=1))
    assert main([*LINEAR, "--seeds", "1", "--resume"]) == 0
    assert runs_made[2:] == [("linear", 1)]  # other settings than those of the stored result
    assert json.loads(Path("table.json").read_text())["rows"][0]["n_epochs"] == 1


def test_a_seed_that_fails_has_a_result_that_says_so_stops_no_other_and_is_tried_again(
    runs_made: list[tuple[str, int | None]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = benchmarks.chapter.runs.fit_network

    def fail_once(chapter: Chapter, columns: TimeSeries, entry: Entry, model: Any) -> None:
        if len(runs_made) == 2:
            raise RuntimeError("no such luck")
        fit(chapter, columns, entry, model)

    monkeypatch.setattr(benchmarks.chapter.runs, "fit_network", fail_once)
    assert main([*LINEAR, "--seeds", "3"]) == 1
    assert [row["error"] for row in _rows()] == [None, "RuntimeError: no such luck", None]
    written = json.loads(Path("table.json").read_text())
    assert len(written["summary"][0]["errors"]) == 2
    assert written["summary"][0]["met"] is None
    told = capsys.readouterr()
    assert "linear, seed 2 failed: RuntimeError: no such luck" in told.err
    assert "seeds are missing" in told.out
    assert main([*LINEAR, "--seeds", "3", "--resume"]) == 0
    assert runs_made[3:] == [("linear", 2)]
    assert json.loads(Path("table.json").read_text())["summary"][0]["met"] is not None


def test_an_interruption_keeps_what_is_finished(
    runs_made: list[tuple[str, int | None]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(chapter: Chapter, columns: TimeSeries, entry: Entry, model: Any) -> None:
        if len(runs_made) == 2:
            raise KeyboardInterrupt
        fit_network(chapter, columns, entry, model)

    monkeypatch.setattr(benchmarks.chapter.runs, "fit_network", interrupt)
    assert main([*LINEAR, "--seeds", "3"]) == 130
    assert "interrupted: 1 of 3 fits are done; --resume goes on." in capsys.readouterr().err
    assert [row["seed"] for row in _rows()] == [1]
    assert not Path("table.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_told_in_one_line() -> None:
    with benchmarks.chapter.command.rows_file(Path("out"), resume=False) as file:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, file.fileno())
        os.close(full)
        with pytest.raises(UserError, match=r"cannot write out/rows.jsonl: No space left on device. Make room"):
            append_result(file, Result("linear", 1))


@pytest.fixture
def _no_processes_left() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("_no_processes_left")
def test_two_processes_give_the_numbers_of_one(columns: TimeSeries) -> None:
    chapter = small_chapter()
    runs = runs_of(chapter.find_rows(["linear", "seq2seq-dropout", "conv1d-gru"]), 2)
    errors = []
    for n_jobs in (1, 2):
        results = {run.key: result for run, result in run_all(chapter, columns, runs, n_jobs, lambda text: None)}
        assert not any(result.error for result in results.values())
        errors.append([results[run.key].mae for run in runs])
    assert errors[0] == errors[1]


@pytest.mark.usefixtures("_no_processes_left")
@pytest.mark.slow
def test_runs_whose_processes_are_killed_are_made_again(columns: TimeSeries) -> None:
    chapter = small_chapter(n_epochs=2)
    runs = runs_of(chapter.find_rows(["naive", "linear"]), 3)
    results = run_all(chapter, columns, runs, 2, lambda text: None)
    first = next(results)
    processes = multiprocessing.active_children()
    assert processes
    for process in processes:
        process.kill()

    made = {run.key: result for run, result in [first, *results]}

    assert made.keys() == {run.key for run in runs}
    assert not any(result.error for result in made.values())


@pytest.mark.usefixtures("_no_processes_left")
@pytest.mark.slow
def test_a_run_whose_process_dies_every_time_has_a_result_that_says_so(
    columns: TimeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    chapter = small_chapter(n_epochs=1)
    runs = runs_of(chapter.find_rows(["linear"]), 2)
    runs[1] = runs[1]._replace(seed=DeadlySeed(2))

    errors = {run.key: result.error for run, result in run_all(chapter, columns, runs, 2, lambda text: None)}

    assert errors == {("linear", 1): None, ("linear", 2): DIED}


class DeadlySeed(int):
    """A seed that kills the process that is sent it; it stands for a lack of memory."""

    def __reduce__(self) -> Any:
        return kill_worker, (int(self),)


def kill_worker(seed: int) -> int:
    """Kill this process, unless it is the one that runs the tests."""
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return seed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rows", "linear", "transformer"], "--rows: expected names among naive, linear, simple-rnn"),
        (["--rows", "linear", "--json", "nowhere/table.json"], "--json: cannot write nowhere/table.json"),
        (["--rows", "linear", "--json", "."], "--json: cannot write .: it is a folder"),
        (["--rows", "linear", "--output", "file"], "--output: cannot write to file"),
        (["--rows", "linear", "--output", "earlier"], "earlier holds results already. Add --resume"),
        (["--rows", "linear", "--output", "other", "--resume"], "holds no results of this command"),
    ],
)
@pytest.mark.usefixtures("columns")
def test_wrong_input_ends_with_one_line_that_says_what_to_do(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("a file in place of a folder")
    for folder, text in (("earlier", ""), ("other", '{"model": "another command\'s"}\n')):
        Path(folder).mkdir()
        (Path(folder) / "rows.jsonl").write_text(text)
    before = sorted(str(path) for path in Path().rglob("*"))
    assert main(["chapter", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error
    assert sorted(str(path) for path in Path().rglob("*")) == before


@pytest.mark.usefixtures("columns")
def test_a_second_run_into_a_folder_is_refused_while_the_first_one_writes(capsys: pytest.CaptureFixture[str]) -> None:
    with benchmarks.chapter.command.rows_file(Path("out"), resume=False):
        assert main(["chapter", "--rows", "naive", "--output", "out", "--resume"]) == 2
    assert "another run is writing to out" in capsys.readouterr().err
    assert main(["chapter", "--rows", "naive", "--output", "out", "--resume"]) == 0


def test_data_that_do_not_reach_far_enough_are_refused(
    columns: TimeSeries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = small_source().drop_after(pd.Timestamp("2016-03-31"))
    monkeypatch.setattr(CTARidershipDataset, "load", lambda self: short)
    assert main(["chapter", "--rows", "naive"]) == 2
    assert "The data reach from 2015-12-01 to 2016-03-29" in capsys.readouterr().err
    assert not Path("results").exists()


@NEEDS_DATA
def test_on_the_lecture_s_data_the_naive_errors_are_the_lecture_s() -> None:
    chapter = read_chapter()
    (run,) = runs_of(chapter.find_rows(["naive"]), 1)
    result = run_seed(chapter, load_columns(chapter), run)
    errors = result.mae["2019-03-01"]
    assert (round(errors["rail"][0]), round(errors["bus"][0])) == (42143, 43916)
    assert result.n_forecasts["2019-03-01"] == 92


@NEEDS_DATA
def test_on_the_lecture_s_data_errors_are_those_of_the_epoch_whose_weights_are_kept(tmp_path: Path) -> None:
    chapter = replace(read_chapter(), n_epochs=3)
    columns = load_columns(chapter)
    for name in ("linear", "seq2vec"):
        (entry,) = chapter.find_rows([name])
        model: Any = make_network(chapter, entry, 1, str(tmp_path / name), lambda text: None)
        fit_network(chapter, columns, entry, model)
        found = errors_of(chapter, columns, entry, forecast(chapter, columns, entry, model))
        assert found["n_forecasts"]["2019-02-26"] == 95 - entry.horizon + 1
        best = float(model.trainer.early_stopping_callback.best_score)
        assert statistics.fmean(found["mae"]["2019-02-26"]["rail"]) == pytest.approx(best * RIDERS, rel=1e-4)
        assert best * RIDERS < 200_000
