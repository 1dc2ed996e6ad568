"""Dilated causal convolutions beside the obvious loop over ``torch.nn.Conv1d``."""

from itertools import pairwise
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad

from seq_plugins.layers import DilatedConvolutions, dilated_convolution
from seq_plugins.layers.dilated_convolution import SWITCH, CausalConv1D, GatedStack, PlainStack, dilations_within

# K: members, B: samples, L: time steps, I: features of a step, D: filters

STACKS: dict[str, dict[str, Any]] = {
    "one layer": {"kernel_size": 2, "dilations": [3]},
    "dilations that double, twice": {"kernel_size": 2, "dilations": [1, 2, 4, 1, 2, 4]},
    "any dilations": {"kernel_size": 3, "dilations": [2, 5, 1]},
    "further than the window": {"kernel_size": 4, "dilations": [3, 7, 2]},
    "no neighbours": {"kernel_size": 1, "dilations": [1, 2]},
    "another activation": {"kernel_size": 2, "dilations": [1, 3], "activation": "Tanh"},
}
EACH_STACK = {f"{name}{', gated' * gated}": (stack, gated) for name, stack in STACKS.items() for gated in (False, True)}

each_stack = pytest.mark.parametrize(("stack", "gated"), EACH_STACK.values(), ids=list(EACH_STACK))


def make_stack(input_dim: int = 2, num_filters: int = 3, **arguments: Any) -> DilatedConvolutions:
    torch.manual_seed(0)
    layers = DilatedConvolutions(input_dim, num_filters, **arguments).double()
    for weight in layers.parameters():  # biases too
        nn.init.normal_(weight, std=0.7)
    return layers


def draw_features(length: int = 13, batch: int = 4, input_dim: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, length, input_dim, generator=generator, dtype=torch.float64).requires_grad_()


def convolve(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, steps_back: list[int]) -> torch.Tensor:
    """Convolve `(B, I, L)` as PyTorch does, with zeros before the oldest step."""
    dilation = steps_back[0] // max(len(steps_back) - 1, 1)
    padded = F.pad(states, (steps_back[0], 0))
    return F.conv1d(padded, weight.permute(2, 1, 0), bias, dilation=max(dilation, 1))


def run_with_conv1d(layers: DilatedConvolutions, features: torch.Tensor) -> torch.Tensor:
    """Return the states, layer by layer, each with `torch.nn`'s convolution."""
    states = features.transpose(1, 2)  # -> (B, I, L)
    stack: Any = layers.stack
    plain = stack.first_layer if isinstance(stack, GatedStack) else stack
    weights = [plain.first_weight, *([] if plain.weights is None else plain.weights)]
    for weight, bias, steps_back in zip(weights, plain.biases, plain.steps_back, strict=True):
        states = plain.activation(convolve(states, weight, bias, steps_back))
    if plain is stack:
        return states.transpose(1, 2)
    skips = torch.zeros(())
    for layer in stack.gated_layers:
        convolution = layer.convolution
        filtered = convolve(states, convolution.weight, convolution.bias, convolution.steps_back)
        values, gates = filtered.chunk(2, dim=1)
        skip = F.conv1d(values.tanh() * gates.sigmoid(), layer.dense.weight.unsqueeze(2), layer.dense.bias)
        states, skips = states + skip, skips + skip
    activation, dense, last_activation = cast("list[Any]", stack.after_skips)
    states = last_activation(F.conv1d(activation(skips), dense.weight.unsqueeze(2), dense.bias))
    return states.transpose(1, 2)


