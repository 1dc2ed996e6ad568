"""Every error that docs/errors.md quotes is raised, and every error of input validation is quoted there."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import LaplaceLikelihood, PoissonLikelihood
from darts.utils.losses import MapeLoss
from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback
from torch import nn

from seq_plugins.datasets import CTARidershipDataset
from seq_plugins.layers import SimpleRNN
from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of
from tests.documents import ROOT

PAGE = ROOT / "docs" / "errors.md"
CHECKS = [ROOT / "seq_plugins" / path for path in ("windows/checks.py", "windows/sequences.py", "models/arguments.py")]
MODEL = "SimpleRNNModel"


def _fit(series: Any = None, **arguments: Any) -> None:
    make_model(MODEL).fit(make_series() if series is None else series, **arguments)


def _make(**arguments: Any) -> None:
    make_model("Conv1DGRUModel", **arguments)


def _with_value(value: float) -> TimeSeries:
    values = values_of(make_series()).copy()
    values[20] = value
    return make_series().with_values(values)


def _described(*values: float) -> TimeSeries:
    return make_series().with_static_covariates(pd.DataFrame([values]))


def _table_of(*items: Any) -> pd.Series:
    return pd.Series([*items, items[-1]])


def _off_by_a_day() -> None:
    off = pd.date_range("2019-12-31", periods=60, freq="2D")
    _fit(make_series(freq="2D"), past_covariates=TimeSeries.from_times_and_values(off, np.ones((60, 1), "float32")))


def _encode_nan() -> None:
    def every_tenth_missing(times: pd.DatetimeIndex) -> np.ndarray:
        return np.where(times.day % 10 == 0, np.nan, 1.0)

    make_model(MODEL, add_encoders={"custom": {"past": [every_tenth_missing]}}).fit(make_series())


def _predict_without_known_future() -> None:
    model = make_model(MODEL).fit(make_series(), future_covariates=make_series(60))
    model.predict(OUTPUT, make_series(), future_covariates=make_series(41))


def _connect_too_few_states() -> None:
    class Last(nn.Module):
        output_dim = 1

        def forward(self, features: torch.Tensor, last_only: bool = False) -> torch.Tensor:
            return features[:, -1:, :1]

    model = make_model("Seq2SeqRNNModel").fit(make_series())
    model.model.encoder = Last()
    model.fit(make_series())


def _diverge() -> None:
    make_model("LinearModel", n_epochs=50, optimizer_cls=torch.optim.SGD, optimizer_kwargs={"lr": 1e3}).fit(
        make_series()
    )


def _diverge_with_a_likelihood() -> None:
    make_model(MODEL, n_epochs=3, likelihood=LaplaceLikelihood(), optimizer_kwargs={"lr": 1e38}).fit(make_series())


def _save_where_a_folder_is() -> None:
    Path("folder").mkdir()
    make_model(MODEL).fit(make_series()).save("folder")


def _predict_after_a_first_fit_that_failed() -> None:
    def fail(*args: Any) -> None:
        raise LookupError

    model = make_model(MODEL, pl_trainer_kwargs={"callbacks": [LambdaCallback(on_train_epoch_end=fail)]})
    with pytest.raises(LookupError):
        model.fit(make_series())
    model.predict(OUTPUT)


def _load_a_damaged_model() -> None:
    model = make_model(MODEL).fit(make_series())
    model.save("model.pt")
    Path("model.pt").write_bytes(Path("model.pt").read_bytes()[:-100])
    type(model).load("model.pt")


def _load_a_model_with_the_checkpoint_of_another() -> None:
    model = make_model(MODEL).fit(make_series())
    for name in ("model.pt", "other.pt"):
        model.save(name)
        model.fit(make_series())
    Path("other.pt.ckpt").replace("model.pt.ckpt")
    type(model).load("model.pt")


def _load_data_from_an_empty_folder() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQ_PLUGINS_DATA", str(Path.cwd()))
        CTARidershipDataset().load()


CASES: dict[str, Callable[[], Any]] = {
    "too short": lambda: _fit(make_series(INPUT)),
    "no history": lambda: make_model("SimpleRNNModel", missing="mask").fit(make_series()).predict(3, make_series()[:0]),
    "too short for a backtest": lambda: make_model("SimpleRNNModel").backtest(make_series(INPUT)),
    "NaN": lambda: _fit(_with_value(np.nan)),
    "infinity": lambda: _fit(_with_value(np.inf)),
    "NaN made by an encoder": _encode_nan,
    "nothing but NaN": lambda: make_model(MODEL, missing="mask").fit(make_series() * np.nan),
    "static NaN": lambda: _fit(_described(np.nan)),
    "type": lambda: _fit(past_covariates=make_series(dtype=np.float64)),
    "no series": lambda: _fit([1.0]),
    "a rate of refits that is no rate": lambda: make_model(MODEL).backtest(
        make_series(), warm_epochs=1, warm_learning_rate=0
    ),
    "a rate of refits that are not warm": lambda: make_model(MODEL).backtest(make_series(), warm_learning_rate=0.1),
    "an update before a fit": lambda: make_model(MODEL).update(make_series()),
    "number of series": lambda: _fit([make_series()] * 2, past_covariates=make_series()),
    "no series at a later position": lambda: _fit(
        [make_series()] * 3, past_covariates=_table_of(make_series(), "rain")
    ),
    "no such position": lambda: _fit(_table_of(make_series(), make_series()).drop(1)),
    "components": lambda: _fit([make_series(), make_series(components=2)]),
    "static shapes": lambda: _fit([_described(1.0), make_series()]),
    "reach": lambda: _fit(past_covariates=make_series(20)),
    "known future": _predict_without_known_future,
    "no time steps": lambda: _fit(past_covariates=make_series()[:0]),
    "frequency": lambda: _fit(past_covariates=make_series(2000, freq="h")),
    "dates and integers": lambda: _fit(past_covariates=make_series(freq=1)),
    "steps": lambda: _fit(make_series(freq=2), past_covariates=make_series(freq=1)),
    "name of the frequency": lambda: _fit(past_covariates=make_series(freq="24h")),
    "off by a day": _off_by_a_day,
    "integer": lambda: _make(kernel_size=0),
    "choice": lambda: _make(pooling="sum"),
    "share": lambda: _make(dropout=1.0),
    "boolean": lambda: _make(sequence_to_sequence=1),
    "sizes": lambda: _make(hidden_fc_sizes=64),
    "segments that do not divide": lambda: _make(hidden_fc_sizes=[4], segment_length=OUTPUT - 1),
    "segments without a hidden layer": lambda: _make(segment_length=2),
    "number of dilations": lambda: _make(dilations=[1, 2]),
    "dilations that skip all": lambda: make_model("DeepRNNModel", n_rnn_layers=2, dilations=[1, INPUT]),
    "a kernel that reaches beyond": lambda: make_model("WaveNetModel", kernel_size=INPUT + 1),
    "a dilation that reaches beyond": lambda: make_model("WaveNetModel", dilations=[1, INPUT]),
    "no convolution": lambda: make_model("WaveNetModel", dilations=[]),
    "likelihood": lambda: _make(likelihood="quantile"),
    "class of a likelihood": lambda: _make(likelihood=LaplaceLikelihood),
    "loss": lambda: _make(loss_fn="mse"),
    "metric": lambda: _make(torch_metrics="mae"),
    "class": lambda: _make(optimizer_cls="adam"),
    "dictionary": lambda: _make(optimizer_kwargs=0.1),
    "normalisation": lambda: _make(use_reversible_instance_norm="yes"),
    "callbacks": lambda: _make(pl_trainer_kwargs={"callbacks": EarlyStopping("val_loss")}),
    "no epochs": lambda: _make(n_epochs=0),
    "no epochs of a trainer": lambda: _make(pl_trainer_kwargs={"max_epochs": 0}),
    "no step left": lambda: _make(kernel_size=INPUT + 1),
    "season": lambda: _make(season_length=INPUT + 1),
    "seasons": lambda: _make(season_length=[3, INPUT]),
    "a season twice": lambda: _make(season_length=[3, 3]),
    "two normalisations": lambda: _make(local_normalization="level", use_reversible_instance_norm=True),
    "local counts": lambda: _make(local_normalization="level", likelihood=PoissonLikelihood()),
    "local prior": lambda: _make(local_normalization="level", likelihood=LaplaceLikelihood(prior_mu=1.0)),
    "counts to feed back": lambda: make_model(
        "EncoderDecoderRNNModel", decoding="autoregressive", likelihood=PoissonLikelihood()
    ),
    "rates of teacher forcing": lambda: make_model("EncoderDecoderRNNModel", teacher_forcing=[0.5]),
    "season of counts": lambda: _make(season_length=7, likelihood=PoissonLikelihood()),
    "half precision": lambda: make_model(MODEL, pl_trainer_kwargs={"precision": "16-true"}).fit(make_series()),
    "divergence": _diverge,
    "divergence with a likelihood": _diverge_with_a_likelihood,
    "loss that divides by zero": lambda: make_model(MODEL, loss_fn=MapeLoss(), batch_size=1).fit(
        make_series().map(lambda values: np.maximum(values, 0))
    ),
    "covariates too large": lambda: make_model("LinearModel").fit(
        make_series(), past_covariates=make_series() * 0 + 3e38
    ),
    "precision": lambda: make_model(
        MODEL, pl_trainer_kwargs={"precision": "16-true"}, optimizer_kwargs={"eps": 1e-4, "lr": 1e6}
    ).fit(make_series(60)),
    "folder in the place": _save_where_a_folder_is,
    "not fitted": lambda: make_model(MODEL).predict(OUTPUT),
    "first fit that failed": _predict_after_a_first_fit_that_failed,
    "damaged file": _load_a_damaged_model,
    "another's checkpoint": _load_a_model_with_the_checkpoint_of_another,
    "samples": lambda: make_model(MODEL).fit(make_series()).predict(OUTPUT, num_samples=2),
    "shift": lambda: make_model(MODEL, output_chunk_shift=1).fit(make_series()).predict(OUTPUT + 1),
    "dynamo": lambda: make_model(MODEL).fit(make_series()).to_onnx(dynamo=False),
    "Keras' weights": lambda: SimpleRNN(1, 2).load_keras_weights(np.ones((2, 2)), np.ones((2, 2)), np.ones(2)),
    "data set": _load_data_from_an_empty_folder,
    "states": _connect_too_few_states,
}


class Raised(NamedTuple):
    """An error that was raised: its words, and the places that it went through."""

    message: str
    places: frozenset[tuple[Path, int]]


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Raised]:
    """Every case's error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        patch.setattr(torch.distributions.Distribution, "_validate_args", True)
        return {name: _catch(case) for name, case in CASES.items()}


