"""The best model of a finished backtest: what a folder of results says of how it was made and trained."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import seq_plugins
from seq_plugins._command_line import UserError
from seq_plugins._files import atomic_file
from seq_plugins.forecasting.plan import Wishes
from seq_plugins.models import MODEL_MODULES

BEST_MODEL = "best_model.json"
_FORMAT = 1


@dataclass(frozen=True)
class BestModel:
    """The best model of a backtest, to be fitted on all of a table.

    Parameters
    ----------
    name
        Name of its class.
    horizon
        Time steps to forecast.
    input_length
        Time steps that a forecast is made from.
    season_length
        Time steps of a season, for the seasonal naive forecast.
    n_epochs
        Number of epochs: those after which the backtest stopped.
    stride
        Time steps from one window of training to the next.
    seed
        Seed of its training.
    quantiles
        Levels of the quantiles that it forecast; empty if it forecast points.
    settings
        Its arguments, beside these.
    """

    name: str
    horizon: int
    input_length: int
    season_length: int
    n_epochs: int
    stride: int
    seed: int
    quantiles: list[float]
    settings: dict[str, Any]

    def wishes(self) -> Wishes:
        """Return what is asked for of a plan, so that the model is trained as in the backtest."""
        return Wishes(
            horizon=self.horizon,
            input_length=self.input_length,
            seasons=[self.season_length],
            quantiles=self.quantiles or Wishes().quantiles,
            n_epochs=self.n_epochs,
            seed=self.seed,
            settings=self.settings,
            stride=self.stride,
            has_recipe=False,
        )


def write_best_model(folder: Path, best: BestModel | None) -> None:
    """Write the best model to the folder of a backtest's results; if there is none, no earlier one stays.

    Parameters
    ----------
    folder
        The folder.
    best
        The best model.
    """
    if best is None:
        (folder / BEST_MODEL).unlink(missing_ok=True)
        return
    about = {"format": _FORMAT, "seq_plugins": seq_plugins.__version__, **asdict(best)}
    with atomic_file(folder / BEST_MODEL) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def holds_best_model(path: Path) -> bool:
    """Whether a path is the folder of a backtest that has a best model."""
    return (path / BEST_MODEL).is_file()


def read_best_model(folder: Path) -> BestModel:
    """Read the best model of a backtest.

    Parameters
    ----------
    folder
        Folder of the backtest's results.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    path = folder / BEST_MODEL
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise UserError(
                f"--model: {path} was written by seq_plugins {about['seq_plugins']} in format {about['format']}, "
                f"expected {_FORMAT}. Run the backtest again."
            )
        best = BestModel(**{one.name: about[one.name] for one in fields(BestModel)})
        if best.name not in MODEL_MODULES:
            raise ValueError(f"there is no model {best.name!r}.")
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"--model: {path} is damaged: {reason} Run the backtest again.") from error
    return best
