"""The folder of results: whole files, one writer, and going on where a run stopped."""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.core.errors import UserError
from benchmarks.harness.forecasts import PeriodForecasts, RunResult
from benchmarks.harness.plan import Run
from benchmarks.harness.results import Results, open_results
from benchmarks.harness.rows import BacktestRow
from tests.benchmarks.harness.small_tasks import small_task

SETTINGS: dict[str, Any] = {"threads": 1, "models": {"TiDEModel": {"hidden_size": 8}}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    task = small_task(tmp_path)
    return Run("sales", "TiDEModel", {}, 1, task.train, task.early_stopping, tuple(task.tests))


def _result(run: Run, quantiles: bool = False) -> RunResult:
    starts = np.array(["2024-04-13", "2024-04-14"], dtype="datetime64[ns]")
    predicted = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    made = PeriodForecasts("test", starts, predicted, np.stack([predicted] * 3, axis=-1) if quantiles else None, 0.5)
    return RunResult(run.key, 1.5, 10, 2, 1, ["past_covariates"], ["future covariates"], 0.25, [1.0], [2.0], [made])


def _row(**changes: Any) -> BacktestRow:
    row: dict[str, Any] = {"task": "sales", "model": "TiDEModel", "seed": 1, "period": "test", "mae": [1.0]}
    return BacktestRow(**row | changes)


@pytest.mark.parametrize("quantiles", [False, True])
def test_what_a_run_has_given_comes_back_as_it_was(tmp_path: Path, run: Run, quantiles: bool) -> None:
    result = _result(run, quantiles)
    with open_results(tmp_path / "out", SETTINGS, resume=False) as results:
        assert results.load(run) is None
        results.store(result)
        found = results.load(run)
    assert found is not None
    assert {**vars(found), "forecasts": None} == {**vars(result), "forecasts": None}
    for name, value in vars(result.forecasts[0]).items():
        np.testing.assert_array_equal(getattr(found.forecasts[0], name), value)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [_row(), _row(seed=2, crps=[0.5], means={"mae": 1.0})]
    with open_results(tmp_path / "out", SETTINGS, resume=False) as results:
        results.append(rows)
    with open_results(tmp_path / "out", SETTINGS, resume=True) as results:
        assert results.rows == rows


def test_a_line_that_was_cut_off_rows_that_failed_and_ensembles_are_made_again(tmp_path: Path, run: Run) -> None:
    with open_results(tmp_path / "out", SETTINGS, resume=False) as results:
        results.append([_row(), _row(seed=2, error="no luck"), _row(seed=None, members=[1, 2])])
    path = tmp_path / "out" / "rows.jsonl"
    whole = path.read_text()
    path.write_text(whole + _row(seed=3).to_json()[:-9])
    with open_results(tmp_path / "out", SETTINGS, resume=True) as results:
        assert results.rows == [_row()]
        assert not results.is_finished([run], ["test"])  # its forecasts are not there
        results.store(_result(run))
        assert results.is_finished([run], ["test"])
        assert not results.is_finished([run], ["test", "another"])
    assert path.read_text() == _row().to_json() + "\n"


def test_rows_with_settings_that_are_tried_are_those_of_no_other_run(tmp_path: Path, run: Run) -> None:
    tried = replace(run, candidate={"hidden_size": 4})
    with open_results(tmp_path / "out", SETTINGS, resume=False) as results:
        results.append([_row(), _row(candidate={"hidden_size": 4})])
        results.store(_result(tried))
    with open_results(tmp_path / "out", SETTINGS, resume=True) as results:
        assert results.is_finished([tried], ["test"])
        assert not results.is_finished([run], ["test"])
        results.drop([tried])
        assert results.rows == [_row()]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"task": 1}', '{"task": "a", "model": "b", "seed": 1, "odd": 2}'])
def test_a_line_that_is_no_row_is_told_with_its_number(tmp_path: Path, line: str) -> None:
    with open_results(tmp_path / "out", SETTINGS, resume=False) as results:
        results.append([_row()])
    path = tmp_path / "out" / "rows.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with (
        pytest.raises(UserError, match=r"line 2 of .* cannot be read"),
        open_results(tmp_path / "out", SETTINGS, resume=True),
    ):
        pass
    assert path.read_text().endswith(line + "\n")


