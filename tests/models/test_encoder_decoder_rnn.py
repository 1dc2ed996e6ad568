"""The encoder-decoder against plain loops: what the decoder is given, what it attends to, and how paths are drawn."""

from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleInput
from darts.utils.likelihood_models.torch import GaussianLikelihood, PoissonLikelihood, QuantileRegression
from torch import nn

from seq_plugins import EncoderDecoderRNNModel
from seq_plugins.layers import RecurrentLayer
from seq_plugins.models.encoder_decoder_rnn import LuongAttention, TeacherForcing
from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of

NAME = "EncoderDecoderRNNModel"
CELLS: dict[str, Any] = {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}
N_COMPONENTS, N_SAMPLES = 2, 3

each_cell = pytest.mark.parametrize("cell", CELLS)
with_and_without_attention = pytest.mark.parametrize("attention", [False, True], ids=["no attention", "attention"])
ahead_or_not = pytest.mark.parametrize("look_ahead", [False, True], ids=["no look ahead", "look ahead"])


def _fitted(**arguments: Any) -> EncoderDecoderRNNModel:
    target = make_series(components=N_COMPONENTS, dtype=np.float64)
    covariates = make_series(60, components=2, dtype=np.float64, seed=1)
    model = make_model(NAME, **arguments).fit(target, past_covariates=covariates, future_covariates=covariates)
    assert isinstance(model, EncoderDecoderRNNModel)
    return model


def _network(**arguments: Any) -> Any:
    network = _fitted(**arguments).model
    network._trainer = None  # of whose epochs the rate would be
    return network.eval()


def _input(stage: ModuleStage) -> PLModuleInput:
    generator = torch.Generator().manual_seed(0)

    def draw(length: int) -> torch.Tensor:
        return torch.randn(N_SAMPLES, length, 2, generator=generator, dtype=torch.float64).requires_grad_()

    return PLModuleInput(
        past_target=draw(INPUT),
        past_covariates=draw(INPUT),
        historic_future_covariates=draw(INPUT),
        future_covariates=draw(OUTPUT),
        static_covariates=None,
        future_target=draw(OUTPUT),
        stage=stage,
    )


def _cell(layer: RecurrentLayer, name: str) -> Any:
    """PyTorch's cell with the weights of one of our layers."""
    cell = CELLS[name](layer.input_dim, layer.hidden_dim).double()
    for weight in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        own = getattr(layer, weight)
        getattr(cell, weight).data.copy_(torch.tensor(0.0) if own is None else own)
    return cell


def _plain_forecast(network: Any, cell: str, x_in: PLModuleInput, given: str) -> torch.Tensor:
    """Forecast `(B, H, C)` in the most obvious way, for layers on top of each other."""
    past = [x_in.past_target, x_in.past_covariates]
    next_known = torch.cat([x_in.historic_future_covariates[:, 1:], x_in.future_covariates[:, :1]], dim=1)
    features = torch.cat([*past, next_known], dim=-1)
    encoder, decoder = ([_cell(layer, cell) for layer in stack] for stack in (network.encoder, network.decoder))
    memories: list[Any] = [None] * len(encoder)

    def step(cells: list[Any], below: torch.Tensor) -> torch.Tensor:
        for place, each in enumerate(cells):
            memories[place] = each(below, memories[place])
            below = memories[place][0] if cell == "LSTM" else memories[place]
        return below

    known = [x_in.future_covariates[:, k] for k in range(OUTPUT)]
    if network.ahead is not None:
        (layer,) = network.ahead
        backwards, memory = _cell(layer, cell), None
        for k in reversed(range(OUTPUT)):
            memory = backwards(known[k], memory)
            known[k] = torch.cat([known[k], memory[0] if cell == "LSTM" else memory], dim=-1)

    encoded = [step(encoder, features[:, t]) for t in range(features.shape[1])]
    value, forecasts = x_in.past_target[:, -1], []
    for k in range(OUTPUT):
        told = network.positions.weight[k].expand(N_SAMPLES, -1) if given == "position" else value
        state = step(decoder, torch.cat([told, known[k]], dim=-1))
        if network.attention is not None:
            score, combine = network.attention.score.weight, network.attention.combine
            scores = torch.stack([((state @ score.T) * each).sum(dim=-1) for each in encoded])  # -> (L, B)
            weights = scores.exp() / scores.exp().sum(dim=0)
            context = sum(weight[:, None] * each for weight, each in zip(weights, encoded, strict=True))
            state = torch.tanh(combine(torch.cat([context, state], dim=-1)))
        forecasts.append(network.head.layers(state))
        value = x_in.future_target[:, k] if given == "what came true" else forecasts[-1]
    return torch.stack(forecasts, dim=1)


