"""The command ``speed``: run times of the same work with this package and with others."""
