"""The command ``python -m benchmarks chapter``, on a small table of our own and, where it is there, the lecture's."""

import errno
import json
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries, concatenate
from pytorch_lightning.callbacks import Callback
from torch import nn

import benchmarks.chapter.command
import benchmarks.harness.engines
import benchmarks.harness.run
from benchmarks.__main__ import main
from benchmarks.chapter.protocol import Metric, TableRow, read_rows
from benchmarks.core.progress import Progress
from benchmarks.harness.engines import Engine, Plans, in_processes, in_this_process
from benchmarks.harness.entries import ENTRIES
from benchmarks.harness.forecasts import Failure, RunResult
from benchmarks.harness.plan import Plan, Run, plan_runs
from benchmarks.harness.results import Results, open_results
from benchmarks.harness.rows import BacktestRow, RowMaker
from benchmarks.harness.run import fit_model, make_model, make_run, stop_early
from benchmarks.harness.series import TaskData
from benchmarks.harness.task import Period, task_names
from seq_plugins.datasets import CTARidershipDataset

KERAS = json.loads(Path(__file__).with_name("keras_numbers.json").read_text())
RIDERS = 1e6
SOURCE_COLUMNS = ("bus", "rail", "day_type_W", "day_type_A", "day_type_U")
VALIDATION_START, SHORT, LONG = pd.Timestamp("2016-03-01"), 10, 16
NEEDS_DATA = pytest.mark.skipif(
    not os.environ.get("SEQ_PLUGINS_DATA"), reason="needs the CTA data in the folder that SEQ_PLUGINS_DATA names"
)


VALIDATION_END = pd.Timestamp("2016-03-31")


def _small(row: TableRow, n_epochs: int) -> TableRow:
    """Return a row with fewer days, units and steps."""
    length = LONG if row.name == "conv1d-gru" else SHORT
    (first, short, long) = (f"{VALIDATION_START + pd.Timedelta(days=days):%Y-%m-%d}" for days in (length, SHORT, LONG))
    sizes = {name: 4 for name in ("hidden_dim", "num_filters") if name in row.task.models[row.model]}
    task = replace(
        row.task,
        train=Period("train", pd.Timestamp("2016-01-01"), pd.Timestamp("2016-02-29")),
        early_stopping=Period("early stopping", pd.Timestamp(first), VALIDATION_END),
        tests=[Period(day, pd.Timestamp(day), VALIDATION_END) for day in (short, long)],
        input_chunk_length=length,
        output_chunk_length=min(row.task.output_chunk_length, 3),
        training=row.task.training | {"n_epochs": n_epochs},
        models=row.task.models | {row.model: row.task.models[row.model] | sizes},
    )
    metrics = [replace(metric, step=min(metric.step, 3)) for metric in row.metrics]
    return replace(row, task=task, metrics=metrics, first_forecast=first)


def small_rows(n_epochs: int = 2) -> list[TableRow]:
    """Return the rows with few days and small networks."""
    return [_small(row, n_epochs) for row in read_rows()]


def small_row(name: str, n_epochs: int = 2) -> TableRow:
    """Return a small row."""
    return next(row for row in small_rows(n_epochs) if row.name == name)


def runs_of(row: TableRow, n_seeds: int = 1) -> tuple[Plan, list[Run]]:
    """Return what all runs of a row share, and its runs."""
    plan = Plan(row.task.load())
    return plan, [run for group in plan_runs(plan, [ENTRIES[row.model]], n_seeds) for run in group]


def rows_of(plan: Plan, run: Run) -> dict[str | None, BacktestRow]:
    """Return the rows of a run, by period."""
    result = make_run(plan, run)
    assert isinstance(result, RunResult), result
    evaluations = {period.name: 1 for period in plan.task.tests}
    return {row.period: row for row in RowMaker(plan).make_rows([run], [result], evaluations)}


def network_of(plan: Plan, run: Run, folder: Path) -> Any:
    """Return the untrained network of a run."""
    settings = run.entry.settings_in(plan.task)
    return make_model(plan, run.entry, settings, run.seed, stop_early(settings, str(folder)))


def fit(plan: Plan, run: Run, model: Any) -> TaskData:
    """Fit the network of a run; return the series."""
    data = TaskData(plan.task)
    fit_model(data, run.entry, run.entry.settings_in(plan.task), model, data.inputs_of(model), run)
    return data


