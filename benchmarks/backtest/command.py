"""The command ``backtest``: our models compared with Darts' on the same inputs and periods."""

import argparse
import datetime
import sys
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.core.errors import UserError
from benchmarks.core.options import positive
from benchmarks.core.progress import Progress
from benchmarks.harness.options import add_run_options, check_run_options, open_engine
from benchmarks.harness.table_task import Lengths, Table, read_table, table_task
from benchmarks.harness.task import Task, read_task, task_names
from seq_plugins._command_line import read_settings
from seq_plugins.forecasting.table_options import NAMES as TABLE_OPTIONS
from seq_plugins.forecasting.table_options import add_table_options, read_table_options

if TYPE_CHECKING:
    from benchmarks.backtest.evaluation import Evaluation
    from benchmarks.harness.session import Session

SUMMARY = "backtest our models compared with Darts' on the same inputs and periods"

FORECAST = "forecast"
"""Folder, in that for results, of what comes next."""

QUANTILE_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Train each model on one period, use the next for early stopping, and forecast from every step of the test "
        "periods, which never overlap them. Writes rows.jsonl as rows finish, then table.csv and report.html."
    )
    command.add_argument(
        "--dataset", default="chicago", help="name of a task, or a CSV or Parquet file (default: %(default)s)"
    )
    command.add_argument(
        "--models",
        nargs="+",
        help="models to run: names, classes, networks or all (default: those of the task); NAME-x5 is an "
        "ensemble of five of our models, trained as one",
    )
    command.add_argument("--seeds", type=positive, default=1, help="number of seeds for each network (default: 1)")
    command.add_argument(
        "--likelihood",
        choices=["none", "quantile"],
        default="none",
        help="point forecasts, or quantiles (default: %(default)s)",
    )
    command.add_argument(
        "--retrain-every", type=positive, metavar="N", help="refit every model after N forecasts (default: never)"
    )
    command.add_argument(
        "--warm-epochs",
        type=positive,
        metavar="N",
        help="with --retrain-every: update ours for N epochs, from the weights of the fit before, instead",
    )
    command.add_argument(
        "--output", type=Path, help="folder for results (default: one named by task and time in results/)"
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="resume an interrupted run in --output (default: the task's latest in results/) with the same settings; "
        "models and seeds may be added",
    )
    command.add_argument(
        "--forecasts",
        choices=["csv", "parquet"],
        help="also write the forecasts of the test periods as tables with dates, one for each model and seed",
    )
    command.add_argument(
        "--then-forecast",
        action="store_true",
        help="fit our best model on the whole table, and write the forecast of the coming horizon and the model to "
        "forecast/ in the results folder, as python -m seq_plugins forecast does",
    )
    add_run_options(command)
    _add_tuning_options(command)
    _add_lengths(command)
    add_table_options(command)


def _add_tuning_options(command: argparse.ArgumentParser) -> None:
    choosing = command.add_argument_group("tuning")
    choosing.add_argument(
        "--choosing",
        action="store_true",
        help="use the task's tuning periods instead of the test periods, and try all candidates unless --set is given",
    )
    choosing.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings for all models, with values as in JSON"
    )


def _add_lengths(command: argparse.ArgumentParser) -> None:
    lengths = command.add_argument_group("time steps in a table of yours")
    lengths.add_argument("--horizon", type=positive, metavar="N", help="to forecast (default: guessed)")
    lengths.add_argument(
        "--input-length", type=positive, metavar="N", help="a forecast is made from (default: four horizons)"
    )
    lengths.add_argument(
        "--season-length", nargs="+", type=positive, metavar="N", help="of a season, or several (default: by frequency)"
    )
    lengths.add_argument(
        "--stopping-length",
        type=positive,
        metavar="N",
        help="of the period for early stopping (default: 15 %%, a horizon at the least)",
    )
    lengths.add_argument(
        "--test-length",
        type=positive,
        metavar="N",
        help="of the test period, the last of all (default: 15 %%, a horizon at the least)",
    )


def _read_table(options: argparse.Namespace) -> Table | None:
    """Return the user's table, or ``None`` where a shipped task is named."""
    path = Path(options.dataset)
    if options.dataset not in task_names() and (path.suffix or path.exists()):
        return read_table(path, read_table_options(options))
    own = [*TABLE_OPTIONS, *(entry.name for entry in fields(Lengths))]
    given = [f"--{name.replace('_', '-')}" for name in own if getattr(options, name) is not None]
    if given and options.dataset in task_names():
        raise UserError(f"{given[0]}: it is for a table of yours, and {options.dataset} has its own. Leave it out.")
    return None


def _task(options: argparse.Namespace, table: Table | None) -> Task:
    if table is None:
        task = read_task(options.dataset)
    else:
        lengths = Lengths(**{entry.name: getattr(options, entry.name) for entry in fields(Lengths)})
        task = table_task(table, lengths, table.notes)
    if not options.choosing:
        return task
    if task.choosing is None:
        raise UserError(f"--choosing: {task.name} names no periods for choosing settings. Leave it out.")
    return task.choosing


