"""The folder of a backtest's results: rows and forecasts as they finish, so that an interrupted run can resume."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from benchmarks.core.errors import UserError
from benchmarks.harness.forecasts import PeriodForecasts, RunResult
from benchmarks.harness.plan import Run
from benchmarks.harness.rows import BacktestRow
from seq_plugins._files import atomic_file, is_of_writing

ROWS, SETTINGS, FORECASTS, LOCK, LEDGER = "rows.jsonl", "settings.json", "forecasts", ".lock", "evaluations.jsonl"


def was_started(path: Path) -> bool:
    """Whether a folder holds results, or is that of a run that stopped before its first."""
    return (path / SETTINGS).is_file()


@contextmanager
def open_results(path: Path, settings: Mapping[str, Any], resume: bool) -> Iterator["Results"]:
    """Open a folder for results, alone: no other process can open it until the end, or until this one is dead.

    Parameters
    ----------
    path
        The folder.
    settings
        Everything that rows of one folder have in common, with the settings of each model under ``models``; and under
        ``about`` how they are made, in a list to which a run that goes on adds.
    resume
        Whether to go on with what is in the folder; otherwise there must be no results.

    Raises
    ------
    UserError
        If another process has the folder, if it holds results already, other settings or none, or cannot be written.
    """
    if resume and not was_started(path):
        raise UserError(f"--resume: {path} holds no results to resume. Leave --resume out, or name their folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"--output: another run writes to {path}. Wait for it, or name another folder.") from None
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with writing_to(path):
            yield Results(path, settings, resume)
    finally:
        lock.release()


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Tell that a folder, or a file in it, cannot be written, if it can't.

    Raises
    ------
    UserError
        If it can't.
    """
    try:
        yield
    except OSError as error:
        if not is_of_writing(error, path):  # such as a file of ours that is not there
            raise
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UserError:
    reason = os.strerror(error.errno) if error.errno else error
    return UserError(
        f"--output: cannot write to {path}: {reason}. Make room or name another folder; what is finished there is "
        "complete, and --resume continues from it."
    )


@dataclass(frozen=True)
class _Evaluation:
    """One evaluation of a model on a test period."""

    task: str
    period: str
    model: str
    seed: int | None
    folder: str
    candidate: Mapping[str, Any] = field(default_factory=dict)


