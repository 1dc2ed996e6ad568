"""The command ``python -m benchmarks speed``, on tiny sizes. Nothing here says how fast anything is."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmarks.core.rivals
import benchmarks.speed.cases
from benchmarks.__main__ import main
from benchmarks.core.rivals import RivalProcesses
from benchmarks.speed.cases import QUICK, make_cases, print_memory_of_fit
from benchmarks.speed.rivals import FitWork, cut_windows
from seq_plugins.windows import WindowsTrainingDataset
from tests.benchmarks.core.test_timing import make_case

PROCESSES = RivalProcesses("benchmarks.speed.rivals", {}, 1)
QUICK_ARGUMENTS = ["speed", "--quick", "--turns", "1"]
IN_PROCESSES_OF_THEIR_OWN = ("import", "memory")


@pytest.fixture(autouse=True)
def _no_other_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras and NeuralForecast are not there, whatever is installed."""
    monkeypatch.delenv(benchmarks.core.rivals.RIVAL_PYTHON, raising=False)
    monkeypatch.setattr(benchmarks.core.rivals, "find_spec", lambda name: None)


@pytest.mark.slow
def test_every_case_beside_darts_gives_a_whole_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [case for case in make_cases(QUICK, 1, PROCESSES) if case.name not in IN_PROCESSES_OF_THEIR_OWN]
    chosen = ",".join(case.name for case in cases)
    assert main([*QUICK_ARGUMENTS, "--rivals", "darts", "--cases", chosen, "--json", "rows.json"]) == 0
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ""] == ["rows.json"]
    written = json.loads((tmp_path / "rows.json").read_text())
    expected = [(case.name, rival.name) for case in cases for rival in case.against(["darts"])]
    assert [(row["case"], row["rival"]) for row in written["rows"]] == expected
    for row in written["rows"]:
        assert row["error"] is None, row
        assert row["ours_s"] > 0
        assert row["rival_s"] > 0
        assert row["ratio"] == pytest.approx(row["rival_s"] / row["ours_s"])
        assert row["spread"]["ours"] == [row["ours_s"], row["ours_s"]]
        assert row["met"] is None
        assert (row["threads"], row["turns"]) == (1, 1)
        assert row["versions"]["darts"].startswith("0.48")
    for shares in written["shares"].values():
        assert sum(shares.values()) == pytest.approx(1)
    printed = capsys.readouterr().out
    assert all(case.name in printed for case in cases if case.against(["darts"]))
    assert "a training step of darts: " in printed