def _catch(case: Callable[[], Any]) -> Raised:
    with pytest.raises((ValueError, OSError)) as caught:
        case()
    return Raised(str(caught.value), frozenset(_places(caught.value.__traceback__)))


def _places(traceback: TracebackType | None) -> Iterator[tuple[Path, int]]:
    while traceback is not None:
        yield Path(traceback.tb_frame.f_code.co_filename), traceback.tb_lineno
        traceback = traceback.tb_next


@cache
def _quotes() -> dict[str, re.Pattern[str]]:
    """Return the errors that the page quotes, each with the pattern that it stands for."""
    found = {}
    text = PAGE.read_text(encoding="utf-8")
    for quoted in re.findall(r"(?:^> .*\n)+", text, flags=re.MULTILINE):
        words = " ".join(line.removeprefix("> ") for line in quoted.splitlines())
        found[words] = re.compile(".*".join(map(re.escape, words.split("…"))), flags=re.DOTALL)
    return found


def test_every_error_quoted_is_raised_word_for_word(raised: dict[str, Raised]) -> None:
    messages = [error.message for error in raised.values()]
    not_raised = [words for words, pattern in _quotes().items() if not any(map(pattern.fullmatch, messages))]
    assert not not_raised, f"{not_raised} not among {messages}"


@pytest.mark.parametrize("case", CASES)
def test_every_error_raised_is_quoted(case: str, raised: dict[str, Raised]) -> None:
    message = raised[case].message
    assert any(pattern.fullmatch(message) for pattern in _quotes().values()), f"{PAGE} does not quote: {message}"


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.name)
def test_every_check_at_the_door_has_a_case_here(path: Path, raised: dict[str, Raised]) -> None:
    reached = {line for error in raised.values() for place, line in error.places if place == path}
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Raise)]
    without = [node.lineno for node in nodes if not reached & set(range(node.lineno, (node.end_lineno or 0) + 1))]
    assert nodes
    assert not without, f"Add a case here, and the error to docs/errors.md, for what {path} raises in lines {without}."
