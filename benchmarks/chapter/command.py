"""The command ``chapter``: the lecture's table, with its own data and protocol, as backtests one after the other."""

import argparse
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.chapter.protocol import find_rows, read_rows
from benchmarks.core.errors import UserError
from benchmarks.core.options import check_json, positive, write_json
from benchmarks.core.progress import Progress
from benchmarks.core.provenance import provenance
from benchmarks.core.versions import versions
from benchmarks.harness.options import add_run_options, check_run_options, open_engine

SUMMARY = "reproduce the lecture's table on the CTA data, with several seeds per network"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Fit the lecture's networks on the CTA data with its own protocol, and compare the errors with those of the "
        "lecture and of Keras. They are for the best epoch on the validation period, which flatters all networks "
        "equally. Results are written as they finish, to a separate folder for each row, followed by table.csv."
    )
    command.add_argument("--rows", nargs="+", help="rows of the table (default: all; an unknown name lists them)")
    command.add_argument("--seeds", type=positive, default=5, help="number of seeds per network (default: %(default)s)")
    command.add_argument("--json", type=Path, help="file for summary and results")
    command.add_argument(
        "--output", type=Path, default=Path("results/chapter"), help="folder for results (default: %(default)s)"
    )
    command.add_argument("--resume", action="store_true", help="resume the run whose results are in --output")
    add_run_options(command)


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a row failed, 130 interrupted."""
    check_run_options(options)
    rows = find_rows(read_rows(), options.rows)
    check_json(options.json)
    # PyTorch is imported only here, so that wrong arguments are told at once
    from benchmarks.chapter.table import Table, table_lines
    from benchmarks.harness.entries import ENTRIES
    from benchmarks.harness.plan import Plan
    from benchmarks.harness.results import was_started, writing_to
    from benchmarks.harness.session import make_all, open_session

    start = time.perf_counter()
    started = {row.name for row in rows if was_started(options.output / row.name)}
    if options.resume and not started:
        raise UserError(
            f"--resume: {options.output} holds no results of these rows to resume. Leave --resume out, or name "
            "their folder."
        )
    if started and not options.resume:
        raise UserError(
            f"--output: {options.output} holds results of {', '.join(sorted(started))} already. Continue with "
            "--resume, or name another folder."
        )
    source = rows[0].task.load().source
    progress = Progress("run")
    with open_engine(options, progress) as engine, ExitStack() as folders:
        sessions = [
            folders.enter_context(
                open_session(
                    options.output / row.name,
                    Plan(replace(row.task, source=source), options.threads),
                    [ENTRIES[row.model]],
                    options.seeds,
                    options.resume and row.name in started,
                )
            )
            for row in rows
        ]
        try:
            make_all(sessions, engine, progress)
        except KeyboardInterrupt:
            print(f"\ninterrupted; continue with --resume --output {options.output}.", file=sys.stderr)
            return 130
        results = [
            result
            for session in sessions
            for result in sorted([*session.results.rows, *session.failures], key=lambda row: row.seed or 0)
            if (result.seed or 0) <= options.seeds
        ]
        table = Table(rows, results, options.seeds)
        print("\n".join(table_lines(table)))
        if options.json is not None:
            about: dict[str, Any] = provenance() | {"threads": options.threads, "versions": versions()}
            about["seconds"] = time.perf_counter() - start
            write_json(options.json, table.content() | {"rows": [asdict(result) for result in results]} | about)
            print(f"\nSummary and results are in {options.json}.")
        for row, session in zip(rows, sessions, strict=True):
            with writing_to(session.results.path):
                Table([row], results, options.seeds).write(session.results.path / "table.csv", session.results.about())
    print(f"\nResults are in {options.output}.")
    return 1 if any(result.error for result in results) else 0