@pytest.mark.parametrize("kernel", ["auto", "torch"])
@each_stack
def test_states_and_gradients_are_those_of_a_loop_over_convolutions(
    stack: dict[str, Any], gated: bool, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, kernel)
    layers, features = make_stack(**stack, gated=gated), draw_features()
    is_compiled = kernel == "auto" and not gated and stack.get("activation", "ReLU") == "ReLU"
    runs, run = [], PlainStack._run

    def note(*given: Any) -> torch.Tensor:
        runs.append(True)
        return run(*given)

    monkeypatch.setattr(PlainStack, "_run", note)
    states, expected = layers(features), run_with_conv1d(layers, features)
    assert runs == [True] * is_compiled
    torch.testing.assert_close(states, expected, rtol=1e-10, atol=1e-12)
    weights = [features, *layers.parameters()]
    gradient = torch.randn(states.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found, known = (torch.autograd.grad(outputs, weights, gradient) for outputs in (states, expected))
    for one, other in zip(found, known, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@each_stack
@pytest.mark.parametrize("length", [1, 2, 13, 40])
def test_the_last_state_alone_equals_the_last_of_all(stack: dict[str, Any], gated: bool, length: int) -> None:
    layers, features = make_stack(**stack, gated=gated), draw_features(length)
    torch.testing.assert_close(layers(features, last_only=True), layers(features)[:, -1:], rtol=1e-10, atol=1e-12)


def test_the_last_state_alone_is_computed_from_the_steps_that_it_has_seen_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers, features = make_stack(kernel_size=2, dilations=[1, 2, 4, 8]), draw_features(40)
    computed = []
    convolve_steps = dilated_convolution.convolve

    def note(inputs: torch.Tensor, *given: Any) -> torch.Tensor:
        outputs = convolve_steps(inputs, *given)
        computed.append((inputs.shape[1], outputs.shape[1]))
        return outputs

    monkeypatch.setattr(dilated_convolution, "convolve", note)
    layers(features, last_only=True)
    assert computed == [(16, 8), (8, 4), (4, 2), (2, 1)]


@pytest.mark.parametrize("gated", [False, True])
def test_a_state_sees_as_many_steps_as_kernel_and_dilations_say_and_no_more(gated: bool) -> None:
    layers = make_stack(kernel_size=3, dilations=[1, 2, 4], activation="Tanh", gated=gated)
    n_seen = 1 + 2 * (1 + 2 + 4) + 2 * gated
    features = draw_features(n_seen + 3)
    for states in (layers(features), layers(features, last_only=True)):
        (gradient,) = torch.autograd.grad(states[:, -1].sum(), features)
        moves = gradient.abs().amax(dim=(0, 2))
        assert (moves[-n_seen:] > 0).all()
        assert not moves[:-n_seen].any()


@each_stack
def test_members_are_computed_as_each_by_itself(stack: dict[str, Any], gated: bool) -> None:
    layers, members = make_stack(**stack, gated=gated), [make_stack(**stack, gated=gated) for _ in range(3)]
    for member, shift in zip(members, (0.0, 0.1, -0.2), strict=True):
        for weight in member.parameters():
            nn.init.normal_(weight, mean=shift, std=0.5)
    for name, _ in list(layers.named_parameters()):
        parent, _, own = name.rpartition(".")
        stacked = torch.stack([member.get_parameter(name).detach() for member in members])
        setattr(layers.get_submodule(parent), own, nn.Parameter(stacked))
    features = draw_features(batch=3 * 2)
    parts = [member(part) for member, part in zip(members, features.split(2), strict=True)]
    torch.testing.assert_close(layers(features), torch.cat(parts), rtol=1e-10, atol=1e-12)
    last = [part[:, -1:] for part in parts]
    torch.testing.assert_close(layers(features, last_only=True), torch.cat(last), rtol=1e-10, atol=1e-12)
    gradients = torch.autograd.grad(layers(features).square().sum(), list(layers.parameters()))
    of_members = [
        torch.autograd.grad(part.square().sum(), list(m.parameters())) for m, part in zip(members, parts, strict=True)
    ]
    for together, alone in zip(gradients, zip(*of_members, strict=True), strict=True):
        torch.testing.assert_close(together, torch.stack(alone), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("activation", ["ReLU", "Tanh"])
def test_second_derivatives_are_those_of_the_loop(gated: bool, activation: str) -> None:
    layers = make_stack(kernel_size=2, dilations=[1, 2], activation=activation, gated=gated)
    features = draw_features(5, 2)
    found = []
    for run in (layers, lambda given: run_with_conv1d(layers, given)):
        (gradient,) = torch.autograd.grad(run(features).square().sum(), features, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), [features, *layers.parameters()], allow_unused=True))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


# PyTorch 2.13 warns of itself when it first differentiates forwards
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("gated", [False, True])
def test_functions_of_weights_can_be_mapped_and_differentiated_forwards(gated: bool) -> None:
    layers, features = make_stack(kernel_size=2, dilations=[1, 2], gated=gated), draw_features(6).detach()
    weights = {name: weight.detach() for name, weight in layers.named_parameters()}
    several = {name: torch.stack([weight, -weight]) for name, weight in weights.items()}
    states = torch.func.vmap(lambda own: torch.func.functional_call(layers, own, features))(several)
    torch.testing.assert_close(states[0], layers(features).detach(), rtol=1e-10, atol=1e-12)
    features.requires_grad_()
    (gradient,) = torch.autograd.grad(layers(features).sum(), features)
    direction = torch.ones_like(features).detach()
    with forward_ad.dual_level():
        derivative = forward_ad.unpack_dual(layers(forward_ad.make_dual(features, direction))).tangent
    assert derivative.sum().item() == pytest.approx(gradient.sum().item())


@pytest.mark.parametrize("gated", [False, True])
def test_low_precision_gives_nearly_the_same(gated: bool) -> None:
    layers = make_stack(kernel_size=2, dilations=[1, 2], gated=gated).float()
    features = draw_features().float().detach()
    exact = layers(features).detach()
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = layers(features)
    low = layers.bfloat16()(features.bfloat16())
    for states in (under_autocast, low):
        torch.testing.assert_close(states.float(), exact, rtol=0.1, atol=0.1 * float(exact.abs().max()))


def test_rows_are_multiplied_in_parts_with_the_same_results(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for most in (2**18, 100 * 9):  # all 320 rows at once, or 100
        monkeypatch.setattr(dilated_convolution, "MAX_PRODUCT", most)
        monkeypatch.setattr(dilated_convolution, "FEWEST_ROWS", 1)
        layers, features = make_stack(kernel_size=3, dilations=[1, 4]), draw_features(80)
        states = layers(features)
        found.append([states, *torch.autograd.grad(states.square().sum(), [features, *layers.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_states_that_are_not_numbers_stay_so() -> None:
    layers, features = make_stack(kernel_size=2, dilations=[1]), draw_features(4).detach()
    features[0, 1] = torch.nan
    assert layers(features).isnan().all(dim=-1)[0].tolist() == [False, True, True, False]


def test_kernels_start_glorot_uniform_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    convolution, stack = CausalConv1D(30, 40, 3), DilatedConvolutions(30, 40, 3, [1, 2, 4]).stack
    assert isinstance(stack, PlainStack)
    for weight in (convolution.weight, stack.first_weight, *stack.weights):
        limit = (6 / (3 * weight.shape[1] + 3 * 40)) ** 0.5
        assert weight.abs().max().item() == pytest.approx(limit, rel=0.01)
        assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.03)
    assert not convolution.bias.any()
    assert not stack.biases.any()


def test_the_default_dilations_are_those_that_reach_into_the_window() -> None:
    lengths = [1, 2, 3, 4, 5, 8, 9, 100]
    kept = [dilations_within(length, kernel_size=2) for length in lengths]
    assert kept[0] == []
    assert kept[1] == [1, 1]
    assert kept[-1] == [1, 2, 4, 8, 1, 2, 4, 8]
    assert all(len(shorter) <= len(longer) for shorter, longer in pairwise(kept))
    assert all(max(dilations, default=0) < length for dilations, length in zip(kept, lengths, strict=True))
    assert dilations_within(9, kernel_size=3) == [1, 2, 4, 1, 2, 4]
