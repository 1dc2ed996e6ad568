"""What is decided before anything is fitted: horizon, window, seasons, training. What is not asked for is guessed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, gcd
from typing import Any

import numpy as np
import pandas as pd

from seq_plugins._command_line import UserError
from seq_plugins.tables import Panel, TableOptions
from seq_plugins.tables.files import first_three
from seq_plugins.tables.times import written

_HORIZONS = {"D": 14, "B": 10, "W": 8, "MS": 12, "ME": 12, "BMS": 12, "BME": 12, "QS": 4, "QE": 4, "YS": 3, "YE": 3}
_SEASONS = {"D": 7, "B": 5, "W": 52, "MS": 12, "ME": 12, "BMS": 12, "BME": 12, "QS": 4, "QE": 4}
_ANY_HORIZON = 12
_LONGEST_DAY = 96  # steps, of a quarter of an hour
_LONGEST_WINDOW = 512
_MOST_WINDOWS = 3200  # of an epoch: windows one step apart are nearly the same
_MOST_FOLDS = 3
_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Plan:
    """What is decided of forecasts and of training.

    Parameters
    ----------
    horizon
        Time steps to forecast, H.
    input_length
        Time steps that a forecast is made from, L.
    seasons
        Lengths of the seasons in time steps, the shortest first; there may be none.
    quantiles
        Levels of the quantiles that are asked for.
    n_folds
        Number of forecasts of each series in the backtest, a horizon apart.
    calendar
        Attributes of the time stamps that a network is given, such as ``hour``.
    zone
        Zone of these attributes, if times are UTC.
    n_epochs
        Number of epochs.
    stride
        Time steps from one window of training to the next.
    seed
        Seed of the networks.
    has_gaps
        Whether a network has to do with missing values or histories shorter than a window.
    minimum
        What no forecast falls below; ``None`` if there is no such value.
    settings
        Arguments of the models that come before all others.
    has_recipe
        Whether what `settings` leaves open is that of the recipe in docs/train-well.md; otherwise it is the models' own
        default, as in a backtest whose best model this is.
    """

    horizon: int
    input_length: int
    seasons: list[int]
    quantiles: list[float]
    n_folds: int
    calendar: list[str]
    zone: str | None
    n_epochs: int
    stride: int
    seed: int
    has_gaps: bool
    minimum: float | None
    settings: dict[str, Any] = field(default_factory=dict)
    has_recipe: bool = True

    @property
    def levels(self) -> list[float]:
        """Levels that are forecast: those asked for and the median, with as many above it as below."""
        asked = {round(level, 6) for level in self.quantiles}
        return sorted(asked | {0.5} | {round(1 - level, 6) for level in asked})

    @property
    def lowest(self) -> float:
        """What no forecast falls below, as a number."""
        return -np.inf if self.minimum is None else self.minimum

    @property
    def naive_season(self) -> int:
        """Time steps back to the value that the seasonal naive forecast repeats."""
        return max(self.seasons, default=1)


@dataclass(frozen=True)
class Wishes:
    """What a user asks for of a :class:`Plan`; ``None`` where it is left to us."""

    horizon: int | None = None
    input_length: int | None = None
    seasons: Sequence[int] | None = None
    n_folds: int | None = None
    quantiles: Sequence[float] = (0.1, 0.9)
    n_epochs: int = 20
    seed: int = 0
    minimum: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    stride: int | None = None
    has_recipe: bool = True


def make_plan(wishes: Wishes, panel: Panel, zone: str | None, notes: list[str]) -> Plan:
    """Decide what has not been asked for.

    Parameters
    ----------
    wishes
        What has been asked for.
    panel
        The series.
    zone
        Their time zone, if times are UTC.
    notes
        What has been guessed is told here.

    Raises
    ------
    UserError
        If there are too few time steps, or what is asked for does not fit them.
    """
    horizon = wishes.horizon or guess_horizon(panel, notes)
    n_folds = _count_folds(wishes.n_folds, horizon, panel)
    length = panel.length - n_folds * horizon  # of what is trained on in the backtest
    seasons = _find_seasons(wishes, horizon, length, panel, notes)
    input_length = wishes.input_length or _guess_input_length(seasons, horizon, length)
    if wishes.has_recipe and input_length < needed_by(seasons):
        raise UserError(
            f"--input-length: expected at least {needed_by(seasons)} steps for seasons of "
            f"{' and '.join(map(str, seasons))}, got {input_length}. Give more, or other seasons with --season-length."
        )
    if input_length + horizon > length:
        raise UserError(
            f"--input-length: {input_length} steps of input and {horizon} of forecast need at least "
            f"{input_length + horizon} time steps to train on, and the backtest leaves {length} of "
            f"{panel.length}. Make it or --horizon smaller, or give --folds 1."
        )
    if wishes.input_length is None:
        notes.append(f"Forecasts are made from {input_length} time steps (--input-length).")
    trained = panel.before_last(n_folds * horizon)
    return Plan(
        horizon,
        input_length,
        seasons,
        list(wishes.quantiles),
        n_folds,
        _find_calendar(panel),
        zone,
        wishes.n_epochs,
        wishes.stride or find_stride(panel, input_length, horizon, seasons),
        wishes.seed,
        panel.has_gaps or min(map(len, trained.targets)) < input_length + horizon,
        _find_minimum(wishes.minimum, panel, notes),
        wishes.settings,
        wishes.has_recipe,
    )


def guess_horizon(panel: Panel, notes: list[str]) -> int:
    """Return as many time steps as are known in advance or, if nothing is, are usual for the frequency.

    Parameters
    ----------
    panel
        The series.
    notes
        What has been guessed is told here.
    """
    longest = max(panel.length // 4, 1)  # so that there is something to train on
    if panel.n_known:
        horizon = min(panel.n_known, longest)
        reason = ", as far as --future reaches" if horizon == panel.n_known else ""
        notes.append(f"Horizon: {horizon} time steps{reason} (--horizon).")
        return horizon
    is_within_days = not isinstance(panel.freq, int) and panel.end - (panel.end - panel.freq) < _DAY
    a_day = next(iter(usual_seasons(panel.freq)), _ANY_HORIZON)
    horizon = min(a_day, _LONGEST_DAY) if is_within_days else _HORIZONS.get(_kind(panel.freq), _ANY_HORIZON)
    horizon = min(horizon, longest)
    notes.append(f"Horizon: {horizon} time steps (--horizon).")
    return horizon


def _kind(freq: Any) -> str:
    """Return the frequency without its number and the day or month that it is bound to; empty if it has a number."""
    return "" if isinstance(freq, int) or freq.n != 1 else str(freq.freqstr).split("-")[0]


def _count_folds(asked: int | None, horizon: int, panel: Panel) -> int:
    n_folds = min(_MOST_FOLDS, max(1, panel.length // (4 * horizon))) if asked is None else asked
    if panel.length < (n_folds + 2) * horizon:
        remedy = f"--horizon {panel.length // (n_folds + 2)}" if panel.length >= n_folds + 2 else "a longer table"
        raise UserError(
            f"--horizon: {panel.length} time steps are too few to train on and to backtest {n_folds} x {horizon}: "
            f"expected at least {(n_folds + 2) * horizon}. Give {remedy}."
        )
    return n_folds


def _find_seasons(wishes: Wishes, horizon: int, length: int, panel: Panel, notes: list[str]) -> list[int]:
    if wishes.seasons is not None:
        return sorted(set(wishes.seasons) - {1})
    seasons = usual_seasons(panel.freq)
    longest = wishes.input_length or min(_LONGEST_WINDOW, (length - horizon) // 2)
    while seasons and needed_by(seasons) > longest:
        seasons = seasons[:-1]
    told = f"{' and '.join(map(str, seasons))} time steps" if seasons else "none"
    notes.append(f"Season: {told} (--season-length).")
    return seasons


def usual_seasons(freq: Any) -> list[int]:
    """Return the seasons that are usual for a frequency, in time steps, the shortest first; there may be none."""
    season = _SEASONS.get(_kind(freq))
    if season is not None:
        return [season]
    if isinstance(freq, int) or not isinstance(freq, pd.offsets.Tick):
        return []
    steps = _DAY / pd.Timedelta(freq)
    return [int(steps), 7 * int(steps)] if steps > 1 and steps % 1 == 0 else []


def needed_by(seasons: Sequence[int]) -> int:
    """Return the shortest window that holds the seasons: of several, the shortest and the longest together."""
    return sum({min(seasons), max(seasons)}) if seasons else 1


def _guess_input_length(seasons: Sequence[int], horizon: int, length: int) -> int:
    """Return some seasons, or two horizons, but never more than half of what there is."""
    wanted = 2 * horizon
    if seasons:
        wanted = max(wanted, max(seasons) + 3 * min(seasons) if min(seasons) <= 24 else 2 * max(seasons))
    return max(min(wanted, _LONGEST_WINDOW, (length - horizon) // 2), needed_by(seasons))


def _find_calendar(panel: Panel) -> list[str]:
    if isinstance(panel.freq, int):
        return []
    step = panel.end - (panel.end - panel.freq)
    first = min(one.start_time() for one in panel.targets)
    found = ["hour"] if step < _DAY else []
    found += ["day_of_week"] if step <= _DAY else []
    return [*found, *(["day_of_year"] if panel.end - first >= 2 * 365 * _DAY else [])]


def find_stride(panel: Panel, input_length: int, horizon: int, seasons: Sequence[int]) -> int:
    """Return the steps from window to window that keep an epoch short; windows still end at every time of a season."""
    n_windows = len(panel.targets) * max(panel.length - input_length - horizon + 1, 1)
    stride = ceil(n_windows / _MOST_WINDOWS)
    while any(gcd(stride, season) > 1 for season in seasons):
        stride += 1
    return stride


def _find_minimum(asked: float | None, panel: Panel, notes: list[str]) -> float | None:
    if asked is not None:
        return asked if np.isfinite(asked) else None
    if any((one.values(copy=False) < 0).any() for one in panel.targets):
        return None
    notes.append("No value is below 0, so no forecast is either (--minimum none).")
    return 0.0


def check_future(panel: Panel, horizon: int, options: TableOptions, path: object, notes: list[str]) -> None:
    """Find out whether future covariates are known for the horizon; as before it, some time steps may have no row.

    Parameters
    ----------
    panel
        The series.
    horizon
        Time steps to forecast.
    options
        How the table was read.
    path
        File of the table, for errors.
    notes
        Time steps without a row are told here.

    Raises
    ------
    UserError
        If they are not.
    """
    if panel.future is None:
        return
    times = written(panel.times_after(horizon), options.axis_zone)
    beyond, between, had_gaps = list[str](), list[str](), False
    for name, known, target in zip(panel.ids, panel.future, panel.targets, strict=True):
        is_known = np.isfinite(known.values(copy=False)).all(axis=1)
        had_gaps |= not is_known[: len(target)].all()
        ahead = np.zeros(horizon, bool)
        ahead[: max(len(known) - len(target), 0)] = is_known[len(target) :][:horizon]
        reach = int(np.flatnonzero(ahead).max(initial=-1)) + 1
        beyond += [f"{times[step]} {name}".strip() for step in range(reach, horizon)]
        between += [f"{times[step]} {name}".strip() for step in np.flatnonzero(~ahead[:reach])]
    unknown = beyond if had_gaps else sorted(beyond + between)
    if unknown:
        raise UserError(
            f"{path}: --future {' '.join(options.future)}: not known at {len(unknown):,} of "
            f"{horizon * len(panel.ids):,} time steps to forecast, the last of which is {times[-1]}: "
            f"{first_three(unknown, len(unknown))}. Add rows with them, whose target is left empty, or forecast fewer "
            "steps with --horizon, or name what is not known in advance with --past."
        )
    if between:
        told = first_three(between, len(between))
        notes.append(f"Of --future, nothing is known at {told}: missing, as at time steps before.")
