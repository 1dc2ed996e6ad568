"""The convolution over distinct words equals PyTorch's over padded arrays, in values and gradients."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import seq_plugins.text.pooled_convolution as module
from seq_plugins.text.documents import Documents
from seq_plugins.text.pooled_convolution import SWITCH, Batch, convolve_and_pool, convolve_frozen

KERNELS = ["auto", "torch"]


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Machine code, or PyTorch's operations."""
    monkeypatch.setenv(SWITCH, request.param)
    check_what_runs(request.param)
    return str(request.param)


def check_what_runs(setting: str) -> None:
    """Make sure that there is machine code where it is asked for, and that it does not run where it is not."""
    for dtype in (torch.float32, torch.float64):
        assert (module._choose_loops(torch.zeros(1, dtype=dtype)) is None) == (setting == "torch")


def make_batch(lengths: list[int], n_words: int, maxlen: int, seed: int = 0) -> Batch:
    """Make documents of random words."""
    generator = np.random.default_rng(seed)
    documents = Documents.from_lists([generator.integers(0, n_words, length) for length in lengths])
    return Batch(documents, maxlen)


def pool_ours(words: torch.Tensor, batch: Batch, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Do it our way."""
    return convolve_and_pool(words, batch, weight)[0] + bias


def plain(words: torch.Tensor, batch: Batch, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Pad, convolve with ``conv1d`` and take the largest value: the lecture's network up to the dense layers."""
    padded = torch.cat([words.new_zeros(1, words.shape[1]), words])
    shifted = Documents(batch.documents.ids + 1, batch.documents.starts)
    ids = torch.from_numpy(shifted.to_array(batch.maxlen)).long()
    inputs = F.embedding(ids, padded).transpose(1, 2)  # -> (N, D, L)
    return F.conv1d(inputs, weight.permute(1, 2, 0), bias).amax(dim=2)


def make_weights(
    n_words: int, kernel_size: int, dtype: torch.dtype = torch.float32, n_filters: int = 7, n_dimensions: int = 5
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw words, weight and bias."""
    generator = torch.Generator().manual_seed(kernel_size)
    shapes = (n_words, n_dimensions), (kernel_size, n_filters, n_dimensions), (n_filters,)
    words, weight, bias = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    return words.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def assert_equal_to_conv1d(batch: Batch, weights: tuple[torch.Tensor, ...], atol: float = 1e-5) -> None:
    """Compare values and gradients with those of the lecture's network."""
    words, weight, bias = weights
    ours, theirs = pool_ours(words, batch, weight, bias), plain(words, batch, weight, bias)
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=1e-5)
    slope = torch.randn(ours.shape, generator=torch.Generator().manual_seed(9), dtype=ours.dtype)
    for found, expected in zip(
        torch.autograd.grad(ours, weights, slope), torch.autograd.grad(theirs, weights, slope), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 7])
def test_values_and_gradients_are_those_of_conv1d_with_padding(
    kernel: str, kernel_size: int, dtype: torch.dtype
) -> None:
    maxlen = 9
    batch = make_batch([9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 30, maxlen)
    assert_equal_to_conv1d(batch, make_weights(30, kernel_size, dtype))


def test_a_kernel_as_long_as_the_documents_sees_one_window(kernel: str) -> None:
    assert_equal_to_conv1d(make_batch([4, 2, 0], 10, 4), make_weights(10, 4))


def test_padding_wins_where_every_word_is_below_zero(kernel: str) -> None:
    words, weight = -torch.ones(3, 2), torch.ones(2, 4, 2)
    pooled, places = convolve_and_pool(words, make_batch([3, 5], 3, 5), weight)
    # the document of 3 words leaves a window of padding alone; in that of 5 all windows are full
    assert pooled.tolist() == [[0.0] * 4, [-4.0] * 4]
    assert places.tolist() == [[-1] * 4, [0] * 4]


def test_repeated_windows_have_the_gradient_of_one(kernel: str) -> None:
    words, weight, bias = make_weights(2, 3)
    batch = Batch(Documents.from_lists([np.array([0, 1, 1, 0, 1, 1, 0])]), 8)
    assert_equal_to_conv1d(batch, (words, weight, bias))


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    kernel_size=st.integers(1, 6),
    extra=st.integers(0, 8),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_documents_of_any_length_are_as_with_conv1d(
    lengths: list[int], kernel_size: int, extra: int, seed: int
) -> None:
    maxlen = max([*lengths, kernel_size]) + extra
    weights = make_weights(8, kernel_size, torch.float64)
    for setting in KERNELS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SWITCH, setting)
            check_what_runs(setting)
            assert_equal_to_conv1d(make_batch(lengths, 8, maxlen, seed), weights)


