import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.torch import MonteCarloDropout
from torch import nn

from seq_plugins.layers import (
    GRU,
    LSTM,
    CellName,
    RecurrentLayer,
    RecurrentStack,
    SimpleRNN,
    VariationalDropout,
    recurrent,
)
from seq_plugins.layers.recurrent_kernels import (
    SWITCH,
    Cell,
    Kernel,
    Recurrence,
    run_compiled,
    run_in_steps,
    run_in_torch,
)

# B: batch, L: time steps, I: features of a step, D: hidden dimension, G: gates

KERAS = json.loads(Path(__file__).with_name("keras_numbers.json").read_text())
LAYERS: list[type[RecurrentLayer]] = [SimpleRNN, LSTM, GRU]
TORCH_LAYERS: dict[str, Callable[..., nn.RNNBase]] = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-11}

each_layer = pytest.mark.parametrize("layer_class", LAYERS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
each_model = pytest.mark.parametrize("model", TORCH_LAYERS)


def keras_numbers(layer_class: type[RecurrentLayer]) -> dict[str, np.ndarray]:
    """The weights, inputs and outputs of the layer of the same name in Keras."""
    return {name: np.array(values) for name, values in KERAS["recurrent"][layer_class.__name__].items()}


def keras_weights(layer_class: type[RecurrentLayer]) -> dict[str, np.ndarray]:
    return {name: keras_numbers(layer_class)[name] for name in ("kernel", "recurrent_kernel", "bias")}


def layer_from_keras(
    layer_class: type[RecurrentLayer], dtype: torch.dtype = torch.float64, **dropouts: Any
) -> RecurrentLayer:
    weights = keras_weights(layer_class)
    input_dim, hidden_dim = len(weights["kernel"]), len(weights["recurrent_kernel"])
    layer = layer_class(input_dim, hidden_dim, **dropouts).to(dtype)
    layer.load_keras_weights(**weights)
    return layer


def keras_inputs(layer_class: type[RecurrentLayer], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(keras_numbers(layer_class)["inputs"], dtype=dtype)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-values)))


def states_of_the_equations(layer_class: type[RecurrentLayer], mask: np.ndarray) -> np.ndarray:
    """The states `(B, L, D)` by Keras' equations, where the gates see the previous state times `mask` `(B, D)`."""
    numbers = keras_numbers(layer_class)
    input_bias, state_bias = numbers["bias"] if layer_class is GRU else (numbers["bias"], 0.0)
    state, cell = np.zeros_like(mask), np.zeros_like(mask)
    states = []
    for step in numbers["inputs"].swapaxes(0, 1):
        from_input = step @ numbers["kernel"] + input_bias
        from_state = (state * mask) @ numbers["recurrent_kernel"] + state_bias
        if layer_class is SimpleRNN:
            state = np.tanh(from_input + from_state)
        elif layer_class is LSTM:
            i, f, c, o = np.split(from_input + from_state, 4, axis=-1)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
            state = sigmoid(o) * np.tanh(cell)
        else:
            (xz, xr, xh), (hz, hr, hh) = np.split(from_input, 3, axis=-1), np.split(from_state, 3, axis=-1)
            update = sigmoid(xz + hz)
            state = update * state + (1 - update) * np.tanh(xh + sigmoid(xr + hr) * hh)
        states.append(state)
    return np.stack(states, axis=1)


def values_and_gradients(
    outputs: torch.Tensor, inputs: torch.Tensor, parameters: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """`outputs` and the gradients of a sum that weighs each of them differently."""
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).reshape(outputs.shape)
    return [outputs, *torch.autograd.grad((weights * outputs).sum(), [inputs, *parameters])]


@pytest.mark.parametrize("setting", ["auto", "torch"])
@each_dtype
@each_layer
def test_states_equal_those_of_keras(
    layer_class: type[RecurrentLayer], dtype: torch.dtype, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, setting)
    states = layer_from_keras(layer_class, dtype)(keras_inputs(layer_class, dtype))

    expected = torch.tensor(keras_numbers(layer_class)["outputs"], dtype=dtype)
    torch.testing.assert_close(states, expected, rtol=0, atol=TOLERANCES[dtype])


