"""What the commands' arguments have in common."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.core.errors import UserError
from seq_plugins._command_line import positive as positive
from seq_plugins._command_line import whole_number_from
from seq_plugins._files import atomic_file

at_least_two = whole_number_from(2)


def check_names(option: str, names: Iterable[str], known: Iterable[str], separator: str = ", ") -> None:
    """Find out whether all names of an option are known.

    Raises
    ------
    UserError
        If one is not.
    """
    known = list(known)
    for name in names:
        if name not in known:
            raise UserError(f"{option}: expected names among {separator.join(known)}, got {name!r}.")


def check_json(path: Path | None) -> None:
    """Find out before the work whether the file of ``--json``, if there is any, can be written.

    Raises
    ------
    UserError
        If it can't.
    """
    if path is None:
        return
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"--json: cannot write {path}: {error.strerror}. Name another file.") from error


def write_json(path: Path, content: Any, option: str = "--json") -> None:
    """Write a JSON file, as a whole or not at all.

    Parameters
    ----------
    path
        Path of the file.
    content
        What is in it.
    option
        The option that has named it, for errors.

    Raises
    ------
    UserError
        If it can't be written.
    """
    try:
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
    except OSError as error:
        raise UserError(f"{option}: cannot write {path}: {error.strerror}.") from error
