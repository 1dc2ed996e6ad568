"""Models that users derive from ours, and what a constructor says of itself."""

import inspect
import pydoc
import re
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from darts.models import BlockRNNModel
from darts.utils.serialization import add_safe_globals
from torch import nn

import seq_plugins
from seq_plugins import Conv1DGRUModel, Seq2SeqRNNModel, SimpleRNNModel
from seq_plugins.layers.convolution import POOLING_LAYERS
from seq_plugins.layers.recurrent import RECURRENT_LAYERS
from tests.conftest import INPUT, MODEL_NAMES, OUTPUT, make_model, make_series, values_of

TRAINING: dict[str, Any] = {
    "n_epochs": 1,
    "random_state": 1,
    "pl_trainer_kwargs": {"enable_progress_bar": False, "accelerator": "cpu"},
}


class SevenUnits(Seq2SeqRNNModel):
    def __init__(
        self, input_chunk_length: int, output_chunk_length: int, output_chunk_shift: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(input_chunk_length, output_chunk_length, output_chunk_shift, hidden_dim=7, **kwargs)


class TwiceAsWide(SimpleRNNModel):
    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        hidden_dim: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_chunk_length, output_chunk_length, output_chunk_shift, hidden_dim=2 * hidden_dim, **kwargs
        )


class OtherNames(SimpleRNNModel):
    def __init__(self, window: int, horizon: int, n_epochs: int = 1) -> None:
        super().__init__(window, horizon, model="GRU", loss_fn=nn.L1Loss(), missing="mask", **TRAINING)


class DropoutByWidth(SevenUnits):
    def __init__(self, input_chunk_length: int, output_chunk_length: int, width: int = 1, **kwargs: Any) -> None:
        super().__init__(input_chunk_length, output_chunk_length, model="GRU", dropout=0.1 * width, **kwargs)


class HardCodedLoss(SimpleRNNModel):
    def __init__(self, input_chunk_length: int, output_chunk_length: int, **kwargs: Any) -> None:
        super().__init__(input_chunk_length, output_chunk_length, loss_fn=nn.L1Loss(), **kwargs)


def _n_units(model: Any) -> int:
    return int(model.model.encoder.output_dim)


def test_what_a_subclass_passes_on_counts() -> None:
    target = make_series()
    seven = SevenUnits(INPUT, OUTPUT, **TRAINING).fit(target)
    twice = TwiceAsWide(INPUT, OUTPUT, hidden_dim=5, **TRAINING).fit(target)
    assert (_n_units(seven), _n_units(twice)) == (7, 10)

    other = OtherNames(INPUT, horizon=OUTPUT).fit(target)
    assert (other.input_chunk_length, other.output_chunk_length) == (INPUT, OUTPUT)
    assert isinstance(other.model.train_criterion, nn.L1Loss)
    assert type(other.model.encoder[0]) is RECURRENT_LAYERS["GRU"]
    assert other.epochs_trained == 1
    assert np.isfinite(values_of(other.predict(OUTPUT))).all()

    third = DropoutByWidth(INPUT, OUTPUT, width=2, **TRAINING).fit(target)
    assert _n_units(third) == 7
    assert third.model.encoder[0].dropout.p == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("derived_class", "plain_class", "passed_on"),
    [
        (SevenUnits, Seq2SeqRNNModel, {"hidden_dim": 7}),
        (TwiceAsWide, SimpleRNNModel, {"hidden_dim": 8}),
        (DropoutByWidth, Seq2SeqRNNModel, {"hidden_dim": 7, "model": "GRU", "dropout": 0.1}),
    ],
)
def test_a_subclass_equals_the_model_made_with_what_it_passes_on(
    derived_class: type[Any], plain_class: type[Any], passed_on: dict[str, Any]
) -> None:
    plain = plain_class(INPUT, OUTPUT, **passed_on, **TRAINING)
    target = make_series()
    derived = derived_class(INPUT, OUTPUT, **TRAINING)
    expected = values_of(plain.fit(target).predict(OUTPUT))
    np.testing.assert_array_equal(values_of(derived.fit(target).predict(OUTPUT)), expected)
    again = derived.untrained_model()
    assert type(again) is derived_class
    np.testing.assert_array_equal(values_of(again.fit(target).predict(OUTPUT)), expected)


def test_a_subclass_is_saved_loaded_and_resumed_with_what_it_passed_on(tmp_path: Any) -> None:
    add_safe_globals([OtherNames, nn.L1Loss])
    target = make_series()
    model = OtherNames(INPUT, OUTPUT).fit(target)
    model.save(tmp_path / "model.pt")
    loaded = OtherNames.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(values_of(loaded.predict(OUTPUT)), values_of(model.predict(OUTPUT)))
    assert isinstance(loaded.fit(target, epochs=1).model.train_criterion, nn.L1Loss)


