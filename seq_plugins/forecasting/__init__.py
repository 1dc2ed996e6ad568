"""The command ``forecast``: from a table to forecasts, a plot and a saved model."""
