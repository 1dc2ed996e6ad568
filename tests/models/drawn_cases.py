"""Drawn models with series that they can be fitted to: every legal combination of arguments, covariates and indices."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood, LaplaceLikelihood, QuantileRegression
from hypothesis import strategies as st

from seq_plugins.layers.convolution import down_sampled_step_ends
from seq_plugins.models import SequenceModel
from tests.conftest import MODEL_NAMES, make_model, make_series, takes, with_static_covariates

LIKELIHOODS: dict[str, Callable[[], Any]] = {
    "Gaussian": GaussianLikelihood,
    "Laplace": LaplaceLikelihood,
    "Quantile": lambda: QuantileRegression([0.1, 0.5, 0.9]),
}
FREQUENCIES: list[str | int] = ["D", "h", "MS", 1, 3]
START = 5  # covariates may start earlier


@dataclass(frozen=True)
class Case:
    """A model's arguments and what it is fitted to and forecasts."""

    name: str
    arguments: dict[str, Any]
    likelihood: str | None
    series: list[TimeSeries]
    covariates: dict[str, list[TimeSeries]]
    n: int
    fit_arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def input_length(self) -> int:
        """Number of past time steps that a forecast is made from."""
        length: int = self.arguments["input_chunk_length"]
        return length

    @property
    def horizon(self) -> int:
        """Number of time steps forecast at once."""
        horizon: int = self.arguments["output_chunk_length"]
        return horizon

    @property
    def shift(self) -> int:
        """Number of time steps between input and output."""
        shift: int = self.arguments["output_chunk_shift"]
        return shift

    @property
    def total(self) -> int:
        """Length of a whole window."""
        return self.input_length + self.shift + self.horizon

    @property
    def given(self) -> dict[str, list[TimeSeries]]:
        """Target and covariates, as `fit` and `predict` take them."""
        return {"series": self.series, **self.covariates}

    def model(self, **arguments: Any) -> SequenceModel:
        """Make the model."""
        likelihood = LIKELIHOODS[self.likelihood]() if self.likelihood else None
        return make_model(self.name, **(self.arguments | {"likelihood": likelihood} | arguments))

    def fitted(self) -> SequenceModel:
        """Make the model and fit it."""
        model = self.model()
        model.fit(**self.given, **self.fit_arguments)
        return model

    def certain(self, n: int) -> dict[str, bool]:
        """Return the arguments with which a forecast of `n` steps holds nothing random, as far as there are any."""
        return {"predict_likelihood_parameters": self.likelihood is not None and n <= self.horizon}


@st.composite
def _own_arguments(draw: st.DrawFn, name: str, input_length: int) -> dict[str, Any]:
    """Draw those of a model's own arguments that shape its network."""
    choices: dict[str, st.SearchStrategy[Any]] = {
        "model": st.sampled_from(["RNN", "LSTM", "GRU"]),
        "hidden_dim": st.integers(1, 4),
        "n_rnn_layers": st.integers(1, 2),
        "dropout": st.sampled_from([0.0, 0.3]),
        "recurrent_dropout": st.sampled_from([0.0, 0.3]),
        "layer_norm": st.booleans(),
        "activation": st.sampled_from(["ReLU", "Tanh", "ELU"]),
        "hidden_fc_sizes": st.sampled_from([None, [3], [2, 3]]),
        "num_filters": st.integers(1, 3),
        "kernel_size": st.integers(1, min(4, input_length)),
        "stride": st.integers(1, 3),
        "pooling": st.sampled_from([None, "max", "average"]),
        "sequence_to_sequence": st.booleans(),
        "decoding": st.sampled_from(["parallel", "autoregressive"]),
        "teacher_forcing": st.sampled_from([0.0, 0.5, 1.0, (1.0, 0.0)]),
        "attention": st.booleans(),
        "look_ahead": st.booleans(),
        "decoder_starts": st.integers(1, 3),
    }
    arguments = {argument: draw(choice) for argument, choice in choices.items() if takes(name, argument)}
    if takes(name, "gated"):
        arguments["gated"] = draw(st.booleans())
        longest = (input_length - 1) // max(arguments["kernel_size"] - 1, 1)
        if longest > 0:
            dilations = st.lists(st.integers(1, longest), min_size=1, max_size=3)
            arguments["dilations"] = draw(st.one_of(st.none(), dilations))
    if takes(name, "pool_size"):
        convolved = down_sampled_step_ends(input_length, arguments["kernel_size"], arguments["stride"])
        arguments["pool_size"] = draw(st.integers(1, min(3, len(convolved))))
    if takes(name, "n_rnn_layers") and takes(name, "dilations"):
        n_layers, n_steps = arguments["n_rnn_layers"], _n_states(arguments, input_length)
        if n_steps > 1:
            dilations = st.lists(st.integers(1, n_steps - 1), min_size=n_layers, max_size=n_layers)
            arguments["dilations"] = draw(st.one_of(st.none(), dilations))
    return arguments


