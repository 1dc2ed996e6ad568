"""Bad days: training that is killed, files that are damaged or hostile, disks that are full, losses that explode."""

import errno
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.likelihood_models.torch import (
    BernoulliLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    LaplaceLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    TorchLikelihood,
)
from pytorch_lightning.callbacks import Callback, EarlyStopping
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

import seq_plugins
from seq_plugins import DivergenceError
from seq_plugins._files import whole_file
from seq_plugins.lightning.divergence import LossWatch
from seq_plugins.models.base import SequenceModel, SequenceModule
from seq_plugins.saving import pair
from tests.conftest import OUTPUT, make_model, make_series, takes, values_of

ROOT = Path(__file__).parents[2]
EPOCHS, KILLED_IN, LAST_CHECKPOINT = 6, 3, "last-epoch=2.ckpt"

# training goes on in the folder of the checkpoints from which it does
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


class Killed(BaseException):
    """Ends a training as suddenly as a signal, for tests that need no process of their own."""


# --- interrupted training -----------------------------------------------------------------------------------------


def _with_checkpoints(name: str, folder: Path, **arguments: Any) -> SequenceModel:
    for dropout in ("dropout", "recurrent_dropout"):
        if takes(name, dropout):
            arguments.setdefault(dropout, 0.3)
    given = {"n_epochs": EPOCHS, "optimizer_kwargs": {"lr": 0.02}} | arguments
    return make_model(name, save_checkpoints=True, work_dir=str(folder), model_name="run", **given)


def _validated() -> dict[str, Any]:
    return {"series": make_series(60), "val_series": make_series(30, seed=9)}


def _interrupt(model: SequenceModel, monkeypatch: pytest.MonkeyPatch, hook: str, **given: Any) -> None:
    """Train until `hook` of the network is called in the epoch `KILLED_IN`."""

    def die(module: SequenceModule, *args: Any) -> None:
        if module.trainer.current_epoch == KILLED_IN and not module.trainer.sanity_checking:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(SequenceModule, hook, die, raising=False)
        with pytest.raises(Killed):
            model.fit(**given)


def _assert_same_network(model: SequenceModel, other: SequenceModel) -> None:
    """Compare all weights, bit for bit, and the number of epochs."""
    weights, others = model.model.state_dict(), other.model.state_dict()
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=0, atol=0)
    assert other.epochs_trained == model.epochs_trained


def _assert_resumes(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *,
    fast: bool = True,
    hook: str = "on_train_epoch_start",
    given: dict[str, Any] | None = None,
    callbacks: Callable[[], list[Callback]] = list,
    **arguments: Any,
) -> SequenceModel:
    given = _validated() if given is None else given

    def make(place: str) -> SequenceModel:
        model = _with_checkpoints(name, folder / place, pl_trainer_kwargs={"callbacks": callbacks()}, **arguments)
        model.fast_training = fast
        return model

    uninterrupted = make("uninterrupted").fit(**given)
    _interrupt(make("interrupted"), monkeypatch, hook, **given)
    resumed = type(uninterrupted).load_from_checkpoint("run", str(folder / "interrupted"), best=False)
    assert Path(resumed.load_ckpt_path).name == LAST_CHECKPOINT
    resumed.fast_training = fast
    resumed.fit(**given)
    _assert_same_network(uninterrupted, resumed)
    return cast(SequenceModel, resumed)


def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    model_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _assert_resumes(tmp_path, monkeypatch, model_name)