@pytest.mark.parametrize("part", [np.s_[..., :-1], np.s_[:-1], np.s_[None]], ids=["narrow", "short", "nested"])
@pytest.mark.parametrize("name", ["kernel", "recurrent_kernel", "bias"])
@each_layer
def test_keras_weights_of_another_shape_are_refused_by_name(
    layer_class: type[RecurrentLayer], name: str, part: Any
) -> None:
    layer, weights = layer_from_keras(layer_class), keras_weights(layer_class)
    before = {key: tensor.clone() for key, tensor in layer.state_dict().items()}
    wrong = {key: weight + 1 for key, weight in weights.items()}
    wrong[name] = wrong[name][part]

    with pytest.raises(
        ValueError, match=rf"Expected `{name}` of shape .*{layer_class.__name__}\(3, 4\), got "
    ) as error:
        layer.load_keras_weights(**wrong)

    assert str(weights[name].shape) in str(error.value)
    assert str(wrong[name].shape) in str(error.value)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


@each_layer
def test_a_bias_with_the_rows_of_another_kind_of_layer_is_refused(layer_class: type[RecurrentLayer]) -> None:
    weights = keras_weights(layer_class)
    bias = weights["bias"]
    weights["bias"] = bias[0] if layer_class is GRU else np.stack([bias, bias])

    with pytest.raises(ValueError, match="`bias`"):
        layer_from_keras(layer_class).load_keras_weights(**weights)


