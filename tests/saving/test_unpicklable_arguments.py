"""What can't be pickled is left out of a model's file, and stops no fit."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging, LambdaCallback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import PassThroughProfiler

from seq_plugins.models import SequenceModel
from tests.conftest import OUTPUT, make_model, make_series, values_of

SERIES = make_series(63)


def _logger() -> Logger:
    class Local(Logger):
        name = version = "local"
        epochs = 0

        def __deepcopy__(self, memo: Any) -> "Local":
            return self

        def log_metrics(self, *args: Any, **kwargs: Any) -> None:
            Local.epochs += 1

        def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
            pass

    return Local()


def _profiler() -> PassThroughProfiler:
    profiler = PassThroughProfiler()
    profiler.local = lambda: None  # type: ignore[attr-defined]
    return profiler


CASES: dict[str, dict[str, Any]] = {
    "EMAWeightAveraging of `callbacks`": {"callbacks": [EarlyStopping("train_loss"), EMAWeightAveraging()]},
    "LambdaCallback of `callbacks`": {"callbacks": [LambdaCallback(on_train_epoch_end=lambda *args: None)]},
    "Local of `logger`": {"logger": _logger(), "log_every_n_steps": 1},
    "PassThroughProfiler of `profiler`": {"profiler": _profiler()},
}


@pytest.mark.parametrize("left_out", CASES)
def test_a_fit_with_checkpoints_goes_on_without_what_cant_be_pickled_in_its_file(
    left_out: str, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = CASES[left_out]
    model = make_model(
        "LinearModel",
        n_epochs=2,
        save_checkpoints=True,
        model_name="model",
        work_dir=str(Path.cwd()),
        pl_trainer_kwargs=dict(arguments),
    )
    model.fit(SERIES, val_series=SERIES)
    assert f"{left_out} can't be pickled and is left out of" in caplog.text
    name = left_out.split()[0]
    assert name in {
        type(each).__name__ for value in model.model_params["pl_trainer_kwargs"].values() for each in _all(value)
    }
    loaded = type(model).load_from_checkpoint("model", work_dir=str(Path.cwd()), best=False)
    kept = loaded.model_params["pl_trainer_kwargs"]
    assert name not in {type(each).__name__ for value in kept.values() for each in _all(value)}
    assert kept["accelerator"] == "cpu"
    if "EMA" in left_out:
        assert [type(callback) for callback in kept["callbacks"]] == [EarlyStopping]
    if "logger" in left_out:
        assert loaded.trainer_params["logger"] is False
    assert len(loaded.predict(OUTPUT, series=SERIES)) == OUTPUT


def _all(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def test_saving_tells_what_is_left_out_and_leaves_the_model_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    callback = LambdaCallback(on_train_epoch_end=lambda *args: calls.append(1))
    model: SequenceModel = make_model("LinearModel", pl_trainer_kwargs={"callbacks": [callback]}).fit(SERIES)
    model.save(tmp_path / "model.pt")
    assert f"LambdaCallback of `callbacks` can't be pickled and is left out of {tmp_path / 'model.pt'}" in caplog.text
    loaded = type(model).load(tmp_path / "model.pt")
    np.testing.assert_array_equal(
        values_of(loaded.predict(OUTPUT, series=SERIES)), values_of(model.predict(OUTPUT, series=SERIES))
    )
    model.fit(SERIES)
    loaded.fit(SERIES)
    assert len(calls) == 2


def test_nothing_is_told_where_nothing_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = make_model("LinearModel", pl_trainer_kwargs={"callbacks": [EarlyStopping("train_loss"), Callback()]})
    with caplog.at_level(logging.WARNING, logger="seq_plugins"):
        model.fit(SERIES).save(tmp_path / "model.pt")
    assert "left out" not in caplog.text
