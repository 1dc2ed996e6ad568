"""What comes next in a user's table: the best of ours fitted on all of it, as the command ``forecast`` does it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.backtest.best import as_best_model, only_in_backtests
from benchmarks.core.errors import UserError
from benchmarks.core.threads import limit_threads
from benchmarks.harness.entries import ModelEntry
from benchmarks.harness.plan import Plan
from benchmarks.harness.table_task import Table
from seq_plugins._progress import epoch_bar
from seq_plugins.forecasting.best_model import BestModel
from seq_plugins.forecasting.network import Network, check_settings
from seq_plugins.forecasting.plan import Plan as ForecastPlan
from seq_plugins.forecasting.plan import check_future, make_plan
from seq_plugins.forecasting.results import write_results


def check_coming(plan: Plan, entries: Sequence[ModelEntry], table: Table) -> list[str]:
    """Find out before hours of work whether what comes next can be forecast, and return what is to be told.

    Parameters
    ----------
    plan
        What all runs of the backtest share.
    entries
        The models.
    table
        The table.

    Raises
    ------
    UserError
        If it can't: no model is one of ours, one is trained as only a backtest can, or what is known in advance is not
        known of the coming horizon.
    """
    ours = [entry for entry in entries if entry.is_ours]
    if not ours:
        raise UserError(
            "--then-forecast: it fits our best model, and --models names none of ours. Add one, such as "
            "Seq2SeqRNNModel-GRU."
        )
    for entry in ours:
        if found := only_in_backtests(entry, plan):
            raise UserError(f"--then-forecast: {entry.name} has {found[0]}, which only backtests know. Leave one out.")
        best = as_best_model(entry, plan, n_epochs=1)
        check_settings([best.name], _plan(best, table))
    notes: list[str] = []
    rows = table.rows
    check_future(table.panel, plan.task.output_chunk_length, rows.options, rows.path, notes)
    return [*notes, "After the backtest, our best model is fitted on all data and forecasts the coming horizon."]


def forecast_coming(output: Path, best: BestModel, table: Table, threads: int) -> list[str]:
    """Fit the best of ours on all of a table, write what comes next, and return what is to be told.

    Parameters
    ----------
    output
        Folder to write, as a whole; what was there is replaced.
    best
        The model.
    table
        The table.
    threads
        Number of threads.
    """
    plan = _plan(best, table)
    network = Network(best.name, plan)
    with limit_threads(threads):
        with epoch_bar(plan.n_epochs, best.name) as advance:
            network.fit(table.panel, advance)
        told = write_results(output, network, table.panel, table.rows, [])
    floor = [] if plan.minimum is None else ["No value is below 0, so no forecast is either."]
    fitted = f"{best.name} is fitted on all {table.panel.length:,} time steps, for {plan.n_epochs} epochs."
    return [fitted, *floor, *told]


def _plan(best: BestModel, table: Table) -> ForecastPlan:
    wishes = replace(best.wishes(), n_folds=1)  # there is no other backtest, which would need more time steps
    return make_plan(wishes, table.panel, table.rows.options.axis_zone, [])
