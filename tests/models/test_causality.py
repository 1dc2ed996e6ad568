"""No blindness, no peeking: what a forecast depends on, shown by changing one value at a time."""

from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleInput

from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, MODEL_NAMES, OUTPUT, make_model, make_series, takes, values_of, with_static_covariates

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "shift": {"output_chunk_shift": 3},
    "normalised": {"use_reversible_instance_norm": True},
    "hidden layers": {"hidden_fc_sizes": [16], "activation": "Tanh"},
    "normalised layers": {"layer_norm": True, "model": "LSTM"},
    "dilated layers": {"n_rnn_layers": 2, "dilations": [1, 3]},
    "segments": {"hidden_fc_sizes": [16], "segment_length": 1, "activation": "Tanh"},
    "attention": {"attention": True, "model": "LSTM"},
    "no look ahead": {"look_ahead": False},
    "autoregressive decoding": {"decoding": "autoregressive", "teacher_forcing": 0.0},
    "autoregressive decoding, normalised": {
        "decoding": "autoregressive",
        "teacher_forcing": 0.0,
        "use_reversible_instance_norm": True,
    },
}
OWN_ARGUMENTS = (
    "hidden_fc_sizes",
    "segment_length",
    "n_rnn_layers",
    "dilations",
    "layer_norm",
    "decoding",
    "attention",
    "look_ahead",
)
LOCAL: dict[str, dict[str, Any]] = {
    "local level": {"local_normalization": "level"},
    "local level and scale": {"local_normalization": "level_scale", "season_length": 3, "activation": "Tanh"},
    "several seasons": {"local_normalization": "level_scale", "season_length": [3, 7], "activation": "Tanh"},
}
CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "stride and kernel that do not divide": {"kernel_size": 5, "stride": 3},
    "max pool that does not divide": {"kernel_size": 4, "stride": 1, "pooling": "max", "pool_size": 4},
    "average pool that does not divide": {"kernel_size": 3, "stride": 2, "pooling": "average", "pool_size": 3},
}
DILATED_CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "a longer kernel": {"kernel_size": 3, "dilations": [5, 1, 2]},
    "gated": {"gated": True},
}


def _local(name: str, variant: str) -> dict[str, Any]:
    return {
        argument: value
        for argument, value in LOCAL[variant].items()
        if argument != "activation" or takes(name, argument)
    }


def _variants() -> list[Any]:
    cases = [
        (name, arguments, f"{name}, {variant}")
        for name in MODEL_NAMES
        for variant, arguments in [*VARIANTS.items(), *((variant, _local(name, variant)) for variant in LOCAL)]
        if all(takes(name, argument) for argument in OWN_ARGUMENTS if argument in arguments)
    ]
    for variant, convolution in CONVOLUTIONS.items():
        arguments = convolution | {"activation": "Tanh"}  # no ReLU, so that no unit is dead for the input at hand
        cases.append(("Conv1DGRUModel", arguments, variant))
        cases.append(("Conv1DGRUModel", arguments | {"output_chunk_shift": 2}, f"{variant}, shift"))
    for variant, arguments in DILATED_CONVOLUTIONS.items():
        cases.append(("WaveNetModel", arguments | {"activation": "Tanh"}, variant))
    return [pytest.param(name, arguments, id=identifier) for name, arguments, identifier in cases]


def _sequence_to_sequence_models() -> list[str]:
    """Every model whose loss is on every step unless told otherwise."""
    return [name for name in MODEL_NAMES if make_model(name)._has_loss_on_every_step]


def _fitted(name: str, arguments: dict[str, Any]) -> SequenceModel:
    target = with_static_covariates(make_series(components=2, dtype=np.float64))
    covariates = make_series(60, components=2, dtype=np.float64, seed=1)
    model = make_model(name, **arguments)
    model.fit(target, past_covariates=covariates, future_covariates=covariates)
    model.model.eval()
    return model


def _random_input(stage: ModuleStage, batch: int = 3, length: int = INPUT) -> PLModuleInput:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    return PLModuleInput(
        past_target=draw(batch, length, 2),
        past_covariates=draw(batch, length, 2),
        historic_future_covariates=draw(batch, length, 2),
        future_covariates=draw(batch, OUTPUT, 2),
        static_covariates=draw(batch, 1, 2),
        future_target=draw(batch, OUTPUT, 2),
        stage=stage,
    )