def _n_states(arguments: dict[str, Any], input_length: int) -> int:
    if "kernel_size" not in arguments:
        return input_length
    names = ("kernel_size", "stride", "pooling", "pool_size")
    return len(down_sampled_step_ends(input_length, *(arguments[name] for name in names)))


@st.composite
def cases(
    draw: st.DrawFn,
    normalisations: tuple[Any, ...] = (False, True, {"affine": False}),
    likelihoods: tuple[str | None, ...] = (None, *LIKELIHOODS),
    dtypes: tuple[Any, ...] = (np.float32, np.float64),
    most_series: int = 3,
    at_least_longer: int = 0,
    scale: float = 1.0,
) -> Case:
    """Draw a small model and series for it."""
    name = draw(st.sampled_from(MODEL_NAMES))
    input_length, horizon, shift = draw(st.integers(1, 8)), draw(st.integers(1, 4)), draw(st.integers(0, 3))
    n = draw(st.integers(1, horizon if shift else 3 * horizon))
    likelihood, dtype, freq = (
        draw(st.sampled_from(likelihoods)),
        draw(st.sampled_from(dtypes)),
        draw(st.sampled_from(FREQUENCIES)),
    )
    arguments = {
        "input_chunk_length": input_length,
        "output_chunk_length": horizon,
        "output_chunk_shift": shift,
        "use_reversible_instance_norm": draw(st.sampled_from(normalisations)),
        "use_static_covariates": draw(st.sampled_from([True, True, False])),
        "batch_size": draw(st.integers(1, 8)),
        "ensemble_size": draw(st.sampled_from([1, 1, 2, 3])),
        **draw(_own_arguments(name, input_length)),
    }
    if arguments.get("hidden_fc_sizes") and takes(name, "segment_length"):
        arguments["segment_length"] = draw(st.sampled_from([None, 1, horizon]))
    if not arguments["use_reversible_instance_norm"]:
        arguments["local_normalization"] = draw(st.sampled_from([None, "level", "level_scale"]))
    seasons = [None, 1, input_length, *([[1, input_length - 1]] if input_length > 2 else [])]
    arguments["season_length"] = draw(st.sampled_from(seasons))
    shortest = input_length + shift + horizon + at_least_longer
    lengths = [shortest + more for more in draw(st.lists(st.integers(0, 8), min_size=1, max_size=most_series))]
    components = draw(st.integers(1, 3))
    series = [
        make_series(length, components, freq, seed, dtype, START) * scale + scale for seed, length in enumerate(lengths)
    ]
    statics = draw(st.sampled_from([None, "of the series", "of each component"]))
    if statics is not None:
        series = [with_static_covariates(one, len(one), statics == "of each component") for one in series]

    def draw_covariates(beyond: int) -> list[TimeSeries]:
        """Draw covariates that reach `beyond` the end of each series, or one step or two further."""
        drawn, components = [], draw(st.integers(1, 2))
        for seed, length in enumerate(lengths, start=10):
            lead, tail = draw(st.integers(0, 2)), draw(st.integers(0, 2))
            drawn.append(make_series(lead + length + beyond + tail, components, freq, seed, dtype, START - lead))
        return drawn

    kinds = draw(st.sets(st.sampled_from(["past_covariates", "future_covariates"])))
    reach = {"past_covariates": max(n - horizon, 0), "future_covariates": shift + max(n, horizon)}
    fit_arguments = {"stride": draw(st.integers(1, 3)), "max_samples_per_ts": draw(st.sampled_from([None, 1, 4]))}
    return Case(
        name=name,
        arguments=arguments,
        likelihood=likelihood,
        series=series,
        covariates={kind: draw_covariates(reach[kind]) for kind in sorted(kinds)},
        n=n,
        fit_arguments=fit_arguments,
    )
