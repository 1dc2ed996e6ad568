import pytest
import torch
from darts.utils.torch import MonteCarloDropout

from seq_plugins.layers import VariationalDropout

# B: batch, L: time steps, I: features of a step

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
each_share = pytest.mark.parametrize("share", [0.2, 0.5])


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@each_dtype
@each_share
def test_all_time_steps_of_a_sequence_share_one_mask(share: float, dtype: torch.dtype) -> None:
    inputs = torch.randn(4, 7, 30, dtype=dtype)

    outputs = VariationalDropout(share)(inputs)

    mask = outputs[:, :1] != 0  # -> (B, 1, I)
    assert outputs.dtype is dtype
    torch.testing.assert_close(outputs, inputs * mask / (1 - share))
    assert 0 < mask.sum() < mask.numel()


def test_sequences_and_calls_have_masks_of_their_own() -> None:
    dropout, inputs = VariationalDropout(0.5), torch.ones(8, 3, 40)

    masks = torch.cat([dropout(inputs)[:, 0] for _ in range(2)])  # -> (2 * B, I)

    assert len(masks.unique(dim=0)) == 16


@each_share
def test_the_share_of_features_is_dropped_and_the_mean_is_kept(share: float) -> None:
    outputs = VariationalDropout(share)(torch.ones(200, 2, 200))[:, 0]  # -> (B, I)

    assert (outputs == 0).float().mean().item() == pytest.approx(share, abs=0.02)
    assert outputs.mean().item() == pytest.approx(1, abs=0.03)


@each_dtype
@each_share
def test_a_mask_has_the_shape_and_type_of_its_features(share: float, dtype: torch.dtype) -> None:
    mask = VariationalDropout(share).sample_mask(torch.full((5, 30), 7.0, dtype=dtype))

    assert mask is not None
    kept = torch.tensor(1 / (1 - share), dtype=dtype)
    torch.testing.assert_close(mask.unique(), torch.stack([torch.zeros_like(kept), kept]))
    assert mask.shape == (5, 30)


def test_nothing_is_dropped_in_prediction() -> None:
    dropout, inputs = VariationalDropout(0.5).eval(), torch.randn(4, 3, 20)

    assert torch.equal(dropout(inputs), inputs)
    assert dropout.sample_mask(inputs[:, 0]) is None


def test_monte_carlo_dropout_drops_in_prediction_with_one_mask_per_sequence() -> None:
    dropout, inputs = VariationalDropout(0.5).eval(), torch.ones(4, 3, 40)
    assert isinstance(dropout, MonteCarloDropout)  # by which Darts finds it
    dropout._mc_dropout_enabled = True  # as Darts does in `predict(..., mc_dropout=True)`

    outputs = dropout(inputs)

    assert torch.equal(outputs, outputs[:, :1].expand_as(outputs))
    assert outputs.unique().tolist() == [0.0, 2.0]
    assert len(outputs.unique(dim=0)) == 4


def test_a_share_of_zero_drops_nothing_in_training() -> None:
    dropout, inputs = VariationalDropout(0.0), torch.randn(4, 3, 20)

    assert dropout.training
    assert torch.equal(dropout(inputs), inputs)
    assert dropout.sample_mask(inputs[:, 0]) is None


def test_gradients_pass_only_through_the_kept_features() -> None:
    inputs = torch.ones(4, 3, 20, requires_grad=True)

    outputs = VariationalDropout(0.5)(inputs)
    outputs.sum().backward()

    assert inputs.grad is not None
    assert torch.equal(inputs.grad, outputs.detach())
