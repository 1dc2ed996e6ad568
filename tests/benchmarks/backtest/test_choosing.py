"""Settings that are tried where settings are chosen."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.backtest.choosing import choice_lines, with_candidates
from benchmarks.backtest.tables import Summary
from benchmarks.harness.entries import ENTRIES, entry_of, find_entries
from benchmarks.harness.plan import Plan
from benchmarks.harness.rows import BacktestRow
from benchmarks.harness.run import TrainingCurve, make_model
from benchmarks.harness.task import Candidate, Task, read_task, task_names


def _choosing(name: str = "chicago") -> Task:
    task = read_task(name).choosing
    assert task is not None
    return task


@pytest.mark.parametrize("name", task_names())
def test_every_candidate_of_a_task_can_be_made_of_all_models_that_it_is_tried_for(name: str, tmp_path: Path) -> None:
    task, entries = with_candidates(_choosing(name), [entry for entry in ENTRIES.values() if entry.is_network])
    for candidate in task.candidates:
        assert find_entries(candidate.models, task)
    for entry in [entry for entry in entries if entry.candidate]:
        make_model(Plan(task), entry, entry.settings_in(task), 1, str(tmp_path), TrainingCurve(lambda text: None))


def test_candidates_of_a_model_are_entries_of_their_own_and_no_settings_of_others() -> None:
    candidates = [
        Candidate(["BlockRNNModel-GRU"], {"hidden_dim": 64, "dropout": 0.2}),
        Candidate(["networks"], {"n_epochs": 1}),
    ]
    task, entries = with_candidates(
        replace(_choosing(), candidates=candidates), [ENTRIES["NaiveSeasonal"], ENTRIES["BlockRNNModel-GRU"]]
    )
    names = [entry.name for entry in entries]
    assert names == [
        "NaiveSeasonal",
        "BlockRNNModel-GRU",
        "BlockRNNModel-GRU hidden_dim=64,dropout=0.2",
        "BlockRNNModel-GRU n_epochs=1",
    ]
    fixed, large, short = (entry_of(name).settings_in(task).plain() for name in names[1:])
    assert large == fixed | {"hidden_dim": 64, "dropout": 0.2}
    assert short == fixed | {"n_epochs": 1}


def test_what_was_chosen_holds_for_the_test_periods_and_not_where_settings_are_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tasks")
    text = (read_task.__globals__["TASK_FOLDER"] / "chicago.toml").read_text(encoding="utf-8")
    (folder / "own.toml").write_text(text + '\n[chosen."TCNModel"]\nnum_filters = 5\n', encoding="utf-8")
    monkeypatch.setattr("benchmarks.harness.task.TASK_FOLDER", folder)
    task = read_task("own")
    assert task.choosing is not None
    assert ENTRIES["TCNModel"].settings_in(task).constructor["num_filters"] == 5
    assert ENTRIES["TCNModel"].settings_in(task).constructor["kernel_size"] == 5
    assert ENTRIES["TCNModel"].settings_in(task.choosing).constructor["num_filters"] == 32


def test_the_best_candidate_of_each_model_is_told_first() -> None:
    def summary(model: str, period: str, *errors: float) -> Summary:
        return Summary(
            period, model, [BacktestRow(task="", model=model, seed=1, means={"mae": error}) for error in errors]
        )

    lines = choice_lines(
        [
            summary("TCNModel", "spring", 3.0, 9.0, 4.0),
            summary("TCNModel num_filters=64", "spring", 2.0, 2.0, 3.0),
            summary("TCNModel", "summer", 6.0, 6.0, 6.0),
            summary("TCNModel num_filters=64", "summer", 9.0, 9.0, 9.0),
            summary("TCNModel kernel_size=3", "spring", 1.0, 1.0),
            summary("NaiveSeasonal", "spring", 1.0),
        ]
    )
    assert lines[1:] == [
        "TCNModel: as fixed 5; num_filters=64 5.5; kernel_size=3 1 (not all seeds)",
        "NaiveSeasonal: as fixed 1",
    ]
