"""The command ``speed``: how long our work takes beside a peer's, in alternating turns."""

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from benchmarks.core.errors import UserError
from benchmarks.core.options import check_json, positive

SUMMARY = "measure our speed beside Darts', Keras' and NeuralForecast's on the same work"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Give the same data, sizes, batches, threads and number of updates to us and to each peer, take turns, and "
        "compare medians. Keras and NeuralForecast run in processes of their own and may have a Python of their own."
    )
    command.add_argument(
        "--peers", type=_names, help="peers, such as darts,keras (default: darts,keras,neuralforecast)"
    )
    command.add_argument(
        "--cases", type=_names, help="cases, such as fit,import (default: all; a wrong one lists them)"
    )
    command.add_argument("--turns", type=positive, default=5, help="turns of each (default: %(default)s)")
    command.add_argument("--threads", type=positive, default=1, help="threads of each (default: %(default)s)")
    command.add_argument("--json", type=Path, help="file for the rows")
    command.add_argument(
        "--peer-python",
        nargs="+",
        default=[],
        metavar="[PEER=]PATH",
        help="Python of a peer, such as keras=PATH, or of all; otherwise this one if it has the peer, or that named by "
        "the environment variable SEQ_PLUGINS_PEER_PYTHON, written alike",
    )
    command.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _chosen(option: str, names: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    unknown = [name for name in names or [] if name not in known]
    if unknown:
        raise UserError(f"{option}: expected names among {', '.join(known)}, got {unknown[0]!r}.")
    if names is not None and not names:
        raise UserError(f"{option}: expected at least one name among {', '.join(known)}.")
    return [name for name in known if names is None or name in names]


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 1 a case failed."""
    from benchmarks.core.timing import PEERS, Row, Workers, find_peer_pythons, measure, table_lines, write_json

    peers = _chosen("--peers", options.peers, PEERS)
    pythons = find_peer_pythons(options.peer_python)
    if options.json is not None:
        check_json(options.json)
    # PyTorch is imported only here, so that most wrong arguments are told at once
    from benchmarks.core.threads import limit_threads
    from benchmarks.speed.cases import FULL, QUICK, make_cases

    cases = {case.name: case for case in make_cases(QUICK if options.quick else FULL, options.threads)}
    chosen = [cases[name] for name in _chosen("--cases", options.cases, list(cases))]
    for name in ("pytorch_lightning", "darts"):  # the bar and the table say what there is to say
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    rows: list[Row] = []
    works = [(case, rivals) for case in chosen if (rivals := case.against(peers))]
    if not works:
        raise UserError(
            f"--cases: none of {', '.join(case.name for case in chosen)} is measured beside {', '.join(peers)}."
        )
    n_turns = sum((1 + len(rivals)) * (1 + options.turns) for _, rivals in works)
    with (
        Workers(pythons, options.threads) as workers,
        limit_threads(options.threads),
        tqdm(total=n_turns, unit="turn") as bar,
    ):

        def tell(what: str) -> None:
            bar.set_description(what, refresh=False)
            bar.update()

        for case, rivals in works:
            for row in measure(case, rivals, workers, options.turns, options.threads, tell):
                rows.append(replace(row, met=None) if options.quick else row)
                if row.error:
                    bar.write(f"{row.case}, {row.peer}: {row.error}", file=sys.stderr)
    print(f"medians of {options.turns} turns, {options.threads} thread(s)")
    print("\n".join(table_lines(rows)))
    if options.json is not None:
        try:
            write_json(options.json, rows)
        except OSError as error:
            raise UserError(f"--json: cannot write {options.json}: {error.strerror}.") from error
        print(f"\nThe rows are in {options.json}.")
    return 1 if any(row.error and not row.missing for row in rows) else 0
