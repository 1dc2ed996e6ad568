"""What tests share: small series, quick models, quiet training."""

import logging
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from hypothesis import HealthCheck, settings

import seq_plugins
from seq_plugins.models import SequenceModel

INPUT, OUTPUT = 12, 4
THREADS = int(os.environ.get("SEQ_PLUGINS_TEST_THREADS", "1"))  # small networks are fastest in one
ACCELERATOR = os.environ.get("SEQ_PLUGINS_TEST_ACCELERATOR", "cpu")  # "gpu" runs the contract on one
MODEL_NAMES: list[str] = [*seq_plugins.models.MODEL_MODULES]

# a shell's script starts what runs in the background deaf to it, and tests interrupt themselves
signal.signal(signal.SIGINT, signal.default_int_handler)

# the same cases in each ordinary run; other and more ones in `make fuzz`; no file is kept of either
_DRAWN: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ordinary", derandomize=True, max_examples=100, **_DRAWN)
settings.register_profile("fuzz", derandomize=False, max_examples=1000, **_DRAWN)
settings.load_profile("ordinary")


@pytest.fixture(autouse=True)
def _quiet_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as are asked for, no chatter, and files written nowhere but in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("pytorch_lightning", "lightning_fabric"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.ERROR)
    torch.set_num_threads(THREADS)
    # an export to ONNX in an earlier test switches it off for the whole process
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)


@pytest.fixture(params=MODEL_NAMES)
def model_name(request: pytest.FixtureRequest) -> str:
    """Every public model."""
    name: str = request.param
    return name


def takes(name: str, argument: str) -> bool:
    """Whether a model's constructor names an argument."""
    return argument in getattr(seq_plugins, name).__init__.__annotations__


@pytest.fixture(params=[name for name in MODEL_NAMES if takes(name, "recurrent_dropout")])
def recurrent_model_name(request: pytest.FixtureRequest) -> str:
    """Every public model with recurrent layers."""
    name: str = request.param
    return name


def make_model(name: str, **arguments: Any) -> SequenceModel:
    """Make a small model that trains for one epoch, unless told otherwise."""
    defaults: dict[str, Any] = {
        "input_chunk_length": INPUT,
        "output_chunk_length": OUTPUT,
        "n_epochs": 1,
        "batch_size": 16,
        "random_state": 1,
    }
    if takes(name, "hidden_dim"):
        defaults["hidden_dim"] = 8
    trainer = {"accelerator": ACCELERATOR, "enable_progress_bar": False, "enable_model_summary": False}
    trainer |= arguments.pop("pl_trainer_kwargs", {})
    model: SequenceModel = getattr(seq_plugins, name)(**(defaults | arguments), pl_trainer_kwargs=trainer)
    return model


def make_series(
    length: int = 40,
    components: int = 1,
    freq: str | int = "D",
    seed: int = 0,
    dtype: Any = np.float32,
    start: int = 0,
    samples: int = 1,
) -> TimeSeries:
    """Make a weekly pattern with noise, starting `start` steps after the usual first time."""
    generator = np.random.default_rng(seed)
    steps = np.arange(start, start + length)
    pattern = np.sin(2 * np.pi * steps / 7)[:, None, None] * (1 + np.arange(components))[None, :, None]
    values = (pattern + 0.1 * generator.standard_normal((length, components, samples))).astype(dtype)
    if isinstance(freq, int):
        times: pd.Index = pd.RangeIndex(start * freq, (start + length) * freq, freq)
    else:
        times = pd.date_range("2020-01-01", periods=start + length, freq=freq)[start:]
    return TimeSeries.from_times_and_values(times, values)


def with_static_covariates(series: TimeSeries, value: float = 1.0, per_component: bool = False) -> TimeSeries:
    """Add two static covariates, for the whole series or for each component."""
    rows = series.n_components if per_component else 1
    frame = pd.DataFrame({"size": [value * (row + 1) for row in range(rows)], "age": [0.5 * value] * rows})
    return series.with_static_covariates(frame.astype(series.dtype))


def values_of(series: TimeSeries) -> np.ndarray:
    """Return all values, `(time, component, sample)`."""
    values: np.ndarray = series.all_values(copy=False)
    return values