def small_source() -> TimeSeries:
    """Return a table like the CTA's, of few days."""
    times = pd.date_range("2015-12-01", "2016-04-15")
    generator = np.random.default_rng(0)
    weekend = times.dayofweek.to_numpy() >= 5
    riders = (7e5 - 3e5 * weekend)[:, None] + 5e4 * generator.standard_normal((len(times), 2))
    kinds = [times.dayofweek < 5, times.dayofweek == 5, times.dayofweek == 6]
    values = np.column_stack([riders, *kinds]).astype(float)
    return TimeSeries.from_times_and_values(times, values, columns=list(SOURCE_COLUMNS))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> TimeSeries:
    """The small table, which the command is given too."""
    monkeypatch.setattr(benchmarks.chapter.command, "read_rows", small_rows)
    series = small_source()
    monkeypatch.setattr(CTARidershipDataset, "load", lambda self: series)
    return series


def _rows(*names: str, folder: str = "results/chapter") -> list[dict[str, Any]]:
    texts = [(Path(folder) / name / "rows.jsonl").read_text() for name in names]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.mark.usefixtures("source")
def test_every_row_and_seed_gives_a_result_and_every_metric_a_median(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chapter", "--seeds", "3", "--json", "table.json"]) == 0
    written = json.loads(Path("table.json").read_text())
    rows = small_rows()
    networks = [row.name for row in rows if row.name != "naive"]
    days = [f"2016-03-{1 + length}" for length in (SHORT, LONG)]
    expected = [("naive", None), *((name, seed) for name in networks for seed in (1, 2, 3))]
    assert [(row["task"], row["seed"], row["period"]) for row in written["rows"]] == [
        (*key, day) for key in expected for day in days
    ]
    assert written["rows"] == _rows("naive", *networks)
    for row in written["rows"]:
        assert row["error"] is None
        assert row["threads"] == 1
        assert row["versions"]["darts"].startswith("0.48")
        if row["seed"] is not None:
            assert 1 <= row["best_epoch"] <= row["n_epochs"] == 2
            assert row["fit_seconds"] > 0
            assert row["model_settings"]["momentum"] == 0.9
    of_linear = [row for row in written["rows"] if row["task"] == "linear"]
    assert of_linear[0]["mae"] != of_linear[2]["mae"]
    assert of_linear[0]["model_settings"]["learning_rate"] == 0.02
    summary = {(entry["name"], entry["metric"]): entry for entry in written["summary"]}
    assert list(summary) == [(row.name, metric.name) for row in rows for metric in row.metrics]
    assert {"name", "metric", "median", "lecture", "keras", "met"} <= written["summary"][0].keys()
    (of_multivariate, of_seq2seq) = (
        [row["mae_by_component"] for row in written["rows"] if (row["task"], row["period"]) == (name, days[0])]
        for name in ("multivariate", "seq2seq")
    )
    errors = [mae["bus"][0] for mae in of_multivariate]
    assert summary["multivariate", "bus t+1"]["errors"] == errors
    assert summary["multivariate", "bus t+1"]["median"] == sorted(errors)[1]
    whole = [statistics.fmean(mae["rail"]) for mae in of_seq2seq]
    assert summary["seq2seq", "rail mean"]["median"] == pytest.approx(sorted(whole)[1])
    assert written["threads"] == 1
    assert written["seconds"] > 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in networks)
    assert f"The same {31 - LONG - 2} forecasts, from {days[1]} on" in printed


@pytest.mark.parametrize("name", ["naive", "multivariate", "seq2seq", "conv1d-gru"])
def test_errors_are_those_of_forecasts_made_one_by_one(name: str, source: TimeSeries, tmp_path: Path) -> None:
    plan, (run,) = runs_of(small_row(name))
    task, horizon = plan.task, plan.task.output_chunk_length
    found = rows_of(plan, run)
    target = (source[task.target] / RIDERS).astype(np.float32)
    past = None
    if run.entry.is_network:
        model = network_of(plan, run, tmp_path)
        past = fit(plan, run, model).inputs_of(model).past_covariates
    for day in task.tests:
        starts = pd.date_range(day.start, VALIDATION_END - pd.Timedelta(days=horizon - 1))
        assert found[day.name].n_forecasts == len(starts)
        errors = []
        for start in starts:
            if run.entry.is_network:
                predicted = model.predict(horizon, target.drop_after(start), past_covariates=past).values()
            else:
                predicted = target.slice(start - pd.Timedelta(days=7), start - pd.Timedelta(days=7)).values()
            true = target.slice(start, start + pd.Timedelta(days=horizon - 1)).values()
            errors.append(np.abs(predicted - true) * RIDERS)
        for place, component in enumerate(task.target):
            expected = np.mean(errors, axis=0)[:, place]
            np.testing.assert_allclose(found[day.name].mae_by_component[component], expected, rtol=1e-4)


