"""The command ``forecast``: from a table of one or many series to forecasts of what comes next."""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq_plugins._command_line import UserError, positive, read_settings, whole_number_from
from seq_plugins._files import is_of_writing
from seq_plugins._progress import epoch_bar
from seq_plugins.forecasting.table_options import add_table_options, read_table_options

if TYPE_CHECKING:
    from seq_plugins.forecasting.choosing import Forecaster, Score
    from seq_plugins.forecasting.plan import Plan, Wishes
    from seq_plugins.tables import Panel

SUMMARY = "forecast a table"

AUTO = "auto"
TRIED = ["SeasonalNaive", "LinearModel", "Seq2SeqRNNModel"]
"""Models among which ``--model auto`` chooses."""

_TOLERANCE = 0.1  # of a coverage, which a few forecasts tell no better


def _level(text: str) -> float:
    level = float(text)
    if not 0 < level < 1:
        raise argparse.ArgumentTypeError(f"expected levels between 0 and 1, such as 0.1 0.5 0.9, got {text}")
    return level


def _minimum(text: str) -> float:
    return float("-inf") if text == "none" else float(text)


_level.__name__ = _minimum.__name__ = "number"  # argparse names it when a text is none


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.description = (
        "Forecast a table (CSV or Parquet) with one row per time step or, with several series, per time step and "
        "series. Options that are not given are inferred and reported. Writes forecast.csv, forecast.png, scores.csv "
        "and the model to a folder, all or nothing."
    )
    command.add_argument("table", nargs="?", type=Path, metavar="TABLE", help="CSV or Parquet file")
    add_table_options(command)
    forecasting = command.add_argument_group("forecasts")
    forecasting.add_argument("--horizon", type=positive, metavar="N", help="time steps to forecast (default: inferred)")
    forecasting.add_argument(
        "--quantiles", nargs="+", type=_level, metavar="LEVEL", help="quantiles besides the median (default: 0.1 0.9)"
    )
    forecasting.add_argument(
        "--minimum",
        type=_minimum,
        metavar="VALUE",
        help="lower bound of forecasts, or none (default: 0 if no value is negative)",
    )
    forecasting.add_argument(
        "--model",
        nargs="+",
        metavar="NAME",
        help=f"{AUTO}, the best of {', '.join(TRIED)} (default); names of models; the folder of a finished backtest, "
        "for its best model; or, with --update, that of a saved model",
    )
    forecasting.add_argument("--input-length", type=positive, metavar="N", help="length of the input window")
    forecasting.add_argument(
        "--season-length",
        nargs="+",
        type=positive,
        metavar="N",
        help="time steps per season, one or several; 1 for none",
    )
    forecasting.add_argument("--folds", type=positive, metavar="N", help="forecasts in the backtest (default: up to 3)")
    forecasting.add_argument("--epochs", type=positive, metavar="N", help="epochs of networks (default: 20)")
    forecasting.add_argument("--seed", type=whole_number_from(0), metavar="N", help="seed of networks (default: 0)")
    forecasting.add_argument(
        "--set", nargs="+", metavar="NAME=VALUE", help="model arguments, with values as in JSON: hidden_dim=64"
    )
    later = command.add_argument_group("a saved model")
    later.add_argument(
        "--update", type=Path, metavar="TABLE", help="table with new rows for the saved model in --model"
    )
    later.add_argument("--refit", action="store_true", help="train it again, on all rows")
    command.add_argument("--output", type=Path, metavar="FOLDER", help="(default: the table's name and -forecast)")