@with_and_without_attention
@ahead_or_not
@each_cell
@pytest.mark.parametrize(
    ("decoding", "given"), [("parallel", "position"), ("autoregressive", "own forecast")], ids=["parallel", "in turn"]
)
def test_a_forecast_equals_that_of_a_plain_loop(
    cell: str, look_ahead: bool, attention: bool, decoding: str, given: str
) -> None:
    arguments = {"look_ahead": look_ahead, "attention": attention, "decoding": decoding, "n_rnn_layers": 2}
    network = _network(model=cell, hidden_fc_sizes=[5], **arguments)
    assert (network.ahead is not None) == look_ahead
    x_in = _input(ModuleStage.PREDICT)
    expected = _plain_forecast(network, cell, x_in, given)
    torch.testing.assert_close(network(x_in).prediction.squeeze(-1), expected, rtol=0, atol=1e-10)


@each_cell
def test_with_a_rate_of_one_the_decoder_is_told_what_came_true_a_step_late(cell: str) -> None:
    network = _network(model=cell, decoding="autoregressive", teacher_forcing=1.0)
    x_in = _input(ModuleStage.TRAIN)
    prediction = network(x_in).prediction
    expected = _plain_forecast(network, cell, x_in, "what came true")
    torch.testing.assert_close(prediction.squeeze(-1), expected, rtol=0, atol=1e-10)
    for step in range(OUTPUT):
        (moved_by,) = torch.autograd.grad(prediction[:, step].sum(), x_in.future_target, retain_graph=True)
        assert moved_by[:, :step].abs().amax(dim=-1).gt(1e-9).all()
        assert not moved_by[:, step:].any()


@with_and_without_attention
@each_cell
@pytest.mark.parametrize(
    ("decoding", "given"), [("parallel", "position"), ("autoregressive", "own forecast")], ids=["parallel", "in turn"]
)
def test_in_training_each_start_forecasts_as_a_window_that_ends_there_would(
    cell: str, attention: bool, decoding: str, given: str
) -> None:
    arguments = {"attention": attention, "decoding": decoding, "n_rnn_layers": 2, "decoder_starts": 4}
    network = _network(model=cell, **arguments)
    x_in = _input(ModuleStage.TRAIN)
    steps = network(x_in).state
    ends = [network.step_ends[step] for step in network._loss_steps]
    assert len(ends) == 4
    known = torch.cat([x_in.historic_future_covariates, x_in.future_covariates], dim=1)
    for place, end in enumerate(ends):
        window = slice(0, end + 1)
        ahead = known[:, end + 1 : end + 1 + OUTPUT]
        shorter = x_in.replace(
            past_target=x_in.past_target[:, window],
            past_covariates=x_in.past_covariates[:, window],
            historic_future_covariates=known[:, window],
            future_covariates=ahead,
            future_target=None,
        )
        expected = _plain_forecast(network, cell, shorter, given)
        torch.testing.assert_close(steps.prediction[:, place].squeeze(-1), expected, rtol=0, atol=1e-10)


