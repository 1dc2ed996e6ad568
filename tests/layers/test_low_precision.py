"""Layers in 16 bits, on processors whose library has PyTorch's recurrent layers in them and on those whose has not."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch

from seq_plugins.layers import GRU, LSTM, RecurrentLayer, SimpleRNN, recurrent_kernels
from seq_plugins.layers.recurrent_kernels import Kernel, choose_kernel

LAYERS: list[type[RecurrentLayer]] = [SimpleRNN, LSTM, GRU]
MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "training": nullcontext,
    "no gradient": torch.no_grad,
    "inference": torch.inference_mode,
}

each_layer = pytest.mark.parametrize("layer_class", LAYERS)
each_type = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


@pytest.fixture(params=["this processor", "one without kernels"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """This processor as it is, and one on which PyTorch has no kernel in low precision."""
    if request.param != "this processor":
        monkeypatch.setattr(recurrent_kernels, "_torch_runs", lambda *arguments: False)
    return str(request.param)


@pytest.mark.parametrize("mode", MODES)
@each_type
@each_layer
def test_low_precision_and_autocast_give_nearly_the_same(
    layer_class: type[RecurrentLayer], dtype: torch.dtype, mode: str, processor: str
) -> None:
    torch.manual_seed(0)
    layer, inputs = layer_class(2, 4), torch.randn(3, 5, 2)
    exact = layer(inputs)
    with MODES[mode](), torch.autocast("cpu", dtype):
        under_autocast = layer(inputs)
    low_layer = layer_class(2, 4).to(dtype)
    low_layer.load_state_dict(layer.state_dict())
    with MODES[mode]():
        low = low_layer(inputs.to(dtype))

    assert low.dtype is dtype
    for states in (under_autocast, low):
        torch.testing.assert_close(states.float(), exact, rtol=0, atol=0.05)
    if mode == "training":
        exact.sum().backward()
        expected = [weight.grad for weight in layer.parameters()]
        layer.zero_grad()
        under_autocast.float().sum().backward()
        low.sum().backward()
        for other in (layer, low_layer):
            for weight, gradient in zip(other.parameters(), expected, strict=True):
                assert gradient is not None
                assert weight.grad is not None
                torch.testing.assert_close(weight.grad.float(), gradient, rtol=0.05, atol=0.2)


@each_layer
def test_where_pytorch_has_no_kernel_the_layer_runs_step_by_step_and_is_asked_once(
    layer_class: type[RecurrentLayer], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def torch_layer(inputs: torch.Tensor, *others: Any) -> tuple[torch.Tensor, None]:
        tried.append(inputs.dtype)
        raise RuntimeError("could not create a primitive descriptor")

    cell = layer_class.cell._replace(torch_layer=torch_layer)
    layer, inputs = layer_class(2, 4).bfloat16(), torch.randn(3, 5, 2, dtype=torch.bfloat16)
    for _ in range(2):
        assert choose_kernel(cell, inputs, None, layer.weights) is Kernel.STEPS
    assert tried == [torch.bfloat16]
    with torch.autocast("cpu", torch.bfloat16):
        assert choose_kernel(cell, inputs.float(), None, layer.float().weights) is Kernel.STEPS
    assert tried == [torch.bfloat16, torch.float32]
    monkeypatch.setenv(recurrent_kernels.SWITCH, "torch")
    assert choose_kernel(cell, inputs.float(), None, layer.weights) is Kernel.TORCH  # not tried in single precision


@each_layer
def test_trying_a_kernel_leaves_nothing_behind(layer_class: type[RecurrentLayer]) -> None:
    recurrent_kernels._torch_runs.cache_clear()
    random_numbers = torch.get_rng_state()
    layer, inputs = layer_class(2, 4).bfloat16(), torch.randn(3, 5, 2, dtype=torch.bfloat16)
    torch.set_rng_state(random_numbers)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        layer(inputs)
        assert torch.is_autocast_cache_enabled()
        assert torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random_numbers)
