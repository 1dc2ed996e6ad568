"""No model is a shell: each learns what it can learn, on made and on real data."""

import math
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.metrics import mae
from darts.models import NaiveSeasonal

from benchmarks.harness.entries import find_entries
from benchmarks.harness.forecasts import RunResult
from benchmarks.harness.plan import Plan, plan_runs
from benchmarks.harness.run import make_run
from benchmarks.harness.series import TaskData
from benchmarks.harness.task import read_task
from tests.conftest import make_model


def _pattern_with_trend(length: int) -> TimeSeries:
    steps = np.arange(length)
    pattern = np.array([0.0, 1.0, 1.2, 1.1, 0.9, 0.3, -0.4])
    values = (pattern[steps % 7] + 0.05 * steps).astype(np.float32)
    return TimeSeries.from_values(values)


def test_a_weekly_pattern_with_a_trend_is_learnt_to_a_twentieth_of_the_seasonal_naive_s_error(model_name: str) -> None:
    series, horizon = _pattern_with_trend(260), 7
    train = series[:200]
    arguments: dict[str, Any] = {
        "input_chunk_length": 28,
        "output_chunk_length": horizon,
        "use_reversible_instance_norm": True,  # the trend leads beyond the values seen in training
        "n_epochs": 200,
        "optimizer_kwargs": {"lr": 0.01},
        "lr_scheduler_cls": torch.optim.lr_scheduler.CosineAnnealingLR,
        "lr_scheduler_kwargs": {"T_max": 200},
    }
    model = make_model(model_name, **arguments).fit(train)
    forecasts = model.historical_forecasts(
        series,
        start=200,
        forecast_horizon=horizon,
        retrain=False,
        last_points_only=False,
        show_warnings=False,
    )
    naive = NaiveSeasonal(7).historical_forecasts(
        series, start=200, forecast_horizon=horizon, last_points_only=False, show_warnings=False
    )
    error, naive_error = (statistics.fmean(mae(series, forecast) for forecast in made) for made in (forecasts, naive))
    assert naive_error == pytest.approx(7 * 0.05, rel=1e-3)
    assert error < 0.05 * naive_error


def test_a_network_depends_on_known_covariates_where_the_target_does() -> None:
    """A day type that nobody could guess from the past decides each value."""
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 2, 400).astype(np.float32)
    target = TimeSeries.from_values(kinds * 2 + 1 + 0.01 * generator.standard_normal(400).astype(np.float32))
    covariates = TimeSeries.from_values(kinds)
    for name in ("LinearModel", "Seq2SeqRNNModel", "Conv1DGRUModel", "WaveNetModel"):
        model = make_model(name, n_epochs=30, optimizer_kwargs={"lr": 0.01})
        model.fit(target[:300], future_covariates=covariates)
        forecasts = model.historical_forecasts(
            target,
            future_covariates=covariates,
            start=300,
            forecast_horizon=4,
            retrain=False,
            last_points_only=False,
            show_warnings=False,
        )
        error = statistics.fmean(mae(target, forecast) for forecast in forecasts)
        assert error < 0.1, name


@pytest.mark.slow
def test_on_the_shipped_data_sequence_to_sequence_beats_the_rivals_in_the_median_of_three_seeds() -> None:
    """The main job's task, with the same epochs and inputs for all; fewer years and epochs, for the time's sake."""
    task = read_task("chicago").load()
    train = replace(task.train, start=pd.Timestamp("2011-01-01"))
    plan = Plan(replace(task, train=train, training=task.training | {"n_epochs": 12}))
    (truth,) = (TaskData(plan.task).truth(period) for period in plan.task.tests)
    rivals = ["NaiveSeasonal", "LinearRegressionModel", "BlockRNNModel-GRU"]
    ours = ["Seq2SeqRNNModel-GRU", "Conv1DGRUModel-GRU"]
    of_seeds: dict[str, list[float]] = {}
    for (run,) in plan_runs(plan, find_entries([*rivals, *ours], plan.task), 3):
        result = make_run(plan, run)
        assert isinstance(result, RunResult), result
        of_seeds.setdefault(run.model, []).append(float(np.abs(result.forecasts[0].predicted - truth).mean()))
    errors = {name: statistics.median(of_model) for name, of_model in of_seeds.items()}
    best_rival = min(errors[name] for name in rivals)
    assert not math.isnan(best_rival)
    for name in ours:
        assert errors[name] < best_rival, errors


def _courses(n_courses: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return prices, and the sales of 15 weeks, that start higher and fall faster the lower the price is."""
    generator, weeks = np.random.default_rng(seed), np.arange(15)
    prices = generator.uniform(1, 2, (n_courses, 1))
    sold = (3 - prices) * np.exp(-weeks / (5 * prices)) + generator.normal(0, 0.05, (n_courses, 15))
    return prices.astype(np.float32), sold.astype(np.float32)


@pytest.mark.parametrize("missing", ["error", "mask"], ids=["from the first week", "from nothing but the price"])
def test_courses_follow_their_descriptions_beyond_the_mean_curve_and_about_as_well_as_with_lightgbm(
    missing: str,
) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    (prices, sold), (new_prices, truth) = _courses(120, seed=1), _courses(40, seed=2)
    first_weeks = sold[:, :1], truth[:, :1]
    if missing == "mask":
        sold[:, 0], truth[:, 0] = np.nan, np.nan

    def to_series(price: float, values: np.ndarray) -> TimeSeries:
        return TimeSeries.from_values(values, static_covariates=pd.DataFrame({"price": [price]}, dtype=np.float32))

    model = make_model(
        "SimpleRNNModel",
        input_chunk_length=1,
        output_chunk_length=14,
        hidden_dim=32,
        hidden_fc_sizes=[32],
        n_epochs=30,
        batch_size=16,
        optimizer_kwargs={"lr": 3e-3},
        missing=missing,
        random_state=1,
    ).fit([to_series(price, values) for price, values in zip(prices[:, 0], sold, strict=True)])
    forecasts = model.predict(
        14, [to_series(price, values[:1]) for price, values in zip(new_prices[:, 0], truth, strict=True)]
    )
    error = np.mean([np.abs(made.values()[:, 0] - true[1:]) for made, true in zip(forecasts, truth, strict=True)])
    assert error < 0.75 * np.abs(truth[:, 1:] - sold[:, 1:].mean(axis=0)).mean()

    def to_features(prices: np.ndarray, first_week: np.ndarray) -> np.ndarray:
        known = prices if missing == "mask" else np.hstack([prices, first_week])
        return np.column_stack([known.repeat(14, axis=0), np.tile(np.arange(14), len(known))])

    trees = lightgbm.LGBMRegressor(n_jobs=1, verbose=-1, random_state=1)
    trees.fit(to_features(prices, first_weeks[0]), sold[:, 1:].ravel())
    error_of_trees = np.abs(trees.predict(to_features(new_prices, first_weeks[1])) - truth[:, 1:].ravel()).mean()
    assert error < 1.15 * error_of_trees