@each_cell
def test_teacher_forcing_tells_each_of_several_starts_what_came_true_after_it(cell: str) -> None:
    arguments = {"decoding": "autoregressive", "teacher_forcing": 1.0, "decoder_starts": 4, "n_rnn_layers": 2}
    network = _network(model=cell, **arguments)
    x_in = _input(ModuleStage.TRAIN)
    steps = network(x_in).state
    known = torch.cat([x_in.historic_future_covariates, x_in.future_covariates], dim=1)
    target = torch.cat([x_in.past_target, x_in.future_target], dim=1)
    ends = [network.step_ends[step] for step in network._loss_steps]
    assert len(ends) == 4
    for place, end in enumerate(ends):
        window, ahead = slice(0, end + 1), slice(end + 1, end + 1 + OUTPUT)
        shorter = x_in.replace(
            past_target=target[:, window],
            past_covariates=x_in.past_covariates[:, window],
            historic_future_covariates=known[:, window],
            future_covariates=known[:, ahead],
            future_target=target[:, ahead],
        )
        expected = _plain_forecast(network, cell, shorter, "what came true")
        torch.testing.assert_close(steps.prediction[:, place].squeeze(-1), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("decoding", ["parallel", "autoregressive"])
def test_with_a_look_ahead_the_first_step_depends_on_the_covariates_of_the_last(decoding: str) -> None:
    for look_ahead in (True, False):
        network = _network(decoding=decoding, look_ahead=look_ahead)
        x_in = _input(ModuleStage.PREDICT)
        (moved_by,) = torch.autograd.grad(network(x_in).prediction[:, 0].sum(), x_in.future_covariates)
        assert bool(moved_by[:, -1].any()) == look_ahead


def test_without_future_covariates_nothing_looks_ahead() -> None:
    assert make_model(NAME).fit(make_series()).model.ahead is None


@pytest.mark.parametrize("stage", [ModuleStage.VALIDATE, ModuleStage.PREDICT])
def test_outside_training_nothing_that_came_true_is_told(stage: ModuleStage) -> None:
    network = _network(model="GRU", decoding="autoregressive", teacher_forcing=1.0)
    x_in = _input(stage)
    prediction = network(x_in).prediction
    (moved_by,) = torch.autograd.grad(prediction.sum(), x_in.future_target, allow_unused=True)
    assert moved_by is None
    expected = _plain_forecast(network, "GRU", x_in, "own forecast")
    torch.testing.assert_close(prediction.squeeze(-1), expected, rtol=0, atol=1e-10)


def test_with_half_a_rate_some_steps_are_told_and_others_are_not() -> None:
    network = _network(decoding="autoregressive", teacher_forcing=0.5, sequence_to_sequence=False).train()
    x_in = _input(ModuleStage.TRAIN)
    torch.manual_seed(0)
    is_told = network.teacher_forcing(x_in.future_target, 0.5)
    assert 0 < is_told[:, :-1].sum() < is_told[:, :-1].numel()
    torch.manual_seed(0)
    prediction = network(x_in).prediction
    (moved_by,) = torch.autograd.grad(prediction[:, -1].sum(), x_in.future_target)
    assert (moved_by.abs().amax(dim=-1)[:, :-1] > 0).equal(is_told[:, :-1])


def test_the_rate_falls_from_the_first_epoch_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    class Noting(TeacherForcing):
        def forward(self, target: torch.Tensor, rate: float) -> torch.Tensor:
            rates.append(rate)
            return super().forward(target, rate)

    monkeypatch.setattr("seq_plugins.models.encoder_decoder_rnn.TeacherForcing", Noting)
    for fast in (True, False):
        rates.clear()
        model = make_model(NAME, decoding="autoregressive", teacher_forcing=(0.8, 0.0), n_epochs=5, batch_size=64)
        model.fast_training = fast
        model.fit(make_series())
        assert rates == pytest.approx([0.8, 0.6, 0.4, 0.2])  # at zero nobody is asked
    assert TeacherForcing((0.8, 0.2)).rate_in(0, 1) == 0.8
    assert TeacherForcing((0.8, 0.2)).rate_in(7, -1) == 0.8  # trained until something else ends it
    assert TeacherForcing((0.8, 0.2)).rate_in(7, 5) == pytest.approx(0.2)


def test_the_same_seed_chooses_the_same_steps_and_leaves_other_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    arguments: dict[str, Any] = {"decoding": "autoregressive", "teacher_forcing": 0.5, "n_epochs": 3}
    forecasts = [values_of(_fitted(**arguments, random_state=seed).predict(OUTPUT)) for seed in (1, 1, 2)]
    assert torch.get_rng_state().equal(before)
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    assert np.abs(forecasts[0] - forecasts[2]).max() > 1e-6


def test_dropout_hides_the_same_at_every_step_of_a_sequence() -> None:
    arguments = {"decoding": "autoregressive", "dropout": 0.5, "recurrent_dropout": 0.5, "model": "GRU"}
    network = _network(**arguments, teacher_forcing=1.0, sequence_to_sequence=False).train()
    x_in = _input(ModuleStage.TRAIN)
    torch.manual_seed(0)
    at_once = network(x_in).prediction
    network.teacher_forcing.forward = lambda target, rate: torch.tensor([[True] * (OUTPUT - 1) + [False]])
    torch.manual_seed(0)
    in_turn = network(x_in).prediction  # the last step's value is given to nobody
    torch.testing.assert_close(in_turn, at_once, rtol=0, atol=1e-10)


def test_attention_is_a_softmax_over_the_states_of_the_encoder() -> None:
    attention = LuongAttention(4).double()
    states, encoded = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)
    weights = attention.weights(states, encoded)
    assert weights.shape == (2, 3, 5)
    for sample in range(2):
        for step in range(3):
            scores = [states[sample, step] @ attention.score.weight.T @ each for each in encoded[sample]]
            exact = np.exp([score.item() for score in scores])
            np.testing.assert_allclose(weights[sample, step].detach(), exact / exact.sum(), rtol=1e-12)
    context = weights @ encoded
    expected = torch.tanh(torch.cat([context, states], dim=-1) @ attention.combine.weight.T + attention.combine.bias)
    torch.testing.assert_close(attention(states, encoded), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("likelihood", [GaussianLikelihood(), QuantileRegression([0.1, 0.5, 0.9])], ids=repr)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"use_reversible_instance_norm": {"affine": True}},
        {"season_length": 3},
        {"season_length": [3, 7], "local_normalization": "level_scale"},
        {"ensemble_size": 2},
    ],
    ids=["plain", "instance norm", "season", "local normalisation", "members"],
)
def test_each_step_of_a_path_is_drawn_from_what_is_forecast_after_the_steps_before(
    likelihood: Any, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network(
        decoding="autoregressive",
        teacher_forcing=1.0,
        sequence_to_sequence=False,
        likelihood=likelihood,
        **arguments,
    )
    network.predict_likelihood_parameters = False
    x_in = _input(ModuleStage.PREDICT).replace(future_target=None)
    if network.ensemble_size > 1:  # each sample is one member's
        monkeypatch.setattr(type(network), "_predicts_by_member", True)
        x_in = network._for_every_member(x_in)
    with torch.no_grad():
        torch.manual_seed(0)
        path = network._produce_predict_output(x_in).prediction  # -> (B, H, C)
        # a decoder that is told the path forecasts each step after the drawn ones before it
        parameters = network(x_in.replace(future_target=path, stage=ModuleStage.TRAIN)).prediction
        if isinstance(likelihood, QuantileRegression):
            parameters = parameters.sort(dim=-1).values
        torch.manual_seed(0)
        steps = [likelihood.sample(parameters[:, step : step + 1]) for step in range(OUTPUT)]
    torch.testing.assert_close(path, torch.cat(steps, dim=1), rtol=1e-6, atol=1e-8)


def test_parameters_are_those_after_locations() -> None:
    network = _network(
        decoding="autoregressive", likelihood=GaussianLikelihood(), teacher_forcing=1.0, sequence_to_sequence=False
    )
    x_in = _input(ModuleStage.PREDICT)
    with torch.no_grad():
        parameters = network(x_in).prediction
        told = network(x_in.replace(future_target=parameters[..., 0], stage=ModuleStage.TRAIN)).prediction
    torch.testing.assert_close(parameters, told, rtol=0, atol=1e-10)


@pytest.mark.parametrize("ensemble_size", [1, 2])
def test_samples_reach_beyond_the_horizon(ensemble_size: int) -> None:
    model = _fitted(decoding="autoregressive", likelihood=GaussianLikelihood(), ensemble_size=ensemble_size)
    n, covariates = OUTPUT + 3, make_series(60, components=2, dtype=np.float64, seed=1)
    for num_samples in (1, 4):
        forecast = model.predict(n, past_covariates=covariates, num_samples=num_samples)
        assert values_of(forecast).shape == (n, N_COMPONENTS, num_samples)
        assert np.isfinite(values_of(forecast)).all()
    assert np.ptp(values_of(forecast), axis=2).min() > 0


def test_missing_values_are_never_told() -> None:
    values = values_of(make_series(60, components=2)).copy()
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    series = make_series(60, components=2).with_values(values)
    arguments = {"decoding": "autoregressive", "missing": "mask", "n_epochs": 3}
    for teacher_forcing in (0.5, 1.0):
        for more in ({}, {"local_normalization": "level", "season_length": 3}, {"use_reversible_instance_norm": True}):
            model = make_model(NAME, teacher_forcing=teacher_forcing, **arguments, **more).fit(series)
            assert np.isfinite(values_of(model.predict(2 * OUTPUT))).all()


def test_a_likelihood_without_a_location_needs_parallel_decoding() -> None:
    counts = make_series().map(lambda values: np.abs(values).round())
    with pytest.raises(ValueError, match=r'with decoding="autoregressive", got PoissonLikelihood.*decoding="parallel"'):
        make_model(NAME, decoding="autoregressive", likelihood=PoissonLikelihood())
    model = make_model(NAME, decoding="parallel", likelihood=PoissonLikelihood()).fit(counts)
    assert (values_of(model.predict(OUTPUT, num_samples=3)) >= 0).all()
