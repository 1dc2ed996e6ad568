"""A grid search over our models, one after the other and in parallel."""

import itertools
from typing import Any

import pytest
from darts.metrics import mae

import seq_plugins
from tests.conftest import INPUT, OUTPUT, make_series

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}


GRID: dict[str, list[Any]] = {
    "input_chunk_length": [INPUT],
    "output_chunk_length": [OUTPUT],
    "n_epochs": [1, 3],
    "optimizer_kwargs": [{"lr": 1e-2}, {"lr": 1e-6}],
    "random_state": [1],
    "pl_trainer_kwargs": [QUIET],
}


def _search(model_name: str, n_jobs: int, **arguments: Any) -> tuple[dict[str, Any], float]:
    model_class = getattr(seq_plugins, model_name)
    _, best, error = model_class.gridsearch(GRID, make_series(60), n_jobs=n_jobs, metric=mae, **arguments)
    return best, error


def test_the_best_settings_are_those_of_the_smallest_error(model_name: str) -> None:
    future = make_series(OUTPUT, start=60)
    errors = []
    for values in itertools.product(*GRID.values()):
        settings = dict(zip(GRID, values, strict=True))
        model = getattr(seq_plugins, model_name)(**settings).fit(make_series(60))
        errors.append((mae(future, model.predict(OUTPUT)), settings))
    smallest, best = min(errors, key=lambda entry: entry[0])
    found, error = _search(model_name, 1, val_series=future)
    assert found == best
    assert error == pytest.approx(smallest, rel=1e-6)


@pytest.mark.slow
def test_searches_in_parallel_and_one_after_the_other_agree(model_name: str) -> None:
    for arguments in (
        {"val_series": make_series(OUTPUT, start=60)},
        {"forecast_horizon": OUTPUT, "start": -OUTPUT - 1, "start_format": "position"},
    ):
        one, both = _search(model_name, 1, **arguments), _search(model_name, 2, **arguments)
        assert one[0] == both[0]
        assert one[1] == pytest.approx(both[1], rel=1e-5)
