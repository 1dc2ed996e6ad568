"""Every model on disk and back, in this process and in a fresh one, and as ONNX."""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from darts.models import NaiveEnsembleModel
from darts.utils.data.torch_datasets.utils import PLModuleInput
from darts.utils.likelihood_models.torch import QuantileRegression

import seq_plugins
from seq_plugins.models import SequenceModel
from seq_plugins.models._members import RandomStates
from tests.conftest import MODEL_NAMES, OUTPUT, make_model, make_series, takes, values_of, with_static_covariates


def _fitted(name: str, **arguments: Any) -> SequenceModel:
    covariates = make_series(60, seed=1)
    model = make_model(name, **arguments)
    model.fit(with_static_covariates(make_series()), past_covariates=covariates, future_covariates=covariates)
    return model


def _own_arguments(model_name: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "hidden_fc_sizes": [6],
        "segment_length": 2,
        "n_rnn_layers": 2,
        "dilations": [2, 3],
        "dropout": 0.2,
        "recurrent_dropout": 0.2,
        "layer_norm": True,
        "activation": "Tanh",
        "gated": True,
        "decoding": "autoregressive",
        "teacher_forcing": (0.5, 0.0),
        "attention": True,
        "look_ahead": False,
        "decoder_starts": 3,
    }
    arguments = {name: value for name, value in arguments.items() if takes(model_name, name)}
    return arguments | {
        "likelihood": QuantileRegression([0.1, 0.5, 0.9]),
        "use_reversible_instance_norm": {"affine": True},
        "ensemble_size": 2,
    }


def test_a_loaded_model_is_trained_further_with_the_loss_that_it_was_trained_with(
    model_name: str, tmp_path: Path
) -> None:
    model = make_model(model_name, loss_fn=torch.nn.L1Loss()).fit(make_series())
    model.save(tmp_path / "model.pt")
    loaded = type(model).load(tmp_path / "model.pt", pl_trainer_kwargs={"accelerator": "cpu", "logger": False})
    loaded.fit(make_series(), epochs=2)
    model.fit(make_series(), epochs=2)
    assert isinstance(loaded.model.train_criterion, torch.nn.L1Loss)
    assert isinstance(loaded.model.val_criterion, torch.nn.L1Loss)
    np.testing.assert_array_equal(values_of(loaded.predict(OUTPUT)), values_of(model.predict(OUTPUT)))


@pytest.mark.parametrize("clean", [False, True])
def test_a_loaded_model_forecasts_the_same(model_name: str, clean: bool, tmp_path: Path) -> None:
    model = _fitted(model_name, **_own_arguments(model_name))
    path = str(tmp_path / "model.pt")
    model.save(path, clean=clean)
    loaded = type(model).load(path, pl_trainer_kwargs={"accelerator": "cpu", "logger": False})
    series = with_static_covariates(make_series())
    given = {"past_covariates": make_series(60, seed=1), "future_covariates": make_series(60, seed=1)}
    np.testing.assert_array_equal(
        values_of(loaded.predict(OUTPUT, series, predict_likelihood_parameters=True, **given)),
        values_of(model.predict(OUTPUT, series, predict_likelihood_parameters=True, **given)),
    )
    if not clean:
        assert len(loaded.fit(series, **given).predict(OUTPUT)) == OUTPUT