@pytest.mark.parametrize(
    ("fast", "hook"),
    [(True, "on_validation_epoch_start"), (True, "on_train_epoch_end"), (False, "on_train_epoch_start")],
)
def test_it_does_not_matter_where_in_an_epoch_training_is_interrupted(
    fast: bool, hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _assert_resumes(tmp_path, monkeypatch, "Seq2SeqRNNModel", fast=fast, hook=hook)


SCHEDULERS: dict[str, dict[str, Any]] = {
    "every epoch": {"lr_scheduler_cls": StepLR, "lr_scheduler_kwargs": {"step_size": 2, "gamma": 0.5}},
    "every batch": {
        "lr_scheduler_cls": StepLR,
        "lr_scheduler_kwargs": {"step_size": 3, "gamma": 0.9, "interval": "step"},
    },
    "validation loss": {
        "lr_scheduler_cls": ReduceLROnPlateau,
        "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5, "threshold": 0.5},
    },
    "training loss": {
        "lr_scheduler_cls": ReduceLROnPlateau,
        "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5, "threshold": 0.5, "monitor": "train_loss"},
    },
}


@pytest.mark.parametrize(
    ("fast", "scheduler"),
    [*((True, scheduler) for scheduler in SCHEDULERS), (False, "every batch"), (False, "training loss")],
)
def test_a_resumed_training_goes_on_with_its_learning_rate(
    fast: bool, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed = _assert_resumes(tmp_path, monkeypatch, "SimpleRNNModel", fast=fast, **SCHEDULERS[scheduler])
    assert resumed.trainer.optimizers[0].param_groups[0]["lr"] < 0.02


@pytest.mark.parametrize("fast", [True, False])
def test_a_resumed_training_stops_as_early_as_an_uninterrupted_one(
    fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> list[Callback]:
        return [EarlyStopping("val_loss", patience=3, min_delta=10.0)]  # patience begins before the interruption

    resumed = _assert_resumes(tmp_path, monkeypatch, "SimpleRNNModel", fast=fast, callbacks=stop, n_epochs=20)
    assert resumed.epochs_trained == 4


def test_a_training_that_had_stopped_early_stays_stopped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stop = EarlyStopping("val_loss", patience=1, min_delta=10.0)
    model = _with_checkpoints("SimpleRNNModel", tmp_path, pl_trainer_kwargs={"callbacks": [stop]})
    model.fit(**_validated())
    resumed = type(model).load_from_checkpoint("run", str(tmp_path), best=False)
    resumed.fit(**_validated())
    assert resumed.epochs_trained == 2
    _assert_same_network(model, resumed)
    assert "stopped before it was interrupted, in epoch 1" in caplog.text


@pytest.mark.parametrize("fast", [True, False])
def test_training_that_validates_every_second_epoch_loses_one_epoch_at_most(
    fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _assert_resumes(tmp_path, monkeypatch, "SimpleRNNModel", fast=fast, nr_epochs_val_period=2)


@pytest.mark.filterwarnings("ignore:.ModelCheckpoint.monitor='val_loss'.. could not find")  # Darts asks for it anyway
def test_a_resumed_training_without_validation_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _assert_resumes(tmp_path, monkeypatch, "Conv1DGRUModel", given={"series": make_series(60)})


@pytest.mark.filterwarnings("ignore:.ModelCheckpoint.monitor='val_loss'.. could not find")
def test_training_on_samples_of_stochastic_series_resumes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"series": make_series(60, samples=5)}
    folder = tmp_path / "interrupted"
    np.random.seed(4)  # noqa: NPY002 - Darts draws the samples from it
    uninterrupted = _with_checkpoints("LinearModel", tmp_path / "uninterrupted").fit(**given)
    np.random.seed(4)  # noqa: NPY002
    _interrupt(_with_checkpoints("LinearModel", folder), monkeypatch, "on_train_epoch_start", **given)
    np.random.seed(5)  # noqa: NPY002
    resumed = seq_plugins.LinearModel.load_from_checkpoint("run", str(folder), best=False).fit(**given)
    _assert_same_network(uninterrupted, resumed)


def test_forecasts_drawn_after_a_resumed_training_are_those_after_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, likelihood = _validated(), GaussianLikelihood()
    model = _with_checkpoints("SimpleRNNModel", tmp_path / "uninterrupted", likelihood=likelihood).fit(**given)
    expected = values_of(model.predict(OUTPUT, num_samples=3))
    interrupted = _with_checkpoints("SimpleRNNModel", tmp_path / "interrupted", likelihood=likelihood)
    _interrupt(interrupted, monkeypatch, "on_train_epoch_start", **given)
    resumed = type(model).load_from_checkpoint("run", str(tmp_path / "interrupted"), best=False).fit(**given)
    np.testing.assert_array_equal(values_of(resumed.predict(OUTPUT, num_samples=3)), expected)


def test_the_best_checkpoint_is_the_same_after_a_resumed_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _assert_resumes(tmp_path, monkeypatch, "SimpleRNNModel", optimizer_kwargs={"lr": 0.3})
    best = [
        {path.name for path in (tmp_path / place / "run" / "checkpoints").glob("best-*")}
        for place in ("uninterrupted", "interrupted")
    ]
    assert best[0] == best[1]
    assert len(best[0]) == 1


def test_a_checkpoint_of_an_older_version_is_still_loaded_and_trained_further(tmp_path: Path) -> None:
    model = _with_checkpoints("SimpleRNNModel", tmp_path, n_epochs=2).fit(**_validated())
    (path,) = (tmp_path / "run" / "checkpoints").glob("last-*")
    checkpoint = torch.load(path, weights_only=False)
    del checkpoint["training_state"]
    torch.save(checkpoint, path)
    resumed = type(model).load_from_checkpoint("run", str(tmp_path), best=False)
    assert resumed.fit(epochs=3, **_validated()).epochs_trained == 3


def test_what_is_kept_for_resuming_is_plain_values_and_tensors(tmp_path: Path) -> None:
    _with_checkpoints("SimpleRNNModel", tmp_path, n_epochs=1, **SCHEDULERS["validation loss"]).fit(**_validated())
    (path,) = (tmp_path / "run" / "checkpoints").glob("last-*")
    state = torch.load(path, weights_only=False)["training_state"]
    torch.save(state, tmp_path / "state.pt")
    assert not torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "state.pt")
    assert state["plateau_metrics"].keys() == {0}


KILLED_SCRIPT = """
import os, signal, sys
import torch
from pytorch_lightning.callbacks import EarlyStopping
from seq_plugins.saving import pair
from seq_plugins.models.base import SequenceModule
from tests.conftest import THREADS
from tests.models.test_bad_days import SCHEDULERS, KILLED_IN, _validated, _with_checkpoints
torch.set_num_threads(THREADS)
name, folder, fast, when = sys.argv[1:]

def die(module, *args):
    if module.trainer.current_epoch == KILLED_IN and not module.trainer.sanity_checking:
        os.kill(os.getpid(), signal.SIGKILL)

def write_half(thing, path):
    write(thing, path)
    if thing["epoch"] == KILLED_IN:
        path.write_bytes(path.read_bytes()[:1000])
        os.kill(os.getpid(), signal.SIGKILL)

if when == "writing":
    write, pair.write_with_torch = pair.write_with_torch, write_half
elif when != "never":
    setattr(SequenceModule, when, die)
stop = {"callbacks": [EarlyStopping("val_loss", patience=4, min_delta=10.0)]}
model = _with_checkpoints(name, folder, n_epochs=9, pl_trainer_kwargs=stop, **SCHEDULERS["every epoch"])
model.fast_training = fast == "fast"
model.fit(**_validated())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fast", "when"), [(True, "on_train_epoch_start"), (True, "writing"), (False, "on_validation_epoch_start")]
)
def test_a_training_whose_process_was_killed_is_resumed(fast: bool, when: str, tmp_path: Path) -> None:
    name = "Seq2SeqRNNModel" if fast else "Conv1DGRUModel"
    for place, moment in (("whole", "never"), ("killed", when)):
        done = _run_python(KILLED_SCRIPT, name, str(tmp_path / place), "fast" if fast else "ordinary", moment)
        assert done.returncode == (0 if moment == "never" else -signal.SIGKILL), done.stderr
    model_class = getattr(seq_plugins, name)
    resumed = model_class.load_from_checkpoint("run", str(tmp_path / "killed"), best=False)
    assert Path(resumed.load_ckpt_path).name == LAST_CHECKPOINT
    resumed.fast_training = fast
    resumed.fit(**_validated())
    last = [next((tmp_path / place).glob("run/checkpoints/last-*")) for place in ("whole", "killed")]
    assert [path.name for path in last] == ["last-epoch=4.ckpt"] * 2  # stopped early
    uninterrupted = torch.load(last[0], weights_only=False)["state_dict"]
    for weight_name, weight in resumed.model.state_dict().items():
        torch.testing.assert_close(weight, uninterrupted[weight_name], rtol=0, atol=0)


def _run_python(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


# --- damaged files -------------------------------------------------------------------------------------------------


def _flip(data: bytes, place: int, n_bytes: int = 1) -> bytes:
    flipped = bytes(byte ^ 0x40 for byte in data[place : place + n_bytes])
    return data[:place] + flipped + data[place + n_bytes :]


def _weight_place(data: bytes, path: Path) -> int:
    """Return where in a checkpoint the bytes of a weight stand."""
    (weight, *_) = torch.load(path, weights_only=False)["state_dict"].values()
    return data.index(weight.numpy().tobytes())


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "cut short at its start": lambda data: data[:100],
    "cut short in the middle": lambda data: data[: len(data) // 2],
    "cut short by a byte": lambda data: data[:-1],
    "changed at its start": lambda data: _flip(data, 0),
    # longer than the padding between the parts of a file, where a change would do no harm
    "changed in the middle": lambda data: _flip(data, len(data) // 2, n_bytes=128),
    "zeros at its end": lambda data: data[:-512] + bytes(512),
    "a text": lambda data: b"This is not the model that you are looking for.\n",
    "a pickle": lambda data: pickle.dumps({"state_dict": {}}),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved model and, beside it, the one before."""
    folder = tmp_path_factory.mktemp("saved")
    model = make_model("SimpleRNNModel").fit(make_series())
    model.save(folder / "before.pt")
    model.save(folder / "model.pt")
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".pt", ".pt.ckpt"])
def test_a_damaged_file_is_refused_with_its_name_and_the_one_before_it_loads(
    saved: Path, damage: str, suffix: str, tmp_path: Path
) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / f"model{suffix}"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    other = make_model("SimpleRNNModel", random_state=2)
    for load in (seq_plugins.SimpleRNNModel.load, other.load_weights):
        with pytest.raises(ValueError, match=r"model\.pt.*(not|Neither was) loaded") as refused:
            load(tmp_path / "model.pt")
        assert str(path) in str(refused.value)
        assert f"before{suffix}" in str(refused.value)
    assert not other.model_created
    assert seq_plugins.SimpleRNNModel.load(tmp_path / "before.pt").predict(OUTPUT).n_timesteps == OUTPUT