def test_imports_are_measured_in_new_processes(tmp_path: Path) -> None:
    assert main([*QUICK_ARGUMENTS, "--rivals", "darts", "--cases", "import", "--json", "rows.json"]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["error"] is None
    assert row["ours_s"] > 0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("side", ["ours", "darts"])
def test_memory_of_a_fit_is_printed_in_megabytes(side: str, capsys: pytest.CaptureFixture[str]) -> None:
    work = {"hidden_dim": 4, "input_length": 8, "n_series": 3, "batch_size": 8, "n_epochs": 1}
    print_memory_of_fit(side, 100, work)
    assert json.loads(capsys.readouterr().out) >= 0


def test_a_rival_that_is_not_installed_has_a_row_that_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--rivals", "darts,keras,neuralforecast", "--cases", "fit,fit-many-series", "--json", "rows.json"]
    assert main([*QUICK_ARGUMENTS, *arguments]) == 0
    rows = {(row["case"], row["rival"]): row for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    assert len(rows) == 4
    assert rows["fit", "darts"]["error"] is None
    printed = capsys.readouterr().out
    for key in (("fit", "keras"), ("fit-many-series", "neuralforecast")):
        told = rows[key]["error"]
        assert told == (
            f"{key[1]} is not installed: pip install 'seq-plugins[rivals]', or name a Python that has it: "
            f"--rival-python {key[1]}=PATH."
        )
        assert told in printed
        assert rows[key]["missing"]
        assert rows[key]["rival_s"] is None


def test_a_python_without_the_rival_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # an empty package in place of Keras: what it needs is not there
    (tmp_path / "tensorflow.py").write_text("import no_such_module_at_all")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    arguments = [
        "--rivals",
        "keras",
        "--cases",
        "fit",
        "--rival-python",
        f"keras={sys.executable}",
        "--json",
        "rows.json",
    ]
    assert main([*QUICK_ARGUMENTS, *arguments]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert "keras is not installed" in row["error"]


def test_a_rival_runs_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Keras, with the few names that are used."""
    (tmp_path / "tensorflow.py").write_text(
        "class threading:\n"
        "    set_intra_op_parallelism_threads = set_inter_op_parallelism_threads = staticmethod(lambda threads: None)\n"
        "class config:\n"
        "    threading = threading\n"
    )
    (tmp_path / "keras.py").write_text(
        "from types import SimpleNamespace as Names\n"
        "from math import ceil\n"
        "print('chatter that is no answer')\n"
        "utils = Names(set_random_seed=lambda seed: None)\n"
        "layer = lambda *args, **kwargs: None\n"
        "layers = Names(SimpleRNN=layer, LSTM=layer, GRU=layer, Dense=layer)\n"
        "optimizers = Names(Adam=lambda *args, **kwargs: None)\n"
        "Input = lambda shape: None\n"
        "class Sequential:\n"
        "    def __init__(self, layers):\n"
        "        self.n = 0\n"
        "        self.optimizer = Names(iterations=Names(numpy=lambda: self.n))\n"
        "    def compile(self, **kwargs): pass\n"
        "    def get_weights(self): return []\n"
        "    def set_weights(self, weights): pass\n"
        "    def fit(self, inputs, targets, batch_size, epochs, **kwargs):\n"
        "        assert inputs.shape == (20, 8, 1) and targets.shape == (20, 1)\n"
        "        self.n += epochs * ceil(len(inputs) / batch_size)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv(benchmarks.core.rivals.RIVAL_PYTHON, f"keras={sys.executable}")
    arguments = ["--rivals", "keras", "--cases", "fit", "--json", "rows.json"]
    assert main([*QUICK_ARGUMENTS, *arguments]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["error"] is None
    assert row["rival_s"] >= 0
    assert "python" in row["rival_versions"]
    assert "traced in the warm-up" in row["note"]


def test_a_rival_that_dies_has_a_row_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    program.chmod(0o755)
    arguments = ["--rivals", "keras", "--cases", "fit", "--rival-python", f"keras={program}"]
    assert main([*QUICK_ARGUMENTS, *arguments]) == 1
    assert "the process of keras has ended: out of luck" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--cases", "fit,fat"], "--cases: expected names among layer-rnn, "),
        (["--cases", "fit,fat"], "got 'fat'"),
        (["--rivals", "darts,jax"], "--rivals: expected names among darts, keras, neuralforecast, got 'jax'"),
        (["--rivals", ","], "--rivals: expected at least one name"),
        (["--rivals", "keras", "--cases", "memory"], "none of memory is measured beside keras"),
        (["--rival-python", "jax=python"], "no rival 'jax' runs on a Python of its own"),
        (["--rival-python", "keras=nowhere/python"], "nowhere/python is not a program"),
        (["--json", "nowhere/rows.json"], "cannot write nowhere/rows.json"),
        (["--json", "folder"], "cannot write folder: it is a folder"),
    ],
)
def test_wrong_input_ends_with_one_line_that_says_what_to_do_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    (tmp_path / "folder").mkdir()
    assert main([*QUICK_ARGUMENTS, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_case_that_fails_has_a_row_that_says_so_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail() -> float:
        raise RuntimeError("no such luck")

    cases = [make_case("first", ours=lambda: fail), make_case("second", theirs=lambda: fail), make_case("third")]
    monkeypatch.setattr(benchmarks.speed.cases, "make_cases", lambda sizes, threads, processes: cases)
    assert main(["speed", "--json", "rows.json"]) == 1
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    told = "RuntimeError: no such luck"
    assert [(row["case"], row["error"]) for row in rows] == [("first", told), ("second", told), ("third", None)]
    assert rows[0]["met"] is None
    assert rows[2]["met"] is True


def test_a_full_disk_leaves_the_earlier_file_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(content: Any, file: Any, indent: int) -> None:
        file.write("{")
        raise OSError(28, "No space left on device")

    (tmp_path / "rows.json").write_text("earlier")
    monkeypatch.setattr(benchmarks.speed.cases, "make_cases", lambda sizes, threads, processes: [make_case()])
    monkeypatch.setattr("benchmarks.core.options.json.dump", fail)
    assert main(["speed", "--json", "rows.json"]) == 2
    assert "cannot write rows.json: No space left on device" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("rows.json", "earlier")]


@pytest.mark.parametrize("n_series", [1, 3])
def test_rivals_are_given_the_windows_that_we_train_on(n_series: int) -> None:
    work = FitWork(input_length=6, horizon=3, n_series=n_series, n_windows=10)
    inputs, targets = cut_windows(work.training_values(), work)
    dataset = WindowsTrainingDataset(
        benchmarks.speed.cases._to_series(work.training_values()), input_chunk_length=6, output_chunk_length=3
    )
    samples = [dataset[index] for index in range(len(dataset))]
    assert len(samples) == len(inputs) == 10 * n_series
    ours = np.stack([np.concatenate([sample.past_target, sample.future_target])[:, 0] for sample in samples])
    theirs = np.concatenate([inputs[..., 0], targets], axis=1)
    np.testing.assert_array_equal(np.unique(ours, axis=0), np.unique(theirs, axis=0))


def test_with_a_loss_on_every_step_the_targets_follow_each_step() -> None:
    work = FitWork(input_length=4, horizon=2, n_windows=1, every_step=True)
    inputs, targets = cut_windows(np.arange(6.0)[None], work)
    assert inputs[0, :, 0].tolist() == [0, 1, 2, 3]
    assert targets[0].tolist() == [[1, 2], [2, 3], [3, 4], [4, 5]]
