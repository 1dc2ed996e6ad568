import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seq_plugins.layers import Dense, HorizonHead, SegmentHead

# B: batch, L': time steps, D: features of a state, H: steps forecast, F: features known in advance,
# C: target components, N: likelihood parameters

KERAS = json.loads(Path(__file__).with_name("keras_numbers.json").read_text())
B, L, D, H, F, C, N = 2, 5, 4, 3, 2, 2, 3

each_dtype = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)], ids=["float32", "float64"]
)
each_hidden = pytest.mark.parametrize("hidden_fc_sizes", [(), (8,), (8, 6)])


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


def head(hidden_fc_sizes: tuple[int, ...] = (), future_dim: int = F, activation: str = "ReLU") -> HorizonHead:
    """A head in float64 whose biases are not zero."""
    layer = HorizonHead(D, future_dim, (H, C, N), hidden_fc_sizes, activation).double()
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(parameter, -1, 1)
    return layer


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@each_dtype
def test_a_dense_layer_equals_that_of_keras(dtype: torch.dtype, tolerance: float) -> None:
    kernel, bias, inputs, outputs = (
        torch.tensor(KERAS["dense"][name], dtype=dtype) for name in ("kernel", "bias", "inputs", "outputs")
    )
    layer = Dense(*kernel.shape).to(dtype)
    layer.load_state_dict({"weight": kernel.T, "bias": bias})

    torch.testing.assert_close(layer(inputs), outputs, rtol=0, atol=tolerance)


def test_a_dense_layer_starts_as_in_keras() -> None:
    expected = KERAS["initial"]["Dense"]
    layer = Dense(*expected["kernel_shape"])

    kernel = layer.weight.detach()
    assert kernel.abs().max().item() <= np.sqrt(6 / sum(expected["kernel_shape"])) + 1e-7
    assert kernel.abs().max().item() == pytest.approx(expected["kernel_max"], rel=0.01)
    assert kernel.std().item() == pytest.approx(expected["kernel_std"], rel=0.03)
    assert layer.bias.tolist() == expected["bias"]


@each_hidden
@pytest.mark.parametrize("future_dim", [0, F])
def test_forecasts_have_the_shape_of_the_output_at_each_step(hidden_fc_sizes: tuple[int, ...], future_dim: int) -> None:
    layer = head(hidden_fc_sizes, future_dim)

    forecasts = layer(random(B, L, D), random(B, L, H, future_dim))

    assert forecasts.shape == (B, L, H, C, N)
    assert forecasts.dtype is torch.float64


@each_hidden
def test_a_head_without_future_needs_none(hidden_fc_sizes: tuple[int, ...]) -> None:
    layer, states = head(hidden_fc_sizes, future_dim=0), random(B, L, D)

    assert torch.equal(layer(states), layer(states, random(B, L, H, 0)))


@pytest.mark.parametrize("activation", ["ReLU", "Tanh"])
@each_hidden
def test_forecasts_are_those_of_the_matrix_products(hidden_fc_sizes: tuple[int, ...], activation: str) -> None:
    layer, states, future = head(hidden_fc_sizes, activation=activation), random(B, L, D), random(B, L, H, F)
    weights = [parameter.detach().numpy() for parameter in layer.parameters()]
    matrices, biases = weights[::2], weights[1::2]

    forecasts = layer(states, future)

    assert [len(bias) for bias in biases] == [*hidden_fc_sizes, H * C * N]
    for b, step in np.ndindex(B, L):
        values = np.concatenate([states[b, step], *future[b, step]])
        for matrix, bias in zip(matrices[:-1], biases[:-1], strict=True):
            values = matrix @ values + bias
            values = np.tanh(values) if activation == "Tanh" else np.maximum(values, 0)
        expected = (matrices[-1] @ values + biases[-1]).reshape(H, C, N)
        np.testing.assert_allclose(forecasts[b, step].detach(), expected, rtol=0, atol=1e-12)