@each_layer
def test_kernels_start_with_the_spread_of_keras(layer_class: type[RecurrentLayer]) -> None:
    torch.manual_seed(0)
    expected = KERAS["initial"][layer_class.__name__]
    input_dim, n_columns = expected["kernel_shape"]
    layer = layer_class(input_dim, n_columns // layer_class.cell.n_gates)

    kernel = layer.weight_ih.detach().numpy()
    assert np.abs(kernel).max() <= np.sqrt(6 / (input_dim + n_columns)) + 1e-7
    assert np.abs(kernel).max() == pytest.approx(expected["kernel_max"], rel=0.01)
    assert kernel.std() == pytest.approx(expected["kernel_std"], rel=0.03)
    gate_stds = [gate.std() for gate in np.split(kernel, layer_class.cell.n_gates)]
    assert gate_stds == pytest.approx(expected["gate_stds"], rel=0.03)


@each_layer
def test_recurrent_kernels_start_orthogonal_over_all_gates(layer_class: type[RecurrentLayer]) -> None:
    layer = layer_class(3, 8)

    gram = layer.weight_hh.T @ layer.weight_hh  # -> (D, D)
    torch.testing.assert_close(gram.detach(), torch.eye(8), rtol=0, atol=1e-5)


@each_layer
def test_biases_start_as_in_keras_and_return_there_on_reset(layer_class: type[RecurrentLayer]) -> None:
    expected = KERAS["initial"][layer_class.__name__]
    input_dim, n_columns = expected["kernel_shape"]
    layer = layer_class(input_dim, n_columns // layer_class.cell.n_gates)
    for _ in range(2):
        biases = [bias.tolist() for bias in (layer.bias_ih, layer.bias_hh) if bias is not None]
        assert biases == np.atleast_2d(expected["bias"]).tolist()  # where gates are ordered otherwise, all are zero
        for parameter in layer.parameters():
            nn.init.constant_(parameter, 0.5)
        layer.reset_parameters()
    assert layer.weight_ih.std() > 0
    assert layer.weight_hh.std() > 0


def test_only_the_forget_gate_of_an_lstm_starts_with_a_bias_of_one() -> None:
    assert LSTM(2, 3).bias_ih.tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 6


@each_layer
def test_all_kernels_agree_in_values_and_gradients(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = layer_from_keras(layer_class), keras_inputs(layer_class).requires_grad_()
    mask_of_ones = inputs.new_ones(len(inputs), layer.hidden_dim)

    in_torch, *others = (
        values_and_gradients(states, inputs, list(layer.parameters()))
        for states, _ in (
            run_in_torch(layer.cell, inputs, layer.weights, is_training=True),
            run_in_steps(layer.cell, inputs, None, layer.weights),
            run_in_steps(layer.cell, inputs, mask_of_ones, layer.weights),
            run_compiled(layer.cell, inputs, None, layer.weights),
            run_compiled(layer.cell, inputs, mask_of_ones, layer.weights),
        )
    )

    for other in others:
        torch.testing.assert_close(other, in_torch, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("share", "kernel"),
    [(0.0, Kernel.COMPILED), (0.0, Kernel.TORCH), (0.5, Kernel.COMPILED), (0.5, Kernel.STEPS)],
)
@each_layer
def test_a_layer_runs_the_kernel_that_is_chosen(
    layer_class: type[RecurrentLayer], share: float, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, inputs = layer_from_keras(layer_class, recurrent_dropout=share), keras_inputs(layer_class)
    asked, ran = [], []

    def choose(cell: Cell, inputs: torch.Tensor, mask: torch.Tensor | None, *others: Any) -> Kernel:
        asked.append((cell, inputs.shape, mask is None))
        return kernel

    def run(kernel: Kernel) -> Callable[..., Recurrence]:
        def note(cell: Cell, inputs: torch.Tensor, *others: Any) -> Recurrence:
            ran.append(kernel)
            return Recurrence(inputs, None)

        return note

    monkeypatch.setattr(recurrent, "choose_kernel", choose)
    monkeypatch.setattr(recurrent, "run_compiled", run(Kernel.COMPILED))
    monkeypatch.setattr(recurrent, "run_in_steps", run(Kernel.STEPS))
    monkeypatch.setattr(recurrent, "run_in_torch", run(Kernel.TORCH))

    layer(inputs)

    assert ran == [kernel]
    assert asked == [(layer.cell, inputs.shape, share == 0)]


@pytest.mark.parametrize("setting", ["auto", "torch"])
@each_layer
def test_states_with_recurrent_dropout_follow_the_equations(
    layer_class: type[RecurrentLayer], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, setting)
    mask = np.array([[2.0, 0.0, 2.0, 0.0], [0.0, 0.0, 2.0, 2.0]])
    layer = layer_from_keras(layer_class, recurrent_dropout=0.5)
    monkeypatch.setattr(layer.recurrent_dropout, "sample_mask", lambda features: torch.from_numpy(mask))

    states = layer(keras_inputs(layer_class))

    np.testing.assert_allclose(states.detach(), states_of_the_equations(layer_class, mask), rtol=0, atol=1e-12)


def normalised(sums: np.ndarray, layer: RecurrentLayer, position: int) -> np.ndarray:
    """Ba's equation for sums `(B, D)`, with Keras' epsilon."""
    assert layer.norm_weight is not None
    assert layer.norm_bias is not None
    deviation = np.sqrt(sums.var(axis=-1, keepdims=True) + 1e-3)
    gain, bias = (tensor[position].detach().numpy() for tensor in (layer.norm_weight, layer.norm_bias))
    return np.asarray(gain * (sums - sums.mean(axis=-1, keepdims=True)) / deviation + bias)


@pytest.mark.parametrize("setting", ["auto", "torch"])
@each_layer
def test_states_of_a_normalised_layer_follow_the_equations(
    layer_class: type[RecurrentLayer], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, setting)
    torch.manual_seed(0)
    layer = layer_class(3, 4, layer_norm=True).double()
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1, 1)
    inputs = torch.randn(2, 5, 3, dtype=torch.float64)
    weight_ih, weight_hh, bias_ih = (weight.detach().numpy() for weight in layer.weights[:3])
    bias_hh = 0.0 if layer.bias_hh is None else layer.bias_hh.detach().numpy()
    state = cell = np.zeros((2, 4))
    expected = []
    for step in inputs.numpy().swapaxes(0, 1):
        from_input, from_state = step @ weight_ih.T + bias_ih, state @ weight_hh.T + bias_hh
        if layer_class is SimpleRNN:
            state = np.tanh(normalised(from_input + from_state, layer, 0))
        elif layer_class is LSTM:
            sums = np.split(from_input + from_state, 4, axis=-1)
            i, f, c, o = (normalised(gate, layer, position) for position, gate in enumerate(sums))
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
            state = sigmoid(o) * np.tanh(normalised(cell, layer, 4))
        else:
            (xr, xz, xh), (hr, hz, hh) = np.split(from_input, 3, axis=-1), np.split(from_state, 3, axis=-1)
            reset, update = sigmoid(normalised(xr + hr, layer, 0)), sigmoid(normalised(xz + hz, layer, 1))
            state = update * state + (1 - update) * np.tanh(normalised(xh + reset * hh, layer, 2))
        expected.append(state)

    np.testing.assert_allclose(layer(inputs).detach(), np.stack(expected, axis=1), rtol=0, atol=1e-12)


def test_norms_start_without_effect_but_for_the_forget_gate_of_an_lstm() -> None:
    layer = LSTM(2, 3, layer_norm=True)
    assert layer.norm_weight is not None
    assert layer.norm_bias is not None

    assert layer.norm_weight.tolist() == [[1.0] * 3] * 5
    assert layer.norm_bias.tolist() == [[0.0] * 3, [1.0] * 3, *[[0.0] * 3] * 3]
    assert not any(name.startswith("norm") for name in LSTM(2, 3).state_dict())


@each_layer
def test_a_normalised_layer_sees_the_size_of_a_single_feature(layer_class: type[RecurrentLayer]) -> None:
    torch.manual_seed(0)
    layer, inputs = layer_class(1, 8, layer_norm=True), torch.rand(1, 6, 1) + 1

    assert (layer(inputs)[:, -1] - layer(2 * inputs)[:, -1]).abs().max() > 1e-3  # the same signs, other sizes


@each_layer
def test_hidden_units_reach_no_gate_at_any_step(layer_class: type[RecurrentLayer]) -> None:
    torch.manual_seed(0)
    layer = layer_class(3, 20, recurrent_dropout=0.5)
    layer(torch.randn(1, 6, 3)).sum().backward()
    assert layer.weight_hh.grad is not None

    hidden = (layer.weight_hh.grad == 0).all(dim=0)  # -> (D,)
    seen = (layer.weight_hh.grad != 0).any(dim=0)

    assert 3 < hidden.sum() < 17
    assert torch.equal(seen, ~hidden)


@each_layer
def test_dropped_inputs_are_dropped_at_all_steps_of_a_sequence(layer_class: type[RecurrentLayer]) -> None:
    torch.manual_seed(0)
    layer = layer_class(20, 5, dropout=0.5)
    inputs = torch.randn(3, 6, 20, requires_grad=True)
    layer(inputs).sum().backward()
    assert inputs.grad is not None

    dropped = inputs.grad == 0  # -> (B, L, I)

    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert len(dropped[:, 0].unique(dim=0)) == 3
    assert 10 < dropped[:, 0].sum() < 50


@pytest.mark.parametrize("share", ["dropout", "recurrent_dropout"])
@each_dtype
@each_layer
def test_dropout_is_off_in_prediction_unless_monte_carlo_dropout_is_on(
    layer_class: type[RecurrentLayer], dtype: torch.dtype, share: str
) -> None:
    torch.manual_seed(0)
    inputs = keras_inputs(layer_class, dtype)
    layer = layer_from_keras(layer_class, dtype, **{share: 0.5}).eval()
    torch.testing.assert_close(layer(inputs), layer_from_keras(layer_class, dtype)(inputs), rtol=0, atol=0)

    getattr(layer, share)._mc_dropout_enabled = True  # as Darts does in `predict(..., mc_dropout=True)`

    samples = torch.stack([layer(inputs) for _ in range(4)])  # -> (4, B, L, D)
    assert samples.dtype is dtype
    assert len(samples.unique(dim=0)) > 1


@pytest.mark.parametrize(("dropout", "recurrent_dropout"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.3), (0.2, 0.3)])
@each_layer
def test_a_layer_has_dropout_modules_only_for_shares_above_zero(
    layer_class: type[RecurrentLayer], dropout: float, recurrent_dropout: float
) -> None:
    layer = layer_class(3, 4, dropout, recurrent_dropout)

    shares = [module.p for module in layer.modules() if isinstance(module, MonteCarloDropout)]

    assert shares == [share for share in (dropout, recurrent_dropout) if share > 0]


@pytest.mark.parametrize("n_layers", [1, 3])
@each_model
def test_a_stack_equals_the_stacked_torch_layer_in_values_and_gradients(model: CellName, n_layers: int) -> None:
    torch.manual_seed(0)
    stack = RecurrentStack(model, 3, 4, n_layers).double()
    reference = TORCH_LAYERS[model](3, 4, n_layers, batch_first=True).double()
    for position, layer in enumerate(stack):
        for name, parameter in layer.named_parameters():
            nn.init.uniform_(parameter, -1, 1)
            getattr(reference, f"{name}_l{position}").data.copy_(parameter.data)
        if layer.bias_hh is None:
            getattr(reference, f"bias_hh_l{position}").data.zero_()
    inputs = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    names = [f"{name}_l{position}" for position, layer in enumerate(stack) for name, _ in layer.named_parameters()]

    actual = values_and_gradients(stack(inputs), inputs, list(stack.parameters()))
    expected = values_and_gradients(reference(inputs)[0], inputs, [getattr(reference, name) for name in names])

    assert len(stack) == n_layers
    assert stack.output_dim == actual[0].shape[-1]
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@each_model
def test_each_layer_of_a_stack_has_its_own_dropouts(model: CellName) -> None:
    stack = RecurrentStack(model, 3, 4, n_layers=3, dropout=0.1, recurrent_dropout=0.2)

    dropouts = [module for module in stack.modules() if isinstance(module, VariationalDropout)]

    assert [module.p for module in dropouts] == [0.1, 0.2] * 3
    assert {type(layer) for layer in stack} == {dict(zip(TORCH_LAYERS, LAYERS, strict=True))[model]}


@pytest.mark.parametrize("n_steps", [4, 7, 9])
@pytest.mark.parametrize("dilation", [2, 3])
@each_layer
def test_a_dilated_layer_equals_a_plain_one_on_each_phase(
    layer_class: type[RecurrentLayer], dilation: int, n_steps: int
) -> None:
    torch.manual_seed(0)
    dilated, plain = layer_class(3, 4, dilation=dilation).double(), layer_class(3, 4).double()
    plain.load_state_dict(dilated.state_dict())
    inputs = torch.randn(2, n_steps, 3, dtype=torch.float64, requires_grad=True)

    actual = values_and_gradients(dilated(inputs), inputs, list(dilated.parameters()))
    states = torch.stack([plain(inputs[:, step % dilation : step + 1 : dilation])[:, -1] for step in range(n_steps)], 1)
    expected = values_and_gradients(states, inputs, list(plain.parameters()))

    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(dilated(inputs, last_only=True), states[:, -1:], rtol=0, atol=1e-11)


@each_layer
def test_dropout_of_a_dilated_layer_has_one_mask_for_all_phases(layer_class: type[RecurrentLayer]) -> None:
    layer = layer_class(3, 4, dropout=0.5, recurrent_dropout=0.5, dilation=3)
    inputs = torch.randn(2, 1, 3).repeat(1, 9, 1)  # phases that differ by nothing but their masks
    torch.manual_seed(0)
    states = layer(inputs)

    for phase in (1, 2):
        torch.testing.assert_close(states[:, phase::3], states[:, 0::3])
    assert not torch.allclose(states, layer(inputs))


@each_model
def test_a_stack_with_dilations_adds_each_layer_s_states_to_those_below(model: CellName) -> None:
    torch.manual_seed(0)
    stack = RecurrentStack(model, 3, 4, n_layers=3, dilations=[1, 2, 4]).double()
    inputs = torch.randn(2, 9, 3, dtype=torch.float64)

    first = stack[0](inputs)
    second = first + stack[1](first)
    third = second + stack[2](second)

    torch.testing.assert_close(stack(inputs), third, rtol=0, atol=1e-11)
    torch.testing.assert_close(stack(inputs, last_only=True), third[:, -1:], rtol=0, atol=1e-11)
    assert [layer.dilation for layer in stack] == [1, 2, 4]


@pytest.mark.parametrize(("dilations", "layer_norm"), [(None, False), ([1, 1], False), ([1, 3], False), ([1, 3], True)])
@each_model
def test_a_state_depends_on_its_own_and_earlier_steps_only(
    model: CellName, dilations: list[int] | None, layer_norm: bool
) -> None:
    torch.manual_seed(0)
    stack = RecurrentStack(model, 3, 4, n_layers=2, dilations=dilations, layer_norm=layer_norm).double()
    inputs = torch.randn(1, 5, 3, dtype=torch.float64)

    def states(steps: torch.Tensor) -> Any:
        return stack(steps).sum(dim=(0, 2))

    jacobian = torch.autograd.functional.jacobian(states, inputs).abs().sum(dim=(1, 3))  # -> (L, L)

    assert torch.equal(jacobian != 0, torch.ones(5, 5, dtype=torch.bool).tril())