def test_a_weight_that_was_changed_is_noticed(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.pt.ckpt"
    data = path.read_bytes()
    path.write_bytes(_flip(data, _weight_place(data, path) + 2))
    torch.load(path, weights_only=False)  # PyTorch does not notice
    with pytest.raises(ValueError, match="bytes of its part archive/data/0 have changed"):
        seq_plugins.SimpleRNNModel.load(tmp_path / "model.pt")


def test_a_weight_that_would_pass_for_a_folder_is_noticed(saved: Path, tmp_path: Path) -> None:
    """PyTorch reads no bytes of it, and leaves the weight what was in the memory before."""
    path = tmp_path / "last.ckpt"
    data = (saved / "model.pt.ckpt").read_bytes()
    attributes = data.rindex(b"archive/data/0") - 8
    path.write_bytes(data[:attributes] + b"\x10" + data[attributes + 1 :])
    with pytest.raises(ValueError, match="bytes of its part archive/data/0 have changed"):
        pair.check_whole(path)


def test_no_changed_byte_changes_a_forecast_unseen(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.pt.ckpt"
    data = path.read_bytes()
    for place in range(0, len(data), 61):
        path.write_bytes(_flip(data, place))
        with pytest.raises(ValueError, match=r"model\.pt\.ckpt"):
            seq_plugins.SimpleRNNModel.load(tmp_path / "model.pt")


def test_a_model_without_its_checkpoint_is_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "model.pt", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model\.pt\.ckpt, which holds the weights"):
        seq_plugins.SimpleRNNModel.load(tmp_path / "model.pt")


def test_files_of_two_saves_are_not_taken_for_one_model(saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "model.pt", tmp_path)
    make_model("SimpleRNNModel", random_state=2).fit(make_series()).save(tmp_path / "other.pt")
    shutil.copy(tmp_path / "other.pt.ckpt", tmp_path / "model.pt.ckpt")
    other = make_model("SimpleRNNModel", random_state=3)
    for load in (seq_plugins.SimpleRNNModel.load, other.load_weights):
        with pytest.raises(ValueError, match="is not the checkpoint that was saved together with"):
            load(tmp_path / "model.pt")
    assert not other.model_created


def test_a_model_of_another_class_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match="holds a SimpleRNNModel, expected a DeepRNNModel"):
        seq_plugins.DeepRNNModel.load(saved / "model.pt")


@pytest.mark.parametrize(
    ("name", "reason"), [("LinearModel", "can't be loaded into"), ("DeepRNNModel", "other shapes")]
)
def test_a_checkpoint_of_another_class_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    for trained in (name, "SimpleRNNModel"):
        _with_checkpoints(trained, tmp_path / trained, n_epochs=1).fit(**_validated())
    places = [tmp_path / trained / "run" / "checkpoints" / "last-epoch=0.ckpt" for trained in (name, "SimpleRNNModel")]
    shutil.copy(*places)
    with pytest.raises(ValueError, match=rf"last-epoch=0\.ckpt .*{reason}"):
        seq_plugins.SimpleRNNModel.load_from_checkpoint("run", str(tmp_path / "SimpleRNNModel"), best=False)
    other = make_model("SimpleRNNModel", dropout=0.3, recurrent_dropout=0.3)
    with pytest.raises(RuntimeError, match="in loading state_dict"):
        other.load_weights_from_checkpoint("run", str(tmp_path / "SimpleRNNModel"), best=False)
    assert not other.model_created


@pytest.mark.parametrize("damage", ["empty", "cut short in the middle", "changed in the middle"])
def test_a_damaged_checkpoint_of_training_is_refused_and_the_best_one_loads(damage: str, tmp_path: Path) -> None:
    _with_checkpoints("SimpleRNNModel", tmp_path, n_epochs=2).fit(**_validated())
    (path,) = (tmp_path / "run" / "checkpoints").glob("last-*")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=r"last-epoch=1\.ckpt .* not loaded.* best-epoch="):
        seq_plugins.SimpleRNNModel.load_from_checkpoint("run", str(tmp_path), best=False)
    assert seq_plugins.SimpleRNNModel.load_from_checkpoint("run", str(tmp_path), best=True).model_created


