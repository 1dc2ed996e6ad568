"""Turns in alternation, and what becomes of them."""

from typing import Any

from benchmarks.core.rivals import RivalProcesses
from benchmarks.core.timing import Case, Rival, TimingRow, measure, times_faster


def make_case(name: str = "nothing", ours: Any = lambda: lambda: 1.0, theirs: Any = lambda: lambda: 3.0) -> Case:
    return Case(name, "nothing at all", ours, [Rival("darts", theirs, times_faster(2))])


def _measure(case: Case, turns: int = 5) -> list[TimingRow]:
    return list(measure(case, case.rivals, RivalProcesses("", {}, 1), turns, 1, lambda what: None))


def test_medians_come_from_alternating_turns_after_a_warm_up() -> None:
    done: list[str] = []

    def turns(name: str, seconds: list[float]) -> Any:
        remaining = iter(seconds)

        def run() -> float:
            done.append(name)
            return next(remaining)

        return lambda: run

    ours, theirs = [99.0, 1.0, 5.0, 2.0], [99.0, 3.0, 4.0, 9.0]
    (row,) = _measure(make_case(ours=turns("ours", ours), theirs=turns("rival", theirs)), turns=3)
    assert done == ["ours", "rival"] * 4
    assert (row.ours_s, row.rival_s, row.ratio) == (2.0, 4.0, 2.0)
    assert row.spread == {"ours": [1.0, 5.0], "rival": [3.0, 9.0]}
    assert row.goal == "2 times"
    assert row.met is True


def test_a_goal_that_is_missed_is_not_met() -> None:
    (row,) = _measure(make_case(theirs=lambda: lambda: 1.9))
    assert row.met is False
