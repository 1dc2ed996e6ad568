"""A first fit that does not end leaves a model that is not fitted, and says so."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from pytorch_lightning.callbacks import Callback

from seq_plugins import LinearModel
from seq_plugins.models import SequenceModel
from tests.conftest import OUTPUT, make_model, make_series, values_of

SERIES, VALIDATION_SERIES = make_series(63), make_series(51, seed=3)


class Interrupts(Callback):
    """Presses Ctrl+C, or fails, at the end of an epoch, once.

    Parameters
    ----------
    how
        ``"interrupted"``, or else.
    """

    def __init__(self, how: str) -> None:
        self.how, self.is_over = how, False

    def __deepcopy__(self, memo: Any) -> "Interrupts":
        return self

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self.is_over or trainer.current_epoch == 0:
            return
        self.is_over = True
        if self.how == "interrupted":
            os.kill(os.getpid(), signal.SIGINT)
        raise LookupError("of my own")


def _unfinished(how: str, **arguments: Any) -> SequenceModel:
    trainer = {"callbacks": [Interrupts(how)]}
    work_dir = str(Path.cwd() / "runs")
    model = make_model("LinearModel", n_epochs=3, work_dir=work_dir, pl_trainer_kwargs=trainer, **arguments)
    if how != "never made":
        with pytest.raises((SystemExit, LookupError)):
            model.fit(SERIES, val_series=VALIDATION_SERIES)
    return model


USES: dict[str, Callable[[SequenceModel], Any]] = {
    "predict": lambda model: model.predict(OUTPUT),
    "predict of a series": lambda model: model.predict(OUTPUT, series=SERIES),
    "historical_forecasts": lambda model: model.historical_forecasts(SERIES, retrain=False),
    "residuals": lambda model: model.residuals(SERIES, retrain=False),
    "to_onnx": lambda model: model.to_onnx("model.onnx"),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("how", ["interrupted", "failed", "never made"])
def test_a_model_without_a_fit_that_ended_says_that_it_is_not_fitted(how: str, use: str) -> None:
    model = _unfinished(how)
    with pytest.raises(ValueError, match=r"not fitted|not been fitted|needs to be called before"):
        USES[use](model)
    assert model.epochs_trained == 0


@pytest.mark.parametrize(
    ("how", "saves", "message"),
    [
        ("interrupted", False, r"Its first fit was interrupted, .* with `save_checkpoints=True`"),
        ("failed", False, r"Its first fit was ended by a LookupError, .* with `save_checkpoints=True`"),
        ("interrupted", True, r"load the last whole epoch: `LinearModel.load_from_checkpoint\("),
        ("never made", False, r"Call `fit` first"),
    ],
)
def test_the_error_says_what_to_do(how: str, saves: bool, message: str) -> None:
    model = _unfinished(how, save_checkpoints=saves)
    with pytest.raises(ValueError, match=message):
        model.predict(OUTPUT)


def test_the_remedy_works() -> None:
    model = _unfinished("interrupted", save_checkpoints=True)
    with pytest.raises(ValueError, match="load the last whole epoch") as caught:
        model.predict(OUTPUT)
    call = str(caught.value).split("`")[-2]
    loaded = eval(call.replace(")", ", trusted=True)"), {"LinearModel": LinearModel})  # noqa: S307
    assert Path(loaded.load_ckpt_path).name == "last-epoch=0.ckpt"
    assert len(loaded.predict(OUTPUT, series=SERIES)) == OUTPUT


@pytest.mark.parametrize("how", ["interrupted", "failed"])
def test_a_model_whose_first_fit_did_not_end_is_fitted_again_as_if_for_the_first_time(how: str) -> None:
    model = _unfinished(how).fit(SERIES)
    expected = make_model("LinearModel", n_epochs=3).fit(SERIES)
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT)), values_of(expected.predict(OUTPUT)))


def test_weights_can_be_loaded_and_the_model_saved_after_a_fit_that_did_not_end(tmp_path: Path) -> None:
    fitted = make_model("LinearModel").fit(SERIES)
    fitted.save(tmp_path / "fitted.pt")
    model = _unfinished("interrupted")
    model.save(tmp_path / "unfinished.pt")
    assert not (tmp_path / "unfinished.pt.ckpt").exists()
    model.load_weights(tmp_path / "fitted.pt")
    np.testing.assert_array_equal(
        values_of(model.predict(OUTPUT, series=SERIES)), values_of(fitted.predict(OUTPUT, series=SERIES))
    )


def test_a_later_fit_that_is_interrupted_leaves_the_network_as_far_as_it_came() -> None:
    interrupts = Interrupts("interrupted")
    interrupts.is_over = True
    model = make_model("LinearModel", n_epochs=3, pl_trainer_kwargs={"callbacks": [interrupts]}).fit(SERIES)
    before: TimeSeries = model.predict(OUTPUT)
    interrupts.is_over = False
    with pytest.raises(SystemExit):
        model.fit(SERIES)
    assert not np.array_equal(values_of(model.predict(OUTPUT)), values_of(before))


@pytest.mark.parametrize("given", [{"series": make_series(components=2)}, {"series": make_series(5)}])
def test_a_later_fit_that_is_refused_leaves_the_model_as_it_was(model_name: str, given: dict[str, Any]) -> None:
    model = make_model(model_name).fit(make_series())
    expected = values_of(model.predict(OUTPUT))
    with pytest.raises(ValueError, match="series"):
        model.fit(**given)
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT)), expected)


class FailsAtTheStart(Callback):
    """Fails before the first batch of a second fit."""

    def __init__(self) -> None:
        self.n_fits = 0

    def on_fit_start(self, *args: Any) -> None:
        self.n_fits += 1
        if self.n_fits > 1:
            raise LookupError


def test_a_later_fit_that_fails_before_its_first_batch_leaves_the_model_as_it_was() -> None:
    model = make_model("SimpleRNNModel", pl_trainer_kwargs={"callbacks": [FailsAtTheStart()]}).fit(make_series())
    expected, trainer = values_of(model.predict(OUTPUT)), model.model._trainer
    with pytest.raises(LookupError):
        model.fit(make_series(50, seed=1))
    assert (model.epochs_trained, model.model._trainer) == (1, trainer)
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT)), expected)
