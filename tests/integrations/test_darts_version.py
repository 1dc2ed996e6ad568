"""Importing the package beside a Darts that it was not tested with, or beside none."""

import subprocess
import sys
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _import_beside(darts_version: str | None, folder: Path, imported: str = "seq_plugins") -> str:
    """Import in a process that sees the package's own files, the record of a version of Darts, and nothing else."""
    (folder / "seq_plugins").symlink_to(ROOT / "seq_plugins")
    for package in ("lazy_loader", "packaging"):
        spec = find_spec(package)
        assert spec is not None
        (folder / package).symlink_to(Path(str(spec.origin)).parent)
    _record(folder, "seq_plugins", distribution("seq-plugins").read_text("METADATA") or "")
    if darts_version is not None:
        _record(folder, f"darts-{darts_version}", f"Metadata-Version: 2.1\nName: darts\nVersion: {darts_version}\n")
    script = f"""
import sys
sys.path.append({str(folder)!r})
try:
    import {imported}
except (ImportError, UserWarning) as error:
    print(type(error).__name__, error)
too_much = {{"torch", "numpy", "pandas", "darts"}} & set(sys.modules)
assert not too_much, too_much
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error::UserWarning", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _record(folder: Path, name: str, metadata: str) -> None:
    (folder / f"{name}.dist-info").mkdir()
    (folder / f"{name}.dist-info" / "METADATA").write_text(metadata, encoding="utf-8")


@pytest.mark.parametrize("darts_version", ["0.47.0", "0.48", "0.48.0", "0.49.0", "0.49.0rc1", "0.49.dev1", "1.0"])
@pytest.mark.parametrize("imported", ["seq_plugins", "seq_plugins.models", "seq_plugins.datasets"])
def test_a_darts_outside_the_tested_range_is_warned_of_with_the_remedy(
    darts_version: str, imported: str, tmp_path: Path
) -> None:
    assert _import_beside(darts_version, tmp_path, imported) == (
        f"UserWarning seq_plugins was tested with Darts >=0.48.1,<0.49, but Darts {darts_version} is installed: expect "
        "errors. Install a tested version: pip install 'darts[torch]>=0.48.1,<0.49'\n"
    )


@pytest.mark.parametrize("darts_version", ["0.48.1", "0.48.2", "0.48.1.post1"])
def test_a_darts_within_the_tested_range_is_not_warned_of(darts_version: str, tmp_path: Path) -> None:
    assert "was tested with" not in _import_beside(darts_version, tmp_path)


def test_a_darts_that_is_not_there_is_told_with_the_remedy(tmp_path: Path) -> None:
    assert _import_beside(None, tmp_path) == (
        "ImportError seq_plugins was tested with Darts >=0.48.1,<0.49, but Darts is not installed. "
        "Install a tested version: pip install 'darts[torch]>=0.48.1,<0.49'\n"
    )


def test_beside_an_untested_darts_the_package_is_imported_all_the_same() -> None:
    script = """
import importlib.metadata
found = importlib.metadata.version
importlib.metadata.version = lambda name: "0.99.0" if name == "darts" else found(name)
from seq_plugins import LinearModel
print(LinearModel(4, 2).input_chunk_length)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "4\n"
    assert done.stderr.count("Darts 0.99.0 is installed") == 1