def _results_folder(options: argparse.Namespace, task: Task) -> Path:
    if options.output is not None:
        return Path(options.output)
    if options.resume:
        folders = sorted(Path("results").glob(f"{task.name}-[0-9]*"))
        if not folders:
            raise UserError(f"--resume: there are no results of {task.name} in results/. Leave --resume out.")
        return folders[-1]
    return Path("results") / f"{task.name}-{datetime.datetime.now():%Y-%m-%d-%H%M%S}"


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a model failed, 130 interrupted."""
    check_run_options(options)
    if options.forecasts == "parquet" and find_spec("pyarrow") is None:
        raise UserError("--forecasts: Parquet is written with pyarrow: pip install pyarrow. Or give csv.")
    if options.warm_epochs is not None and options.retrain_every is None:
        raise UserError("--warm-epochs: say with --retrain-every after how many forecasts models are updated.")
    table = _read_table(options)
    task = _task(options, table)
    if options.then_forecast and table is None:
        raise UserError(
            f"--then-forecast: nothing is known of what comes after {task.name}, which ends with its test periods. "
            "Name a table of yours with --dataset."
        )
    # PyTorch is imported only here, so that wrong arguments are told at once
    from benchmarks.harness.entries import find_entries, with_candidates, with_settings
    from benchmarks.harness.plan import Plan, check_periods
    from benchmarks.harness.session import make_all, open_session

    entries = find_entries(options.models, task)
    settings = read_settings(options.set)
    if settings and options.choosing:
        entries = [replace(entry, candidate=settings) for entry in entries]
    elif settings:
        task = with_settings(task, entries, settings)
    elif task.candidates:
        entries = with_candidates(entries, task)
    levels = QUANTILE_LEVELS if options.likelihood == "quantile" else ()
    plan = Plan(task.load(), options.threads, levels, options.retrain_every, options.warm_epochs)
    check_periods(plan)
    if table is not None:
        print("\n".join(table.notes))
    if options.then_forecast and table is not None:
        from benchmarks.backtest.coming import check_coming

        print("\n".join(check_coming(plan, entries, table)))
    progress = Progress("run")
    with (
        open_engine(options, progress) as engine,
        open_session(_results_folder(options, task), plan, entries, options.seeds, options.resume) as session,
    ):
        try:
            make_all([session], engine, progress)
            evaluation = _tell(session, options.forecasts)
            if options.then_forecast and table is not None and not _forecast(session, evaluation, table):
                return 1
            return 1 if session.failures else 0
        except KeyboardInterrupt:
            print(f"\ninterrupted; continue with --resume --output {session.results.path}.", file=sys.stderr)
            return 130


def _tell(session: "Session", forecasts: str | None) -> "Evaluation | None":
    """Write tables and the report and tell what is in them; return what the results say together, if there are any."""
    from benchmarks.backtest.best import best_model
    from benchmarks.backtest.evaluation import evaluate
    from benchmarks.backtest.forecast_tables import write_tables
    from benchmarks.backtest.tables import choice_lines, table_lines, write_csv
    from seq_plugins.forecasting.best_model import write_best_model

    task, results, evaluation = session.plan.task, session.results, None
    if results.rows:
        evaluation = evaluate(session.plan, session.row_maker, results.rows, results.load)
        results.append(evaluation.ensemble_rows)
        write_csv(results, evaluation.summaries)
        write_best_model(results.path, best_model(evaluation))
        print("\n".join(table_lines(evaluation.summaries, "" if task.is_standardised else task.unit)))
        for path in session.row_maker.not_found:
            print(f"Published forecasts are not shown, since {path} does not exist (see SEQ_PLUGINS_DATA).")
        for (period, is_ensemble), rival in evaluation.best_rivals.items():
            print(f"Best rival in {period}{' among ensembles' if is_ensemble else ''}: {rival}.")
        if task.candidates:
            print("\n".join(choice_lines(evaluation.summaries)))
        elif evaluation.best_of_ours:
            print(f"Our best model on the early-stopping period: {evaluation.best_of_ours}.")
        from benchmarks.backtest.report import write_report  # it needs the extra `benchmarks`

        write_report(results.path / "report.html", evaluation, session.failures, results.about()["processor"])
        if forecasts is not None:
            print(write_tables(results.forecast_folder, evaluation, forecasts, Progress("table")))
    print(f"\nResults are in {results.path}: {', '.join(sorted(path.name for path in results.path.glob('[!.]*')))}")
    return evaluation


def _forecast(session: "Session", evaluation: "Evaluation | None", table: Table) -> bool:
    """Forecast what comes next with the best of ours, and return whether there is one."""
    from benchmarks.backtest.best import best_model, rivals_ahead
    from benchmarks.backtest.coming import forecast_coming

    best = None if evaluation is None else best_model(evaluation)
    if evaluation is None or best is None:
        print("No forecast is made, since none of our models has finished.", file=sys.stderr)
        return False
    told = forecast_coming(session.results.path / FORECAST, best, table, session.plan.threads)
    print("\n".join(["", *rivals_ahead(evaluation), *told]))
    return True
