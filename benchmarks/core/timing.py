"""Speed beside a rival's: turns taken in alternation on the same work, medians, rows."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.core.errors import MissingRivalError, error_line
from benchmarks.core.progress import Progress
from benchmarks.core.provenance import processor
from benchmarks.core.rivals import RIVALS, RivalProcesses
from benchmarks.core.versions import PACKAGES, versions

Turn = Callable[[], float]
"""Does the work once and returns what was measured: seconds, or megabytes."""


def timed(work: Callable[[], object], n_times: int = 1) -> Turn:
    """Return a turn that does some work a number of times, and gives the seconds of one."""

    def run() -> float:
        start = time.perf_counter()
        for _ in range(n_times):
            work()
        return (time.perf_counter() - start) / n_times

    return run


@dataclass(frozen=True)
class Goal:
    """What is to be reached.

    Parameters
    ----------
    text
        The goal in words.
    is_met
        Tells from our median and the rival's whether it is reached.
    """

    text: str
    is_met: Callable[[float, float], bool]


def times_faster(factor: float) -> Goal:
    """Return the goal to need no more than the rival's time divided by `factor`."""
    return Goal(f"{factor:g} times", lambda ours, theirs: theirs >= factor * ours)


def at_most_times(factor: float) -> Goal:
    """Return the goal to need no more than `factor` times the rival's time, who does less."""
    return Goal(f"at most {factor:g} times as long", lambda ours, theirs: ours <= factor * theirs)


@dataclass(frozen=True)
class Rival:
    """Whom a case is measured against.

    Parameters
    ----------
    name
        Name in the rows; one of ``RIVALS``, or what is always there, such as PyTorch.
    prepare
        Does what is not measured, and returns the turn.
    goal
        What is to be reached, if anything.
    """

    name: str
    prepare: Callable[[], Turn]
    goal: Goal | None = None


@dataclass(frozen=True)
class Case:
    """One kind of work, done by us and by rivals.

    Parameters
    ----------
    name
        Name in the rows and on the command line.
    text
        The work in words.
    prepare
        Does what is not measured, and returns our turn.
    rivals
        Whom we are measured against.
    settings
        Sizes of the work, for the rows.
    unit
        ``"s"`` or ``"MB"``.
    """

    name: str
    text: str
    prepare: Callable[[], Turn]
    rivals: Sequence[Rival]
    settings: Mapping[str, Any] = field(default_factory=dict)
    unit: str = "s"

    def against(self, names: Sequence[str]) -> list[Rival]:
        """Return the rivals of these names, and those that are always there."""
        return [rival for rival in self.rivals if rival.name in names or rival.name not in RIVALS]


@dataclass(frozen=True)
class TimingRow:
    """One case against one rival.

    Parameters
    ----------
    case
        Name of the case.
    text
        The work in words.
    rival
        Name of the rival.
    threads
        Number of threads of each.
    ours_s
        Our median, in seconds; ``None`` where something else than time is measured.
    rival_s
        The rival's median, in seconds.
    ours_mb
        Our median, in megabytes, where memory is measured.
    rival_mb
        The rival's median, in megabytes.
    ratio
        How many times as much the rival needs.
    goal
        The goal in words.
    met
        Whether it is reached; ``None`` without a goal or a result.
    spread
        Smallest and largest turn of ours and of the rival.
    turns
        Number of turns of each, the warm-up not counted.
    settings
        Sizes of the work.
    processor
        The processor, and how many cores it has.
    versions
        Versions of Python and of the packages that matter.
    rival_versions
        The same for a rival in a process of its own.
    note
        What differs between the two.
    error
        What went wrong, or what is not installed.
    missing
        Whether the rival is not installed.
    """

    case: str
    text: str
    rival: str
    threads: int
    ours_s: float | None = None
    rival_s: float | None = None
    ours_mb: float | None = None
    rival_mb: float | None = None
    ratio: float | None = None
    goal: str | None = None
    met: bool | None = None
    spread: dict[str, list[float]] = field(default_factory=dict)
    turns: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    processor: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    rival_versions: dict[str, str] = field(default_factory=dict)
    note: str = ""
    error: str | None = None
    missing: bool = False


