"""The command ``backtest``: our models beside Darts' on the same inputs and periods."""

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from benchmarks.core.errors import UserError
from benchmarks.core.options import positive
from benchmarks.harness.task import Task, csv_task, read_task

if TYPE_CHECKING:
    from benchmarks.harness.engines import Engine
    from benchmarks.harness.plan import Plan, Run
    from benchmarks.harness.results import Results

SUMMARY = "backtest our models beside Darts' on the same inputs and periods"

QUANTILE_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Train each model on one period, stop early on the next, and forecast from every step of the test periods. The "
        "three never overlap. Writes rows.jsonl as rows finish, then table.csv and report.html."
    )
    command.add_argument("--dataset", default="chicago", help="name of a task, or a CSV file (default: %(default)s)")
    command.add_argument(
        "--models",
        nargs="+",
        help="models to run: names, classes, networks or all (default: those that the task names)",
    )
    command.add_argument("--seeds", type=positive, default=1, help="number of seeds for each network (default: 1)")
    command.add_argument("--threads", type=positive, default=1, help="threads of a run (default: 1)")
    command.add_argument(
        "--likelihood",
        choices=["none", "quantile"],
        default="none",
        help="forecast points, or quantiles (default: %(default)s)",
    )
    command.add_argument(
        "--retrain-every", type=positive, metavar="N", help="fit every model anew after N forecasts (default: never)"
    )
    command.add_argument(
        "--output", type=Path, help="folder for results (default: one named by task and time in results/)"
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="go on in --output (default: the task's latest in results/) where a run with the same settings stopped; "
        "models and seeds may be added",
    )
    where = command.add_argument_group("where runs are made; the rows are the same")
    where.add_argument("--jobs", type=positive, help="number of processes on this machine (default: 1)")
    where.add_argument("--engine", choices=["local", "ray"], default="local", help="(default: %(default)s)")
    where.add_argument("--address", help="a Ray cluster: HOST:PORT or auto (default: Ray is started on this machine)")
    choosing = command.add_argument_group("for choosing settings")
    choosing.add_argument(
        "--choosing",
        action="store_true",
        help="use the task's earlier periods and no test period, and try all of its candidates unless --set is given",
    )
    choosing.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of all models run, values as in JSON"
    )
    csv = command.add_argument_group("for a CSV file")
    csv.add_argument("--time", help="column of the time stamps")
    csv.add_argument("--target", nargs="+", help="columns to forecast")
    csv.add_argument("--past", nargs="+", default=[], help="columns known up to the forecast only")
    csv.add_argument("--future", nargs="+", default=[], help="columns known in advance")
    csv.add_argument("--freq", default="D", help="frequency, as pandas writes it (default: %(default)s)")
    csv.add_argument("--horizon", type=positive, default=14, help="steps to forecast (default: %(default)s)")
    csv.add_argument("--input-length", type=positive, help="steps of input (default: four horizons)")
    csv.add_argument("--season-length", type=positive, help="steps of a season (default: by frequency)")


def _task(options: argparse.Namespace) -> Task:
    task = _named_task(options)
    if not options.choosing:
        return task
    if task.choosing is None:
        raise UserError(f"--choosing: {task.name} names no periods for choosing settings. Leave it out.")
    return task.choosing


def _named_task(options: argparse.Namespace) -> Task:
    if Path(options.dataset).suffix.lower() != ".csv":
        return read_task(options.dataset)
    if not options.time or not options.target:
        raise UserError("a CSV file needs --time and --target: the columns of the time stamps and of what to forecast.")
    return csv_task(
        Path(options.dataset),
        options.time,
        options.target,
        options.past,
        options.future,
        options.freq,
        options.horizon,
        options.input_length,
        options.season_length,
    )


def _results_folder(options: argparse.Namespace, task: Task) -> Path:
    if options.output is not None:
        return Path(options.output)
    if options.resume:
        folders = sorted(Path("results").glob(f"{task.name}-[0-9]*"))
        if not folders:
            raise UserError(f"--resume: there are no results of {task.name} in results/. Leave --resume out.")
        return folders[-1]
    return Path("results") / f"{task.name}-{datetime.datetime.now():%Y-%m-%d-%H%M%S}"


def _own_settings(texts: list[str]) -> dict[str, Any]:
    settings = {}
    for text in texts:
        name, sign, value = text.partition("=")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
        if not sign or not name:
            raise UserError(f"--set: expected NAME=VALUE, such as hidden_dim=64, got {text!r}.")
    return settings


def _check_engine(options: argparse.Namespace) -> None:
    if options.address and options.engine != "ray":
        raise UserError("--address: it is that of a Ray cluster. Give --engine ray too, or leave it out.")
    if options.address and options.jobs:
        raise UserError("--jobs: the cluster at --address has as many processors as it has. Leave --jobs out.")


