"""What goes wrong, and how it is told in a row."""

from seq_plugins._command_line import UserError as UserError


class MissingRivalError(Exception):
    """A rival that is not installed."""


def error_line(error: Exception) -> str:
    """Return the one line that a row tells of an error: its kind, and the last line of what it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1]}"