def measure_cases(
    cases: Sequence[Case], rivals: Sequence[str], processes: RivalProcesses, turns: int, threads: int
) -> list[TimingRow]:
    """Measure cases one after the other, under a progress bar.

    Parameters
    ----------
    cases
        The work.
    rivals
        Names of those to measure against; those that are always there need not be named.
    processes
        The rivals' processes.
    turns
        Number of turns of each, without the warm-up.
    threads
        Number of threads, for the rows.
    """
    rows: list[TimingRow] = []
    n_turns = sum((1 + len(found)) * (1 + turns) for case in cases if (found := case.against(rivals)))
    with Progress("turn").over(n_turns) as progress:
        for case in cases:
            for row in measure(case, case.against(rivals), processes, turns, threads, progress.advance):
                rows.append(row)
                if row.error:
                    progress.warn(f"{row.case}, {row.rival}: {row.error}")
    return rows


def measure(
    case: Case,
    rivals: Sequence[Rival],
    processes: RivalProcesses,
    turns: int,
    threads: int,
    tell: Callable[[str], None],
) -> Iterator[TimingRow]:
    """Let us and all rivals take turns on a case, and give a row for each rival.

    A rival that fails gives a row that says so, and stops nothing else. The first turn of each is a warm-up.

    Parameters
    ----------
    case
        The work.
    rivals
        Whom to measure against.
    processes
        The rivals' processes.
    turns
        Number of turns of each, without the warm-up.
    threads
        Number of threads, for the rows.
    tell
        Called after each turn with what has been done.
    """
    errors: dict[str, Exception] = {}
    takers = _prepare(case, rivals, errors)
    measured: dict[str, list[float]] = {}
    with _little_garbage_to_look_through():
        for turn in range(turns + 1) if rivals else ():
            for name in ("ours", *(rival.name for rival in rivals)):
                if name in takers and not {name, "ours"} & errors.keys():
                    gc.collect()  # nobody pays for what another has left behind
                    with _errors_kept(name, errors):
                        result = takers[name]()
                        if turn:
                            measured.setdefault(name, []).append(result)
                tell(f"{case.name}: {name}, " + (f"turn {turn} of {turns}" if turn else "warm-up"))
    for rival in rivals:
        error = errors.get(rival.name) or errors.get("ours")
        yield TimingRow(
            case=case.name,
            text=case.text,
            rival=rival.name,
            threads=threads,
            turns=turns,
            settings=dict(case.settings),
            processor=processor(),
            versions=versions((*PACKAGES, "numba")),
            goal=None if rival.goal is None else rival.goal.text,
            **_failure(error) if error else _results(measured["ours"], measured[rival.name], rival.goal, case.unit),
            **processes.describe(rival.name),
        )


def _prepare(case: Case, rivals: Sequence[Rival], errors: dict[str, Exception]) -> dict[str, Turn]:
    """Return everybody's turns; without those of a rival there is no need of ours."""
    takers: dict[str, Turn] = {}
    for rival in rivals:
        with _errors_kept(rival.name, errors):
            takers[rival.name] = rival.prepare()
    if takers:
        with _errors_kept("ours", errors):
            takers["ours"] = case.prepare()
    return takers


@contextmanager
def _little_garbage_to_look_through() -> Iterator[None]:
    """Keep modules and prepared data out of the garbage collector's sight, so that collecting takes no time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _errors_kept(name: str, errors: dict[str, Exception]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever goes wrong becomes a row
        errors[name] = error


def _failure(error: Exception) -> dict[str, Any]:
    missing = isinstance(error, MissingRivalError)
    return {"error": str(error) if missing else error_line(error), "missing": missing}


def _results(ours: Sequence[float], theirs: Sequence[float], goal: Goal | None, unit: str) -> dict[str, Any]:
    our_median, their_median = statistics.median(ours), statistics.median(theirs)
    return {
        f"ours_{unit.lower()}": our_median,
        f"rival_{unit.lower()}": their_median,
        "ratio": their_median / our_median if our_median > 0 else None,
        "met": None if goal is None else bool(goal.is_met(our_median, their_median)),
        "spread": {"ours": [min(ours), max(ours)], "rival": [min(theirs), max(theirs)]},
    }