@pytest.mark.parametrize(("name", "arguments"), _variants())
def test_the_newest_input_moves_every_step_of_the_forecast(name: str, arguments: dict[str, Any]) -> None:
    model = _fitted(name, arguments)
    x_in = _random_input(ModuleStage.PREDICT)
    prediction = model.model(x_in).prediction
    for step in range(OUTPUT):
        for component in range(2):
            moved_by = torch.autograd.grad(
                prediction[:, step, component].sum(), [x_in.past_target, x_in.past_covariates], retain_graph=True
            )
            for gradient in moved_by:
                assert gradient[:, -1].abs().min() > 1e-9, (step, component)


@pytest.mark.parametrize(("name", "arguments"), _variants())
def test_every_known_future_value_moves_the_forecast(name: str, arguments: dict[str, Any]) -> None:
    model = _fitted(name, arguments)
    x_in = _random_input(ModuleStage.PREDICT)
    prediction = model.model(x_in).prediction
    gradient = torch.autograd.grad(prediction.sum(), x_in.future_covariates)[0]
    assert gradient.abs().amax(dim=0).min() > 1e-9


@pytest.mark.parametrize("stage", list(ModuleStage))
@pytest.mark.parametrize(("name", "arguments"), _variants())
def test_the_future_target_never_moves_a_forecast(name: str, arguments: dict[str, Any], stage: ModuleStage) -> None:
    """Darts hands the future target over in training and validation."""
    model = _fitted(name, arguments)
    x_in = _random_input(stage)
    prediction = model.model(x_in).prediction
    assert prediction.shape == (3, OUTPUT, 2, 1)
    (gradient,) = torch.autograd.grad(prediction.sum(), x_in.future_target, allow_unused=True)
    assert gradient is None or gradient.abs().max() == 0


