"""The versions of Darts that the package works with, looked up without importing anything heavy."""

import re
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from itertools import zip_longest

_DISTRIBUTIONS = ("darts", "u8darts")  # the second name has the same modules


def check_darts() -> None:
    """Make sure that Darts is there, in a version that the package is declared to work with.

    Raises
    ------
    ImportError
        If it is not; the error says which versions work and how to install one.
    """
    extra, bounds = _declared()
    remedy = f"Install one that works: pip install 'darts{extra}{','.join(bounds)}'"
    found = _installed_version()
    if found is None:
        if find_spec("darts") is None:
            raise ImportError(f"seq_plugins needs Darts {','.join(bounds)}, and no Darts is installed. {remedy}")
        return  # from a folder, without a record of its version
    if not all(_holds(found, bound) for bound in bounds):
        raise ImportError(f"seq_plugins works with Darts {','.join(bounds)}, and Darts {found} is installed. {remedy}")


def _declared() -> tuple[str, list[str]]:
    """Return the extra and the bounds of the package's own requirement of Darts, the lower bound first."""
    for requirement in requires("seq-plugins") or []:
        match = re.match(r"darts(\[\w+])?\s*([<>=!~][^;]*)", requirement)
        if match:
            bounds = [bound.strip() for bound in match[2].split(",")]
            return match[1] or "", sorted(bounds, key=lambda bound: bound.startswith("<"))
    return "", []


def _installed_version() -> str | None:
    for distribution in _DISTRIBUTIONS:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _holds(found: str, bound: str) -> bool:
    """Whether a version is on the right side of a bound such as ``>=0.48.1`` or ``<0.49``."""
    limit = bound.lstrip("<>=")
    pairs = list(zip_longest(_numbers(found), _numbers(limit), fillvalue=0))
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return ours >= theirs if bound.startswith(">=") else ours < theirs


def _numbers(text: str) -> list[int]:
    """Return the release's numbers: ``0.49.0rc1`` gives those of ``0.49.0``, of whose kind it is."""
    release = re.match(r"\d+(\.\d+)*", text)
    return [int(number) for number in release[0].split(".")] if release else []
