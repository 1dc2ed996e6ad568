"""The command ``backtest``: our models compared with Darts' on the same inputs, with tables and a report."""
