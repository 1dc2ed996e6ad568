import copy
import logging
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad

import seq_plugins
from seq_plugins import _compilation
from seq_plugins.layers import GRU, LSTM, RecurrentLayer, RecurrentStack, SimpleRNN, recurrent_kernels
from seq_plugins.layers.recurrent_kernels import (
    SWITCH,
    Kernel,
    Weights,
    choose_kernel,
    load_loops,
    run_compiled,
    run_in_steps,
)

# B: batch, L: time steps, I: features of a step, D: hidden dimension

LAYERS: list[type[RecurrentLayer]] = [SimpleRNN, LSTM, GRU]
TORCH_LAYERS: dict[type[RecurrentLayer], Callable[..., nn.RNNBase]] = {SimpleRNN: nn.RNN, LSTM: nn.LSTM, GRU: nn.GRU}
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}

each_layer = pytest.mark.parametrize("layer_class", LAYERS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
plain_and_normalised = pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "normalised"])
with_and_without_mask = pytest.mark.parametrize("is_masked", [False, True], ids=["no mask", "mask"])


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


def make_layer(
    layer_class: type[RecurrentLayer],
    input_dim: int,
    hidden_dim: int,
    dtype: torch.dtype = torch.float64,
    layer_norm: bool = False,
) -> RecurrentLayer:
    """A layer with biases, and weights of norms, that do not stand where they start."""
    layer = layer_class(input_dim, hidden_dim, layer_norm=layer_norm)
    for weight in (layer.bias_ih, layer.bias_hh, layer.norm_weight, layer.norm_bias):
        if weight is not None:
            nn.init.uniform_(weight, -1, 1)
    return layer.to(dtype)