_WITH_UPDATE = {"command", "model", "update", "refit", "output"}


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0 done, 130 interrupted."""
    table = options.table if options.update is None else options.update
    if table is None:
        raise UserError(
            "expected a table to forecast, CSV or Parquet, before the options. Or give --model FOLDER --update TABLE."
        )
    output = Path(f"{table.name.split('.')[0]}-forecast") if options.output is None else options.output
    try:
        if options.update is None:
            _forecast(table, output, options)
        else:
            _update(table, output, options)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was written.", file=sys.stderr)
        return 130
    except OSError as error:
        if not is_of_writing(error, output):
            raise
        raise UserError(f"--output: cannot write {output}: {error.strerror or error}.") from error
    return 0


def _forecast(table: Path, output: Path, options: argparse.Namespace) -> None:
    table_options = read_table_options(options)
    if options.refit:
        raise UserError("--refit: it trains a saved model again. Give --model FOLDER --update TABLE.")
    settings = read_settings(options.set or [])
    from seq_plugins.tables import make_panel, read_rows

    rows = read_rows(table, table_options)
    notes = list(rows.notes)
    panel, rows = make_panel(rows, notes)
    # PyTorch is imported only here, so that a table that can't be read is told at once
    from seq_plugins.forecasting.choosing import backtest, best_of, score_lines
    from seq_plugins.forecasting.model_folder import check_output
    from seq_plugins.forecasting.naive import SeasonalNaive
    from seq_plugins.forecasting.plan import check_future, make_plan
    from seq_plugins.forecasting.results import write_results

    check_output(output)
    names, wishes = _wishes(options, settings, notes)
    plan = make_plan(wishes, panel, rows.options.axis_zone, notes)
    check_future(panel, plan.horizon, rows.options, table, notes)
    forecasters = _make_forecasters(names, plan)
    _tell(notes)
    tried = forecasters
    if all(forecaster.name != TRIED[0] for forecaster in forecasters):
        tried = [SeasonalNaive(plan), *forecasters]  # what every forecast has to be better than
    with epoch_bar(sum(forecaster.name != TRIED[0] for forecaster in tried) * plan.n_epochs, "backtest") as advance:
        scores = backtest(tried, panel, plan, advance)
    chosen_name = best_of([score for score in scores if score.model in {each.name for each in forecasters}]).model
    print("\n".join(["", f"Backtest of {plan.n_folds} x {plan.horizon} time steps:", *score_lines(scores, plan), ""]))
    _tell(_verdict(scores, chosen_name, plan))
    (chosen,) = (forecaster for forecaster in forecasters if forecaster.name == chosen_name)
    with epoch_bar(plan.n_epochs, chosen_name) as advance:
        chosen.fit(panel, advance)
    _tell(write_results(output, chosen, panel, rows, scores))


def _wishes(options: argparse.Namespace, settings: dict[str, Any], notes: list[str]) -> "tuple[list[str], Wishes]":
    """Return the models that are tried, and what is asked for: by the options or, beneath them, by a backtest."""
    from seq_plugins.forecasting.best_model import holds_best_model, read_best_model
    from seq_plugins.forecasting.network import check_own_options, merged
    from seq_plugins.forecasting.plan import Wishes

    check_own_options(settings)
    given = {
        "horizon": options.horizon,
        "input_length": options.input_length,
        "seasons": options.season_length,
        "n_folds": options.folds,
        "quantiles": options.quantiles,
        "n_epochs": options.epochs,
        "seed": options.seed,
        "minimum": options.minimum,
    }
    names, wishes = options.model or [AUTO], Wishes()
    folders = [name for name in names if holds_best_model(Path(name))]
    if folders:
        if len(names) > 1:
            raise UserError(f"--model: {folders[0]} is the folder of a backtest. Leave the other names out.")
        best = read_best_model(Path(folders[0]))
        names, wishes = [best.name], best.wishes()
    wishes = replace(
        wishes,
        settings=merged(wishes.settings, settings),
        **{name: value for name, value in given.items() if value is not None},
    )
    if folders:
        notes.append(
            f"{names[0]} has the settings of the backtest in {folders[0]}, and is trained for {wishes.n_epochs} epochs "
            "(--epochs)."
        )
    return names, wishes


def _verdict(scores: "Sequence[Score]", chosen: str, plan: "Plan") -> list[str]:
    from seq_plugins.forecasting.choosing import best_of

    naive = TRIED[0]
    if best_of(scores).model != naive:
        told = [f"{chosen} forecasts."]
    else:
        told = [f"{naive} has the smallest error: no model tried is better than repeating the last season."]
        told += [
            "It forecasts; to have a network all the same, name it with --model."
            if chosen == naive
            else f"{chosen} forecasts, as asked; --model {AUTO} would take {naive}."
        ]
    (coverage,) = (score.coverage for score in scores if score.model == chosen)
    asked = max(plan.quantiles) - min(plan.quantiles)
    if coverage < asked - _TOLERANCE:
        told.append(f"Its intervals were too narrow: {coverage:.0%} of the values lay within them, not {asked:.0%}.")
    return told


def _make_forecasters(names: Sequence[str], plan: "Plan") -> "list[Forecaster]":
    from seq_plugins.forecasting.naive import SeasonalNaive
    from seq_plugins.forecasting.network import Network, check_model_names, check_settings

    names = list(dict.fromkeys(names))
    check_model_names(names, [AUTO, SeasonalNaive.name])
    if AUTO in names:
        names = list(dict.fromkeys([*TRIED, *(name for name in names if name != AUTO)]))
    networks = [name for name in names if name != SeasonalNaive.name]
    plans = dict(zip(networks, check_settings(networks, plan), strict=True))
    return [Network(name, plans[name]) if name in plans else SeasonalNaive(plan) for name in names]


def _update(table: Path, output: Path, options: argparse.Namespace) -> None:
    given = [name for name, value in vars(options).items() if name not in _WITH_UPDATE and value is not None]
    if given:
        name = "TABLE" if given[0] == "table" else f"--{given[0].replace('_', '-')}"
        raise UserError(f"--update: tables are read as the model's own was. Leave {name} out.")
    if not options.model or len(options.model) > 1:
        raise UserError("--update: name the folder of the saved model with --model.")
    from seq_plugins.forecasting.model_folder import check_output, load_forecaster
    from seq_plugins.forecasting.plan import check_future, find_stride
    from seq_plugins.forecasting.results import write_results
    from seq_plugins.tables import join_rows, make_panel, read_rows

    check_output(output)
    saved = load_forecaster(Path(options.model[0]))
    forecaster, before = saved.forecaster, saved.rows
    if options.refit:
        before = replace(before, options=replace(before.options, categories=None))
    plan = forecaster.plan
    with _options_of_update_told():
        new = read_rows(table, before.options, is_first=False)
        notes = list(new.notes)
        panel, rows = make_panel(join_rows(before, new), notes)
        check_future(panel, plan.horizon, rows.options, table, notes)
    _tell(notes)
    if options.refit:
        stride = find_stride(panel, plan.input_length, plan.horizon, plan.seasons) if plan.has_recipe else plan.stride
        forecaster.plan = plan = replace(
            plan,
            stride=stride,
            has_gaps=panel.has_gaps or min(map(len, panel.targets)) < plan.input_length + plan.horizon,
        )
        with epoch_bar(plan.n_epochs, forecaster.name) as advance:
            forecaster.fit(panel, advance)
    elif not plan.has_gaps:
        _check_window(table, panel, plan)
    _tell(write_results(output, forecaster, panel, rows, []))


@contextmanager
def _options_of_update_told() -> Iterator[None]:
    """Say of errors that name options of a first run that they cannot be given now."""
    try:
        yield
    except UserError as error:
        named = set(re.findall(r"--([\w-]+)", str(error))) - _WITH_UPDATE
        if not named:
            raise
        raise UserError(
            f"{error} With --update, options are those of the first run: for others, forecast a table of all rows anew."
        ) from error


def _check_window(table: Path, panel: "Panel", plan: "Plan") -> None:
    """Refuse gaps in what a forecast is made from, where the model has learnt from none."""
    from seq_plugins.tables.files import first_three

    with_gaps = [i for i in range(len(panel.ids)) if _window_of(panel.select([i]), plan).has_gaps]
    if with_gaps:
        names = first_three((repr(panel.ids[i]) for i in with_gaps), len(with_gaps))
        of_which = f" of {len(with_gaps):,} series ({names})" if len(panel.ids) > 1 else ""
        raise UserError(
            f"{table}: values are missing within the last {plan.input_length} time steps{of_which}, and the model was "
            "trained on none that are. Add --refit."
        )


def _window_of(panel: "Panel", plan: "Plan") -> "Panel":
    from seq_plugins.tables import Panel

    lengths = [max(len(one) - plan.input_length, 0) for one in panel.targets]

    def cut(series: Any) -> Any:
        return None if series is None else [one[n:] for one, n in zip(series, lengths, strict=True)]

    return Panel(cut(panel.targets), cut(panel.past), cut(panel.future), panel.ids)


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)