def test_a_model_of_an_older_version_is_still_loaded(tmp_path: Path) -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    _save_as_before(model, tmp_path / "model.pt")
    loaded = type(model).load(tmp_path / "model.pt")
    np.testing.assert_array_equal(values_of(loaded.predict(OUTPUT)), values_of(model.predict(OUTPUT)))


# --- full disks and interrupted saves ------------------------------------------------------------------------------


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
    with pytest.raises(OSError, match="not written, and what was there before stays") as full, _largest_file(size):
        other.save(tmp_path / "model.pt")
    assert full.value.errno == errno.EFBIG
    assert full.value.filename == str(tmp_path / name)
    assert _contents(tmp_path) == before


def test_a_disk_that_is_full_in_training_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _with_checkpoints("SimpleRNNModel", tmp_path)
    write = pair.write_with_torch

    def write_until_full(thing: Any, path: Path) -> None:
        write(thing, path)
        if isinstance(thing, dict) and thing["epoch"] == KILLED_IN:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pair, "write_with_torch", write_until_full)
    with pytest.raises(OSError, match=rf"No space left.*-epoch={KILLED_IN}.*ckpt"):
        model.fit(**_validated())
    checkpoints = tmp_path / "run" / "checkpoints"
    assert all(path.suffix == ".ckpt" for path in checkpoints.iterdir())
    loaded = type(model).load_from_checkpoint("run", str(tmp_path), best=False)
    assert Path(loaded.load_ckpt_path).name == LAST_CHECKPOINT


