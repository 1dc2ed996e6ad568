"""Files that are damaged, missing, or of another model."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import seq_plugins
from seq_plugins.saving.integrity import verify_integrity
from tests.checkpoints import (
    save_as_before,
    validated,
    with_checkpoints,
)
from tests.conftest import OUTPUT, make_model, make_series, values_of

ROOT = Path(__file__).parents[2]

# training goes on in the folder of the checkpoints from which it does
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def _flip(data: bytes, place: int, n_bytes: int = 1) -> bytes:
    flipped = bytes(byte ^ 0x40 for byte in data[place : place + n_bytes])
    return data[:place] + flipped + data[place + n_bytes :]


def _weight_place(data: bytes, path: Path) -> int:
    """Return where in a checkpoint the bytes of a weight stand."""
    (weight, *_) = torch.load(path, weights_only=False)["state_dict"].values()
    return data.index(weight.numpy().tobytes())


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "cut short at its start": lambda data: data[:100],
    "cut short in the middle": lambda data: data[: len(data) // 2],
    "cut short by a byte": lambda data: data[:-1],
    "changed at its start": lambda data: _flip(data, 0),
    # longer than the padding between the parts of a file, where a change would do no harm
    "changed in the middle": lambda data: _flip(data, len(data) // 2, n_bytes=128),
    "zeros at its end": lambda data: data[:-512] + bytes(512),
    "a text": lambda data: b"This is not the model that you are looking for.\n",
    "a pickle": lambda data: pickle.dumps({"state_dict": {}}),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".pt", ".pt.ckpt"])
def test_a_damaged_file_is_refused_with_its_name_and_the_one_before_it_loads(
    saved: Path, damage: str, suffix: str, tmp_path: Path
) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / f"model{suffix}"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    other = make_model("SimpleRNNModel", random_state=2)
    for load in (seq_plugins.SimpleRNNModel.load, other.load_weights):
        with pytest.raises(ValueError, match=r"model\.pt.*(not|Neither was) loaded") as refused:
            load(tmp_path / "model.pt")
        assert str(path) in str(refused.value)
        assert f"before{suffix}" in str(refused.value)
    assert not other.model_created
    assert seq_plugins.SimpleRNNModel.load(tmp_path / "before.pt").predict(OUTPUT).n_timesteps == OUTPUT


def test_a_weight_that_was_changed_is_noticed(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.pt.ckpt"
    data = path.read_bytes()
    path.write_bytes(_flip(data, _weight_place(data, path) + 2))
    torch.load(path, weights_only=False)  # PyTorch does not notice
    with pytest.raises(ValueError, match="bytes of its part archive/data/0 have changed"):
        seq_plugins.SimpleRNNModel.load(tmp_path / "model.pt")


def test_a_weight_that_would_pass_for_a_folder_is_noticed(saved: Path, tmp_path: Path) -> None:
    """PyTorch reads no bytes of it, and leaves the weight what was in the memory before."""
    path = tmp_path / "last.ckpt"
    data = (saved / "model.pt.ckpt").read_bytes()
    attributes = data.rindex(b"archive/data/0") - 8
    path.write_bytes(data[:attributes] + b"\x10" + data[attributes + 1 :])
    with pytest.raises(ValueError, match="bytes of its part archive/data/0 have changed"):
        verify_integrity(path)


def test_no_changed_byte_changes_a_forecast_unseen(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.pt.ckpt"
    data = path.read_bytes()
    for place in range(0, len(data), 61):
        path.write_bytes(_flip(data, place))
        with pytest.raises(ValueError, match=r"model\.pt\.ckpt"):
            seq_plugins.SimpleRNNModel.load(tmp_path / "model.pt")


def test_a_model_without_its_checkpoint_is_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "model.pt", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model\.pt\.ckpt, which holds the weights"):
        seq_plugins.SimpleRNNModel.load(tmp_path / "model.pt")


def test_files_of_two_saves_are_not_taken_for_one_model(saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "model.pt", tmp_path)
    make_model("SimpleRNNModel", random_state=2).fit(make_series()).save(tmp_path / "other.pt")
    shutil.copy(tmp_path / "other.pt.ckpt", tmp_path / "model.pt.ckpt")
    other = make_model("SimpleRNNModel", random_state=3)
    for load in (seq_plugins.SimpleRNNModel.load, other.load_weights):
        with pytest.raises(ValueError, match="is not the checkpoint that was saved together with"):
            load(tmp_path / "model.pt")
    assert not other.model_created


def test_a_model_of_another_class_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match="holds a SimpleRNNModel, expected a DeepRNNModel"):
        seq_plugins.DeepRNNModel.load(saved / "model.pt")


@pytest.mark.parametrize(
    ("name", "reason"), [("LinearModel", "can't be loaded into"), ("DeepRNNModel", "other shapes")]
)
def test_a_checkpoint_of_another_class_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    for trained in (name, "SimpleRNNModel"):
        with_checkpoints(trained, tmp_path / trained, n_epochs=1).fit(**validated())
    places = [tmp_path / trained / "run" / "checkpoints" / "last-epoch=0.ckpt" for trained in (name, "SimpleRNNModel")]
    shutil.copy(*places)
    with pytest.raises(ValueError, match=rf"last-epoch=0\.ckpt .*{reason}"):
        seq_plugins.SimpleRNNModel.load_from_checkpoint("run", str(tmp_path / "SimpleRNNModel"), best=False)
    other = make_model("SimpleRNNModel", dropout=0.3, recurrent_dropout=0.3)
    with pytest.raises(RuntimeError, match="in loading state_dict"):
        other.load_weights_from_checkpoint("run", str(tmp_path / "SimpleRNNModel"), best=False)
    assert not other.model_created


@pytest.mark.parametrize("damage", ["empty", "cut short in the middle", "changed in the middle"])
def test_a_damaged_checkpoint_of_training_is_refused_and_the_best_one_loads(damage: str, tmp_path: Path) -> None:
    with_checkpoints("SimpleRNNModel", tmp_path, n_epochs=2).fit(**validated())
    (path,) = (tmp_path / "run" / "checkpoints").glob("last-*")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=r"last-epoch=1\.ckpt .* not loaded.* best-epoch="):
        seq_plugins.SimpleRNNModel.load_from_checkpoint("run", str(tmp_path), best=False)
    assert seq_plugins.SimpleRNNModel.load_from_checkpoint("run", str(tmp_path), best=True).model_created


def test_a_model_of_an_older_version_is_still_loaded(tmp_path: Path) -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    save_as_before(model, tmp_path / "model.pt")
    loaded = type(model).load(tmp_path / "model.pt")
    np.testing.assert_array_equal(values_of(loaded.predict(OUTPUT)), values_of(model.predict(OUTPUT)))
