"""An exported network in ONNX Runtime, in a process that can import neither PyTorch nor Darts."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression

from tests.conftest import INPUT, MODEL_NAMES, OUTPUT, make_model, make_series, values_of, with_static_covariates

SCRIPT = """
import sys
for name in ("torch", "darts", "pytorch_lightning", "seq_plugins", "pandas"):
    sys.modules[name] = None  # importing it raises an error
import numpy as np, onnxruntime
for folder in sys.argv[1:]:
    window = dict(np.load(f"{folder}/window.npz"))
    session = onnxruntime.InferenceSession(f"{folder}/network.onnx")
    given = {entry.name: window[entry.name] for entry in session.get_inputs()}
    assert given.keys() == window.keys(), (given.keys(), window.keys())
    np.save(f"{folder}/prediction.npy", session.run(["prediction"], given)[0])
try:
    import torch
except ImportError:
    print("done without PyTorch")
"""


def _window(series: TimeSeries, covariates: TimeSeries) -> dict[str, np.ndarray]:
    """Cut what the network sees of the last window, `(1, time, feature)`, without help from Darts' data sets."""
    n = len(series)
    static = series.static_covariates.to_numpy()
    return {
        "past_target": values_of(series)[None, n - INPUT :, :, 0],
        "past_covariates": values_of(covariates)[None, n - INPUT : n, :, 0],
        "historic_future_covariates": values_of(covariates)[None, n - INPUT : n, :, 0],
        "future_covariates": values_of(covariates)[None, n : n + OUTPUT, :, 0],
        "static_covariates": static[None].astype(np.float32),
    }


@pytest.mark.filterwarnings(
    # PyTorch's exporter calls what it has deprecated itself, and names one dimension for several inputs
    "ignore:_check_is_size will be removed:FutureWarning",
    "ignore:# The axis name. batch will not be used",
)
@pytest.mark.parametrize("names", [["Seq2SeqRNNModel"], pytest.param(MODEL_NAMES, marks=pytest.mark.slow)])
def test_networks_give_the_numbers_of_predict_where_neither_pytorch_nor_darts_is(
    names: list[str], tmp_path: Path
) -> None:
    series, covariates = with_static_covariates(make_series(components=2)), make_series(60, components=3, seed=1)
    given = {"past_covariates": covariates, "future_covariates": covariates}
    expected = {}
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        model = make_model(name, likelihood=QuantileRegression([0.1, 0.5, 0.9])).fit(series, **given)
        model.to_onnx(folder / "network.onnx", verbose=False)
        window: dict[str, Any] = _window(series, covariates)
        np.savez(folder / "window.npz", **window)
        expected[name] = values_of(model.predict(OUTPUT, series, predict_likelihood_parameters=True, **given))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *expected], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert done.stdout == "done without PyTorch\n", done.stderr
    for name, forecast in expected.items():
        prediction = np.load(tmp_path / name / "prediction.npy")
        assert prediction.shape == (1, OUTPUT, 2, 3)
        np.testing.assert_allclose(prediction.reshape(OUTPUT, 6, 1), forecast, rtol=1e-4, atol=1e-5)
