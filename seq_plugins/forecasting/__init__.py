"""The command ``forecast``: a table in; forecasts, a picture and a saved model out."""
