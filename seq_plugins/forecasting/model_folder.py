"""The folder of a saved model: its files, how tables are read for it, and the rows that it goes on from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import seq_plugins
from seq_plugins._command_line import UserError
from seq_plugins.forecasting.choosing import Forecaster
from seq_plugins.forecasting.naive import SeasonalNaive
from seq_plugins.forecasting.network import Network
from seq_plugins.forecasting.plan import Plan
from seq_plugins.forecasting.scaling import Scaling
from seq_plugins.models import MODEL_MODULES
from seq_plugins.tables import Rows, TableOptions
from seq_plugins.tables.files import with_texts

ABOUT, HISTORY, MODEL = "forecaster.json", "history.csv", "model"
_FORMAT = 1
_OUTPUTS = {"forecast.csv", "forecast.png", "scores.csv", MODEL}


@dataclass(frozen=True)
class SavedForecaster:
    """What a folder holds.

    Parameters
    ----------
    forecaster
        The forecaster, fitted.
    rows
        The rows that it was fitted on or has been given since.
    """

    forecaster: Forecaster
    rows: Rows


def save_forecaster(folder: Path, forecaster: Forecaster, rows: Rows) -> None:
    """Write a forecaster and its rows to a new folder; nothing in it runs code when it is read.

    Parameters
    ----------
    folder
        The folder, which must not exist.
    forecaster
        The forecaster, fitted.
    rows
        The rows, with the options of the table.
    """
    folder.mkdir()
    scaling = None
    if isinstance(forecaster, Network):
        forecaster.save(folder)
        scaling = forecaster.scaling
    about = {
        "format": _FORMAT,
        "seq_plugins": seq_plugins.__version__,
        "forecaster": forecaster.name,
        "has_dates": rows.frame[rows.time].dtype.kind == "M",
        "table": asdict(rows.options),
        "plan": asdict(forecaster.plan),
        "scaling": None if scaling is None else asdict(scaling),
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    rows.frame.to_csv(folder / HISTORY, index=False)


def load_forecaster(path: Path) -> SavedForecaster:
    """Read a forecaster.

    Parameters
    ----------
    path
        Its folder, or the folder of results that it is in.

    Raises
    ------
    UserError
        If there is none, or it is damaged.
    """
    folder = path if (path / ABOUT).is_file() else path / MODEL
    if not (folder / ABOUT).is_file():
        raise UserError(f"--model: {path} is no folder that this command has written. Name one that is.")
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise UserError(
                f"--model: {folder} was written by seq_plugins {about['seq_plugins']} in format {about['format']}, "
                f"expected {_FORMAT}. Create it again from the table."
            )
        options, plan = TableOptions(**about["table"]), Plan(**about["plan"])
        rows = Rows(_read_history(folder / HISTORY, options, about["has_dates"]), options, folder / HISTORY)
        return SavedForecaster(_load_model(folder, about, plan), rows)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"--model: {folder} is damaged: {reason} Create it again from the table.") from error


def _load_model(folder: Path, about: dict[str, Any], plan: Plan) -> Forecaster:
    name = about["forecaster"]
    if name == SeasonalNaive.name:
        return SeasonalNaive(plan)
    if name not in MODEL_MODULES:
        raise ValueError(f"there is no model {name!r}.")
    return Network.load(folder, name, plan, Scaling(**about["scaling"]))


def _read_history(path: Path, options: TableOptions, has_dates: bool) -> pd.DataFrame:
    texts = [column for column in (options.id, *(options.categories or {})) if column is not None]
    frame = with_texts(pd.read_csv(path, float_precision="round_trip"), path, texts)[options.columns]
    if has_dates:
        stamps = pd.to_datetime(frame[options.time], format="ISO8601").astype("datetime64[ns]")
        frame = frame.assign(**{str(options.time): stamps})
    return frame


def check_output(path: Path) -> None:
    """Find out whether results can be written to a folder: a new one, or one that holds nothing but earlier results.

    Raises
    ------
    UserError
        If not.
    """
    if not path.parent.is_dir():
        raise UserError(f"--output: the folder of {path} does not exist. Create it first, or name another.")
    if not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"--output: {path} is a file. Name a folder.")
    names = {entry.name for entry in path.iterdir()}
    foreign = sorted(names - _OUTPUTS)
    if foreign or (names and not (path / MODEL / ABOUT).is_file()):
        raise UserError(
            f"--output: {path} holds {(foreign or sorted(names))[0]}, so it is no folder of earlier results, which are "
            "replaced as a whole. Name another folder."
        )
