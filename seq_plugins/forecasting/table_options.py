"""The options of commands that read a table: which columns are what, and how it is read."""

import argparse
from typing import TYPE_CHECKING

from seq_plugins._command_line import UserError

if TYPE_CHECKING:
    from seq_plugins.tables import TableOptions

NAMES = (
    "target",
    "time",
    "id",
    "static",
    "future",
    "past",
    "time_zone",
    "day_first",
    "freq",
    "resample",
    "missing",
)
"""Names of the options, as attributes of what argparse gives; what is not given is ``None``."""


def add_table_options(command: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    columns = command.add_argument_group("columns of a table")
    columns.add_argument("--target", nargs="+", metavar="COLUMN", help="what to forecast")
    columns.add_argument("--time", metavar="COLUMN", help="time stamps: dates or whole numbers (default: inferred)")
    columns.add_argument("--id", metavar="COLUMN", help="column that identifies the series, if there are several")
    columns.add_argument("--static", nargs="+", metavar="COLUMN", help="columns that are constant within each series")
    columns.add_argument("--future", nargs="+", metavar="COLUMN", help="known in advance, also for the horizon")
    columns.add_argument("--past", nargs="+", metavar="COLUMN", help="known up to the forecast origin only")
    reading = command.add_argument_group("how a table is read")
    reading.add_argument("--time-zone", metavar="ZONE", help="zone of local times, such as Europe/Berlin")
    reading.add_argument(
        "--day-first", action=argparse.BooleanOptionalAction, help="whether 3/4/2024 is in April (default: inferred)"
    )
    reading.add_argument("--freq", help="frequency, as pandas writes it, such as h, D or W-MON (default: inferred)")
    reading.add_argument(
        "--resample", choices=["mean", "sum", "last"], help="make one value of the target of each step of --freq"
    )
    reading.add_argument(
        "--missing",
        choices=["keep", "zero", "interpolate"],
        help="what missing values become: kept as such, which our models can deal with, 0, or interpolated "
        "(default: keep)",
    )


def read_table_options(options: argparse.Namespace) -> "TableOptions":
    """Return how a table is read.

    Parameters
    ----------
    options
        The options of the command.

    Raises
    ------
    UserError
        If no target is named.
    """
    if not options.target:
        raise UserError("--target: name the column to forecast, or several.")
    from seq_plugins.tables import TableOptions  # with Darts, which help and wrong options do without

    given = {name: getattr(options, name) for name in NAMES}
    return TableOptions(**{name: value for name, value in given.items() if value is not None})
