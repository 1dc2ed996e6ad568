"""The versions of Darts that the package was tested with, looked up without importing anything heavy."""

import warnings
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement

_DISTRIBUTIONS = ("darts", "u8darts")  # the second name has the same modules


def check_darts() -> None:
    """Make sure that Darts is there, and warn if its version is one that the package was not tested with.

    Raises
    ------
    ImportError
        If there is no Darts; the error says which versions were tested and how to install one.
    """
    requirement = _own_requirement()
    bounds = ",".join(sorted(map(str, requirement.specifier), reverse=True))  # the lower bound first
    extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
    remedy = f"Install a tested version: pip install '{requirement.name}{extras}{bounds}'"
    found = _installed_version()
    if found is None:
        if find_spec("darts") is None:
            raise ImportError(f"seq_plugins was tested with Darts {bounds}, but Darts is not installed. {remedy}")
        return  # from a folder, without a record of its version
    if not requirement.specifier.contains(found, prereleases=True):
        warnings.warn(
            f"seq_plugins was tested with Darts {bounds}, but Darts {found} is installed: expect errors. {remedy}",
            stacklevel=2,
        )


def _own_requirement() -> Requirement:
    requirements = map(Requirement, requires("seq-plugins") or [])
    return next(requirement for requirement in requirements if requirement.name == "darts")


def _installed_version() -> str | None:
    for distribution in _DISTRIBUTIONS:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None
