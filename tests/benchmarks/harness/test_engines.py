"""Who makes the runs: the same results everywhere, and no run is lost."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.core.progress import Progress
from benchmarks.harness.engines import Engine, in_processes, in_this_process
from benchmarks.harness.entries import ENTRIES
from benchmarks.harness.forecasts import Failure, RunResult
from benchmarks.harness.plan import Plan, Run, plan_runs
from tests.benchmarks.harness.small_tasks import small_task

MODELS = ("LinearRegressionModel", "Seq2SeqRNNModel-GRU", "TiDEModel")


def make_plan(folder: Path, **changes: Any) -> tuple[Plan, list[Run]]:
    """Return a small plan and its runs."""
    plan = Plan(small_task(folder, **changes))
    return plan, [run for group in plan_runs(plan, [ENTRIES[name] for name in MODELS], 2) for run in group]


def without_seconds(results: Sequence[RunResult | Failure]) -> dict[str, Any]:
    """Return what does not depend on who made it, by run."""
    found = {}
    for result in results:
        assert isinstance(result, RunResult), result
        facts = {name: value for name, value in vars(result).items() if name not in ("forecasts", "fit_seconds")}
        found[result.key] = facts | {"predicted": [made.predicted.tobytes() for made in result.forecasts]}
    return found


@pytest.fixture
def _no_children_left() -> Iterator[None]:
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) == before


@pytest.mark.usefixtures("_no_children_left")
def test_processes_give_the_same_numbers_as_this_process(tmp_path: Path) -> None:
    plan, runs = make_plan(tmp_path)
    here = [made for _, made in in_this_process(Progress("run"))({plan.task.name: plan}, runs)]
    there = [made for _, made in in_processes(2)({plan.task.name: plan}, runs)]
    assert without_seconds(here) == without_seconds(there)
    assert len(here) == 5
    assert all(isinstance(result, RunResult) and np.isfinite(result.fit_seconds) for result in there)


def kill_worker(path: str, times: int) -> None:
    """Kill this process unless it has been killed often enough; the deaths are counted in a file."""
    deaths = Path(path)
    count = len(deaths.read_text()) if deaths.exists() else 0
    if count < times and multiprocessing.parent_process() is not None:
        deaths.write_text("x" * (count + 1))
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.usefixtures("_no_children_left")
@pytest.mark.parametrize(("times", "dies"), [(1, False), (100, True)])
def test_a_run_whose_process_dies_is_tried_again_and_others_are_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, dies: bool
) -> None:
    plan, runs = make_plan(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    victim = replace(runs[-1], tests=tuple(_deadly_periods(runs[-1], tmp_path / "deaths", times)))
    results = {run.key: made for run, made in in_processes(2)({plan.task.name: plan}, [*runs[:2], victim, runs[2]])}
    assert set(results) == {run.key for run in [*runs[:3], victim]}
    died = results.pop(victim.key)
    assert isinstance(died, Failure) == dies
    if isinstance(died, Failure):
        assert "its process died 3 times" in died.error
    assert all(isinstance(result, RunResult) for result in results.values())


def _deadly_periods(run: Run, path: Path, times: int) -> Iterator[Any]:
    for period in run.tests:
        yield DeadlyPeriod(period, str(path), times)


class DeadlyPeriod:
    """A period that kills the worker that is sent it; it stands for a lack of memory."""

    def __init__(self, period: Any, path: str, times: int) -> None:
        self.period, self.path, self.times = period, path, times

    def __reduce__(self) -> Any:
        return revive, (self.period, self.path, self.times)


def revive(period: Any, path: str, times: int) -> Any:
    """Return the period, if the worker that asks for it lives on."""
    kill_worker(path, times)
    return period


@pytest.mark.usefixtures("_no_children_left")
def test_work_that_is_broken_off_leaves_no_process(tmp_path: Path) -> None:
    plan, runs = make_plan(tmp_path)
    engine: Engine = in_processes(2)
    results = engine({plan.task.name: plan}, runs)
    next(results)
    workers = set(multiprocessing.active_children())
    assert workers
    results.close()  # type: ignore[attr-defined]
    assert not workers & set(multiprocessing.active_children())


def test_a_model_that_fails_is_told_and_others_go_on(tmp_path: Path) -> None:
    plan, runs = make_plan(tmp_path, models={"TiDEModel": {"hidden_size": -1}})
    results = [made for _, made in in_this_process(Progress("run"))({plan.task.name: plan}, runs)]
    failures = [result for result in results if isinstance(result, Failure)]
    assert [failure.key for failure in failures] == ["TiDEModel-seed-1", "TiDEModel-seed-2"]
    assert "Error: " in failures[0].error
    assert "\n" not in failures[0].error
    assert len(results) == 5