def test_the_lectures_sizes_are_as_with_conv1d(kernel: str) -> None:
    batch = make_batch([400, 150, 399, 30], 500, 400)
    words, weight, bias = make_weights(500, 3, n_filters=250, n_dimensions=300)
    assert_equal_to_conv1d(batch, (words / 8, weight / 30, bias))


@pytest.mark.parametrize("n_bytes", [0, 5000])
def test_filters_done_a_few_at_a_time_learn_the_same(
    kernel: str, n_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEARNING_BYTES", n_bytes)
    monkeypatch.setattr(module, "WORDS_AT_ONCE", 7)
    assert_equal_to_conv1d(make_batch([9, 0, 4, 12, 1], 40, 12), make_weights(40, 3, n_filters=50))


@pytest.mark.parametrize("n_bytes", [0, 5000, 2**20])
def test_frozen_words_give_the_same_values_part_by_part(
    kernel: str, n_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FROZEN_BYTES", n_bytes)
    monkeypatch.setattr(module, "WORDS_AT_ONCE", 7)
    monkeypatch.setattr(module, "DOCUMENTS_OF_TORCH", 2)
    words, weight, bias = (tensor.detach() for tensor in make_weights(40, 3, n_filters=50))
    batch = make_batch([9, 0, 4, 12, 1], 40, 12)
    asked = []

    def rows(first: int, last: int) -> torch.Tensor:
        asked.append(last - first)
        return words[first:last]

    found = convolve_frozen(rows, batch, weight) + bias
    torch.testing.assert_close(found, plain(words, batch, weight, bias), atol=1e-5, rtol=1e-5)
    assert max(asked) == 7
    nobody = Batch(Documents.from_lists([np.zeros(0, np.int32)] * 3), 5)
    assert convolve_frozen(rows, nobody, weight).tolist() == [[0.0] * 50] * 3


def in_threads(n_threads: int, compute: Callable[[], Sequence[torch.Tensor | None]]) -> Sequence[torch.Tensor | None]:
    """Compute in so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        return compute()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [2, 3, 4])
def test_several_threads_give_the_same_up_to_rounding(kernel: str, n_threads: int) -> None:
    batch = make_batch([30, 7, 22, 0, 15], 40, 30)
    weights = make_weights(40, 3)

    def compute() -> list[torch.Tensor]:
        pooled = pool_ours(weights[0], batch, *weights[1:])
        return [pooled.detach(), *torch.autograd.grad(pooled.sum(), weights)]

    torch.testing.assert_close(in_threads(n_threads, compute), in_threads(1, compute), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_threads", [2, 3, 4])
def test_the_compiled_loops_give_the_same_bits_in_several_threads(n_threads: int) -> None:
    batch = make_batch([30, 7, 22, 0, 15], 40, 30)
    words, weight, _ = (tensor.detach() for tensor in make_weights(40, 3))
    loops = module.load_loops(torch.float32)
    assert loops is not None
    projected = (words @ weight.flatten(end_dim=1).T).view(40, 3, 7)

    def compute() -> list[torch.Tensor | None]:
        pooled, places = module._pool_with_loops(loops, projected, batch)
        gradients = module._gradients_with_loops(loops, pooled, words, weight, places, batch, (True, True))
        return [pooled, places, *gradients]

    torch.testing.assert_close(in_threads(n_threads, compute), in_threads(1, compute), atol=0, rtol=0)


def test_the_other_gradients_are_not_computed_where_they_are_not_wanted(kernel: str) -> None:
    words, weight, bias = make_weights(10, 3)
    pooled = pool_ours(words.detach(), make_batch([5], 10, 6), weight, bias)
    pooled.sum().backward()
    assert words.grad is None
    assert weight.grad is not None


@pytest.mark.parametrize("kernel_size", [2, 4])
def test_gradients_agree_with_differences(kernel: str, kernel_size: int) -> None:
    words, weight, bias = make_weights(12, kernel_size, torch.float64, n_filters=3, n_dimensions=2)
    batch = make_batch([6, 3], 12, 6)
    assert torch.autograd.gradcheck(lambda *weights: pool_ours(weights[0], batch, *weights[1:]), (words, weight, bias))


def test_where_numba_is_missing_or_fails_pytorch_is_used_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(module, "_first_calls", lambda *arguments: [fail])
    module.load_loops.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert_equal_to_conv1d(make_batch([5, 2], 10, 6), make_weights(10, 3))
            assert_equal_to_conv1d(make_batch([5, 2], 10, 6), make_weights(10, 3))
        assert caplog.text.count("no compiler here") == 1
    finally:
        module.load_loops.cache_clear()


def test_an_unknown_setting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "fast")
    with pytest.raises(ValueError, match=f"{SWITCH} to be 'auto' or 'torch', got 'fast'"):
        assert_equal_to_conv1d(make_batch([5], 10, 6), make_weights(10, 3))
