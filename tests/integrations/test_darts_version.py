"""Importing the package beside a Darts that it does not work with, or beside none."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from seq_plugins._requirements import _holds

ROOT = Path(__file__).parents[2]


def _import_beside(darts_version: str | None, folder: Path, imported: str = "seq_plugins") -> str:
    """Import in a process that sees the package's own files, the record of a version of Darts, and nothing else."""
    (folder / "seq_plugins").symlink_to(ROOT / "seq_plugins")
    _record(folder, "seq_plugins", distribution("seq-plugins").read_text("METADATA") or "")
    if darts_version is not None:
        _record(folder, f"darts-{darts_version}", f"Metadata-Version: 2.1\nName: darts\nVersion: {darts_version}\n")
    script = f"""
import sys
sys.path.append({str(folder)!r})
try:
    import {imported}
except ImportError as error:
    print(type(error).__name__, error)
too_much = {{"torch", "numpy", "pandas", "darts"}} & set(sys.modules)
assert not too_much, too_much
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _record(folder: Path, name: str, metadata: str) -> None:
    (folder / f"{name}.dist-info").mkdir()
    (folder / f"{name}.dist-info" / "METADATA").write_text(metadata, encoding="utf-8")


@pytest.mark.parametrize("darts_version", ["0.47.0", "0.48.0", "0.49.0", "0.49.0rc1", "1.0"])
@pytest.mark.parametrize("imported", ["seq_plugins", "seq_plugins.models", "seq_plugins.datasets"])
def test_a_darts_outside_the_declared_range_is_refused_with_the_remedy(
    darts_version: str, imported: str, tmp_path: Path
) -> None:
    assert _import_beside(darts_version, tmp_path, imported) == (
        f"ImportError seq_plugins works with Darts >=0.48.1,<0.49, and Darts {darts_version} is installed. "
        "Install one that works: pip install 'darts[torch]>=0.48.1,<0.49'\n"
    )


def test_a_darts_that_is_not_there_is_told_with_the_remedy(tmp_path: Path) -> None:
    assert _import_beside(None, tmp_path) == (
        "ImportError seq_plugins needs Darts >=0.48.1,<0.49, and no Darts is installed. "
        "Install one that works: pip install 'darts[torch]>=0.48.1,<0.49'\n"
    )


@pytest.mark.parametrize(
    ("found", "works"),
    [
        ("0.48.1", True),
        ("0.48.2", True),
        ("0.48.1.post1", True),
        ("0.48", False),
        ("0.49", False),
        ("0.49.dev1", False),
    ],
)
def test_versions_are_compared_number_by_number(found: str, works: bool) -> None:
    assert all(_holds(found, bound) for bound in (">=0.48.1", "<0.49")) == works