@each_hidden
def test_layers_of_a_head_start_as_dense_layers(hidden_fc_sizes: tuple[int, ...]) -> None:
    layer = HorizonHead(D, F, (H, C, N), hidden_fc_sizes)

    for dense in (module for module in layer.modules() if isinstance(module, nn.Linear)):
        assert isinstance(dense, Dense)
        limit = np.sqrt(6 / sum(dense.weight.shape))
        assert 0.8 * limit < dense.weight.abs().max().item() <= limit + 1e-7
        assert not dense.bias.any()


@pytest.mark.parametrize("activation", ["ReLU", "Tanh"])
@each_hidden
def test_state_and_future_add_up_unless_hidden_layers_join_them(
    hidden_fc_sizes: tuple[int, ...], activation: str
) -> None:
    layer, states, future = head(hidden_fc_sizes, activation=activation), random(B, L, D), random(B, L, H, F)
    no_states, no_future = torch.zeros_like(states), torch.zeros_like(future)

    together = layer(states, future) - layer(no_states, no_future)
    apart = layer(states, no_future) + layer(no_states, future) - 2 * layer(no_states, no_future)

    interaction = (together - apart).abs().amax(dim=(2, 3, 4))  # -> (B, L')
    if hidden_fc_sizes:
        assert (interaction > 1e-2).all()
    else:
        assert (interaction < 1e-12).all()


@each_hidden
def test_a_forecast_depends_on_its_own_step_only(hidden_fc_sizes: tuple[int, ...]) -> None:
    layer, states, future = head(hidden_fc_sizes), random(B, L, D), random(B, L, H, F)
    other_states, other_future = states.clone(), future.clone()
    other_states[1, 2] += 1
    other_future[0, 3] += 1

    differs = layer(states, future) != layer(other_states, other_future)

    assert differs.any(dim=(2, 3, 4)).nonzero().tolist() == [[0, 3], [1, 2]]


@pytest.mark.parametrize("segment_length", [1, 2, 3, 6])
@pytest.mark.parametrize("future_dim", [0, F])
def test_segments_are_forecast_one_by_one_with_the_same_weights(segment_length: int, future_dim: int) -> None:
    layer = SegmentHead(segment_length, D, future_dim, (6, C, N), [8]).double()
    states, future = random(B, L, D), random(B, L, 6, future_dim)

    forecasts = layer(states, future)

    assert forecasts.shape == (B, L, 6, C, N)
    for number, start in enumerate(range(0, 6, segment_length)):
        steps = slice(start, start + segment_length)
        name = layer.segments[number].expand(B, L, -1)
        expected = layer.head(torch.cat([states, name], dim=-1), future[:, :, steps])
        torch.testing.assert_close(forecasts[:, :, steps], expected, rtol=0, atol=1e-12)


def test_a_segment_of_the_whole_horizon_forecasts_what_a_head_with_the_same_weights_does() -> None:
    layer, states, future = SegmentHead(H, D, F, (H, C, N), [8]).double(), random(B, L, D), random(B, L, H, F)
    whole = HorizonHead(D, F, (H, C, N), [8]).double()
    first, last = (module for module in layer.head.modules() if isinstance(module, Dense))
    whole_first, whole_last = (module for module in whole.modules() if isinstance(module, Dense))
    of_state, of_segment, of_future = first.weight.split([D, layer.n_features, H * F], dim=1)
    with torch.no_grad():
        whole_first.weight.copy_(torch.cat([of_state, of_future], dim=1))
        whole_first.bias.copy_(first.bias + of_segment @ layer.segments[0])
        whole_last.load_state_dict(last.state_dict())

    torch.testing.assert_close(layer(states, future), whole(states, future), rtol=0, atol=1e-12)


def test_segments_forecast_unlike_values_without_a_known_future() -> None:
    layer, states = SegmentHead(1, D, 0, (H, C, N), [8]), torch.randn(B, L, D)

    forecasts = layer(states)

    assert not torch.isclose(forecasts[:, :, 0], forecasts[:, :, 1]).any()
