"""Tuning with Optuna: trials that are pruned stop training, and training stays fast."""

import logging
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from tests.conftest import make_model, make_series

EPOCHS = 6


class Pruning(Callback):
    """Reports the validation loss of every epoch to a trial, and ends a trial that lags behind."""

    def __init__(self, trial: "optuna.Trial") -> None:
        self.trial = trial

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self.trial.report(float(trainer.callback_metrics["val_loss"]), step=trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"Trial was pruned at epoch {trainer.current_epoch}.")


class Epochs(Callback):
    """Counts the epochs that were trained."""

    def __init__(self) -> None:
        self.n_trained = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.n_trained += 1


@pytest.fixture(autouse=True)
def _quiet_optuna() -> Any:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(level)


def _study(model_name: str) -> tuple[optuna.Study, dict[int, int]]:
    """Run three trials, the first of which is much better than the others; return it and their numbers of epochs."""
    n_trained: dict[int, int] = {}

    def loss(trial: optuna.Trial) -> float:
        learning_rate = trial.suggest_float("lr", 1e-8, 1e-1, log=True)
        epochs = Epochs()
        model = make_model(
            model_name,
            n_epochs=EPOCHS,
            optimizer_kwargs={"lr": learning_rate},
            pl_trainer_kwargs={"callbacks": [Pruning(trial), epochs]},
        )
        try:
            model.fit(make_series(80), val_series=make_series(40, seed=1))
        finally:
            n_trained[trial.number] = epochs.n_trained
        return float(model.trainer.callback_metrics["val_loss"])

    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=1),
    )
    for learning_rate in (1e-2, 1e-7, 1e-8):
        study.enqueue_trial({"lr": learning_rate})
    study.optimize(loss, n_trials=3)
    return study, n_trained


def test_hopeless_trials_are_pruned_while_they_train_and_take_the_fast_path(
    model_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "seq_plugins"):
        study, n_trained = _study(model_name)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED]
    assert n_trained[0] == EPOCHS
    assert n_trained[1] < EPOCHS
    assert n_trained[2] < EPOCHS
    assert study.best_params == {"lr": 1e-2}
    assert len(study.trials[1].intermediate_values) == n_trained[1] + 1
    paths = {record.getMessage() for record in caplog.records if "Training takes" in record.getMessage()}
    assert paths == {"Training takes the fast path."}


def test_a_study_with_the_same_seed_gives_the_same_numbers() -> None:
    (one, _), (other, _) = _study("SimpleRNNModel"), _study("SimpleRNNModel")
    assert [trial.intermediate_values for trial in one.trials] == [trial.intermediate_values for trial in other.trials]
