"""Versions of the software that a result was made with."""

from importlib.metadata import PackageNotFoundError, version
from platform import python_version


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter."""
    packages = ("seq-plugins", "darts", "torch", "pytorch-lightning", "numpy", "pandas", "scikit-learn")
    found = {"python": python_version()} | {package: version(package) for package in packages}
    for package in ("lightgbm", "statsforecast", "statsmodels"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