def test_errors_that_are_not_the_disk_s_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), whole_file(tmp_path / "file"):
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


# --- hostile files -------------------------------------------------------------------------------------------------


class _Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["torch", "plain pickle"])
@pytest.mark.parametrize("suffix", [".pt", ".pt.ckpt"])
def test_a_saved_model_that_would_run_code_is_refused(saved: Path, kind: str, suffix: str, tmp_path: Path) -> None:
    folder, created = tmp_path / "models", tmp_path / "created"
    shutil.copytree(saved, folder)
    path = folder / f"model{suffix}"
    if suffix == ".pt.ckpt":  # otherwise the digest that the model holds would already give it away
        _save_as_before(seq_plugins.SimpleRNNModel.load(folder / "before.pt"), folder / "model.pt")
    _write_hostile(path, created, kind)
    other = make_model("SimpleRNNModel", random_state=2)
    for load in (seq_plugins.SimpleRNNModel.load, other.load_weights):
        with pytest.raises((ValueError, RuntimeError, pickle.UnpicklingError)) as refused:
            load(str(folder / "model.pt"))
        assert not created.exists()
        hint = "trusted=True" if kind == "torch" else "is no file of PyTorch"
        assert hint in str(refused.value)
    assert not other.model_created


@pytest.mark.parametrize("kind", ["torch", "plain pickle"])
@pytest.mark.parametrize("name", ["_model.pth.tar", "checkpoints/last-epoch=0.ckpt"])
def test_a_checkpoint_that_would_run_code_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    model = _with_checkpoints("SimpleRNNModel", tmp_path, n_epochs=1).fit(**_validated())
    created = tmp_path / "created"
    loaded = type(model).load_from_checkpoint("run", str(tmp_path), best=False)
    _write_hostile(tmp_path / "run" / name, created, kind)
    attempts: list[Callable[[], Any]] = [
        lambda: type(model).load_from_checkpoint("run", str(tmp_path), best=False),
        lambda: make_model("SimpleRNNModel").load_weights_from_checkpoint("run", str(tmp_path), best=False),
    ]
    if name.endswith("ckpt"):
        attempts.append(lambda: loaded.fit(epochs=2, **_validated()))  # which reads it again
    for attempt in attempts:
        with pytest.raises((ValueError, RuntimeError, pickle.UnpicklingError)) as refused:
            attempt()
        assert not created.exists()
        assert ("trusted=True" if kind == "torch" else "is no file of PyTorch") in str(refused.value)


