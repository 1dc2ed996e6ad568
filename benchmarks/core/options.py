"""What the commands' arguments have in common."""

import argparse
import tempfile
from pathlib import Path

from benchmarks.core.errors import UserError


def positive(text: str) -> int:
    """Return the whole number that an option stands for, at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return number


positive.__name__ = "whole number"  # argparse names it when a text is no number


def check_json(path: Path) -> None:
    """Find out before the work whether the file of ``--json`` can be written.

    Raises
    ------
    UserError
        If it can't.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"--json: cannot write {path}: {error.strerror}. Name another file.") from error
