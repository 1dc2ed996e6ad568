"""What a fit and a prediction print: the progress bar, and what concerns the user."""

import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from pytorch_lightning.callbacks import ModelSummary

from seq_plugins.lightning.output import _WARNINGS, only_what_concerns_the_user
from tests.conftest import make_model, make_series

_LINES_OF_A_BAR = re.compile(r"\s*(Sanity Checking|Training|Epoch \d+|Validation|Predicting)\b")

_DEFAULT_USE = """
import sys

import numpy as np
import pytorch_lightning.trainer.connectors.data_connector as data_connector
import torchmetrics
from darts import TimeSeries

from seq_plugins import LinearModel

data_connector.suggested_max_num_workers = lambda n_devices: 8  # as on a machine with many processors

series = TimeSeries.from_values(np.sin(np.arange(80) / 5).astype(np.float32))
given = {"input_chunk_length": 12, "output_chunk_length": 3, "n_epochs": 2, "random_state": 1}


def say(what):
    print("--", what, file=sys.stderr)


say("fit and predict")
model = LinearModel(**given)
model.fit(series)
model.predict(3)
say("validated, with metrics")
model = LinearModel(**given, torch_metrics=torchmetrics.MeanSquaredError(), save_checkpoints=True, model_name="saved")
model.fit(series, val_series=series)
model.fast_prediction = False
model.predict(3)
say("loaded")
model.save("model.pt")
LinearModel.load("model.pt").predict(3)
LinearModel.load_from_checkpoint("saved").historical_forecasts(series, retrain=False)
say("refitted")
LinearModel(**given).historical_forecasts(series, retrain=True, start=0.95, forecast_horizon=3)
say("a warning of one's own")
import warnings

warnings.warn("mine")
"""


def test_a_user_sees_the_progress_bar_and_what_concerns_them() -> None:
    """With the filters that Python has by default, and as Lightning sets its loggers up."""
    done = subprocess.run(
        [sys.executable, "-c", _DEFAULT_USE],
        env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    bar, others = _split(done.stderr + done.stdout)
    assert bar
    assert others[:-1] == [
        "-- fit and predict",
        "-- validated, with metrics",
        "-- loaded",
        "-- refitted",
        "-- a warning of one's own",
    ]
    assert others[-1].endswith("UserWarning: mine")


def _split(printed: str) -> tuple[list[str], list[str]]:
    """Return the lines of progress bars, and the others."""
    lines = [line.replace("\x1b[A", "") for line in re.split(r"[\r\n]", printed)]
    lines = [line for line in lines if line.strip()]
    return [line for line in lines if _LINES_OF_A_BAR.match(line)], [
        line for line in lines if not _LINES_OF_A_BAR.match(line)
    ]


@pytest.mark.parametrize("trainer", [{"enable_model_summary": True}, {"callbacks": [ModelSummary()]}])
def test_the_networks_table_is_for_those_who_ask_for_it(
    trainer: dict[str, object], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="pytorch_lightning"):
        make_model("LinearModel", pl_trainer_kwargs=trainer).fit(make_series())
    assert "Trainable params" in caplog.text


def test_what_concerns_others_is_told_to_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads that use Lightning hear all of it, and in this one what tells of a GPU."""
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "propagate", True)
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    with caplog.at_level(logging.INFO, logger="pytorch_lightning"):
        with only_what_concerns_the_user():
            logger.info("GPU available: False, used: False")
            logger.info("GPU available: True (cuda), used: False")
            other = threading.Thread(target=logger.info, args=("GPU available: False, used: False, says another",))
            other.start()
            other.join()
        logger.info("`Trainer.fit` stopped: `max_epochs=2` reached.")
    assert list(dict.fromkeys(caplog.messages)) == [
        "GPU available: True (cuda), used: False",
        "GPU available: False, used: False, says another",
        "`Trainer.fit` stopped: `max_epochs=2` reached.",
    ]


def test_filters_of_warnings_are_those_of_before_when_the_last_of_several_threads_has_ended() -> None:
    before = list(warnings.filters)
    first, second = only_what_concerns_the_user(), only_what_concerns_the_user()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(first.__enter__).result()
        second.__enter__()
        during = list(warnings.filters)
        pool.submit(first.__exit__, None, None, None).result()
        assert list(warnings.filters) == during != before
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before


def test_no_filter_is_left_behind_where_somebody_else_puts_filters_back() -> None:
    before = list(warnings.filters)
    quiet, others = only_what_concerns_the_user(), warnings.catch_warnings()
    quiet.__enter__()
    others.__enter__()
    quiet.__exit__(None, None, None)
    others.__exit__(None, None, None)
    assert list(warnings.filters) == before


def test_a_filter_of_the_users_own_stays() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        before = list(warnings.filters)
        with only_what_concerns_the_user():
            assert len(warnings.filters) == len(before) + len(_WARNINGS) - 1
        assert list(warnings.filters) == before
