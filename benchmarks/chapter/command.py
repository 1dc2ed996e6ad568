"""The command ``chapter``: the lecture's table, with its own data and protocol."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from benchmarks.chapter.protocol import load_columns, read_chapter
from benchmarks.core.errors import UserError
from benchmarks.core.options import check_json, positive

SUMMARY = "reproduce the lecture's table on the CTA data, several seeds a network"
BAR = "{l_bar}{bar}| {elapsed} gone, {remaining} left{postfix}"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Fit the lecture's networks on the CTA data with its own protocol, and put the errors beside the lecture's and "
        "Keras'. They are those of the best epoch of the validation period, which flatters every network alike. "
        "Results are written to rows.jsonl as they finish."
    )
    command.add_argument("--rows", nargs="+", help="rows of the table (default: all; a wrong one lists them)")
    command.add_argument("--seeds", type=positive, default=5, help="seeds of each network (default: %(default)s)")
    command.add_argument("--jobs", type=positive, default=1, help="processes, one thread each (default: %(default)s)")
    command.add_argument("--json", type=Path, help="file for summary and results")
    command.add_argument(
        "--output", type=Path, default=Path("results/chapter"), help="folder for rows.jsonl (default: %(default)s)"
    )
    command.add_argument("--resume", action="store_true", help="go on with the results that --output holds")


@contextmanager
def rows_file(folder: Path, resume: bool) -> Iterator[TextIO]:
    """Open the file of results for one run at a time; those of an earlier one are kept, and need `resume`."""
    path = folder / "rows.jsonl"
    if path.exists() and not resume:
        raise UserError(f"--output: {folder} holds results already. Add --resume to go on, or name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output: cannot write to {folder}: {error.strerror}. Name another folder.") from error
    try:
        _lock(file, folder)
        yield file
    finally:
        with suppress(OSError):  # every result has been written; one that could not be has been told
            file.close()


def _lock(file: TextIO, folder: Path) -> None:
    """Keep other runs out of a folder; the lock ends with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # there is none on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"--output: another run is writing to {folder}. Name another folder.") from error


def _drop_unfinished_line(file: TextIO) -> None:
    """Cut off what a run that was killed did not write to its end."""
    file.seek(0)
    text = file.read()
    file.truncate(len(text[: text.rfind("\n") + 1].encode()))


def _progress(seconds: float, seconds_done: float) -> "tqdm[Any]":
    """Make a progress bar over the expected seconds of all fits; in a log file a line every half minute is enough."""
    interval = 0.1 if sys.stderr.isatty() else 30
    return tqdm(total=seconds, initial=seconds_done, bar_format=BAR, mininterval=interval)


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a row failed, 130 interrupted."""
    chapter = read_chapter()
    entries = chapter.find_rows(options.rows)
    if options.json is not None:
        check_json(options.json)
    # PyTorch is imported only here, so that wrong arguments are told at once
    from benchmarks.chapter.runs import append_result, find_done, quiet, read_results, run_all, runs_of
    from benchmarks.chapter.table import table_lines, write_json

    start = time.perf_counter()
    quiet()
    columns = load_columns(chapter)
    runs = runs_of(entries, options.seeds)
    is_seen = sys.stderr.isatty()
    with rows_file(options.output, options.resume) as file:
        done = find_done(chapter, runs, read_results(Path(file.name)))
        _drop_unfinished_line(file)
        to_do = [run for run in runs if run.key not in done]
        seconds, seconds_to_do = (sum(run.entry.cost for run in some) for some in (runs, to_do))
        try:
            with _progress(seconds, seconds - seconds_to_do) as bar:
                for finished, result in run_all(
                    chapter, columns, to_do, options.jobs, partial(bar.set_postfix_str, refresh=is_seen)
                ):
                    append_result(file, result)
                    done[finished.key] = result
                    if result.error:
                        bar.write(f"{_told(finished.key)} failed: {result.error}", file=sys.stderr)
                    bar.set_description(f"{_told(finished.key)} done", refresh=is_seen)
                    bar.update(finished.entry.cost)
        except KeyboardInterrupt:
            print(f"interrupted: {len(done)} of {len(runs)} fits are done; --resume goes on.", file=sys.stderr)
            return 130
    results = [done[run.key] for run in runs]
    print("\n".join(table_lines(chapter, runs, results)))
    if options.json is not None:
        try:
            write_json(options.json, chapter, runs, results, time.perf_counter() - start)
        except OSError as error:
            raise UserError(f"--json: cannot write {options.json}: {error.strerror}.") from error
        print(f"\nSummary and results are in {options.json}.")
    return 1 if any(result.error for result in results) else 0


def _told(key: tuple[str, int | None]) -> str:
    name, seed = key
    return name if seed is None else f"{name}, seed {seed}"
