"""Disks that are full, and saves that are killed."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seq_plugins
from seq_plugins._files import atomic_file
from seq_plugins.models import SequenceModel
from seq_plugins.saving import checkpoint_io, pair
from tests.checkpoints import (
    KILLED_IN,
    LAST_CHECKPOINT,
    validated,
    with_checkpoints,
)
from tests.conftest import OUTPUT, make_model, make_series, values_of

ROOT = Path(__file__).parents[2]

# training goes on in the folder of the checkpoints from which it does
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


class Killed(BaseException):
    """Ends a training as suddenly as a signal, for tests that need no process of their own."""


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """Let this process write no file that is larger, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("size", "name"), [(10, "model.pt.ckpt"), (12_000, "model.pt")])
def test_a_disk_that_is_full_leaves_the_saved_model_before(size: int, name: str, tmp_path: Path) -> None:
    make_model("LinearModel").fit(make_series()).save(tmp_path / "model.pt")
    other = make_model("LinearModel", random_state=2).fit(make_series())
    before = _contents(tmp_path)
    assert len(before["model.pt.ckpt"]) < 12_000 < len(before["model.pt"])
    with (
        pytest.raises(OSError, match="not written, and an existing file was left as it was") as full,
        _largest_file(size),
    ):
        other.save(tmp_path / "model.pt")
    assert full.value.errno == errno.EFBIG
    assert full.value.filename == str(tmp_path / name)
    assert _contents(tmp_path) == before


def test_a_disk_that_is_full_in_training_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_checkpoints("SimpleRNNModel", tmp_path)
    write = checkpoint_io.write_with_torch

    def write_until_full(thing: Any, path: Path) -> None:
        write(thing, path)
        if isinstance(thing, dict) and thing["epoch"] == KILLED_IN:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint_io, "write_with_torch", write_until_full)
    with pytest.raises(OSError, match=rf"No space left.*-epoch={KILLED_IN}.*ckpt"):
        model.fit(**validated())
    checkpoints = tmp_path / "run" / "checkpoints"
    assert all(path.suffix == ".ckpt" for path in checkpoints.iterdir())
    loaded = type(model).load_from_checkpoint("run", str(tmp_path), best=False)
    assert Path(loaded.load_ckpt_path).name == LAST_CHECKPOINT


def test_errors_that_are_not_the_disk_s_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic_file(tmp_path / "file"):
        (tmp_path / "elsewhere").read_bytes()


@pytest.mark.parametrize("kill_at", range(4))
def test_a_save_that_is_killed_between_its_two_files_leaves_one_whole_model(
    kill_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_model("SimpleRNNModel").fit(make_series())
    new = make_model("SimpleRNNModel", random_state=2).fit(make_series())
    path = tmp_path / "model.pt"
    old.save(path)
    _save_and_die(new, path, kill_at, monkeypatch)
    forecast = values_of(type(old).load(path).predict(OUTPUT))
    # a save counts from when the model's file is there
    expected = old if kill_at < 2 else new
    np.testing.assert_array_equal(forecast, values_of(expected.predict(OUTPUT)))
    new.save(path)
    assert sorted(_contents(tmp_path)) == ["model.pt", "model.pt.ckpt"]
    np.testing.assert_array_equal(values_of(type(old).load(path).predict(OUTPUT)), values_of(new.predict(OUTPUT)))


@pytest.mark.parametrize("kill_at", range(3))
def test_an_unfitted_model_that_is_saved_over_a_fitted_one_and_killed_leaves_one_of_them(
    kill_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, path = make_model("SimpleRNNModel").fit(make_series()), tmp_path / "model.pt"
    fitted.save(path)
    _save_and_die(make_model("SimpleRNNModel"), path, kill_at, monkeypatch)
    assert type(fitted).load(path).model_created == (kill_at < 2)


@pytest.mark.parametrize(("fitted", "renamed"), [(True, 0), (True, 1), (True, 2), (False, 0), (False, 1)])
def test_where_folders_cannot_be_locked_a_load_amid_a_save_loses_no_model(
    fitted: bool, renamed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair, "fcntl", None)
    path, old = tmp_path / "model.pt", make_model("SimpleRNNModel").fit(make_series())
    new = make_model("SimpleRNNModel", random_state=2)
    if fitted:
        new.fit(make_series())
    old.save(path)
    replace = Path.replace
    is_renamed: list[Path] = []
    loaded: list[Any] = []

    def load_and_replace(source: Path, target: Any) -> Path:
        if Path(target).suffix != ".part" and not loaded:  # no file that Lightning writes
            if len(is_renamed) == renamed:
                loaded.append(None)  # what the load renames is its own affair
                loaded[0] = type(old).load(path)
            is_renamed.append(target)
        return replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", load_and_replace)
        new.save(path)
    assert loaded
    if loaded[0].model_created:
        expected = new if fitted and renamed == 2 else old
        np.testing.assert_array_equal(values_of(loaded[0].predict(OUTPUT)), values_of(expected.predict(OUTPUT)))
    assert sorted(_contents(tmp_path)) == ["model.pt", "model.pt.ckpt"][: 2 if fitted else 1]
    saved = type(old).load(path)
    assert saved.model_created == fitted
    if fitted:
        np.testing.assert_array_equal(values_of(saved.predict(OUTPUT)), values_of(new.predict(OUTPUT)))


def _save_and_die(model: SequenceModel, path: Path, kill_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save until the files of the model have been renamed `kill_at` times."""
    replace, renamed = Path.replace, 0

    def replace_or_die(source: Path, target: Any) -> Path:
        nonlocal renamed
        if Path(target).suffix == ".part":  # a file that Lightning writes
            return replace(source, target)
        if renamed == kill_at:
            raise Killed
        renamed += 1
        return replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_or_die)
        # nothing is cleaned up by a process that is dead
        patch.setattr(ExitStack, "callback", lambda *args, **kwargs: None)
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)
        if kill_at == (3 if model.model_created else 2):
            model.save(path)
        else:
            with pytest.raises(Killed):
                model.save(path)
    for left_behind in path.parent.glob(".*.part"):
        left_behind.unlink()


SAVING_SCRIPT = """
import sys
import torch
from tests.conftest import THREADS, make_model, make_series
torch.set_num_threads(THREADS)
path, seed = sys.argv[1], int(sys.argv[2])
model = make_model("LinearModel", random_state=seed).fit(make_series())
for _ in range(25):
    model.save(path)
"""


@pytest.mark.slow
def test_processes_that_save_to_one_path_at_the_same_time_leave_one_whole_model(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    expected = [
        values_of(make_model("LinearModel", random_state=seed).fit(make_series()).predict(OUTPUT)) for seed in (1, 2)
    ]
    processes = [
        subprocess.Popen([sys.executable, "-c", SAVING_SCRIPT, str(path), str(seed)], env=environment)
        for seed in (1, 2)
    ]
    n_loaded = 0
    while any(process.poll() is None for process in processes):
        if path.exists():
            forecast = values_of(seq_plugins.LinearModel.load(path).predict(OUTPUT, make_series()))
            assert any(np.array_equal(forecast, one) for one in expected)
            n_loaded += 1
    assert [process.returncode for process in processes] == [0, 0]
    assert n_loaded > 0
    assert sorted(_contents(tmp_path)) == ["model.pt", "model.pt.ckpt"]
