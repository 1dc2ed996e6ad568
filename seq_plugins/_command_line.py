"""What command lines share: wrong input told in one line, and options that are numbers or settings."""

import argparse
import json
from collections.abc import Callable, Iterable
from typing import Any


class UserError(Exception):
    """Something that the user can mend: told in one line, without a traceback."""


def whole_number_from(smallest: int) -> Callable[[str], int]:
    """Return what reads an option that is a whole number of at least `smallest`."""

    def read(text: str) -> int:
        number = int(text)
        if number < smallest:
            raise argparse.ArgumentTypeError(f"expected at least {smallest}, got {text}")
        return number

    read.__name__ = "whole number"  # argparse names it when a text is no number
    return read


positive = whole_number_from(1)


def read_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Return the settings of ``--set NAME=VALUE ...``; values are read as JSON and, failing that, are texts.

    Raises
    ------
    UserError
        If one has no name or no value.
    """
    settings = {}
    for text in texts:
        name, sign, value = text.partition("=")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
        if not sign or not name:
            raise UserError(f"--set: expected NAME=VALUE, such as hidden_dim=64, got {text!r}.")
    return settings
