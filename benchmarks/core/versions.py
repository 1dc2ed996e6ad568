"""Versions of the software that a result was made with."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

PACKAGES = (
    "seq-plugins", "darts", "torch", "pytorch-lightning", "numpy", "pandas", "scikit-learn", "lightgbm",
    "statsforecast", "statsmodels",
)  # fmt: skip


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of those packages that are there."""
    found = {"python": python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
