"""The models that are compared, and what is set of them."""

from dataclasses import replace
from typing import Any

import pytest

import seq_plugins
from benchmarks.core.errors import UserError
from benchmarks.harness.entries import ENTRIES, OURS, find_entries, label, with_candidates, with_settings
from benchmarks.harness.plan import Plan
from benchmarks.harness.run import make_model
from benchmarks.harness.task import Candidate, Task, read_task, task_names


def test_every_model_of_the_package_is_compared() -> None:
    assert {entry.class_name for entry in OURS} == set(seq_plugins.models.MODEL_MODULES)


@pytest.mark.parametrize("name", task_names())
def test_every_setting_of_a_task_is_one_of_a_model_that_there_is(name: str) -> None:
    task = read_task(name)
    classes = {entry.class_name for entry in ENTRIES.values()}
    assert set(task.models) <= classes | set(ENTRIES)
    assert set(task.default_models) <= set(ENTRIES)


def test_the_settings_of_an_entry_come_before_those_of_its_class_and_of_all_networks() -> None:
    models: dict[str, dict[str, Any]] = {
        "BlockRNNModel": {"hidden_dim": 5, "dropout": 0.1, "learning_rate": 0.5},
        "BlockRNNModel-GRU": {"hidden_dim": 7, "batch_size": 3},
    }
    task = replace(read_task("chicago"), models=models)
    found = ENTRIES["BlockRNNModel-GRU"].settings_in(task)
    assert (found.constructor["hidden_dim"], found.constructor["dropout"], found.constructor["model"]) == (
        7,
        0.1,
        "GRU",
    )
    assert (found.training["batch_size"], found.training["learning_rate"]) == (3, 0.5)
    assert found.training["n_epochs"] == task.training["n_epochs"]
    assert ENTRIES["BlockRNNModel-RNN"].settings_in(task).constructor["hidden_dim"] == 5


def test_settings_of_a_command_come_before_those_of_a_task_and_reach_no_other_model() -> None:
    task = read_task("chicago")
    entries = find_entries(["TiDEModel", "NaiveSeasonal"], task)
    changed = with_settings(task, entries[:1], {"hidden_size": 8, "n_epochs": 1})
    assert entries[0].settings_in(changed).constructor["hidden_size"] == 8
    assert entries[0].settings_in(changed).training["n_epochs"] == 1
    assert entries[1].settings_in(changed) == entries[1].settings_in(task)


def test_an_ensemble_has_the_settings_of_its_members_and_seeds_that_no_other_has() -> None:
    task = replace(read_task("chicago"), models={"Seq2SeqRNNModel-GRU": {"dropout": 0.3}})
    (ensemble,) = find_entries(["Seq2SeqRNNModel-GRU-x5"], task)
    (member,) = find_entries(["Seq2SeqRNNModel-GRU"], task)
    settings, of_member = ensemble.settings_in(task), member.settings_in(task)
    assert settings.constructor == of_member.constructor | {"ensemble_size": 5}
    assert settings.training == of_member.training
    plan = Plan(task)
    seeds = [
        [make_model(plan, entry, entry.settings_in(task), seed, []) for seed in (1, 2)] for entry in (member, ensemble)
    ]
    assert [[model.model_params["random_state"] for model in models] for models in seeds] == [[1, 2], [1, 6]]


@pytest.mark.parametrize("name", ["TiDEModel-x5", "LinearModel-x1", "LinearModel-x", "Seq2SeqRNNModel-x5"])
def test_there_are_ensembles_of_single_entries_of_ours_only(name: str) -> None:
    with pytest.raises(UserError, match="ensembles of ours"):
        find_entries([name], read_task("chicago"))


def test_models_are_found_by_entry_by_class_all_or_as_the_task_says() -> None:
    task = read_task("chicago")
    names = [entry.name for entry in find_entries(["BlockRNNModel", "TFTModel", "BlockRNNModel-GRU"], task)]
    assert names == ["BlockRNNModel-RNN", "BlockRNNModel-LSTM", "BlockRNNModel-GRU", "TFTModel"]
    assert [entry.name for entry in find_entries(["all"], task)] == list(ENTRIES)
    assert [entry.name for entry in find_entries(["networks"], task)] == [
        entry.name for entry in ENTRIES.values() if entry.is_network
    ]
    assert [entry.name for entry in find_entries(None, task)] == task.default_models
    with pytest.raises(UserError, match="no model 'Oracle'; there are all, networks, NaiveSeasonal"):
        find_entries(["Oracle"], task)


def _choosing(name: str = "chicago") -> Task:
    task = read_task(name).choosing
    assert task is not None
    return task


@pytest.mark.parametrize("name", task_names())
def test_every_candidate_of_a_task_can_be_made_of_all_models_that_it_is_tried_for(name: str) -> None:
    task = _choosing(name)
    entries = with_candidates([entry for entry in ENTRIES.values() if entry.is_network], task)
    for candidate in task.candidates:
        assert find_entries(candidate.models, task)
    for entry in [entry for entry in entries if entry.candidate]:
        make_model(Plan(task), entry, entry.settings_in(task), 1, [])


def test_candidates_of_a_model_are_entries_of_their_own_and_no_settings_of_others() -> None:
    candidates = [
        Candidate(["BlockRNNModel-GRU"], {"hidden_dim": 64, "dropout": 0.2}),
        Candidate(["networks"], {"n_epochs": 1}),
    ]
    task = replace(_choosing(), candidates=candidates)
    entries = with_candidates([ENTRIES["NaiveSeasonal"], ENTRIES["BlockRNNModel-GRU"]], task)
    assert [label(entry.name, entry.candidate) for entry in entries] == [
        "NaiveSeasonal",
        "BlockRNNModel-GRU",
        "BlockRNNModel-GRU hidden_dim=64,dropout=0.2",
        "BlockRNNModel-GRU n_epochs=1",
    ]
    fixed, large, short = (entry.settings_in(task).plain() for entry in entries[1:])
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
