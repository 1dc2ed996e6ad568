"""The command ``backtest``: tasks, models, the harness that runs them, and tables and report of the results."""
