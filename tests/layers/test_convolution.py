import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seq_plugins.layers import (
    AveragePooling1D,
    Conv1D,
    DownSampling,
    GlobalMaxPooling1D,
    MaxPooling1D,
    PoolingName,
    down_sampled_step_ends,
)
from seq_plugins.layers.convolution import window_ends

# B: batch, L: time steps, L': time steps after down-sampling, I: features of a step

KERAS = json.loads(Path(__file__).with_name("keras_numbers.json").read_text())
POOLINGS: dict[str, type[MaxPooling1D] | type[AveragePooling1D]] = {"Max": MaxPooling1D, "Average": AveragePooling1D}
ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh"}
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-11}

each_dtype = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
lengths, sizes = st.integers(1, 24), st.integers(1, 6)
poolings = st.sampled_from([None, "max", "average"])


def named(*names: str) -> Any:
    """What makes the id of a test out of a record of Keras."""
    return lambda record: "-".join(str(record[name]) for name in names) + f"-{len(record['inputs'][0])}"


def tensor(record: dict[str, Any], name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(record[name], dtype=dtype)


def load_keras_weights(convolution: Conv1D, record: dict[str, Any]) -> None:
    kernel = tensor(record, "kernel")  # -> (kernel_size, I, num_filters)
    convolution.load_state_dict({"weight": kernel.permute(2, 1, 0), "bias": tensor(record, "bias")})


def windows_from_the_end(n_steps: int, window: int, stride: int) -> list[list[int]]:
    """The positions in each window, with the last window at the newest step and the next ones `stride` before it."""
    windows = []
    newest = n_steps - 1
    while newest - window + 1 >= 0:
        windows.append([newest - position for position in range(window)])
        newest -= stride
    return windows[::-1]


def seen_inputs(
    length: int, kernel_size: int, stride: int, pooling: str | None, pool_size: int
) -> list[frozenset[int]]:
    """The inputs that each step of a down-sampling should have seen."""
    seen = [frozenset(window) for window in windows_from_the_end(length, kernel_size, stride)]
    if pooling is None:
        return seen
    pools = windows_from_the_end(len(seen), pool_size, pool_size)
    return [frozenset().union(*(seen[step] for step in pool)) for pool in pools]


@each_dtype
@pytest.mark.parametrize("record", KERAS["convolution"], ids=named("kernel_size", "stride"))
def test_convolutions_equal_those_of_keras(record: dict[str, Any], dtype: torch.dtype) -> None:
    outputs = tensor(record, "outputs", dtype)
    layer = Conv1D(3, outputs.shape[-1], record["kernel_size"], record["stride"]).to(dtype)
    load_keras_weights(layer, record)

    torch.testing.assert_close(layer(tensor(record, "inputs", dtype)), outputs, rtol=0, atol=TOLERANCES[dtype])


@each_dtype
@pytest.mark.parametrize("record", KERAS["pooling"], ids=named("pooling", "pool_size"))
def test_poolings_equal_those_of_keras(record: dict[str, Any], dtype: torch.dtype) -> None:
    pooled = POOLINGS[record["pooling"]](record["pool_size"])(tensor(record, "inputs", dtype))

    torch.testing.assert_close(pooled, tensor(record, "outputs", dtype), rtol=0, atol=TOLERANCES[dtype])


@each_dtype
def test_global_max_pooling_equals_that_of_keras(dtype: torch.dtype) -> None:
    record = KERAS["global_max_pooling"]

    pooled = GlobalMaxPooling1D()(tensor(record, "inputs", dtype))

    torch.testing.assert_close(pooled, tensor(record, "outputs", dtype), rtol=0, atol=0)


def test_filters_start_as_in_keras() -> None:
    torch.manual_seed(0)
    expected = KERAS["initial"]["Conv1D"]
    kernel_size, input_dim, num_filters = expected["kernel_shape"]
    layer = Conv1D(input_dim, num_filters, kernel_size)

    kernel = layer.weight.detach()
    assert kernel.abs().max().item() <= np.sqrt(6 / (kernel_size * (input_dim + num_filters))) + 1e-7
    assert kernel.abs().max().item() == pytest.approx(expected["kernel_max"], rel=0.01)
    assert kernel.std().item() == pytest.approx(expected["kernel_std"], rel=0.03)
    assert layer.bias is not None
    assert layer.bias.tolist() == expected["bias"]


@settings(deadline=None)  # the first call of a layer takes longer
@given(length=lengths, window=sizes, stride=sizes)
def test_windows_end_where_counting_back_from_the_newest_step_ends_them(length: int, window: int, stride: int) -> None:
    expected = [max(positions) for positions in windows_from_the_end(length, window, stride)]

    assert window_ends(length, window, stride) == expected


@settings(deadline=None)  # the first call of a layer takes longer
@given(length=lengths, kernel_size=sizes, stride=sizes, pooling=poolings, pool_size=sizes)
def test_step_ends_are_the_newest_inputs_seen(
    length: int, kernel_size: int, stride: int, pooling: PoolingName | None, pool_size: int
) -> None:
    expected = [max(seen) for seen in seen_inputs(length, kernel_size, stride, pooling, pool_size)]

    assert down_sampled_step_ends(length, kernel_size, stride, pooling, pool_size) == expected


@settings(deadline=None)  # the first call of a layer takes longer
@given(length=lengths, kernel_size=sizes, stride=sizes, pooling=poolings, pool_size=sizes)
def test_each_down_sampled_step_sees_its_windows_and_nothing_else(
    length: int, kernel_size: int, stride: int, pooling: PoolingName | None, pool_size: int
) -> None:
    expected = seen_inputs(length, kernel_size, stride, pooling, pool_size)
    layer = DownSampling(length, 2, 3, kernel_size, stride, "ReLU", pooling, pool_size).double()
    if not expected:
        assert layer.step_ends == []
        return
    inputs = torch.zeros(length, length, 2, dtype=torch.float64)
    inputs[range(length), range(length)] = torch.nan  # marks another input in each sequence

    marked = layer(inputs).isnan()  # -> (L, L', num_filters)

    assert len(layer.step_ends) == marked.shape[1]
    assert torch.equal(marked.all(dim=-1), marked.any(dim=-1))
    seen = [frozenset(step.nonzero().flatten().tolist()) for step in marked.any(dim=-1).T]
    assert seen == expected
    assert [max(inputs_of_step) for inputs_of_step in seen] == layer.step_ends
    assert layer.step_ends[-1] == length - 1


@each_dtype
@pytest.mark.parametrize("record", KERAS["down_sampling"], ids=named("kernel_size", "stride", "pooling", "pool_size"))
def test_down_sampling_equals_keras_after_the_oldest_inputs_that_fill_no_window(
    record: dict[str, Any], dtype: torch.dtype
) -> None:
    inputs, outputs = tensor(record, "inputs", dtype), tensor(record, "outputs", dtype)
    pooling = None if record["pooling"] is None else record["pooling"].lower()
    steps_to_next = record["stride"] * (1 if pooling is None else record["pool_size"])
    for n_surplus in range(steps_to_next):  # none in the first round
        layer = DownSampling(
            n_surplus + inputs.shape[1],
            inputs.shape[2],
            outputs.shape[2],
            record["kernel_size"],
            record["stride"],
            ACTIVATIONS[record["activation"]],
            pooling,
            record["pool_size"],
        ).to(dtype)
        load_keras_weights(layer.convolution, record)
        surplus = torch.randn(len(inputs), n_surplus, inputs.shape[2], dtype=dtype)

        steps = layer(torch.cat([surplus, inputs], dim=1))

        torch.testing.assert_close(steps, outputs, rtol=0, atol=TOLERANCES[dtype])
