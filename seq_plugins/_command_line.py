"""What command lines share: wrong input told in one line, and options that are numbers or settings."""

import argparse
import json
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, NoReturn


class UserError(Exception):
    """Something that the user can mend: told in one line, without a traceback."""


class Parser(argparse.ArgumentParser):
    """Tells wrong options as wrong input is told, in one line, and which option is meant."""

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse arguments, those of a command as well, and refuse options that it does not have.

        Raises
        ------
        UserError
            If there is one.
        """
        options, unknown = super().parse_known_args(*args, **kwargs)
        wrong = [text.partition("=")[0] for text in unknown if text.startswith("-")]
        if wrong:
            near = get_close_matches(wrong[0], re.findall(r"--[\w-]+", self.format_usage()), n=1, cutoff=0.75)
            self.error(f"there is no option {wrong[0]}" + "".join(f" (did you mean {name}?)" for name in near))
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong with the options."""
        message = re.sub(r"^argument (.*?): ", r"\1: ", message).rstrip(".")
        raise UserError(f"{message}. All options: {self.prog} --help.")


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