def test_inputs_are_the_riders_and_the_next_day_s_type(source: TimeSeries) -> None:
    task = small_row("seq2seq").task
    data = TaskData(task)
    frame = source.to_dataframe()[: task.tests[-1].end]  # what comes later is not there to be looked at
    np.testing.assert_allclose(data.target.to_dataframe() * RIDERS, frame[["rail"]], rtol=1e-6)
    assert data.past_covariates is not None
    past = data.past_covariates.to_dataframe()
    np.testing.assert_allclose(past["bus"] * RIDERS, frame["bus"].loc[past.index], rtol=1e-6)
    for kind in "WAU":
        next_day = frame[f"day_type_{kind}"].loc[past.index + pd.Timedelta(days=1)]
        assert (past[f"day_type_{kind}"].to_numpy() == next_day.to_numpy()).all()
    assert len(past) == len(frame) - 1


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
    times = pd.date_range("2016-01-01", periods=len(train) + len(validation) + 1)
    columns = np.concatenate([train, validation])
    columns = np.concatenate([columns, columns[-1:]])
    columns[1:, 2:] = columns[:-1, 2:]  # the file has the next day's type
    source = TimeSeries.from_times_and_values(times, columns, columns=list(SOURCE_COLUMNS))
    row = small_row(name)
    length, horizon = settings["input_chunk_length"], 1 if name == "multivariate" else settings["horizon"]
    own = {"hidden_dim": settings["hidden_dim"], "learning_rate": settings["learning_rate"], "shuffle_buffer": 1}
    own |= {"num_filters": 3} if name == "conv1d-gru" else {}
    task = replace(
        row.task,
        source=source,
        divisors={"rail": 1.0},
        train=Period("train", times[0], times[len(train) - 1]),
        early_stopping=Period("early stopping", times[len(train) + length], times[-2]),
        input_chunk_length=length,
        output_chunk_length=horizon,
        training=row.task.training | {key: settings[key] for key in ("batch_size", "n_epochs", "momentum")},
        models=row.task.models | {row.model: row.task.models[row.model] | own},
    )
    plan, (run,) = runs_of(replace(row, task=task))
    model = network_of(plan, run, tmp_path)
    model.fast_training = is_fast
    monitor = run.entry.settings_in(task).training["monitor"]
    errors = _Errors(monitor)
    model.trainer_params["callbacks"] += [_KerasWeights([np.array(weight) for weight in numbers["weights"]]), errors]
    data = TaskData(task)
    data.target = source[task.target]  # Keras' figures are those of double precision
    types = source[task.next_step_covariates].shift(-1)
    past = [source[task.past_covariates].slice_intersect(types)] if task.past_covariates else []
    data.past_covariates = concatenate([*past, types.slice_intersect(source)], axis=1)
    fit_model(data, run.entry, run.entry.settings_in(task), model, data.inputs_of(model), run)
    np.testing.assert_allclose(errors.errors, numbers["errors"], rtol=1e-6)  # the error is added up in float32


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


def test_the_lecture_s_table_is_no_data_set_of_backtests() -> None:
    assert "chapter" not in task_names()