def _write_hostile(path: Path, created: Path, kind: str) -> None:
    thing = {"state_dict": {}, "hyper_parameters": _Hostile(created)}
    path.write_bytes(pickle.dumps(thing))
    if kind == "torch":
        torch.save(thing, path)


def _save_as_before(model: SequenceModel, path: Path) -> None:
    """Save as older versions did: without the digest of the checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SequenceModel, "__getstate__", MixedCovariatesTorchModel.__getstate__)
        MixedCovariatesTorchModel.save(model, str(path))


# --- exploding losses ----------------------------------------------------------------------------------------------

EXPLODES: dict[str, dict[str, Any]] = {
    "to NaN": {"optimizer_cls": torch.optim.SGD, "optimizer_kwargs": {"lr": 1e12}},
    "to large numbers": {"optimizer_kwargs": {"lr": 1e3}},
    "to NaN with a likelihood": {
        "optimizer_cls": torch.optim.SGD,
        "optimizer_kwargs": {"lr": 1e12},
        "likelihood": GaussianLikelihood(),
    },
}


@pytest.mark.parametrize("how", EXPLODES)
@pytest.mark.parametrize("validates", [False, True])
@pytest.mark.parametrize("fast", [True, False])
def test_a_loss_that_explodes_is_an_error_and_no_checkpoint(
    how: str, validates: bool, fast: bool, tmp_path: Path
) -> None:
    name = "Seq2SeqRNNModel"
    model = _with_checkpoints(name, tmp_path, n_epochs=3, **EXPLODES[how])
    model.fast_training = fast
    given = _validated() if validates else {"series": make_series(60)}
    with pytest.raises(DivergenceError, match=r"in epoch|after epoch") as diverged:
        model.fit(**given)
    for remedy in ("learning rate", "gradient_clip_val", "scale the series"):
        assert remedy in str(diverged.value)
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    with pytest.raises(ValueError, match="fit"):
        model.predict(OUTPUT, make_series())


def test_every_model_says_that_its_loss_explodes(model_name: str) -> None:
    model = make_model(model_name, n_epochs=3, optimizer_kwargs={"lr": 1e3})
    with pytest.raises(DivergenceError, match="The loss has grown"):
        model.fit(make_series(60))


def test_the_step_of_a_nan_is_named_and_the_best_checkpoint_before_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _with_checkpoints("SimpleRNNModel", tmp_path)
    compute_loss = SequenceModule._compute_loss

    def explode(module: SequenceModule, *args: Any) -> torch.Tensor:
        loss = compute_loss(module, *args)
        return loss * float("nan") if module.training and module.trainer.global_step == 10 else loss

    monkeypatch.setattr(SequenceModule, "_compute_loss", explode)
    with pytest.raises(DivergenceError, match=r"The loss is nan at step 10, in epoch 3"):
        model.fit(**_validated())  # three batches an epoch
    for best in (True, False):
        loaded = type(model).load_from_checkpoint("run", str(tmp_path), best=best)
        assert np.isfinite(values_of(loaded.predict(OUTPUT, make_series()))).all()


def test_a_model_that_was_fitted_before_keeps_its_weights_when_a_further_fit_diverges() -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    expected = values_of(model.predict(OUTPUT))
    model.model.optimizer_kwargs = {"lr": 1e3}
    with pytest.raises(DivergenceError):
        model.fit(make_series(), epochs=2)
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT)), expected)


@pytest.mark.parametrize("fast", [True, False])
def test_a_model_that_was_fitted_before_is_what_it_was_when_a_further_fit_diverges(fast: bool) -> None:
    model, longer = make_model("SimpleRNNModel", n_epochs=2, likelihood=GaussianLikelihood()), make_series(70)
    model.fast_training = fast
    model.fit(make_series())
    same = make_model("SimpleRNNModel", n_epochs=2, likelihood=GaussianLikelihood()).fit(make_series())
    attributes, trainer = set(vars(model)), model.trainer
    model.model.optimizer_kwargs = {"lr": 1e38}
    for series in (longer, [longer, longer]):
        with pytest.raises(DivergenceError):
            model.fit(series, epochs=5)
        assert set(vars(model)) == attributes
        assert model.trainer is trainer
        assert model.epochs_trained == 2
        assert len(model.training_series) == len(make_series())
    # drawn at random, from the series of the first fit
    for n_samples in (1, 3):
        drawn, expected = model.predict(OUTPUT, num_samples=n_samples), same.predict(OUTPUT, num_samples=n_samples)
        assert drawn.time_index.equals(expected.time_index)
        np.testing.assert_array_equal(drawn.all_values(), expected.all_values())
    model.model.optimizer_kwargs = dict(same.model.optimizer_kwargs)
    _assert_same_network(same.fit(longer), model.fit(longer))


def test_a_model_whose_first_fit_diverges_can_be_fitted_to_series_of_another_shape() -> None:
    model = make_model("SimpleRNNModel", optimizer_kwargs={"lr": 1e38})
    with pytest.raises(DivergenceError):
        model.fit(make_series(), past_covariates=make_series(), epochs=3)
    assert (model.training_series, model.epochs_trained, model.model_created) == (None, 0, False)
    model.pl_module_params["optimizer_kwargs"] = {"lr": 1e-3}
    assert model.fit(make_series(components=2)).predict(OUTPUT).n_components == 2


LIKELIHOODS: dict[str, TorchLikelihood] = {
    "Laplace": LaplaceLikelihood(),
    "negative binomial": NegativeBinomialLikelihood(),
    "gamma": GammaLikelihood(),
    "Bernoulli": BernoulliLikelihood(),
    "Gaussian": GaussianLikelihood(),
    "Poisson": PoissonLikelihood(),
}


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("fast", [True, False])
def test_a_fit_with_any_likelihood_that_diverges_says_so_and_leaves_the_weights(likelihood: str, fast: bool) -> None:
    series = make_series() * 0 + 1  # a value, and a count, that all of them take
    model = make_model("SimpleRNNModel", likelihood=LIKELIHOODS[likelihood])
    model.fast_training = fast
    expected = values_of(model.fit(series).predict(OUTPUT, predict_likelihood_parameters=True))
    model.model.optimizer_kwargs = {"lr": 1e38}
    with pytest.raises(DivergenceError, match=r"at step 1, in epoch 0.* Lower the learning rate"):
        model.fit(series, epochs=3)
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT, predict_likelihood_parameters=True)), expected)


class _WithoutSoftplus(LaplaceLikelihood):
    def _params_from_output(self, model_output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return model_output[..., 0], model_output[..., 1] * 0 - 1


def test_parameters_that_are_finite_but_none_of_the_likelihood_are_divergence_after_an_update() -> None:
    with pytest.raises(ValueError, match="Expected parameter scale") as refused:
        make_model("SimpleRNNModel", likelihood=_WithoutSoftplus()).fit(make_series())
    assert not isinstance(refused.value, DivergenceError)
    model = make_model("SimpleRNNModel", likelihood=LaplaceLikelihood(), optimizer_kwargs={"lr": 1e3}, n_epochs=5)
    with pytest.raises(DivergenceError, match="gives no parameters") as diverged:
        model.fit(make_series())
    assert "Expected parameter scale" in str(diverged.value.__cause__)


def test_targets_that_a_likelihood_refuses_are_no_divergence() -> None:
    model = make_model("SimpleRNNModel", likelihood=GammaLikelihood())
    with pytest.raises(ValueError, match="Expected value argument") as refused:
        model.fit(make_series() * 0 - 1)
    assert not isinstance(refused.value, DivergenceError)


@pytest.mark.parametrize("fast", [True, False])
def test_no_forecast_is_made_from_weights_that_are_nan(model_name: str, fast: bool) -> None:
    model = make_model(model_name).fit(make_series())
    model.fast_prediction = fast
    with torch.no_grad():
        next(iter(model.model.parameters())).view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match="Weights of the network are NaN or infinite"):
        model.predict(OUTPUT)


@pytest.mark.parametrize("values", [0.0, 1e-12, 1e15])
def test_series_of_any_size_are_no_explosion(values: float) -> None:
    series = make_series() * 0 + values
    for given in (series, series + make_series() * values):
        model = make_model("SimpleRNNModel", n_epochs=2).fit(given)
        model.fit(make_series(seed=3) + values, epochs=1)  # on which the network is no longer right
        assert model.epochs_trained == 1


@pytest.mark.parametrize("arguments", [{"missing": "mask"}, {}])
def test_a_loss_explodes_also_beside_values_that_are_missing(arguments: dict[str, Any]) -> None:
    values = values_of(make_series(60)).copy()
    values[0, 0] = np.nan
    given = {} if arguments else {"max_samples_per_ts": 10}  # the newest windows, which don't hold it
    model = make_model("SimpleRNNModel", n_epochs=3, optimizer_kwargs={"lr": 1e3}, **arguments)
    with pytest.raises(DivergenceError, match="The loss has grown"):
        model.fit(make_series(60).with_values(values), **given)


def test_a_loss_with_weights_explodes_and_heavy_weights_are_no_explosion() -> None:
    series, ones = make_series(60), make_series(60) * 0 + 1
    with pytest.raises(DivergenceError, match="The loss has grown"):
        make_model("SimpleRNNModel", n_epochs=3, optimizer_kwargs={"lr": 1e3}).fit(series, sample_weight=ones)
    heavy = np.where(np.arange(60) < 40, 0, 1e9).astype("float32").reshape(60, 1)
    for values in (heavy, heavy[::-1]):  # the loss of the first or of the last batch is zero
        model = make_model("SimpleRNNModel", batch_size=8)
        given = {"sample_weight": ones.with_values(values), "dataloader_kwargs": {"shuffle": False}}
        assert model.fit(series, **given).epochs_trained == 1


def test_where_processes_train_together_each_of_them_looks_at_the_weights_only() -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    trainer = SimpleNamespace(
        world_size=2,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        datamodule=model.trainer.datamodule,
        current_epoch=0,
        global_step=1,
        precision="32-true",
    )
    for world_size, outcome in ((2, nullcontext()), (1, pytest.raises(DivergenceError, match="has grown"))):
        trainer.world_size = world_size
        watch = LossWatch(model.model, trainer)
        for loss in (1.0, 1e30):
            watch.see(torch.tensor(loss))
        with outcome:
            watch.check()


def test_a_search_for_the_learning_rate_may_go_on_until_it_diverges() -> None:
    model = make_model("SimpleRNNModel", optimizer_cls=torch.optim.SGD)
    found = model.lr_find(make_series(60), epochs=10, max_lr=1e12, num_training=20, early_stop_threshold=None)
    assert not np.isfinite(found.results["loss"]).all()
