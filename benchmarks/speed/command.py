"""The command ``speed``: how long our work takes beside a rival's, in alternating turns."""

import argparse
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.core.errors import UserError
from benchmarks.core.options import check_json, check_names, positive, write_json
from benchmarks.core.rivals import RIVALS, RivalProcesses, find_rival_pythons
from benchmarks.core.threads import limit_threads
from benchmarks.core.timing import measure_cases
from benchmarks.core.timing_table import table_lines
from benchmarks.speed.steps import share_lines, step_shares

SUMMARY = "compare run times of the same work with Darts, Keras and NeuralForecast"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Run the same work, with the same data, sizes, batches, threads and number of updates, alternately with this "
        "package and with each rival, and compare medians. Keras and NeuralForecast run in separate processes, and "
        "can be installed in a separate Python environment."
    )
    command.add_argument(
        "--rivals", type=_names, help="rivals, such as darts,keras (default: darts,keras,neuralforecast)"
    )
    command.add_argument(
        "--cases", type=_names, help="cases, such as fit,import (default: all; an unknown name lists them)"
    )
    command.add_argument("--turns", type=positive, default=5, help="turns per side (default: %(default)s)")
    command.add_argument("--threads", type=positive, default=1, help="threads per side (default: %(default)s)")
    command.add_argument("--json", type=Path, help="file for the rows")
    command.add_argument(
        "--rival-python",
        nargs="+",
        default=[],
        metavar="[RIVAL=]PATH",
        help="Python of a rival, such as keras=PATH, or of all; by default this one if the rival is installed, or that "
        "named in the same form by the environment variable SEQ_PLUGINS_RIVAL_PYTHON",
    )
    command.add_argument("--quick", action="store_true", help="tiny sizes, to check that everything runs")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _chosen(option: str, names: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    check_names(option, names or [], known)
    if names is not None and not names:
        raise UserError(f"{option}: expected at least one name among {', '.join(known)}.")
    return [name for name in known if names is None or name in names]


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a case failed."""
    rivals = _chosen("--rivals", options.rivals, RIVALS)
    pythons = find_rival_pythons(options.rival_python)
    check_json(options.json)
    # PyTorch is imported only here, so that most wrong arguments are told at once
    from benchmarks.speed.cases import FULL, QUICK, make_cases

    processes = RivalProcesses("benchmarks.speed.rivals", pythons, options.threads)
    all_cases = make_cases(QUICK if options.quick else FULL, options.threads, processes)
    cases = {case.name: case for case in all_cases}
    chosen = [cases[name] for name in _chosen("--cases", options.cases, list(cases))]
    if not any(case.against(rivals) for case in chosen):
        raise UserError(
            f"--cases: none of {', '.join(case.name for case in chosen)} is measured beside {', '.join(rivals)}."
        )
    for name in ("pytorch_lightning", "darts"):  # the bar and the table say what there is to say
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    with processes, limit_threads(options.threads):
        rows = measure_cases(chosen, rivals, processes, options.turns, options.threads)
    if options.quick:
        rows = [replace(row, met=None) for row in rows]
    print(f"medians of {options.turns} turns, {options.threads} thread(s)")
    print("\n".join([*table_lines(rows), *share_lines(rows)]))
    if options.json is not None:
        write_json(options.json, {"rows": [asdict(row) for row in rows], "shares": step_shares(rows)})
        print(f"\nThe rows are in {options.json}.")
    return 1 if any(row.error and not row.missing for row in rows) else 0
