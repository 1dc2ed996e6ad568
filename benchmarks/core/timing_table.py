"""The table of timings for the terminal."""

from collections.abc import Sequence

from benchmarks.core.timing import TimingRow


def table_lines(rows: Sequence[TimingRow]) -> list[str]:
    """Return the lines of a table of `rows`."""
    lines = [
        f"{'case':20} {'rival':16} {'ours':>9} {'rival':>9} {'ratio':>6}  {'met':4} {'goal':24} ours, rival: min-max"
    ]
    lines += [f"{row.case:20} {row.rival:16} {row.error or _cells(row)}" for row in rows]
    notes = dict.fromkeys(f"{row.rival}: {row.note}" for row in rows if row.note and not row.error)
    return [*lines, "", *notes] if notes else lines


def _cells(row: TimingRow) -> str:
    unit = "s" if row.ours_s is not None else "MB"
    ours, theirs = (row.ours_s, row.rival_s) if unit == "s" else (row.ours_mb, row.rival_mb)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    met = {None: "", True: "yes", False: "no"}[row.met]
    spread = ", ".join(f"{_shown(low, unit)}-{_shown(high, unit)}" for low, high in row.spread.values())
    return f"{_shown(ours, unit):>9} {_shown(theirs, unit):>9} {ratio:>6}  {met:4} {row.goal or '':24} {spread}"


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "MB":
        return f"{value:.1f} MB"
    for factor, name in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 0.9995 or name == "us":
            return f"{value * factor:.3g} {name}"
    return ""