class _Progress:
    """A progress bar with the time left; in a log file a line every half minute is enough."""

    def __init__(self) -> None:
        self._is_seen = sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None

    @contextmanager
    def over(self, n_runs: int, n_made: int) -> Iterator["tqdm[Any]"]:
        """Show the bar for `n_runs`, of which `n_made` were made before."""
        interval = 0.1 if self._is_seen else 30
        with tqdm(total=n_runs, initial=n_made, unit="run", mininterval=interval) as self._bar:
            yield self._bar
            self._bar.set_postfix_str("", refresh=self._is_seen)

    def start(self, run: "Run") -> Callable[[str], None]:
        """Tell that `run` starts; return what tells how it goes on."""
        assert self._bar is not None  # noqa: S101
        self._bar.set_description(run.key, refresh=self._is_seen)
        return lambda text: self._bar.set_postfix_str(text, refresh=self._is_seen) if self._bar else None


@contextmanager
def _engine(options: argparse.Namespace, progress: _Progress) -> Iterator["Engine"]:
    from benchmarks.harness.engines import in_processes, in_this_process

    if options.engine == "ray":
        from benchmarks.harness.ray_engine import on_ray

        with on_ray(options.address, options.jobs and options.jobs * options.threads) as engine:
            yield engine
    else:
        yield in_this_process(progress.start) if (options.jobs or 1) == 1 else in_processes(options.jobs)


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a model failed, 130 interrupted."""
    _check_engine(options)
    task = _task(options)
    # PyTorch is imported only here, so that wrong arguments are told at once
    from benchmarks.core.versions import versions
    from benchmarks.harness.entries import find_entries, label, with_candidates, with_settings
    from benchmarks.harness.plan import Plan, check_periods, plan_runs
    from benchmarks.harness.results import open_results

    entries = find_entries(options.models, task)
    settings = _own_settings(options.set)
    if settings:
        task = with_settings(task, entries, settings)
    elif task.candidates:
        entries = with_candidates(entries, task)
    levels = QUANTILE_LEVELS if options.likelihood == "quantile" else ()
    plan = Plan(task.load(), options.threads, levels, options.retrain_every)
    check_periods(plan)
    groups = plan_runs(plan, entries, options.seeds)
    shared = {
        "task": plan.task.settings(),
        "quantile_levels": list(levels),
        "retrain_every": plan.retrain_every,
        "threads": plan.threads,
        "versions": versions(),
        "models": {label(entry.name, entry.candidate): entry.settings_in(task).plain() for entry in entries},
    }
    progress = _Progress()
    with (
        _engine(options, progress) as engine,
        open_results(_results_folder(options, task), shared, options.resume) as results,
    ):
        try:
            return _backtest(plan, groups, results, engine, progress)
        except KeyboardInterrupt:
            print(f"\ninterrupted; --resume --output {results.path} goes on from here.", file=sys.stderr)
            return 130


def _backtest(
    plan: "Plan", groups: list[list["Run"]], results: "Results", engine: "Engine", progress: _Progress
) -> int:  # fmt: skip
    from benchmarks.backtest.evaluation import evaluate
    from benchmarks.backtest.tables import choice_lines, table_lines, write_csv
    from benchmarks.harness.rows import RowMaker
    from benchmarks.harness.session import Session

    row_maker = RowMaker(plan)
    session = Session(plan, row_maker, groups, results)
    with progress.over(session.n_runs, session.n_made) as bar:
        for run_key, error in session.make(engine):
            if error:
                bar.write(f"{run_key} failed: {error}", file=sys.stderr)
            bar.update()
    if results.rows:
        evaluation = evaluate(plan, row_maker, results.rows, results.load)
        results.append(evaluation.ensemble_rows)
        write_csv(results.path / "table.csv", evaluation.summaries)
        print("\n".join(table_lines(evaluation.summaries, "" if plan.task.is_standardised else plan.task.unit)))
        for (period, is_ensemble), rival in evaluation.best_rivals.items():
            print(f"Best rival in {period}{' among ensembles' if is_ensemble else ''}: {rival}.")
        if plan.task.candidates:
            print("\n".join(choice_lines(evaluation.summaries)))
        elif evaluation.best_of_ours:
            print(f"Best of ours on the early-stopping period: {evaluation.best_of_ours}.")
        from benchmarks.backtest.report import write_report  # it needs the extra `benchmarks`

        write_report(results.path / "report.html", evaluation, session.failures)
    print(f"\nResults are in {results.path}: {', '.join(sorted(path.name for path in results.path.glob('[!.]*')))}")
    return 1 if session.failures else 0
