"""Training in 16 bits on a CPU works or is refused before it starts, whatever the processor has kernels for."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from seq_plugins.layers import recurrent_kernels
from tests.conftest import OUTPUT, make_model, make_series, values_of

CELLS = ["RNN", "LSTM", "GRU"]
# Lightning trains with bfloat16 on a CPU where float16 is asked for, and says so
in_bfloat16_instead = pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")


@in_bfloat16_instead
@pytest.mark.parametrize("recurrent_dropout", [0.0, 0.2])
@pytest.mark.parametrize("has_kernels", [True, False], ids=["this processor", "one without kernels"])
@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "16-mixed", "16-true"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_trains_and_forecasts_in_16_bits(
    cell: str, precision: str, has_kernels: bool, recurrent_dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_kernels:
        monkeypatch.setattr(recurrent_kernels, "_torch_runs", lambda *arguments: False)
    model = make_model(
        "Seq2SeqRNNModel", pl_trainer_kwargs={"precision": precision}, **_arguments(cell, recurrent_dropout)
    )
    model.fit(make_series(), val_series=make_series(30, seed=3))
    forecast = values_of(model.predict(OUTPUT))
    np.testing.assert_allclose(forecast, _forecast_in_32_bits(cell, recurrent_dropout), rtol=0, atol=0.15)


def _arguments(cell: str, recurrent_dropout: float) -> dict[str, Any]:
    return {"model": cell, "recurrent_dropout": recurrent_dropout, "optimizer_kwargs": {"lr": 0.001, "eps": 1e-4}}


@cache
def _forecast_in_32_bits(cell: str, recurrent_dropout: float) -> np.ndarray:
    model = make_model("Seq2SeqRNNModel", **_arguments(cell, recurrent_dropout)).fit(make_series())
    return values_of(model.predict(OUTPUT))


@pytest.mark.parametrize(
    ("optimizer", "eps"), [(torch.optim.Adam, "1e-08"), (torch.optim.Adagrad, "1e-10"), (torch.optim.AdamW, "1e-08")]
)
def test_an_optimizer_that_would_divide_by_zero_in_half_precision_is_refused_before_training(
    model_name: str, optimizer: type[torch.optim.Optimizer], eps: str
) -> None:
    model = make_model(model_name, optimizer_cls=optimizer, pl_trainer_kwargs={"precision": "16-true"})
    with pytest.raises(
        ValueError, match=f"'16-true' rounds the `eps` of {optimizer.__name__}, {eps}, to zero.*'bf16-true'"
    ):
        model.fit(make_series())
    assert model.model is None


def test_an_optimizer_without_such_a_number_trains_in_half_precision() -> None:
    sgd = {"optimizer_cls": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.01}}
    model = make_model("Seq2SeqRNNModel", pl_trainer_kwargs={"precision": "16-true"}, **sgd).fit(make_series())
    assert np.isfinite(values_of(model.predict(OUTPUT))).all()
