"""Files that would run code."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import seq_plugins
from tests.checkpoints import (
    save_as_before,
    validated,
    with_checkpoints,
)
from tests.conftest import make_model

ROOT = Path(__file__).parents[2]

# training goes on in the folder of the checkpoints from which it does
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


class _Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["torch", "plain pickle"])
@pytest.mark.parametrize("suffix", [".pt", ".pt.ckpt"])
def test_a_saved_model_that_would_run_code_is_refused(saved: Path, kind: str, suffix: str, tmp_path: Path) -> None:
    folder, created = tmp_path / "models", tmp_path / "created"
    shutil.copytree(saved, folder)
    path = folder / f"model{suffix}"
    if suffix == ".pt.ckpt":  # otherwise the digest that the model holds would already give it away
        save_as_before(seq_plugins.SimpleRNNModel.load(folder / "before.pt"), folder / "model.pt")
    _write_hostile(path, created, kind)
    other = make_model("SimpleRNNModel", random_state=2)
    for load in (seq_plugins.SimpleRNNModel.load, other.load_weights):
        with pytest.raises((ValueError, RuntimeError, pickle.UnpicklingError)) as refused:
            load(str(folder / "model.pt"))
        assert not created.exists()
        hint = "trusted=True" if kind == "torch" else "is not a PyTorch file"
        assert hint in str(refused.value)
    assert not other.model_created


@pytest.mark.parametrize("kind", ["torch", "plain pickle"])
@pytest.mark.parametrize("name", ["_model.pth.tar", "checkpoints/last-epoch=0.ckpt"])
def test_a_checkpoint_that_would_run_code_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    model = with_checkpoints("SimpleRNNModel", tmp_path, n_epochs=1).fit(**validated())
    created = tmp_path / "created"
    loaded = type(model).load_from_checkpoint("run", str(tmp_path), best=False)
    _write_hostile(tmp_path / "run" / name, created, kind)
    attempts: list[Callable[[], Any]] = [
        lambda: type(model).load_from_checkpoint("run", str(tmp_path), best=False),
        lambda: make_model("SimpleRNNModel").load_weights_from_checkpoint("run", str(tmp_path), best=False),
    ]
    if name.endswith("ckpt"):
        attempts.append(lambda: loaded.fit(epochs=2, **validated()))  # which reads it again
    for attempt in attempts:
        with pytest.raises((ValueError, RuntimeError, pickle.UnpicklingError)) as refused:
            attempt()
        assert not created.exists()
        assert ("trusted=True" if kind == "torch" else "is not a PyTorch file") in str(refused.value)


def _write_hostile(path: Path, created: Path, kind: str) -> None:
    thing = {"state_dict": {}, "hyper_parameters": _Hostile(created)}
    path.write_bytes(pickle.dumps(thing))
    if kind == "torch":
        torch.save(thing, path)
