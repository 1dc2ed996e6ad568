"""A fitted model is trained a little further: at which rate, on what, and when that is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping

from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, OUTPUT, make_model, make_series

N_BATCHES = 4
SERIES, LONGER = make_series(63), make_series(75)


class _LearningRates(Callback):
    """Notes the learning rate of each update of the weights."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def _fitted(model_name: str = "LinearModel", *callbacks: Callback, **arguments: Any) -> SequenceModel:
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "callbacks": [*callbacks]}
    return make_model(
        model_name, optimizer_kwargs={"lr": 0.02}, batch_size=12, pl_trainer_kwargs=trainer, **arguments
    ).fit(SERIES)


def test_an_update_is_a_few_epochs_at_a_rate_that_falls_to_zero(model_name: str) -> None:
    model, by_hand = _fitted(model_name), _fitted(model_name)
    assert model.update(LONGER, epochs=2) is model
    network = by_hand.model
    n_updates = 2 * -(-(len(LONGER) - INPUT - OUTPUT + 1) // 12)
    network.optimizer_kwargs = {"lr": 0.002}
    network.lr_scheduler_cls = torch.optim.lr_scheduler.CosineAnnealingLR
    network.lr_scheduler_kwargs = {"T_max": n_updates, "interval": "step"}
    by_hand.fit(LONGER, epochs=2)
    assert model.predict(OUTPUT, LONGER) == by_hand.predict(OUTPUT, LONGER)
    assert model.predict(OUTPUT, LONGER) != _fitted(model_name).predict(OUTPUT, LONGER)


@pytest.mark.parametrize("given", [None, 0.5])
@pytest.mark.parametrize("fast", [True, False])
def test_the_rate_of_an_update_starts_from_a_tenth_or_from_what_is_given(given: float | None, fast: bool) -> None:
    seen = _LearningRates()
    model = _fitted(
        "LinearModel", seen, lr_scheduler_cls=torch.optim.lr_scheduler.ExponentialLR, lr_scheduler_kwargs={"gamma": 0.1}
    )
    model.fast_training = fast
    seen.rates.clear()
    model.update(SERIES, epochs=3, learning_rate=given)
    assert len(seen.rates) == 3 * N_BATCHES
    assert seen.rates[0] == pytest.approx(given or 0.002)
    assert sorted(seen.rates, reverse=True) == seen.rates
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_a_fit_after_an_update_is_a_fit_like_any_other() -> None:
    seen = _LearningRates()
    model = _fitted("LinearModel", seen)
    model.update(SERIES)
    seen.rates.clear()
    model.fit(SERIES, epochs=1)
    assert seen.rates == [0.02] * N_BATCHES


def test_an_update_goes_on_from_a_saved_model(model_name: str, tmp_path: Path) -> None:
    model = _fitted(model_name)
    model.save(str(tmp_path / "model.pt"))
    loaded = type(model).load(str(tmp_path / "model.pt"))
    assert loaded.update(LONGER, epochs=1).predict(OUTPUT) == model.update(LONGER, epochs=1).predict(OUTPUT)


def test_an_update_without_validation_does_not_stop_early() -> None:
    seen, stopper = _LearningRates(), EarlyStopping("val_loss", patience=1, min_delta=1e9)
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "callbacks": [seen, stopper]}
    model = make_model("LinearModel", batch_size=12, n_epochs=20, pl_trainer_kwargs=trainer)
    model.fit(SERIES, val_series=LONGER)
    assert len(seen.rates) == 2 * N_BATCHES
    seen.rates.clear()
    model.update(SERIES, epochs=4)
    assert len(seen.rates) == 4 * N_BATCHES
    seen.rates.clear()
    model.update(SERIES, epochs=4, val_series=LONGER)
    assert len(seen.rates) == 2 * N_BATCHES
    seen.rates.clear()
    model.update(SERIES, None, None, LONGER, epochs=4)
    assert len(seen.rates) == 2 * N_BATCHES
    seen.rates.clear()
    model.update(SERIES, epochs=4, val_series=None)
    assert len(seen.rates) == 4 * N_BATCHES


def test_a_model_without_weights_is_not_updated() -> None:
    with pytest.raises(ValueError, match="Expected a model that has been fitted, got one without weights"):
        make_model("LinearModel").update(SERIES)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"epochs": 1.5}, {"learning_rate": 0}, {"learning_rate": "low"}, {"series": 3}]
)
def test_a_wrong_argument_of_an_update_is_refused_by_name(wrong: dict[str, Any]) -> None:
    model = _fitted()
    before = model.predict(OUTPUT)
    with pytest.raises(ValueError, match=f"Expected `{next(iter(wrong))}`"):
        model.update(**{"series": LONGER, **wrong})
    assert model.predict(OUTPUT) == before
