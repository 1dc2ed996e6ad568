"""Cases of ``python -m benchmarks speed`` about forecasts that are asked for one by one, as a service does."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from darts import TimeSeries

from benchmarks.core.errors import MissingRivalError
from benchmarks.core.timing import Case, Goal, Rival, Turn, timed

MILLISECONDS_OF_ONE = 2
N_THREADS = 8


@dataclass(frozen=True)
class PredictWork:
    """Forecasts to be made.

    Parameters
    ----------
    fit
        Makes a fitted model of a side, ``"ours"`` or ``"darts"``.
    series
        Series to forecast.
    horizon
        Time steps to forecast, at most the model's.
    n_calls
        Calls in a turn.
    threads
        Threads of each.
    """

    fit: Callable[[str], Any]
    series: Sequence[TimeSeries]
    horizon: int
    n_calls: int
    threads: int

    def predict(self, side: str) -> Callable[[], object]:
        """Return the call that forecasts one series with a model that has been loaded."""
        model = self._loaded(side)
        return lambda: model.predict(self.horizon, series=self.series[0], verbose=False)

    def predict_all(self, side: str) -> Callable[[], object]:
        """Return the call that forecasts all series."""
        model = self._loaded(side)
        return lambda: model.predict(self.horizon, series=self.series, verbose=False)

    def run_network_alone(self) -> Callable[[], object]:
        """Return the call that runs our network in ONNX Runtime, on an array that is there."""
        try:
            import onnxruntime
        except ImportError:
            raise MissingRivalError("onnxruntime is not installed. pip install onnx onnxscript onnxruntime") from None
        model = self.fit("ours")
        with TemporaryDirectory() as folder:
            model.to_onnx(f"{folder}/network.onnx", verbose=False)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            session = onnxruntime.InferenceSession(f"{folder}/network.onnx", options)
        window = self.series[0].values()[None, -model.input_chunk_length :].astype(np.float32)
        return lambda: session.run(["prediction"], {"past_target": window})

    def _loaded(self, side: str) -> Any:
        model = self.fit(side)
        with TemporaryDirectory() as folder:
            path = str(Path(folder) / "model.pt")
            model.save(path)
            return type(model).load(path, pl_trainer_kwargs={"enable_progress_bar": False, "logger": False})


def make_predict_cases(work: PredictWork) -> list[Case]:
    """Return the cases of single forecasts."""
    settings = {"horizon": work.horizon, "n_calls": work.n_calls, "n_series": len(work.series)}

    def percentile(percent: float, side: str) -> Turn:
        call = timed(work.predict(side))
        return lambda: float(np.percentile([call() for _ in range(work.n_calls)], percent))

    median, slow = partial(percentile, 50), partial(percentile, 99)

    goal = Goal(
        f"10 times, under {MILLISECONDS_OF_ONE} ms",
        lambda ours, theirs: theirs >= 10 * ours and ours * 1_000 < MILLISECONDS_OF_ONE,
    )
    text = f"predict({work.horizon}) of one series, loaded model"
    onnx = Rival("onnxruntime", lambda: timed(work.run_network_alone(), work.n_calls))
    one = [Rival("darts", partial(median, "darts"), goal), onnx]
    all_series = [Rival("darts", lambda: timed(work.predict_all("darts")))]
    return [
        Case("predict-one", f"{text}, median", partial(median, "ours"), one, settings),
        Case(
            "predict-one-p99",
            "the same, 99th percentile",
            partial(slow, "ours"),
            [Rival("darts", partial(slow, "darts"))],
            settings,
        ),
        Case(
            "predict-many",
            f"predict({work.horizon}) of {len(work.series):,} series in one call",
            lambda: timed(work.predict_all("ours")),
            all_series,
            settings,
        ),
        Case(
            "predict-threads",
            f"predict-one from {N_THREADS} threads, seconds of a call",
            lambda: _turn_of_threads(work.predict("ours"), work.n_calls, N_THREADS),
            [Rival("ours, one thread", lambda: _turn_of_threads(work.predict("ours"), work.n_calls, 1))],
            settings,
        ),
    ]


def _turn_of_threads(call: Callable[[], object], n_calls: int, n_threads: int) -> Turn:
    """Return a turn that divides calls among threads, and gives the seconds of all over their number."""

    def run() -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(n_threads) as pool:
            for _ in pool.map(lambda _: call(), range(n_calls)):
                pass
        return (time.perf_counter() - start) / n_calls

    return run
