"""The command ``backtest``: our models beside Darts' on the same inputs and periods."""

import argparse
import datetime
import logging
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.tasks import Task, UserError, csv_task, read_task

SUMMARY = "backtest our models beside Darts' on the same inputs and periods"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Train each model on one period, stop early on the next, and forecast from every step of the test periods. The "
        "three never overlap. Writes rows.jsonl, table.csv and a picture for each test period."
    )
    command.add_argument("--dataset", default="chicago", help="name of a task, or a CSV file (default: %(default)s)")
    command.add_argument("--models", nargs="+", help="models to run (default: all)")
    command.add_argument("--seeds", type=_positive, default=1, help="number of seeds for each network (default: 1)")
    command.add_argument("--threads", type=_positive, default=1, help="PyTorch's threads (default: 1)")
    command.add_argument(
        "--output", type=Path, help="folder for results (default: one named by task and time in results/)"
    )
    csv = command.add_argument_group("for a CSV file")
    csv.add_argument("--time", help="column of the time stamps")
    csv.add_argument("--target", nargs="+", help="columns to forecast")
    csv.add_argument("--past", nargs="+", default=[], help="columns known up to the forecast only")
    csv.add_argument("--future", nargs="+", default=[], help="columns known in advance")
    csv.add_argument("--freq", default="D", help="frequency, as pandas writes it (default: %(default)s)")
    csv.add_argument("--horizon", type=_positive, default=14, help="steps to forecast (default: %(default)s)")
    csv.add_argument("--input-length", type=_positive, help="steps of input (default: four horizons)")
    csv.add_argument("--season-length", type=_positive, help="steps of a season (default: by frequency)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return number


def _task(options: argparse.Namespace) -> Task:
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


def _results_folder(output: Path | None, task: Task) -> Path:
    """Make the folder for results; an explicit one must not hold results already."""
    folder = output or Path("results") / f"{task.name}-{datetime.datetime.now():%Y-%m-%d-%H%M%S}"
    if (folder / "rows.jsonl").exists():
        raise UserError(f"--output: {folder} holds results already. Name another folder, or remove it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--output: cannot write to {folder}: {error.strerror}. Name another folder.") from error
    return folder


def _progress(n_runs: int) -> "tqdm[Any]":
    """Make a progress bar; in a log file a line every half minute is enough."""
    return tqdm(total=n_runs, unit="fit", mininterval=0.1 if sys.stderr.isatty() else 30)


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a model failed."""
    task = _task(options)
    # PyTorch is imported only here, so that wrong arguments are told at once
    import torch

    from benchmarks.backtest import Forecasts, TaskData, run_entry
    from benchmarks.models import find_entries
    from benchmarks.pictures import draw_backtest
    from benchmarks.rows import Row, append_row, summarise, table_lines, write_csv

    for name in ("pytorch_lightning", "darts"):  # the bars and the table say what there is to say
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    entries = find_entries(options.models)
    data = TaskData(task)
    folder = _results_folder(options.output, task)
    runs = [(entry, seed) for entry in entries for seed in range(1, options.seeds + 1 if entry.is_network else 2)]
    is_seen = sys.stderr.isatty()
    rows: list[Row] = []
    shown: dict[str, dict[str, Forecasts]] = {period.name: {} for period in task.tests}
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file, _progress(len(runs)) as bar:
        for entry, seed in runs:
            bar.set_description(f"{entry.name}, seed {seed}" if entry.is_network else entry.name, refresh=is_seen)
            for row, forecasts in run_entry(data, entry, seed, partial(bar.set_postfix_str, refresh=is_seen)):
                append_row(file, row)
                rows.append(row)
                if row.error:
                    bar.write(f"{entry.name} failed: {row.error}", file=sys.stderr)
                if forecasts is not None and row.period is not None:
                    shown[row.period].setdefault(entry.name, forecasts)
            bar.update()
        bar.set_postfix_str("", refresh=is_seen)
    summaries = summarise(rows)
    if summaries:
        write_csv(folder / "table.csv", summaries)
        for number, period in enumerate(task.tests, start=1):
            of_period = [summary for summary in summaries if summary.period == period.name]
            picture = folder / ("backtest.png" if len(task.tests) == 1 else f"backtest-{number}.png")
            draw_backtest(picture, of_period, shown[period.name], period.name, task.unit)
        print("\n".join(table_lines(summaries, task.unit)))
    print(f"\nResults are in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 1 if any(row.error for row in rows) else 0
