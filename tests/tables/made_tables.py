"""The tables of the tests: a shop's days, hours of local time, and many products."""

import numpy as np
import pandas as pd


def shop(n_days: int = 120, n_known: int = 14) -> pd.DataFrame:
    """Make a shop's sales of a day: closed days are absent, promotions are known ahead of the last day sold."""
    days = pd.date_range("2024-01-01", periods=n_days + n_known)
    generator = np.random.default_rng(0)
    promotion = (generator.random(len(days)) < 0.2).astype(int)
    sold = 50 + 20 * np.sin(2 * np.pi * days.day_of_week / 7) + 15 * promotion + generator.normal(0, 3, len(days))
    table = pd.DataFrame({"day": days.strftime("%Y-%m-%d"), "sold": sold.round(1), "promotion": promotion})
    table.loc[n_days:, "sold"] = np.nan
    is_closed = (days.day_of_week == 6) & (np.arange(len(days)) < n_days)
    return table[~is_closed]


def energy(start: str = "2024-10-01", n_hours: int = 800, zone: str = "Europe/Berlin") -> pd.DataFrame:
    """Make the load of each hour by the clock on the wall."""
    hours = pd.date_range(start, periods=n_hours, freq="h", tz=zone)
    generator = np.random.default_rng(0)
    load = 100 + 30 * np.sin(2 * np.pi * hours.hour / 24) + generator.normal(0, 3, n_hours)
    return pd.DataFrame({"hour": hours.strftime("%Y-%m-%d %H:%M"), "load": load.round(2)})


def products(n_products: int = 5, n_weeks: int = 60) -> pd.DataFrame:
    """Make the weekly sales of products, one below the other, each with its category."""
    weeks = pd.date_range("2023-01-02", periods=n_weeks, freq="W-MON")
    generator = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {
                "week": weeks.strftime("%d.%m.%Y"),
                "product": f"P{number:03}",
                "category": ["food", "toys"][number % 2],
                "sold": (10 ** (1 + number % 3) * generator.uniform(0.8, 1.2, n_weeks)).round(1),
            }
        )[number % 4 :]
        for number in range(n_products)
    ]
    return pd.concat(tables, ignore_index=True)
