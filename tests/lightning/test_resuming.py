"""Training that is killed or interrupted, and resumed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from darts.utils.likelihood_models.torch import (
    GaussianLikelihood,
)
from pytorch_lightning.callbacks import Callback, EarlyStopping
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

import seq_plugins
from seq_plugins.models import SequenceModel, SequenceModule
from tests.checkpoints import (
    KILLED_IN,
    LAST_CHECKPOINT,
    assert_same_network,
    validated,
    with_checkpoints,
)
from tests.conftest import OUTPUT, make_series, values_of

ROOT = Path(__file__).parents[2]

# training goes on in the folder of the checkpoints from which it does
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


class Killed(BaseException):
    """Ends a training as suddenly as a signal, for tests that need no process of their own."""


def _interrupt(model: SequenceModel, monkeypatch: pytest.MonkeyPatch, hook: str, **given: Any) -> None:
    """Train until `hook` of the network is called in the epoch `KILLED_IN`."""

    def die(module: SequenceModule, *args: Any) -> None:
        if module.trainer.current_epoch == KILLED_IN and not module.trainer.sanity_checking:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(SequenceModule, hook, die, raising=False)
        with pytest.raises(Killed):
            model.fit(**given)


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
    given = validated() if given is None else given

    def make(place: str) -> SequenceModel:
        model = with_checkpoints(name, folder / place, pl_trainer_kwargs={"callbacks": callbacks()}, **arguments)
        model.fast_training = fast
        return model

    uninterrupted = make("uninterrupted").fit(**given)
    _interrupt(make("interrupted"), monkeypatch, hook, **given)
    resumed = type(uninterrupted).load_from_checkpoint("run", str(folder / "interrupted"), best=False)
    assert Path(resumed.load_ckpt_path).name == LAST_CHECKPOINT
    resumed.fast_training = fast
    resumed.fit(**given)
    assert_same_network(uninterrupted, resumed)
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
    model = with_checkpoints("SimpleRNNModel", tmp_path, pl_trainer_kwargs={"callbacks": [stop]})
    model.fit(**validated())
    resumed = type(model).load_from_checkpoint("run", str(tmp_path), best=False)
    resumed.fit(**validated())
    assert resumed.epochs_trained == 2
    assert_same_network(model, resumed)
    assert "already stopped in epoch 1 before it was interrupted" in caplog.text


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
    uninterrupted = with_checkpoints("LinearModel", tmp_path / "uninterrupted").fit(**given)
    np.random.seed(4)  # noqa: NPY002
    _interrupt(with_checkpoints("LinearModel", folder), monkeypatch, "on_train_epoch_start", **given)
    np.random.seed(5)  # noqa: NPY002
    resumed = seq_plugins.LinearModel.load_from_checkpoint("run", str(folder), best=False).fit(**given)
    assert_same_network(uninterrupted, resumed)


def test_forecasts_drawn_after_a_resumed_training_are_those_after_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, likelihood = validated(), GaussianLikelihood()
    model = with_checkpoints("SimpleRNNModel", tmp_path / "uninterrupted", likelihood=likelihood).fit(**given)
    expected = values_of(model.predict(OUTPUT, num_samples=3))
    interrupted = with_checkpoints("SimpleRNNModel", tmp_path / "interrupted", likelihood=likelihood)
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
    model = with_checkpoints("SimpleRNNModel", tmp_path, n_epochs=2).fit(**validated())
    (path,) = (tmp_path / "run" / "checkpoints").glob("last-*")
    checkpoint = torch.load(path, weights_only=False)
    del checkpoint["training_state"]
    torch.save(checkpoint, path)
    resumed = type(model).load_from_checkpoint("run", str(tmp_path), best=False)
    assert resumed.fit(epochs=3, **validated()).epochs_trained == 3


def test_what_is_kept_for_resuming_is_plain_values_and_tensors(tmp_path: Path) -> None:
    with_checkpoints("SimpleRNNModel", tmp_path, n_epochs=1, **SCHEDULERS["validation loss"]).fit(**validated())
    (path,) = (tmp_path / "run" / "checkpoints").glob("last-*")
    state = torch.load(path, weights_only=False)["training_state"]
    torch.save(state, tmp_path / "state.pt")
    assert not torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "state.pt")
    assert state["plateau_metrics"].keys() == {0}


KILLED_SCRIPT = """
import os, signal, sys
import torch
from pytorch_lightning.callbacks import EarlyStopping
from seq_plugins.models import SequenceModule
from seq_plugins.saving import checkpoint_io
from tests.conftest import THREADS
from tests.checkpoints import KILLED_IN, validated, with_checkpoints
from tests.lightning.test_resuming import SCHEDULERS
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
    write, checkpoint_io.write_with_torch = checkpoint_io.write_with_torch, write_half
elif when != "never":
    setattr(SequenceModule, when, die)
stop = {"callbacks": [EarlyStopping("val_loss", patience=4, min_delta=10.0)]}
model = with_checkpoints(name, folder, n_epochs=9, pl_trainer_kwargs=stop, **SCHEDULERS["every epoch"])
model.fast_training = fast == "fast"
model.fit(**validated())
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
    resumed.fit(**validated())
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