def make_inputs(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def make_mask(n_sequences: int, layer: RecurrentLayer) -> torch.Tensor:
    return nn.functional.dropout(layer.weight_hh.new_ones(n_sequences, layer.hidden_dim), 0.3).detach()


def compiled(layer: RecurrentLayer, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    return run_compiled(layer.cell, inputs, mask, layer.weights).states


def in_steps(layer: RecurrentLayer, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    return run_in_steps(layer.cell, inputs, mask, layer.weights).states


def chosen(layer: RecurrentLayer, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> Kernel:
    return choose_kernel(layer.cell, inputs, mask, layer.weights)


def values_and_gradients(
    states: torch.Tensor, arguments: Sequence[torch.Tensor], gradient: torch.Tensor | None = None
) -> list[torch.Tensor]:
    if gradient is None:
        gradient = torch.randn(states.shape, dtype=states.dtype, generator=torch.Generator().manual_seed(1))
    return [states, *torch.autograd.grad(states, arguments, gradient, retain_graph=True)]


def assert_equal_gradients(
    layer: RecurrentLayer,
    inputs: torch.Tensor,
    mask: torch.Tensor | None = None,
    gradient: torch.Tensor | None = None,
) -> None:
    """Compare with the steps, relative to the largest value of each tensor.

    Sums of units that are nearly alike are magnified where they are normalised, and so are rounding errors.
    """
    tolerance = TOLERANCES[inputs.dtype] * (1 if layer.norm_weight is None else 100)
    arguments = [inputs, *layer.parameters()]
    actual = values_and_gradients(compiled(layer, inputs, mask), arguments, gradient)
    expected = values_and_gradients(in_steps(layer, inputs, mask), arguments, gradient)
    for one, other in zip(actual, expected, strict=True):
        scale = max(1.0, other.abs().max().item())
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * scale)


# --- values and gradients


@settings(deadline=None, max_examples=40)  # the first call compiles
@given(
    layer_class=st.sampled_from(LAYERS),
    dtype=st.sampled_from(list(TOLERANCES)),
    is_masked=st.booleans(),
    layer_norm=st.booleans(),
    n_sequences=st.integers(1, 40),
    n_steps=st.integers(1, 12),
    input_dim=st.integers(1, 9),
    hidden_dim=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
def test_values_and_gradients_equal_those_of_the_steps(
    layer_class: type[RecurrentLayer],
    dtype: torch.dtype,
    is_masked: bool,
    layer_norm: bool,
    n_sequences: int,
    n_steps: int,
    input_dim: int,
    hidden_dim: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    layer = make_layer(layer_class, input_dim, hidden_dim, dtype, layer_norm)
    inputs = make_inputs(n_sequences, n_steps, input_dim, dtype=dtype)

    assert_equal_gradients(layer, inputs, make_mask(n_sequences, layer) if is_masked else None)


@with_and_without_mask
@each_dtype
@each_layer
@pytest.mark.parametrize(
    ("n_sequences", "n_steps", "input_dim", "hidden_dim"),
    [(32, 56, 5, 32), (1, 1, 1, 1), (700, 3, 2, 64), (3, 4, 200, 8), (2, 3, 2, 600)],
    ids=["usual", "smallest", "in several parts", "wide inputs", "wider than a part"],
)
def test_values_and_gradients_equal_those_of_the_steps_at_special_sizes(
    layer_class: type[RecurrentLayer],
    dtype: torch.dtype,
    is_masked: bool,
    n_sequences: int,
    n_steps: int,
    input_dim: int,
    hidden_dim: int,
) -> None:
    layer = make_layer(layer_class, input_dim, hidden_dim, dtype)
    inputs = make_inputs(n_sequences, n_steps, input_dim, dtype=dtype)

    assert_equal_gradients(layer, inputs, make_mask(n_sequences, layer) if is_masked else None)


@each_dtype
@each_layer
def test_values_and_gradients_equal_those_of_pytorchs_layer(
    layer_class: type[RecurrentLayer], dtype: torch.dtype
) -> None:
    layer, inputs = make_layer(layer_class, 3, 32, dtype), make_inputs(16, 56, 3, dtype=dtype)
    reference = TORCH_LAYERS[layer_class](3, 32, batch_first=True).to(dtype)
    names = [name for name, _ in layer.named_parameters()]
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        weight = getattr(layer, name)
        nn.init.zeros_(getattr(reference, f"{name}_l0")) if weight is None else getattr(
            reference, f"{name}_l0"
        ).data.copy_(weight)

    actual = values_and_gradients(compiled(layer, inputs), [inputs, *layer.parameters()])
    expected = values_and_gradients(
        reference(inputs)[0], [inputs, *(getattr(reference, f"{name}_l0") for name in names)]
    )

    torch.testing.assert_close(actual, expected, rtol=TOLERANCES[dtype], atol=10 * TOLERANCES[dtype])


@pytest.mark.parametrize(("is_masked", "layer_norm"), [(False, False), (True, False), (False, True)])
@each_layer
def test_first_and_second_derivatives_equal_finite_differences(
    layer_class: type[RecurrentLayer], is_masked: bool, layer_norm: bool
) -> None:
    layer, inputs = make_layer(layer_class, 2, 3, layer_norm=layer_norm), make_inputs(2, 2 if layer_norm else 4, 2)
    mask = make_mask(2, layer) if is_masked else None
    names = [name for name, _ in layer.named_parameters()]

    def states(inputs: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        return run_compiled(layer.cell, inputs, mask, Weights(**dict(zip(names, weights, strict=True)))).states

    arguments = (inputs, *layer.parameters())
    assert torch.autograd.gradcheck(states, arguments, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(states, arguments)


@each_layer
def test_gradients_that_are_differentiated_equal_those_that_are_not(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 2, 5), make_inputs(3, 6, 2)
    arguments = [inputs, *layer.parameters()]
    loss = compiled(layer, inputs, make_mask(3, layer)).pow(2).sum()

    plain = torch.autograd.grad(loss, arguments, retain_graph=True)
    differentiable = torch.autograd.grad(loss, arguments, create_graph=True)

    assert all(gradient.requires_grad for gradient in differentiable)
    assert not any(gradient.requires_grad for gradient in plain)
    torch.testing.assert_close(plain, tuple(gradient.detach() for gradient in differentiable), rtol=0, atol=1e-10)


@each_layer
def test_a_graph_can_be_walked_twice(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 2, 5), make_inputs(3, 6, 2)
    loss = compiled(layer, inputs).sum()
    arguments = [inputs, *layer.parameters()]

    first = torch.autograd.grad(loss, arguments, retain_graph=True)
    second = torch.autograd.grad(loss, arguments)

    torch.testing.assert_close(first, second, rtol=0, atol=0)


@with_and_without_mask
@each_dtype
@each_layer
@pytest.mark.parametrize("n_steps", [1, 2, 9])
def test_the_last_state_alone_equals_the_last_of_all(
    layer_class: type[RecurrentLayer], dtype: torch.dtype, is_masked: bool, n_steps: int
) -> None:
    layer, inputs = make_layer(layer_class, 3, 33, dtype), make_inputs(300, n_steps, 3, dtype=dtype)
    mask = make_mask(300, layer) if is_masked else None
    arguments = [inputs, *layer.parameters()]
    expected = values_and_gradients(in_steps(layer, inputs, mask)[:, -1:], arguments)
    for run in (run_compiled, run_in_steps):
        states = run(layer.cell, inputs, mask, layer.weights, last_only=True).states

        assert states.shape == (300, 1, 33)
        for one, other in zip(values_and_gradients(states, arguments), expected, strict=True):
            scale = max(1.0, other.abs().max().item())
            torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCES[dtype] * scale)
        with torch.no_grad():
            without_gradients = run(layer.cell, inputs, mask, layer.weights, last_only=True).states
        torch.testing.assert_close(without_gradients, states.detach(), rtol=0, atol=0)


@each_layer
def test_a_layer_gives_the_last_state_through_every_kernel(
    layer_class: type[RecurrentLayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs(3, 5, 2)
    for recurrent_dropout in (0.0, 0.5):
        layer = layer_class(2, 4, recurrent_dropout=recurrent_dropout).double()
        for setting in ("auto", "torch"):
            monkeypatch.setenv(SWITCH, setting)
            torch.manual_seed(1)
            states = layer(inputs)
            torch.manual_seed(1)
            torch.testing.assert_close(layer(inputs, last_only=True), states[:, -1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("last_only", [False, True])
@each_layer
def test_memory_is_used_again_only_when_nobody_needs_it(layer_class: type[RecurrentLayer], last_only: bool) -> None:
    layer = make_layer(layer_class, 2, 5)
    arguments = list(layer.parameters())
    inputs = [make_inputs(3, 6, 2) for _ in range(8)]
    losses = [in_steps(layer, one)[:, -1 if last_only else slice(None)].pow(2).sum() for one in inputs]
    expected = [torch.autograd.grad(loss, arguments) for loss in losses]

    states = [run_compiled(layer.cell, one, None, layer.weights, last_only).states for one in inputs]
    values = [state.detach().clone() for state in states]
    actual = []
    for state, one in zip(states, inputs, strict=True):  # batches in between take what is free
        actual.append(torch.autograd.grad(state.pow(2).sum(), arguments))
        compiled(layer, torch.flip(one, [1])).sum().backward()

    torch.testing.assert_close([state.detach() for state in states], values, rtol=0, atol=0)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@each_layer
def test_states_that_were_changed_in_place_have_no_way_back(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 2, 5), make_inputs(3, 6, 2)
    states = compiled(layer, inputs)
    states.mul_(2)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        states.sum().backward()


@plain_and_normalised
@each_layer
def test_only_what_is_needed_gets_a_gradient(layer_class: type[RecurrentLayer], layer_norm: bool) -> None:
    layer, inputs = make_layer(layer_class, 2, 5, layer_norm=layer_norm), make_inputs(3, 6, 2)
    gradient = torch.randn(3, 6, 5, dtype=torch.float64)
    arguments = {"inputs": inputs} | dict(layer.named_parameters())
    _, *all_gradients = values_and_gradients(in_steps(layer, inputs), list(arguments.values()), gradient)
    for needed, expected in zip(arguments, all_gradients, strict=True):
        for name, argument in arguments.items():
            argument.requires_grad_(name == needed).grad = None

        compiled(layer, inputs).backward(gradient)

        assert {name for name, argument in arguments.items() if argument.grad is not None} == {needed}
        torch.testing.assert_close(arguments[needed].grad, expected, rtol=0, atol=1e-10)


@each_layer
def test_without_gradients_there_are_the_same_states_and_no_graph(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 2, 5), make_inputs(3, 6, 2)
    expected = compiled(layer, inputs).detach()

    with torch.no_grad():
        without_gradients = compiled(layer, inputs)
    with torch.inference_mode():
        in_inference = compiled(layer, inputs.detach().clone())

    assert not without_gradients.requires_grad
    torch.testing.assert_close([without_gradients, in_inference.clone()], [expected] * 2, rtol=0, atol=0)


@with_and_without_mask
@each_layer
def test_tensors_may_lie_in_memory_in_any_order(layer_class: type[RecurrentLayer], is_masked: bool) -> None:
    layer = make_layer(layer_class, 3, 5, layer_norm=True)
    with torch.no_grad():
        for name, weight in list(layer.named_parameters()):
            if weight.ndim == 2:
                setattr(layer, name, nn.Parameter(weight.T.contiguous().T))
            else:
                setattr(layer, name, nn.Parameter(torch.stack([weight, weight], dim=1)[:, 0]))
    mask = make_mask(5, layer).T.contiguous().T if is_masked else None
    gradient = torch.randn(1, 5, dtype=torch.float64).expand(5, 7, 5)
    for inputs in (
        make_inputs(7, 5, 3).transpose(0, 1),
        make_inputs(5, 14, 6)[:, ::2, ::2],
        make_inputs(5, 3, 7).transpose(1, 2),
        make_inputs(1, 7, 1).expand(5, 7, 3),
    ):
        assert_equal_gradients(layer, inputs.detach().requires_grad_(), mask, gradient)
        assert_equal_gradients(layer, inputs, mask)


@with_and_without_mask
@each_layer
def test_arguments_stay_as_they_are(layer_class: type[RecurrentLayer], is_masked: bool) -> None:
    layer, inputs = make_layer(layer_class, 2, 5), make_inputs(3, 6, 2)
    mask = make_mask(3, layer) if is_masked else None
    gradient = torch.randn(3, 6, 5, dtype=torch.float64)
    arguments = [inputs, gradient, *layer.parameters(), *([] if mask is None else [mask])]
    before = [argument.detach().clone() for argument in arguments]

    states = compiled(layer, inputs, mask)
    states_before = states.detach().clone()
    states.backward(gradient)

    torch.testing.assert_close([argument.detach() for argument in arguments], before, rtol=0, atol=0)
    torch.testing.assert_close(states.detach(), states_before, rtol=0, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-7), (torch.float64, 1e-14)], ids=str)
def test_the_tangent_is_right_everywhere(dtype: torch.dtype, tolerance: float) -> None:
    layer = SimpleRNN(1, 1).to(dtype)
    nn.init.ones_(layer.weight_ih)
    numbers = torch.cat([torch.linspace(-30, 30, 20001), torch.logspace(-30, 2, 1000), -torch.logspace(-30, 2, 1000)])
    numbers = torch.cat([numbers, torch.tensor([0.0, np.inf, -np.inf, np.nan])]).to(dtype)

    states = compiled(layer, numbers.view(-1, 1, 1)).detach().flatten()

    exact = torch.tanh(numbers.double())
    torch.testing.assert_close(states.double(), exact, rtol=tolerance, atol=0, equal_nan=True)


# --- the batch


@each_dtype
@each_layer
def test_a_sequence_is_the_same_in_any_batch(layer_class: type[RecurrentLayer], dtype: torch.dtype) -> None:
    layer, inputs = make_layer(layer_class, 3, 33, dtype), make_inputs(300, 9, 3, dtype=dtype)
    together = compiled(layer, inputs)
    for size in (1, 2, 7, 32, 131):
        torch.testing.assert_close(compiled(layer, inputs[:size]), together[:size], rtol=0, atol=TOLERANCES[dtype] / 10)


@plain_and_normalised
@each_layer
def test_what_is_not_a_number_stays_in_its_sequence_and_after_its_step(
    layer_class: type[RecurrentLayer], layer_norm: bool
) -> None:
    layer, inputs = make_layer(layer_class, 2, 9, layer_norm=layer_norm), make_inputs(6, 5, 2).detach()
    expected = compiled(layer, inputs).detach()
    inputs[2, 3] = np.nan

    states = compiled(layer, inputs).detach()

    assert states[2, 3:].isnan().all()
    expected[2, 3:] = np.nan
    torch.testing.assert_close(states, expected, rtol=0, atol=0, equal_nan=True)


@each_layer
def test_results_depend_neither_on_threads_nor_on_the_call(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 3, 32), make_inputs(64, 30, 3)
    arguments = [inputs, *layer.parameters()]
    expected = values_and_gradients(compiled(layer, inputs), arguments)
    for n_threads in (1, 2, 4):
        torch.set_num_threads(n_threads)  # the next test has its own again
        torch.testing.assert_close(compiled(layer, inputs), expected[0], rtol=0, atol=0)
    results: list[list[torch.Tensor]] = []
    threads = [
        threading.Thread(target=lambda: results.append(values_and_gradients(compiled(layer, inputs), arguments)))
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 4
    for result in results:
        torch.testing.assert_close(result, expected, rtol=0, atol=0)


# --- the choice


@pytest.fixture
def forgotten_choices() -> Iterator[None]:
    """Caches of what is done once in a process, empty before and after."""
    caches = (load_loops, recurrent_kernels._log_choice, _compilation.tell_once)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@with_and_without_mask
@each_dtype
@each_layer
def test_small_layers_run_compiled(layer_class: type[RecurrentLayer], dtype: torch.dtype, is_masked: bool) -> None:
    layer, inputs = make_layer(layer_class, 5, 32, dtype), make_inputs(32, 56, 5, dtype=dtype)

    assert chosen(layer, inputs, make_mask(32, layer) if is_masked else None) is Kernel.COMPILED


@each_layer
def test_normalised_layers_run_compiled_or_in_steps(
    layer_class: type[RecurrentLayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, inputs = make_layer(layer_class, 5, 32, torch.float32, layer_norm=True), torch.randn(4, 6, 5)

    assert chosen(layer, inputs) is Kernel.COMPILED
    monkeypatch.setenv(SWITCH, "torch")
    assert chosen(layer, inputs) is Kernel.STEPS


@each_layer
def test_wide_layers_do_not(layer_class: type[RecurrentLayer]) -> None:
    wide = make_layer(layer_class, 1, 200, torch.float32)
    many_features = make_layer(layer_class, 500, 8, torch.float32)
    for layer in (wide, many_features):
        inputs = make_inputs(2, 3, layer.input_dim, dtype=torch.float32)

        assert chosen(layer, inputs) is Kernel.TORCH
        assert chosen(layer, inputs, make_mask(2, layer)) is Kernel.STEPS


def test_an_lstm_in_float32_runs_compiled_only_for_gradients_or_with_a_mask() -> None:
    layer, inputs = make_layer(LSTM, 5, 32, torch.float32), make_inputs(4, 6, 5, dtype=torch.float32)
    with torch.no_grad():
        assert chosen(layer, inputs) is Kernel.TORCH
        assert chosen(layer, inputs, make_mask(4, layer)) is Kernel.COMPILED
        assert chosen(layer.double(), inputs.double()) is Kernel.COMPILED


def other_dtype(dtype: torch.dtype) -> Callable[[RecurrentLayer, torch.Tensor], tuple[RecurrentLayer, torch.Tensor]]:
    return lambda layer, inputs: (layer.to(dtype), inputs.detach().to(dtype))


OBJECTIONS: dict[str, tuple[str, Any, Any]] = {
    "other device": ("CPU", lambda layer, inputs: (layer.to("meta"), inputs.to("meta")), nullcontext),
    "half": ("float32 and float64", other_dtype(torch.float16), nullcontext),
    "bfloat16": ("float32 and float64", other_dtype(torch.bfloat16), nullcontext),
    "mixed types": ("types are mixed", lambda layer, inputs: (layer.double(), inputs), nullcontext),
    "autocast": ("autocast", None, lambda: torch.autocast("cpu")),
    "no sequences": ("shape", lambda layer, inputs: (layer, inputs[:0]), nullcontext),
    "no steps": ("shape", lambda layer, inputs: (layer, inputs[:, :0]), nullcontext),
    "other features": ("shape", lambda layer, inputs: (layer, inputs[..., :1]), nullcontext),
    "no batch": ("shape", lambda layer, inputs: (layer, inputs[0]), nullcontext),
}


@pytest.mark.usefixtures("forgotten_choices")
@pytest.mark.parametrize("name", OBJECTIONS)
@each_layer
def test_the_log_says_once_why_the_compiled_kernel_does_not_run(
    layer_class: type[RecurrentLayer], name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recurrent_kernels, "_torch_runs", lambda *arguments: True)  # on every processor
    reason, change, context = OBJECTIONS[name]
    layer, inputs = make_layer(layer_class, 2, 4, torch.float32), make_inputs(3, 5, 2, dtype=torch.float32)
    if change is not None:
        layer, inputs = change(layer, inputs)

    with caplog.at_level(logging.DEBUG, "seq_plugins"), context():
        kernels = [chosen(layer, inputs) for _ in range(3)]

    assert kernels == [Kernel.TORCH] * 3
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert f"{layer.cell.name} with 4 units" in record.message
    assert "the kernel is 'torch', not the compiled one" in record.message
    assert reason in record.message


@pytest.mark.usefixtures("forgotten_choices")
def test_the_log_names_the_compiled_kernel_once_for_each_kind_of_layer(caplog: pytest.LogCaptureFixture) -> None:
    stack = RecurrentStack("GRU", 4, 4, n_layers=3)
    other = GRU(4, 5)
    with caplog.at_level(logging.DEBUG, "seq_plugins.layers"):
        for _ in range(2):
            other(stack(torch.randn(2, 3, 4)))

    messages = [record.message for record in caplog.records if record.levelno == logging.DEBUG]
    assert messages == [f"gru with {n} units, torch.float32 on cpu: the kernel is 'compiled'." for n in (4, 5)]


@each_layer
def test_the_environment_switches_it_off(layer_class: type[RecurrentLayer], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, inputs = make_layer(layer_class, 2, 4), make_inputs(3, 5, 2)
    monkeypatch.setenv(SWITCH, "torch")
    assert chosen(layer, inputs) is Kernel.TORCH
    assert chosen(layer, inputs, make_mask(3, layer)) is Kernel.STEPS
    monkeypatch.setenv(SWITCH, "auto")
    assert chosen(layer, inputs) is Kernel.COMPILED
    monkeypatch.setenv(SWITCH, "fast")
    with pytest.raises(ValueError, match=f"{SWITCH} to be 'auto' or 'torch', got 'fast'"):
        layer(inputs)


@pytest.mark.usefixtures("forgotten_choices")
@each_layer
def test_without_numba_the_layers_run_on_pytorch(
    layer_class: type[RecurrentLayer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(seq_plugins.layers, "recurrent_loops", raising=False)
    monkeypatch.delitem(sys.modules, "seq_plugins.layers.recurrent_loops", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)  # importing it fails
    layer, inputs = make_layer(layer_class, 2, 4), make_inputs(3, 5, 2)
    with caplog.at_level(logging.DEBUG, "seq_plugins"):
        assert chosen(layer, inputs) is Kernel.TORCH

    (record,) = caplog.records
    assert "numba is missing" in record.message
    torch.testing.assert_close(layer(inputs), in_steps(layer, inputs), rtol=0, atol=1e-10)


@pytest.mark.usefixtures("forgotten_choices")
def test_a_compiler_that_fails_is_told_once_and_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any) -> None:
        raise TypeError("no such function")

    monkeypatch.setattr(recurrent_kernels, "_first_calls", lambda *arguments: [fail])
    layer, inputs = make_layer(SimpleRNN, 2, 4), make_inputs(3, 5, 2)

    assert [chosen(layer, inputs) for _ in range(2)] == [Kernel.TORCH] * 2
    assert [record.message for record in caplog.records] == [
        "The recurrent layers run on PyTorch's slower kernels, since numba failed: no such function. Install another "
        "version of numba, or set SEQ_PLUGINS_RECURRENT_KERNEL=torch to silence this warning."
    ]


def test_pytorch_still_tells_whether_functions_are_transformed() -> None:
    answers = []

    def ask(number: torch.Tensor) -> torch.Tensor:
        answers.append(torch._C._are_functorch_transforms_active())
        return number

    torch.func.vmap(ask)(ask(torch.ones(2)))

    assert answers == [False, True]


# PyTorch 2.13 warns of itself when it first differentiates forwards
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@with_and_without_mask
@each_layer
def test_transformed_functions_run_in_steps(layer_class: type[RecurrentLayer], is_masked: bool) -> None:
    layer, inputs = make_layer(layer_class, 2, 4), make_inputs(3, 5, 2).detach()
    mask = make_mask(3, layer) if is_masked else None
    kernels = []

    def loss(inputs: torch.Tensor) -> torch.Tensor:
        kernels.append(chosen(layer, inputs, mask))
        states = in_steps(layer, inputs, mask) if is_masked else layer(inputs)
        return (states**2).sum()

    leaf = inputs.clone().requires_grad_()
    (expected,) = torch.autograd.grad((compiled(layer, leaf, mask) ** 2).sum(), leaf)
    direction = torch.randn_like(inputs)

    torch.testing.assert_close(torch.func.grad(loss)(inputs), expected, rtol=0, atol=1e-10)
    with forward_ad.dual_level():
        derivative = forward_ad.unpack_dual(loss(forward_ad.make_dual(inputs, direction))).tangent
    torch.testing.assert_close(derivative, (expected * direction).sum(), rtol=0, atol=1e-10)
    assert kernels == [Kernel.STEPS] * 2


@each_layer
def test_an_ensemble_of_layers_can_be_mapped(layer_class: type[RecurrentLayer]) -> None:
    layers, inputs = [make_layer(layer_class, 2, 4) for _ in range(3)], make_inputs(6, 5, 2)
    weights, _ = torch.func.stack_module_state(layers)

    states = torch.func.vmap(lambda weights: torch.func.functional_call(layers[0], weights, inputs))(weights)

    torch.testing.assert_close(states, torch.stack([layer(inputs) for layer in layers]), rtol=0, atol=1e-10)


@each_layer
def test_derivatives_that_weights_carry_forwards_are_not_lost(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 2, 4), make_inputs(3, 5, 2).detach()
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}
    directions = {name: torch.randn_like(weight) for name, weight in weights.items()}
    gradients = torch.autograd.grad(compiled(layer, inputs).sum(), list(layer.parameters()))
    expected = sum((gradient * directions[name]).sum() for name, gradient in zip(weights, gradients, strict=True))

    with forward_ad.dual_level():
        duals = {name: forward_ad.make_dual(weight, directions[name]) for name, weight in weights.items()}
        derivative = forward_ad.unpack_dual(torch.func.functional_call(layer, duals, inputs)).tangent

    torch.testing.assert_close(derivative.sum(), expected, rtol=0, atol=1e-10)


def test_a_mask_with_a_gradient_gets_it() -> None:
    layer = SimpleRNN(2, 4, recurrent_dropout=0.5).double()
    mask = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)

    assert chosen(layer, make_inputs(3, 5, 2), mask) is Kernel.STEPS


def test_tensors_that_are_not_pytorchs_own_run_on_pytorch() -> None:
    with FakeTensorMode():
        layer, inputs = SimpleRNN(2, 4), torch.randn(3, 5, 2)
        assert chosen(layer, inputs) is Kernel.TORCH
        assert layer(inputs).shape == (3, 5, 4)


# --- recording, copying, storing


@plain_and_normalised
@each_layer
def test_a_layer_can_be_exported(layer_class: type[RecurrentLayer], layer_norm: bool) -> None:
    layer = make_layer(layer_class, 2, 4, torch.float32, layer_norm).eval()
    inputs = torch.randn(3, 5, 2)
    expected = layer(inputs)
    for is_strict in (False, True):
        program = torch.export.export(layer, (inputs,), strict=is_strict)
        torch.testing.assert_close(program.module()(inputs), expected, rtol=0, atol=1e-5)


@plain_and_normalised
@each_layer
def test_a_layer_can_be_written_as_onnx(layer_class: type[RecurrentLayer], layer_norm: bool) -> None:
    layer = make_layer(layer_class, 2, 4, torch.float32, layer_norm).eval()
    inputs = torch.randn(3, 5, 2)
    program = torch.onnx.export(layer, (inputs,), dynamo=True, verbose=False)
    assert program is not None

    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (states,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})

    torch.testing.assert_close(torch.from_numpy(states), layer(inputs).detach(), rtol=0, atol=1e-5)


@each_layer
def test_a_layer_can_be_compiled_by_pytorch(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 2, 4), make_inputs(3, 5, 2)

    recorded = torch.compile(layer, backend="eager", fullgraph=True)(inputs)

    torch.testing.assert_close(recorded, layer(inputs), rtol=0, atol=1e-10)


@each_layer
def test_layers_can_be_copied_and_pickled_and_keep_nothing(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 2, 4), make_inputs(3, 5, 2)
    before = {name: set(vars(module)) for name, module in layer.named_modules()}

    expected = layer(inputs)
    expected.sum().backward()

    assert {name: set(vars(module)) for name, module in layer.named_modules()} == before
    assert not any(isinstance(value, torch.Tensor) for value in vars(layer).values())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(twin(inputs), expected, rtol=0, atol=0)


# --- compilation, in processes of its own

FIRST_CALL = """
import sys
import torch
import seq_plugins.layers
assert "numba" not in sys.modules and "llvmlite" not in sys.modules
from seq_plugins.layers import SimpleRNN, GRU
for layer in (SimpleRNN(2, 4), GRU(2, 4)):
    for _ in range(2):
        states = layer(torch.randn(3, 5, 2))
        assert "CompiledRecurrence" in type(states.grad_fn).__name__, states.grad_fn
        states.sum().backward()
"""


def run_on_a_copy(folder: Path, script: str, **environment: str) -> str:
    """Run `script` with the package in `folder`; return what it wrote to the standard error stream."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", SWITCH)}
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=kept | {"PYTHONPATH": str(folder)} | environment,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr


@pytest.fixture
def copied_package(tmp_path: Path) -> Path:
    """A folder with the package, and nothing compiled in it."""
    folder = tmp_path / "copy"
    source = Path(seq_plugins.__file__).parent
    shutil.copytree(source, folder / "seq_plugins", ignore=shutil.ignore_patterns("__pycache__", "_data"))
    return folder


@pytest.mark.slow
def test_the_first_compilation_is_told_and_later_processes_use_its_code(copied_package: Path) -> None:
    messages = [run_on_a_copy(copied_package, FIRST_CALL) for _ in range(2)]

    kept_in = copied_package / "seq_plugins" / "layers" / "__pycache__"
    assert messages[0].splitlines() == [
        f"Compiling the recurrent layers for this processor (some seconds, kept in {kept_in})."
    ]
    assert messages[1] == ""
    assert list(kept_in.glob("*.nbc"))


@pytest.mark.slow
def test_processes_that_compile_different_types_at_once_keep_the_right_code(copied_package: Path) -> None:
    script = """
import sys
import torch
from seq_plugins.layers import SimpleRNN
layer = SimpleRNN(2, 4).to(getattr(torch, sys.argv[1]))
states = layer(layer.weight_ih.new_ones(3, 5, 2))
assert "CompiledRecurrence" in type(states.grad_fn).__name__, states.grad_fn
"""
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", SWITCH)}
    commands = [[sys.executable, "-B", "-c", script, dtype] for dtype in ("float32", "float64")]
    for _ in range(2):  # the second time with the code of the first
        processes = [
            subprocess.Popen(command, cwd=copied_package, env=kept | {"PYTHONPATH": str(copied_package)})
            for command in commands
        ]
        assert [process.wait() for process in processes] == [0, 0]

    kept_in = copied_package / "seq_plugins" / "layers" / "__pycache__"
    names = {path.name.split(".")[1].rsplit("-", 1)[0] for path in kept_in.glob("*.nbc")}
    assert {"simple_rnn_forward_float32", "simple_rnn_forward_float64"} <= names


# --- from another state than zero


def make_memory(layer: RecurrentLayer, n_sequences: int) -> torch.Tensor:
    shape = (layer.cell.n_memories, n_sequences, layer.hidden_dim)
    return torch.randn(shape, dtype=layer.weight_hh.dtype).requires_grad_()


def assert_same_way_there_and_back(
    actual: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], arguments: Sequence[torch.Tensor]
) -> None:
    """Compare outputs, and the gradients of their sums with random weights, relative to the largest of each."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(output.shape, dtype=output.dtype, generator=generator) for output in expected]
    of_actual = torch.autograd.grad(actual, arguments, weights, retain_graph=True)
    of_expected = torch.autograd.grad(expected, arguments, weights, retain_graph=True)
    for one, other in zip((*actual, *of_actual), (*expected, *of_expected), strict=True):
        scale = max(1.0, other.abs().max().item())
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCES[other.dtype] * scale)


@with_and_without_mask
@each_dtype
@each_layer
@pytest.mark.parametrize("n_steps", [1, 7])
@pytest.mark.parametrize(("last_only", "layer_norm"), [(False, False), (True, False), (True, True)])
def test_what_follows_a_given_state_equals_the_steps_in_values_and_gradients(
    layer_class: type[RecurrentLayer],
    dtype: torch.dtype,
    is_masked: bool,
    n_steps: int,
    last_only: bool,
    layer_norm: bool,
) -> None:
    layer = make_layer(layer_class, 3, 33, dtype, layer_norm)
    inputs = make_inputs(300, n_steps, 3, dtype=dtype)
    memory, mask = make_memory(layer, 300), make_mask(300, layer) if is_masked else None
    arguments = [inputs, memory, *layer.parameters()]
    given = layer.cell, inputs, mask, layer.weights, last_only, memory
    actual, expected = run_compiled(*given), run_in_steps(*given)

    assert_same_way_there_and_back([actual.states, actual.memory], [expected.states, expected.memory], arguments)
    # what is handed on may be all that counts
    assert_same_way_there_and_back([actual.memory], [expected.memory], arguments)
    with torch.no_grad():
        without_gradients = run_compiled(*given)
    torch.testing.assert_close(without_gradients.memory, actual.memory.detach(), rtol=0, atol=0)


@each_layer
def test_what_follows_a_given_state_equals_pytorchs_layer(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 3, 8), make_inputs(5, 9, 3)
    reference = TORCH_LAYERS[layer_class](3, 8, batch_first=True).double()
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        weight = getattr(layer, name)
        getattr(reference, f"{name}_l0").data.copy_(torch.tensor(0.0) if weight is None else weight)
    memory = make_memory(layer, 5)
    states, last = reference(inputs, (memory[:1], memory[1:]) if layer_class is LSTM else memory)
    last = torch.cat(last) if layer_class is LSTM else last

    for made in (layer.go_on(inputs, memory), layer.eval().go_on(inputs, memory)):
        assert_same_way_there_and_back([made.states, made.memory], [states, last], [inputs, memory])


@pytest.mark.parametrize("setting", ["auto", "torch"])
@each_layer
def test_a_sequence_in_two_parts_equals_the_whole(
    layer_class: type[RecurrentLayer], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, setting)
    names: dict[type[RecurrentLayer], Any] = {SimpleRNN: "RNN", LSTM: "LSTM", GRU: "GRU"}
    for dropouts in ((0.0, 0.0), (0.3, 0.5)):
        stack, inputs = RecurrentStack(names[layer_class], 3, 8, 2, *dropouts).double(), make_inputs(4, 9, 3)
        masks = stack.sample_masks(inputs)
        whole, at_the_end = stack.go_on(inputs, masks=masks)

        first, memories = stack.go_on(inputs[:, :4], masks=masks)
        second, memories = stack.go_on(inputs[:, 4:], memories, masks, last_only=True)

        arguments = [inputs, *stack.parameters()]
        assert_same_way_there_and_back(
            [first, second, *memories], [whole[:, :4], whole[:, -1:], *at_the_end], arguments
        )
        if not any(dropouts):
            torch.testing.assert_close(stack(inputs), whole, rtol=0, atol=1e-12)


@each_layer
def test_derivatives_by_a_given_state_equal_finite_differences(layer_class: type[RecurrentLayer]) -> None:
    layer, inputs = make_layer(layer_class, 2, 3), make_inputs(2, 3, 2)
    mask, memory = make_mask(2, layer), make_memory(layer, 2)

    def run(inputs: torch.Tensor, memory: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        made = run_compiled(layer.cell, inputs, mask, type(layer.weights)(*weights), initial=memory)
        return made.states, made.memory

    arguments = (inputs, memory, *layer.parameters())
    assert torch.autograd.gradcheck(run, arguments, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(run, arguments)


@pytest.mark.parametrize("setting", ["auto", "torch"])
@plain_and_normalised
@each_layer
def test_members_go_on_from_their_own_states(
    layer_class: type[RecurrentLayer], layer_norm: bool, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, setting)
    members = [make_layer(layer_class, 3, 8, layer_norm=layer_norm) for _ in range(3)]
    together = copy.deepcopy(members[0])
    for name, _ in members[0].named_parameters():
        setattr(together, name, nn.Parameter(torch.stack([getattr(member, name) for member in members])))
    inputs, memory = make_inputs(12, 5, 3), make_memory(members[0], 12)
    made = together.go_on(inputs, memory)
    parts = [
        member.go_on(inputs[4 * place : 4 * (place + 1)], memory[:, 4 * place : 4 * (place + 1)])
        for place, member in enumerate(members)
    ]

    assert_same_way_there_and_back(
        [made.states, made.memory],
        [torch.cat([part.states for part in parts]), torch.cat([part.memory for part in parts], dim=1)],
        [inputs, memory],
    )


def test_the_loops_read_no_memory_that_was_given_back() -> None:
    script = """
import torch
from seq_plugins.layers import GRU, LSTM, SimpleRNN
from seq_plugins.layers.recurrent_kernels import run_compiled, run_in_steps

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
for layer in (SimpleRNN(2, 5), GRU(2, 5), LSTM(2, 5)):
    found = []
    inputs = torch.randn(20_000, 3, 2, requires_grad=True)
    initial = torch.randn(layer.cell.n_memories, 20_000, 5, requires_grad=True)
    for run in (run_compiled, run_in_steps):
        states = run(layer.cell, inputs, None, layer.weights, initial=initial).states
        found.append([states, *torch.autograd.grad(states.square().sum(), [inputs, initial, *layer.parameters()])])
    for one, expected in zip(*found, strict=True):
        torch.testing.assert_close(one, expected)
"""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "4096"}  # what is given back to glibc is at once nobody's
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