def test_nothing_after_the_forecast_point_moves_a_forecast_but_known_covariates(model_name: str) -> None:
    target, past, future = make_series(40), make_series(40, seed=1), make_series(60, seed=2)
    model = make_model(model_name).fit(target, past_covariates=past, future_covariates=future)
    cut = 25
    forecast = values_of(
        model.predict(OUTPUT, target[:cut], past_covariates=past[:cut], future_covariates=future[: cut + OUTPUT])
    )
    later = np.where(np.arange(60) < cut, 0, 1000).astype(np.float32)[:, None, None]
    changed_past = past.with_values(values_of(past) + later[:40])
    beyond = np.where(np.arange(60) < cut + OUTPUT, 0, 1000).astype(np.float32)[:, None, None]
    changed_future = future.with_values(values_of(future) + beyond)
    again = values_of(
        model.predict(OUTPUT, target[:cut], past_covariates=changed_past, future_covariates=changed_future)
    )
    np.testing.assert_array_equal(forecast, again)


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[
            pytest.param(name, {"activation": "Tanh"} if takes(name, "activation") else {}, id=name)
            for name in _sequence_to_sequence_models()
        ],
        *[
            pytest.param(name, arguments, id=f"{name}, {variant}")
            for name in _sequence_to_sequence_models()
            for variant, arguments in LOCAL.items()
        ],
        *[
            pytest.param(
                "EncoderDecoderRNNModel",
                {"decoding": decoding, "attention": True, "n_rnn_layers": 2, "decoder_starts": 5},
                id=f"{decoding} decoding, attention, two layers",
            )
            for decoding in ("parallel", "autoregressive")
        ],
        pytest.param("Seq2SeqRNNModel", {"n_rnn_layers": 2}, id="two layers"),
        pytest.param("Seq2SeqRNNModel", VARIANTS["dilated layers"], id="dilated layers"),
        pytest.param("Seq2SeqRNNModel", {"hidden_fc_sizes": [8], "activation": "Tanh"}, id="hidden layers"),
        *[
            pytest.param("Conv1DGRUModel", arguments | {"activation": "Tanh"}, id=variant)
            for variant, arguments in CONVOLUTIONS.items()
        ],
        *[
            pytest.param("WaveNetModel", arguments | {"activation": "Tanh"}, id=variant)
            for variant, arguments in DILATED_CONVOLUTIONS.items()
        ],
    ],
)
def test_each_step_s_forecast_in_training_sees_its_newest_input_and_nothing_later(
    name: str, arguments: dict[str, Any], shift: int
) -> None:
    length = 16
    module = _fitted(name, arguments | {"output_chunk_shift": shift, "input_chunk_length": length}).model
    x_in = _random_input(ModuleStage.TRAIN, batch=1, length=length)
    every_step = module(x_in).state
    ends = [module.step_ends[step] for step in module._loss_steps]
    assert ends[-1] == length - 1
    assert every_step.prediction.shape[1] == len(ends) > 1
    inputs = [x_in.past_target, x_in.past_covariates, x_in.historic_future_covariates, x_in.future_covariates]
    for prediction, end in zip(every_step.prediction[0], ends, strict=True):
        gradients = torch.autograd.grad(prediction.sum(), inputs, retain_graph=True)
        target, past, historic, future = (gradient[0].abs().sum(dim=-1) for gradient in gradients)
        assert target[end] > 0
        assert past[end] > 0
        assert not target[end + 1 :].any()
        assert not past[end + 1 :].any()
        # known covariates: those of the steps forecast, of the next step without a shift, and of no other later step
        known = torch.zeros(length + shift + OUTPUT, dtype=torch.bool)
        known[: end + 1] = True
        known[end + shift + 1 : end + shift + OUTPUT + 1] = True
        assert not historic[~known[:length]].any()
        assert not future[~known[length + shift :]].any()
        used = torch.cat([historic, torch.zeros(shift), future])[end + shift + 1 : end + shift + OUTPUT + 1]
        assert (used > 0).all()


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("name", _sequence_to_sequence_models())
def test_each_step_in_training_has_the_targets_that_follow_its_newest_input(name: str, shift: int) -> None:
    module = _fitted(name, {"output_chunk_shift": shift}).model
    x_in = _random_input(ModuleStage.TRAIN, batch=1)
    every_step = module(x_in).state
    times = torch.cat([torch.arange(INPUT), torch.arange(INPUT + shift, INPUT + shift + OUTPUT)])
    sample = torch.cat([x_in.past_target, x_in.future_target], dim=1)[0]
    for step, target in zip(module._loss_steps, every_step.target[0], strict=True):
        end = module.step_ends[step]
        positions = [int((times == end + shift + 1 + ahead).nonzero()) for ahead in range(OUTPUT)]
        torch.testing.assert_close(target, sample[positions])


@pytest.mark.parametrize("name", _sequence_to_sequence_models())
def test_with_instance_normalisation_the_loss_is_on_the_last_step_only(name: str) -> None:
    module = _fitted(name, {"use_reversible_instance_norm": True}).model
    assert module(_random_input(ModuleStage.TRAIN)).state is None


@pytest.mark.parametrize("name", _sequence_to_sequence_models())
def test_every_step_is_computed_in_training_only(name: str) -> None:
    module = _fitted(name, {}).model
    assert module(_random_input(ModuleStage.TRAIN)).state is not None
    assert module(_random_input(ModuleStage.VALIDATE)).state is None
    assert module(_random_input(ModuleStage.PREDICT)).state is None


@pytest.mark.parametrize(("name", "arguments"), _variants())
def test_a_forecast_does_not_depend_on_what_else_is_in_its_batch(name: str, arguments: dict[str, Any]) -> None:
    module = _fitted(name, arguments).model
    x_in = _random_input(ModuleStage.PREDICT, batch=5)
    together = module(x_in).prediction
    fields = ("past_target", "past_covariates", "historic_future_covariates", "future_covariates", "static_covariates")
    for row in range(5):
        alone = x_in.replace(**{field: getattr(x_in, field)[row : row + 1] for field in fields})
        torch.testing.assert_close(module(alone).prediction, together[row : row + 1], rtol=1e-10, atol=1e-12)


def test_no_input_is_changed_in_place(model_name: str) -> None:
    module = _fitted(model_name, {"use_reversible_instance_norm": True}).model
    for stage in ModuleStage:
        x_in, again = _random_input(stage), _random_input(stage)
        module(x_in)
        torch.testing.assert_close(x_in.past_target, again.past_target)
        torch.testing.assert_close(x_in.historic_future_covariates, again.historic_future_covariates)
