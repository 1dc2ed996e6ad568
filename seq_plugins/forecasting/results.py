"""The folder of results: what comes next as a table and a picture, the scores, and the model."""

from collections.abc import Sequence
from pathlib import Path

from seq_plugins._command_line import UserError
from seq_plugins._files import atomic_folder
from seq_plugins.forecasting import writing
from seq_plugins.forecasting.choosing import Forecaster, Score, forecastable
from seq_plugins.forecasting.model_folder import MODEL, save_forecaster
from seq_plugins.tables import Panel, Rows
from seq_plugins.tables.files import first_three


def write_results(output: Path, forecaster: Forecaster, panel: Panel, rows: Rows, scores: Sequence[Score]) -> list[str]:
    """Forecast what follows a panel, write the folder of results, all or nothing, and return what is to be told.

    Parameters
    ----------
    output
        The folder.
    forecaster
        The forecaster, fitted.
    panel
        The series; those that were not observed within the window are left out, which is told.
    rows
        The rows that they were made of.
    scores
        Scores of the backtest; none if there was none.

    Raises
    ------
    UserError
        If no series was observed within the window.
    """
    plan = forecaster.plan
    alive = panel.select(forecastable(panel, plan))
    left_out = sorted(set(panel.ids) - set(alive.ids))
    if not alive.ids:
        raise UserError(
            f"{rows.path}: nothing was observed in the last {plan.input_length} time steps to forecast from."
        )
    quantiles = forecaster.forecast(alive)
    with atomic_folder(output) as folder:
        writing.write_forecasts(folder / "forecast.csv", alive, quantiles, plan, rows.options)
        writing.draw_forecasts(folder / "forecast.png", alive, quantiles, plan, rows.options)
        if scores:
            writing.write_scores(folder / "scores.csv", scores, forecaster.name)
        save_forecaster(folder / MODEL, forecaster, rows)
    told = []
    if left_out:
        names = first_three(map(repr, left_out), len(left_out))
        told = [f"Not forecast, since not observed within {plan.input_length} time steps: {names}."]
    return [*told, f"Forecasts are in {output}: {', '.join(sorted(entry.name for entry in output.iterdir()))}"]