def test_a_checkpoint_of_a_subclass_keeps_the_loss_that_it_passed_on(tmp_path: Any) -> None:
    add_safe_globals([HardCodedLoss, nn.L1Loss])
    model = HardCodedLoss(
        INPUT, OUTPUT, model_name="derived", work_dir=str(tmp_path), save_checkpoints=True, **TRAINING
    )
    model.fit(make_series(), val_series=make_series())
    loaded = HardCodedLoss.load_from_checkpoint("derived", str(tmp_path), best=False)
    assert isinstance(loaded.model.train_criterion, nn.L1Loss)
    assert isinstance(loaded.model.val_criterion, nn.L1Loss)


def test_a_subclass_without_a_constructor_is_like_its_base() -> None:
    class Renamed(SimpleRNNModel):
        pass

    model = Renamed(INPUT, OUTPUT, hidden_dim=3, **TRAINING)
    assert _n_units(model.fit(make_series())) == 3
    assert inspect.signature(Renamed) == inspect.signature(SimpleRNNModel)


def test_missing_and_surplus_arguments_are_pythons_own_errors() -> None:
    with pytest.raises(TypeError, match=r"SimpleRNNModel.__init__\(\) missing 1 required positional argument"):
        SimpleRNNModel(INPUT)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'hidden_dim'"):
        OtherNames(INPUT, OUTPUT, hidden_dim=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_signature_shows_every_argument_own_ones_first(name: str) -> None:
    model_class = getattr(seq_plugins, name)
    shown = inspect.signature(model_class).parameters
    own = [
        argument
        for argument in inspect.signature(model_class.__init__).parameters
        if argument not in ("self", "kwargs")
    ]
    assert list(shown)[: len(own)] == own
    assert not {"args", "kwargs", "self", "train_sample_shape"} & shown.keys()
    assert {"season_length", "missing", *_arguments_of_darts()} <= shown.keys()
    assert (shown["n_epochs"].default, shown["optimizer_cls"].default) == (100, torch.optim.Adam)
    assert f"class {name}(" in (page := pydoc.plain(pydoc.render_doc(model_class)))
    assert f"{name}(input_chunk_length: int, output_chunk_length: int," in page


def _arguments_of_darts() -> set[str]:
    """Return the arguments of Darts' own block model that are not those of its network."""
    bases = BlockRNNModel.__mro__[1:-1]
    return {name for base in bases for name in inspect.signature(base.__init__).parameters} - {"self", "args", "kwargs"}


def test_arguments_with_a_few_choices_list_them() -> None:
    hints = get_type_hints(Conv1DGRUModel.__init__)
    assert get_args(hints["model"]) == tuple(RECURRENT_LAYERS)
    pooling, nothing = get_args(hints["pooling"])
    assert (get_args(pooling), nothing) == (tuple(POOLING_LAYERS), type(None))
    assert get_args(inspect.signature(Conv1DGRUModel).parameters["missing"].annotation) == ("error", "mask")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"lr": 0.1}, 'optimizer_kwargs={"lr": ...}'),
        ({"learning_rate": 0.1}, 'optimizer_kwargs={"lr": ...}'),
        ({"momentum": 0.9, "optimizer_cls": torch.optim.SGD}, 'optimizer_kwargs={"momentum": ...}'),
        ({"max_epochs": 3}, 'pl_trainer_kwargs={"max_epochs": ...}'),
        ({"epochs": 3}, "n_epochs"),
        ({"seed": 3}, "random_state"),
        ({"seasonlength": 7}, "season_length"),
    ],
)
def test_a_misspelt_argument_is_told_what_was_probably_meant(
    model_name: str, given: dict[str, Any], meant: str
) -> None:
    with pytest.raises(ValueError, match=rf"{model_name} has no argument `\w+` \(did you mean `{re.escape(meant)}`"):
        make_model(model_name, **given)


@pytest.mark.parametrize("given", ["hiden_dim", "hidden_size", "units"])
def test_other_words_for_the_number_of_units_are_told_its_name(recurrent_model_name: str, given: str) -> None:
    with pytest.raises(ValueError, match=rf"no argument `{given}` \(did you mean `hidden_dim`"):
        make_model(recurrent_model_name, **{given: 8})


def test_an_argument_like_no_other_is_named_without_a_guess() -> None:
    with pytest.raises(ValueError, match=r"SimpleRNNModel has no argument `xyzzy`\. `help\(SimpleRNNModel\)`"):
        make_model("SimpleRNNModel", xyzzy=1)


def test_an_argument_of_another_of_our_models_is_not_suggested() -> None:
    with pytest.raises(ValueError, match=r"LinearModel has no argument `hidden_dim`") as refused:
        make_model("LinearModel", hidden_dim=8)
    assert "`hidden_dim`?" not in str(refused.value)