class Results:
    """Results in a folder; made by :func:`open_results`.

    Parameters
    ----------
    path
        The folder.
    settings
        Everything that its rows have in common, with the settings of each model under ``models``.
    resume
        Whether to go on with what is there.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        if not resume and (path / ROWS).exists() and (path / ROWS).stat().st_size:
            raise UserError(
                f"--output: {path} holds results already. Name another folder, remove it, or continue with --resume."
            )
        shared: dict[str, Any] = json.loads(json.dumps(settings))
        if resume:
            shared = _joined(self._read_settings(), shared)
        self.settings = shared
        """Everything that the rows have in common, and how they were made, under ``about``."""
        self.rows = self._read_rows() if resume else []
        """Rows of single seeds that are finished."""
        self.forecast_folder.mkdir(exist_ok=True)
        self._write(SETTINGS, json.dumps(shared, indent=1) + "\n")
        self._write(ROWS, "".join(row.to_json() + "\n" for row in self.rows))

    @property
    def forecast_folder(self) -> Path:
        """Folder of the forecasts of the test periods."""
        return self.path / FORECASTS

    def about(self) -> dict[str, Any]:
        """Return how the rows were made, for :func:`benchmarks.core.provenance.write_table`."""
        made = self.settings["about"]
        told = {name: "; ".join(dict.fromkeys(run[name] for run in made)) for name in made[0]}
        return told | {name: self.settings[name] for name in ("threads", "versions")}

    def _read_settings(self) -> dict[str, Any]:
        path = self.path / SETTINGS
        try:
            settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            settings["models"].keys()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"--resume: {path} cannot be read: {error}. Name another folder.") from error
        return settings

    def _write(self, name: str, text: str) -> None:
        with atomic_file(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _read_rows(self) -> list[BacktestRow]:
        """Return the rows that need no run: without those that failed, ensembles, and a last line that was cut off."""
        if not (self.path / ROWS).exists():
            return []
        *lines, _ = (self.path / ROWS).read_text(encoding="utf-8").split("\n")
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(BacktestRow.from_json(line))
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"--resume: line {number} of {self.path / ROWS} cannot be read: {error}. Remove the line, or name "
                    "another folder."
                ) from error
        return [row for row in rows if row.error is None and not row.members]

    def is_finished(self, group: Sequence[Run], periods: Sequence[str]) -> bool:
        """Whether the rows of all runs of a model and seed are there, and their forecasts."""
        found = {row.period for row in self.rows if _belongs_to(row, group[0])}
        return found == set(periods) and all(self._forecast_path(run.key).exists() for run in group)

    def drop(self, group: Sequence[Run]) -> None:
        """Leave out rows of a model and seed that are not all there: they are made again."""
        kept = [row for row in self.rows if not _belongs_to(row, group[0])]
        if len(kept) < len(self.rows):
            self.rows = kept
            self._write(ROWS, "".join(row.to_json() + "\n" for row in kept))

    def append(self, rows: Sequence[BacktestRow]) -> None:
        """Write rows, all or none."""
        path = self.path / ROWS
        size = path.stat().st_size
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(row.to_json() + "\n" for row in rows))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            os.truncate(path, size)
            raise
        self.rows += [row for row in rows if row.error is None and not row.members]

    def store(self, result: RunResult) -> None:
        """Write what a run has given, as a whole."""
        facts = {name: value for name, value in vars(result).items() if name != "forecasts"}
        facts["periods"] = [[made.period, made.seconds] for made in result.forecasts]
        arrays = {"facts": np.array(json.dumps(facts))}
        for position, made in enumerate(result.forecasts):
            arrays[f"starts_{position}"] = made.starts
            arrays[f"predicted_{position}"] = made.predicted.astype(np.float32)
            if made.quantiles is not None:
                arrays[f"quantiles_{position}"] = made.quantiles.astype(np.float32)
        with atomic_file(self._forecast_path(result.key)) as temporary, temporary.open("xb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    def load(self, run: Run) -> RunResult | None:
        """Return what a run has given, or ``None`` if it has not been made."""
        path = self._forecast_path(run.key)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                facts = json.loads(str(arrays["facts"]))
                forecasts = [
                    PeriodForecasts(
                        period,
                        arrays[f"starts_{position}"],
                        arrays[f"predicted_{position}"],
                        arrays.get(f"quantiles_{position}"),
                        seconds,
                    )
                    for position, (period, seconds) in enumerate(facts.pop("periods"))
                ]
                return RunResult(**facts, forecasts=forecasts)
        except (ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(f"--resume: {path} cannot be read: {error}. Remove it, and it is recreated.") from error

    def _forecast_path(self, key: str) -> Path:
        return self.forecast_folder / f"{key}.npz"

    def count_evaluations(self, run: Run, periods: Sequence[str]) -> dict[str, int]:
        """Note that a model is evaluated on test periods; return how often it has been, by results beside this folder.

        Parameters
        ----------
        run
            A run of the model.
        periods
            Names of the test periods.
        """
        new = [_Evaluation(run.task, period, run.model, run.seed, self.path.name, run.candidate) for period in periods]
        with (self.path / LEDGER).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(asdict(evaluation)) + "\n" for evaluation in new))
        counts = dict.fromkeys(periods, 0)
        ledgers = sorted(self.path.parent.glob(f"*/{LEDGER}"))
        for line in chain.from_iterable(ledger.read_text(encoding="utf-8").splitlines() for ledger in ledgers):
            try:
                noted = _Evaluation(**json.loads(line))
            except (ValueError, TypeError):  # cut off by a kill
                continue
            if noted.task == run.task and _belongs_to(noted, run) and noted.period in counts:
                counts[noted.period] += 1
        return counts


def _belongs_to(noted: BacktestRow | _Evaluation, run: Run) -> bool:
    """Whether a row or an evaluation is one of the run's model, settings that are tried and seed."""
    return (noted.model, noted.candidate, noted.seed) == (run.model, run.candidate, run.seed)


def _joined(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run that goes on: the same, with models that may have been added."""
    before["about"] = before.get("about", []) + now.get("about", [])
    for name, settings in now["models"].items():
        _compare(f"models.{name}", before["models"].setdefault(name, settings), settings)
    for name in before.keys() | now.keys():
        if name not in ("models", "about"):
            _compare(name, before.get(name), now.get(name))
    return before


def _compare(name: str, before: Any, now: Any) -> None:
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            _compare(f"{name}.{key}", before.get(key), now.get(key))
    raise UserError(f"--resume: {name} was {before!r} there and is {now!r} now. Give the same, or name another folder.")