def test_all_models_and_their_ensemble_load_in_a_fresh_process_after_importing_the_package_alone(
    tmp_path: Path,
) -> None:
    models = {name: make_model(name).fit(make_series()) for name in MODEL_NAMES}
    for name, model in models.items():
        model.save(str(tmp_path / f"{name}.pt"))
        np.save(tmp_path / f"{name}.npy", values_of(model.predict(OUTPUT)))
    ensemble = NaiveEnsembleModel([make_model(name) for name in models]).fit(make_series())
    ensemble.save(str(tmp_path / "ensemble.pkl"))
    np.save(tmp_path / "ensemble.npy", values_of(ensemble.predict(OUTPUT)))
    script = """
import seq_plugins, sys
assert "torch" not in sys.modules
import numpy as np
from darts.models import NaiveEnsembleModel
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
for name in sys.argv[1:]:
    forecast = TorchForecastingModel.load(f"{name}.pt").predict(4)
    np.testing.assert_allclose(forecast.all_values(), np.load(f"{name}.npy"), rtol=1e-5)
ensemble = NaiveEnsembleModel.load("ensemble.pkl").predict(4)
np.testing.assert_allclose(ensemble.all_values(), np.load("ensemble.npy"), rtol=1e-5)
print("same forecasts")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *models],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.endswith("same forecasts\n"), done.stderr


def test_only_our_models_and_their_random_numbers_are_registered_with_darts_for_loading() -> None:
    from darts.utils.serialization import get_safe_globals

    entries = [entry for entry in get_safe_globals() if isinstance(entry, tuple)]  # others may have added classes
    ours = {path for _, path in entries if path.startswith("seq_plugins")}
    classes = [*(getattr(seq_plugins, name) for name in MODEL_NAMES), RandomStates]
    assert ours == {f"{model_class.__module__}.{model_class.__qualname__}" for model_class in classes}


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # as it must, to resume from it
def test_checkpoints_of_training_are_loaded_and_resumed(model_name: str, tmp_path: Path) -> None:
    work_dir = str(tmp_path / "work")
    series, given = with_static_covariates(make_series()), {"past_covariates": make_series(60, seed=1)}
    given["future_covariates"] = given["past_covariates"]
    given |= {f"val_{name}": covariates for name, covariates in given.items()} | {"val_series": series}
    model = make_model(model_name, save_checkpoints=True, work_dir=work_dir, model_name="run", n_epochs=2)
    model.fit(series, **given)
    loaded = type(model).load_from_checkpoint("run", work_dir, best=False)
    known = {name: given[name] for name in ("past_covariates", "future_covariates")}
    np.testing.assert_array_equal(
        values_of(loaded.predict(OUTPUT, series, **known)), values_of(model.predict(OUTPUT, series, **known))
    )
    loaded.fit(series, epochs=3, **given)
    assert loaded.epochs_trained == 3


def test_weights_are_loaded_into_a_new_model(model_name: str, tmp_path: Path) -> None:
    model = _fitted(model_name)
    path = str(tmp_path / "model.pt")
    model.save(path)
    other = make_model(model_name, random_state=7)
    other.load_weights(path)
    series, given = with_static_covariates(make_series()), {"past_covariates": make_series(60, seed=1)}
    given["future_covariates"] = given["past_covariates"]
    np.testing.assert_array_equal(
        values_of(other.predict(OUTPUT, series, **given)), values_of(model.predict(OUTPUT, series, **given))
    )


COPIES: dict[str, Callable[[SequenceModel], SequenceModel]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_keeps_the_weights_and_goes_its_own_way(model_name: str, kind: str, dtype: Any, tmp_path: Path) -> None:
    target = make_series(dtype=dtype)
    model = make_model(model_name).fit(target)
    expected = values_of(model.predict(OUTPUT))
    copied = COPIES[kind](model)
    np.testing.assert_array_equal(values_of(copied.predict(OUTPUT)), expected)
    COPIES[kind](model).save(str(tmp_path / "copy.pt"))
    np.testing.assert_array_equal(values_of(type(model).load(str(tmp_path / "copy.pt")).predict(OUTPUT)), expected)
    copied.fit(target, epochs=2)
    assert not np.array_equal(values_of(copied.predict(OUTPUT)), expected)
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT)), expected)


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_of_an_unfitted_model_is_fitted_like_it(model_name: str, kind: str) -> None:
    expected = values_of(make_model(model_name).fit(make_series()).predict(OUTPUT))
    copied = COPIES[kind](make_model(model_name))
    np.testing.assert_array_equal(values_of(copied.fit(make_series()).predict(OUTPUT)), expected)


def test_a_loaded_model_that_is_saved_again_keeps_its_weights(tmp_path: Path) -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    model.save(str(tmp_path / "first.pt"))
    type(model).load(str(tmp_path / "first.pt")).save(str(tmp_path / "second.pt"))
    again = type(model).load(str(tmp_path / "second.pt"))
    np.testing.assert_array_equal(values_of(again.predict(OUTPUT)), values_of(model.predict(OUTPUT)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first.pt",
        "first.pt.ckpt",
        "second.pt",
        "second.pt.ckpt",
    ]


def test_a_save_that_fails_leaves_the_file_before_it_whole(tmp_path: Path) -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    path = tmp_path / "model.pt"
    model.save(str(path))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    model.not_to_be_pickled = (number for number in range(3))
    with pytest.raises(TypeError, match="generator"):
        model.save(str(path))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.filterwarnings(
    # PyTorch's exporter calls what it has deprecated itself, and names one dimension for several inputs
    "ignore:_check_is_size will be removed:FutureWarning",
    "ignore:# The axis name. batch will not be used",
    # Darts' instance normalisation keeps the statistics of its batch
    "ignore:The tensor attributes? self\\.(network\\.)?pl_module\\.rin",
)
@pytest.mark.parametrize(
    "case",
    [
        "bare",
        pytest.param("covariates and likelihood", marks=pytest.mark.slow),
        pytest.param("shift and normalisation", marks=pytest.mark.slow),
    ],
)
def test_an_exported_network_gives_the_same_numbers_for_batches_of_any_size(
    model_name: str, case: str, tmp_path: Path
) -> None:
    if case == "bare":
        model = make_model(model_name).fit(make_series(components=2))
    elif case == "covariates and likelihood":
        model = _fitted(model_name, **_own_arguments(model_name))
    else:
        model = _fitted(model_name, output_chunk_shift=2, use_reversible_instance_norm=True)
    path = str(tmp_path / "network.onnx")
    model.to_onnx(path, verbose=False)
    session = onnxruntime.InferenceSession(path)
    assert [output.name for output in session.get_outputs()] == ["prediction"]
    generator = np.random.default_rng(0)
    model.model.eval()
    for batch in (1, 2, 7):
        values = {
            given.name: generator.standard_normal((batch, *given.shape[1:])).astype(np.float32)
            for given in session.get_inputs()
        }
        with torch.no_grad():
            tensors = {name: torch.from_numpy(value) for name, value in values.items()}
            expected = model.model(PLModuleInput(**tensors)).prediction.numpy()
        if model.model.gives_quantiles_in_order:
            expected = np.sort(expected, axis=-1)
        (prediction,) = session.run(None, values)
        np.testing.assert_allclose(prediction, expected, rtol=1e-5, atol=1e-5)


def test_an_unfitted_model_is_not_exported(model_name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fit"):
        make_model(model_name).to_onnx(str(tmp_path / "network.onnx"))
    assert not list(tmp_path.iterdir())


def test_a_stranger_s_class_is_refused_by_default(tmp_path: Path) -> None:
    model = make_model("LinearModel").fit(make_series())
    model.stowaway = _Stowaway()
    model.save(str(tmp_path / "model.pt"))
    with pytest.raises(RuntimeError, match="not allow-listed"):
        type(model).load(str(tmp_path / "model.pt"))


class _Stowaway:
    """A class that nobody has registered."""


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_keeps_frozen_weights_frozen_and_draws_no_random_numbers(kind: str) -> None:
    model = make_model("SimpleRNNModel", enable_finetuning={"unfreeze": ["*bias*"]}).fit(make_series())
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    copied = COPIES[kind](model)
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)
    trained = [name for name, weight in copied.model.named_parameters() if weight.requires_grad]
    assert trained
    assert all("bias" in name for name in trained)


def test_a_model_of_low_precision_is_copied_saved_and_loaded(model_name: str, tmp_path: Path) -> None:
    trainer = {"precision": "bf16-true", "accelerator": "cpu", "logger": False}
    model = make_model(model_name, pl_trainer_kwargs=trainer).fit(make_series())
    expected = values_of(model.predict(OUTPUT))
    for copied in (make(model) for make in COPIES.values()):
        assert copied.model.dtype == torch.bfloat16
        np.testing.assert_array_equal(values_of(copied.predict(OUTPUT)), expected)
    model.save(tmp_path / "model.pt")
    loaded = type(model).load(tmp_path / "model.pt")
    np.testing.assert_array_equal(values_of(loaded.predict(OUTPUT)), expected)


def test_a_checkpoint_that_was_loaded_is_saved_with_its_epoch_and_optimizer(tmp_path: Path) -> None:
    given = {"work_dir": str(tmp_path / "work"), "model_name": "run", "save_checkpoints": True, "n_epochs": 2}
    model = make_model("SimpleRNNModel", **given).fit(make_series(), val_series=make_series())
    type(model).load_from_checkpoint("run", given["work_dir"], best=False).save(tmp_path / "again.pt")
    checkpoint = torch.load(tmp_path / "again.pt.ckpt", weights_only=False)
    assert checkpoint["epoch"] == 1
    assert len(checkpoint["optimizer_states"]) == 1


def test_an_unfitted_model_saved_over_a_fitted_one_does_not_keep_its_weights(tmp_path: Path) -> None:
    make_model("SimpleRNNModel").fit(make_series()).save(tmp_path / "model.pt")
    make_model("SimpleRNNModel").save(tmp_path / "model.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_folder_that_does_not_exist_is_told_by_its_own_name(tmp_path: Path) -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    for write in (model.save, model.to_onnx):
        with pytest.raises(FileNotFoundError, match=r"The folder of .*nowhere/model\.out does not exist"):
            write(tmp_path / "nowhere" / "model.out")


def test_a_folder_is_not_taken_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    model = make_model("SimpleRNNModel").fit(make_series())
    for write in (model.save, model.to_onnx):
        for folder in (tmp_path / "folder", "."):
            with pytest.raises(IsADirectoryError, match=rf"the path of a file, but {folder} is a folder"):
                write(folder)
    (tmp_path / "model.pt.ckpt").mkdir()
    with pytest.raises(IsADirectoryError, match=r"model\.pt\.ckpt is a folder"):
        model.save(tmp_path / "model.pt")
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "model.pt.ckpt"}


def test_an_export_that_could_not_take_batches_of_any_size_is_refused(tmp_path: Path) -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    with pytest.raises(ValueError, match="Expected `dynamo` to be left out"):
        model.to_onnx(tmp_path / "network.onnx", dynamo=False)
    assert not list(tmp_path.iterdir())