def test_the_goals_are_the_lecture_s_or_where_it_is_missed_by_keras_keras_own() -> None:
    goals = {
        (row.name, metric.name): (metric.goal, metric.lecture)
        for row in read_rows()
        for metric in row.metrics
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
def runs_made(source: TimeSeries, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the runs that the command has made."""
    made: list[str] = []

    def run_and_note(plan: Plan, run: Run, show: Callable[[str], None]) -> Any:
        made.append(run.key)
        return make_run(plan, run, show)

    monkeypatch.setattr(benchmarks.harness.engines, "make_run", run_and_note)
    return made


LINEAR = ["chapter", "--rows", "linear", "--json", "table.json"]


def test_a_run_that_goes_on_runs_only_what_is_missing(
    runs_made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*LINEAR, "--seeds", "1"]) == 0
    with Path("results/chapter/linear/rows.jsonl").open("a") as file:
        file.write('{"task": "linear", "seed": 2, "mae"')  # a run that was killed while it wrote
    assert main(["chapter", "--rows", "naive", "linear", "--json", "table.json", "--seeds", "2", "--resume"]) == 0
    assert runs_made == ["LinearModel-seed-1", "NaiveSeasonal", "LinearModel-seed-2"]
    assert [row["seed"] for row in _rows("linear")] == [1, 1, 2, 2]
    assert len(json.loads(Path("table.json").read_text())["summary"][-1]["errors"]) == 2
    assert main([*LINEAR, "--seeds", "1", "--resume"]) == 0
    assert len(json.loads(Path("table.json").read_text())["summary"][0]["errors"]) == 1
    monkeypatch.setattr(benchmarks.chapter.command, "read_rows", lambda: small_rows(n_epochs=1))
    assert main([*LINEAR, "--seeds", "1", "--resume"]) == 2  # other settings than those of the stored results
    assert "n_epochs was 2 there and is 1 now" in capsys.readouterr().err
    assert len(runs_made) == 3


@pytest.mark.usefixtures("source")
def test_a_start_that_is_refused_leaves_no_folder_and_rows_run_apart_keep_their_tables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*LINEAR, "--seeds", "1"]) == 0
    assert main(["chapter", "--rows", "naive", "linear"]) == 2
    assert "holds results of linear already. Continue with --resume" in capsys.readouterr().err
    assert not Path("results/chapter/naive").exists()
    assert main(["chapter", "--rows", "naive"]) == 0
    for name in ("linear", "naive"):
        about, *table = Path(f"results/chapter/{name}/table.csv").read_text().splitlines()
        assert about.startswith("# command: ")
        assert [line.split(",")[0] for line in table if line[0] != "#"][1] == name


def test_a_table_that_cannot_be_written_is_told_when_all_else_is(
    source: TimeSeries, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("results/chapter/linear/table.csv").mkdir(parents=True)
    assert main([*LINEAR, "--seeds", "1"]) == 2
    assert "--output: cannot write to results/chapter/linear" in capsys.readouterr().err
    assert json.loads(Path("table.json").read_text())["summary"]


@pytest.mark.usefixtures("source")
def test_a_full_disk_is_told_with_the_folder_of_the_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Results, result: RunResult) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Results, "store", fail)
    assert main(["chapter", "--rows", "naive", "linear"]) == 2
    assert "--output: cannot write to results/chapter/naive: No space left on device" in capsys.readouterr().err


def test_a_seed_that_fails_has_a_result_that_says_so_stops_no_other_and_is_tried_again(
    runs_made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_once(*args: Any) -> None:
        if len(runs_made) == 2:
            raise RuntimeError("no such luck")
        fit_model(*args)

    monkeypatch.setattr(benchmarks.harness.run, "fit_model", fail_once)
    assert main([*LINEAR, "--seeds", "3"]) == 1
    written = json.loads(Path("table.json").read_text())
    errors = {row["seed"]: row["error"] for row in written["rows"]}
    assert errors == {1: None, 2: "RuntimeError: no such luck", 3: None}
    assert len(written["summary"][0]["errors"]) == 2
    assert written["summary"][0]["met"] is None
    told = capsys.readouterr()
    assert "linear: LinearModel-seed-2 failed: RuntimeError: no such luck" in told.err
    assert "seeds are missing" in told.out
    assert main([*LINEAR, "--seeds", "3", "--resume"]) == 0
    assert runs_made[3:] == ["LinearModel-seed-2"]
    assert json.loads(Path("table.json").read_text())["summary"][0]["met"] is not None


def test_an_interruption_keeps_what_is_finished(
    runs_made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: Any) -> None:
        if len(runs_made) == 2:
            raise KeyboardInterrupt
        fit_model(*args)

    monkeypatch.setattr(benchmarks.harness.run, "fit_model", interrupt)
    assert main([*LINEAR, "--seeds", "3"]) == 130
    assert "interrupted; continue with --resume --output results/chapter." in capsys.readouterr().err
    assert {row["seed"] for row in _rows("linear")} == {1}
    assert not Path("table.json").exists()


@pytest.mark.usefixtures("source")
def test_processes_take_runs_of_several_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []

    def note(n_processes: int) -> Engine:
        def make_runs(plans: Plans, runs: Sequence[Run]) -> Iterator[tuple[Run, RunResult | Failure]]:
            batches.append([run.task for run in runs])
            yield from in_this_process(Progress("run"))(plans, reversed(runs))  # type: ignore[arg-type]

        return make_runs

    monkeypatch.setattr(benchmarks.harness.engines, "in_processes", note)
    assert main(["chapter", "--rows", "naive", "linear", "multivariate", "--seeds", "2", "--jobs", "2"]) == 0
    assert batches == [["naive", "linear", "linear", "multivariate", "multivariate"]]
    for name, n_rows in (("naive", 2), ("linear", 4), ("multivariate", 4)):
        rows = _rows(name)
        assert len(rows) == n_rows
        assert {row["task"] for row in rows} == {name}


@pytest.mark.slow
@pytest.mark.usefixtures("source")
def test_two_processes_give_the_numbers_of_one() -> None:
    found = [runs_of(small_row(name), 2) for name in ("seq2seq-dropout", "conv1d-gru")]
    plans = {plan.task.name: plan for plan, _ in found}
    runs = [run for _, runs in found for run in runs]
    here, there = (_forecasts(engine(plans, runs)) for engine in (in_this_process(Progress("run")), in_processes(2)))
    assert len(here) == 4
    assert here == there


def _forecasts(results: Iterable[tuple[Run, RunResult | Failure]]) -> dict[tuple[str, str], list[bytes]]:
    found = {}
    for run, result in results:
        assert isinstance(result, RunResult), result
        found[run.task, run.key] = [made.predicted.tobytes() for made in result.forecasts]
    return found


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rows", "linear", "transformer"], "--rows: expected names among naive, linear, simple-rnn"),
        (["--rows", "linear", "--json", "nowhere/table.json"], "--json: cannot write nowhere/table.json"),
        (["--rows", "linear", "--json", "."], "--json: cannot write .: it is a folder"),
        (["--rows", "linear", "--output", "file"], "--output: cannot write to file"),
        (["--rows", "linear", "--output", "earlier"], "earlier/linear holds results already."),
        (["--rows", "linear", "--output", "other", "--resume"], "--resume: other holds no results of these rows"),
        (["--rows", "linear", "--address", "auto"], "Also give --engine ray"),
    ],
)
@pytest.mark.usefixtures("source")
def test_wrong_input_ends_with_one_line_that_says_what_to_do(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("a file in place of a folder")
    Path("earlier/linear").mkdir(parents=True)
    Path("earlier/linear/rows.jsonl").write_text("{}\n")
    Path("other").mkdir()
    before = _files()
    assert main(["chapter", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error
    assert _files() == before


def _files() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.name != ".lock"}


@pytest.mark.usefixtures("source")
def test_a_second_run_into_a_folder_is_refused_while_the_first_one_writes(capsys: pytest.CaptureFixture[str]) -> None:
    with open_results(Path("out/naive"), {"models": {}}, resume=False):
        assert main(["chapter", "--rows", "naive", "--output", "out", "--resume"]) == 2
    assert "another run writes to out/naive" in capsys.readouterr().err


def test_data_that_do_not_reach_far_enough_are_refused(
    source: TimeSeries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = source.drop_after(pd.Timestamp("2016-03-31"))
    monkeypatch.setattr(CTARidershipDataset, "load", lambda self: short)
    assert main(["chapter", "--rows", "naive"]) == 2
    assert "CTARidershipDataset reaches from 2015-12-01" in capsys.readouterr().err
    assert not Path("results").exists()


@NEEDS_DATA
def test_on_the_lecture_s_data_the_naive_errors_are_the_lecture_s() -> None:
    row = next(row for row in read_rows() if row.name == "naive")
    plan, (run,) = runs_of(row)
    found = rows_of(plan, run)["2019-03-01"]
    errors = found.mae_by_component
    assert (round(errors["rail"][0]), round(errors["bus"][0])) == (42143, 43916)
    assert found.n_forecasts == 92


@NEEDS_DATA
@pytest.mark.parametrize("name", ["linear", "seq2vec"])
def test_on_the_lecture_s_data_errors_are_those_of_the_epoch_whose_weights_are_kept(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in read_rows() if row.name == name)
    row = replace(row, task=replace(row.task, training=row.task.training | {"n_epochs": 3}))
    models = []

    def fit_and_note(*args: Any) -> None:
        fit_model(*args)
        models.append(args[3])

    monkeypatch.setattr(benchmarks.harness.run, "fit_model", fit_and_note)
    plan, (run,) = runs_of(row)
    found = rows_of(plan, run)["2019-02-26"]
    assert found.n_forecasts == 95 - row.task.output_chunk_length + 1
    best = float(models[0].trainer.early_stopping_callback.best_score)
    assert statistics.fmean(found.mae_by_component["rail"]) == pytest.approx(best * RIDERS, rel=1e-4)
    assert best * RIDERS < 200_000
