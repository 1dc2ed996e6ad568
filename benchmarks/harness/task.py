"""Forecasting tasks: which series, inputs and periods. A task is data: a TOML file in ``tasks/``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
from darts import TimeSeries

from benchmarks.core.errors import UserError

TASK_FOLDER = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class Period:
    """A period of targets, both ends included."""

    name: str
    start: pd.Timestamp
    end: pd.Timestamp


@dataclass(frozen=True)
class Candidate:
    """Settings that are tried.

    Parameters
    ----------
    models
        Names of entries or classes.
    settings
        Settings that come before all others.
    """

    models: list[str]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A forecasting task.

    Parameters
    ----------
    name
        Name of the task.
    dataset
        Name of a class in ``seq_plugins.datasets``, or path of a CSV file.
    target
        Components to forecast.
    past_covariates
        Components known up to the forecast only.
    future_covariates
        Components known in advance.
    input_chunk_length
        Time steps that a forecast is made from.
    output_chunk_length
        Time steps forecast from every step of a test period.
    season_length
        Time steps of a season, for the seasonal naive forecast.
    unit
        Unit of the target, for tables and pictures.
    train
        Period of the training targets and, before them, inputs.
    early_stopping
        Period of the targets by which training is stopped.
    tests
        Periods of the targets that errors are reported for.
    training
        Settings shared by all networks.
    models
        Settings of models, by the name of an entry or of a class; they come before those of `training`.
    default_models
        Models that are run where none are named; all if empty.
    candidates
        Settings that are tried where settings are chosen, each for the models that it names.
    choosing
        Task with the same series and earlier periods, on which settings are chosen; none if ``None``.
    next_step_covariates
        Components known one step ahead: given as past covariates, shifted by a step.
    divisors
        What components are divided by, the others being left as they are; if empty, all are standardised.
    is_standardised
        Whether errors are those of the standardised series, and not in the target's unit.
    earlier_evaluations
        How often models had been evaluated on the test periods, at the least, before evaluations were counted.
    time
        Column of the time stamps, for a CSV file.
    freq
        Frequency, for a CSV file.
    sha256
        Checksum of a CSV file; those of data sets are pinned where they are loaded.
    source
        Series read from a CSV file.
    """

    name: str
    dataset: str
    target: list[str]
    past_covariates: list[str]
    future_covariates: list[str]
    input_chunk_length: int
    output_chunk_length: int
    season_length: int
    unit: str
    train: Period
    early_stopping: Period
    tests: list[Period]
    training: dict[str, Any]
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    default_models: list[str] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    choosing: "Task | None" = None
    next_step_covariates: list[str] = field(default_factory=list)
    divisors: dict[str, float] = field(default_factory=dict)
    is_standardised: bool = False
    earlier_evaluations: int = 0
    time: str = ""
    freq: str = ""
    sha256: str = ""
    source: TimeSeries | None = field(default=None, repr=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """Return everything that the task sets, ready for JSON."""
        # a row has the settings of its own model
        left_out = {"source", "choosing", "candidates", "models", "default_models"}
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self) if entry.name not in left_out}

    def load(self) -> "Task":
        """Return the task with the series of its data set.

        Raises
        ------
        UserError
            If the data set cannot be loaded, or does not reach as far as the periods.
        """
        if self.source is not None:
            return self
        import seq_plugins.datasets

        try:
            source = getattr(seq_plugins.datasets, self.dataset)().load()
        except seq_plugins.datasets.DatasetError as error:
            raise UserError(f"{self.dataset}: {error}") from error
        if self.train.start < source.start_time() or self.tests[-1].end > source.end_time():
            raise UserError(
                f"{self.dataset} reaches from {source.start_time()} to {source.end_time()}, not as far as {self.name}."
            )
        return replace(self, source=source)


def _plain(value: Any) -> Any:
    if isinstance(value, Period):
        return {"name": value.name, "start": str(value.start), "end": str(value.end)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def task_names() -> list[str]:
    """Return the names of the tasks in ``tasks/``."""
    return sorted(path.stem for path in TASK_FOLDER.glob("*.toml"))


def read_task(name: str) -> Task:
    """Read a task from ``tasks/``.

    Parameters
    ----------
    name
        Name of the file, without its ending.

    Raises
    ------
    UserError
        If there is no such task.
    """
    path = TASK_FOLDER / f"{name}.toml"
    if not path.is_file():
        raise UserError(f"--dataset: expected {', '.join(task_names())} or a CSV file, got {name!r}.")
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    choosing, chosen = entries.pop("choosing", None), entries.pop("chosen", {})
    task = Task(name=name, **_periods(entries), **entries)
    models = {of: {**task.models.get(of, {}), **chosen.get(of, {})} for of in [*task.models, *chosen]}
    if choosing is None:
        return replace(task, models=models)
    candidates = [Candidate(**candidate) for candidate in choosing.pop("candidates", [])]
    earlier = replace(task, name=f"{name}-choosing", candidates=candidates, **_periods(choosing))
    return replace(task, models=models, choosing=earlier)


def _periods(entries: dict[str, Any]) -> dict[str, Any]:
    """Take the periods out of a table of a task's file."""
    return {
        "train": _period("train", entries.pop("train")),
        "early_stopping": _period("early stopping", entries.pop("early_stopping")),
        "tests": [_period(test["name"], test) for test in entries.pop("tests")],
    }


def _period(name: str, entry: Mapping[str, Any]) -> Period:
    return Period(name, pd.Timestamp(entry["start"]), pd.Timestamp(entry["end"]))