def test_only_the_same_settings_go_on_and_models_may_be_added(tmp_path: Path) -> None:
    def settings(**changes: Any) -> dict[str, Any]:
        return SETTINGS | changes

    with open_results(tmp_path / "out", SETTINGS, resume=False):
        pass
    for changed, told in [
        (settings(threads=2), "threads was 1 there and is 2 now"),
        (settings(models={"TiDEModel": {"hidden_size": 9}}), "models.TiDEModel.hidden_size was 8 there and is 9 now"),
        (settings(extra=[1]), r"extra was None there and is \[1\] now"),
    ]:
        with pytest.raises(UserError, match=told), open_results(tmp_path / "out", changed, resume=True):
            pass
    with open_results(tmp_path / "out", settings(models={"NaiveSeasonal": {}}), resume=True):
        pass
    kept = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert kept["models"] == {"TiDEModel": {"hidden_size": 8}, "NaiveSeasonal": {}}


def test_results_are_not_written_over_and_nothing_goes_on_from_nothing(tmp_path: Path) -> None:
    with open_results(tmp_path / "out", SETTINGS, resume=False) as results:
        results.append([_row()])
    with (
        pytest.raises(UserError, match=r"out holds results already.*--resume"),
        open_results(tmp_path / "out", SETTINGS, resume=False),
    ):
        pass
    with (
        pytest.raises(UserError, match="new holds no results to resume"),
        open_results(tmp_path / "new", SETTINGS, resume=True),
    ):
        pass
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"), open_results(tmp_path / "file", SETTINGS, resume=False):
        pass


HOLD = """
import sys
from pathlib import Path
from benchmarks.harness.results import open_results
with open_results(Path(sys.argv[1]), {"models": {}}, False):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_into_a_folder_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with (
            pytest.raises(UserError, match=r"another run writes to .*out"),
            open_results(tmp_path / "out", {"models": {}}, resume=True),
        ):
            pass
        first.kill()
    with open_results(tmp_path / "out", {"models": {}}, resume=True) as results:
        assert results.rows == []


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Let no file become larger than a number of bytes: like a full disk, writing stops halfway."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_up_is_told_and_leaves_nothing_half_written(
    tmp_path: Path, run: Run, small_disk: Callable[[int], None]
) -> None:
    path = tmp_path / "out" / "rows.jsonl"

    def append(results: Results) -> None:
        results.append([_row(seed=2), _row(seed=3, error="x" * 9000)])

    def fill_up(work: Callable[[Results], None]) -> None:
        with open_results(tmp_path / "out", SETTINGS, resume=path.exists()) as results:
            if not results.rows:
                results.append([_row()])
            small_disk(path.stat().st_size + 20)
            work(results)

    for work in (append, lambda results: results.store(_result(run))):
        with pytest.raises(UserError, match=r"cannot write to .*out: File too large\. Make room"):
            fill_up(work)
        small_disk(resource.RLIM_INFINITY)
        assert path.read_text() == _row().to_json() + "\n"
        assert list((tmp_path / "out" / "forecasts").iterdir()) == []


def test_results_of_several_commands_name_them_all(tmp_path: Path) -> None:
    def made_with(**about: str) -> dict[str, Any]:
        return {**SETTINGS, "threads": 1, "versions": {"python": "3.11"}, "about": [about]}

    with open_results(tmp_path / "out", made_with(command="first", processor="A"), resume=False):
        pass
    with open_results(tmp_path / "out", made_with(command="second", processor="A"), resume=True) as results:
        expected = {"command": "first; second", "processor": "A", "threads": 1, "versions": {"python": "3.11"}}
        assert results.about() == expected


def test_evaluations_are_counted_over_all_results_beside_each_other(tmp_path: Path, run: Run) -> None:
    other = replace(run, seed=2)
    with open_results(tmp_path / "first", SETTINGS, resume=False) as results:
        assert results.count_evaluations(run, ["test", "later"]) == {"test": 1, "later": 1}
        assert results.count_evaluations(other, ["test"]) == {"test": 1}
    assert not (tmp_path / "evaluations.jsonl").exists()  # nothing is written outside of the folder named
    with (tmp_path / "first" / "evaluations.jsonl").open("a") as ledger:
        ledger.write('{"task": "sa\n')  # cut off by a kill
    with open_results(tmp_path / "second", SETTINGS, resume=False) as results:
        assert results.count_evaluations(run, ["test"]) == {"test": 2}
        assert results.count_evaluations(replace(run, task="rents"), ["test"]) == {"test": 1}
        tried = replace(run, candidate={"hidden_size": 4})
        assert results.count_evaluations(tried, ["test"]) == {"test": 1}
        assert results.count_evaluations(tried, ["test"]) == {"test": 2}
