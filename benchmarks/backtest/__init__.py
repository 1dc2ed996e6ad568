"""The command ``backtest``: our models beside Darts' on the same inputs, with tables and a report."""
