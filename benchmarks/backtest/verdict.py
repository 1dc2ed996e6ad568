"""The verdict of a backtest, in a sentence."""

from collections.abc import Sequence

from benchmarks.backtest.tables import ERROR_HEADS, ModelSummary, has_interval, number
from benchmarks.harness.metrics import Difference


def verdict(summaries: Sequence[ModelSummary], unit: str) -> str:
    """Say which model is best in a test period, and whether ours is ahead of the best rival by more than chance.

    Parameters
    ----------
    summaries
        Summaries of the period, the best model first; ensembles and what others have published are passed over.
    unit
        Unit of the errors.
    """
    entrants = [summary for summary in summaries if not summary.is_ensemble and not summary.is_published]
    ours = next((summary for summary in entrants if summary.rows[0].is_ours), None)
    rival = next((summary for summary in entrants if not summary.rows[0].is_ours), None)
    error = ERROR_HEADS.get(entrants[0].ranked_by, "mean absolute error")
    of_unit = f" {unit}" if unit and entrants[0].ranked_by == "mae" else ""
    if ours is None or rival is None:
        whose = "our" if rival is None else "Darts'"
        among = f" of {whose} {len(entrants)} models" if len(entrants) > 1 else ""
        return f"{entrants[0].name} has the lowest {error}{among}: {number(entrants[0].ranking)}{of_unit}."
    best, other = (ours, rival) if ours.ranking <= rival.ranking else (rival, ours)
    told = [f"{error} {number(best.ranking)} versus {number(other.ranking)}{of_unit}"]
    if other.ranking > 0:
        told.append(f"{100 * (1 - best.ranking / other.ranking):.1f} % lower")
    names = [f"{summary.name} ({'ours' if summary is ours else 'rival'})" for summary in (best, other)]
    return f"{names[0]} is ahead of {names[1]}: {', '.join(told)}. {_chance(ours.lead)}".strip()


def _chance(lead: Difference | None) -> str:
    if lead is None:
        return ""
    if not has_interval(lead):
        return "There are too few forecasts to say whether that is more than chance."
    return f"The difference is {'' if is_significant(lead) else 'not '}significant at the 5 % level."


def is_significant(lead: Difference) -> bool:
    """Whether the interval around a difference leaves out zero."""
    return lead.low > 0 or lead.high < 0
