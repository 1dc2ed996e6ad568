"""Ensembles that are trained as one: each member is the model that its seed gives alone."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.models import NaiveEnsembleModel
from darts.utils.likelihood_models.torch import GaussianLikelihood, LaplaceLikelihood, QuantileRegression
from torch import nn
from torch.utils.data import SequentialSampler

import seq_plugins
from seq_plugins import DivergenceError, Seq2SeqRNNModel, SimpleRNNModel
from seq_plugins.layers import Dense, recurrent_kernels
from seq_plugins.layers.members import SeparateMembers
from seq_plugins.layers.mixture import quantiles_of_mixture
from seq_plugins.layers.recurrent import GRU, LSTM, SimpleRNN
from seq_plugins.models import SequenceModel, SequenceModule
from tests.conftest import (
    INPUT,
    MODEL_NAMES,
    OUTPUT,
    make_model,
    make_series,
    takes,
    values_of,
    with_static_covariates,
)

N_MEMBERS = 3
LENGTH = 60


def _series(**arguments: Any) -> TimeSeries:
    given: dict[str, Any] = {"length": LENGTH, "components": 2, "dtype": np.float64}
    return make_series(**given | arguments)


def _with_gaps() -> TimeSeries:
    series = _series()
    values = values_of(series).copy()
    values[np.random.default_rng(1).random(values.shape) < 0.15] = np.nan
    return series.with_values(values)


def _covariates() -> dict[str, TimeSeries]:
    return {
        "past_covariates": _series(length=LENGTH + OUTPUT, seed=1),
        "future_covariates": _series(length=LENGTH + OUTPUT, components=1, seed=2),
    }


def _all_covariates() -> dict[str, Any]:
    return {"series": with_static_covariates(_series())} | _covariates()


def _validated() -> dict[str, Any]:
    given = _all_covariates()
    return given | {f"val_{name}": series for name, series in given.items()}


def _many_series() -> dict[str, Any]:
    return {"series": [_series(length=length, seed=length) for length in (20, 60, 33)], "max_samples_per_ts": 20}


SETTINGS: dict[str, tuple[dict[str, Any], Callable[[], dict[str, Any]]]] = {
    "as they are": ({}, lambda: {"series": _series()}),
    "covariates": ({}, _all_covariates),
    "validation": ({}, _validated),
    "many series": ({}, _many_series),
    "a shift": ({"output_chunk_shift": 2}, lambda: {"series": _series()}),
    "dropout": ({"model": "GRU", "dropout": 0.3, "recurrent_dropout": 0.2}, _validated),
    "LSTM": ({"model": "LSTM", "recurrent_dropout": 0.2}, lambda: {"series": _series()}),
    "normalised layers": (
        {"model": "GRU", "layer_norm": True, "recurrent_dropout": 0.2},
        lambda: {"series": _series()},
    ),
    "hidden layers": ({"hidden_fc_sizes": [6], "segment_length": 2}, _all_covariates),
    "layers": ({"n_rnn_layers": 2, "dilations": [1, 3]}, lambda: {"series": _series()}),
    "pooling": ({"pooling": "average"}, lambda: {"series": _series()}),
    "gates": ({"gated": True, "dropout": 0.3}, _validated),
    "no gates": (
        {"gated": False, "kernel_size": 3, "dilations": [1, 3], "dropout": 0.3, "activation": "Tanh"},
        lambda: {"series": _series()},
    ),
    "scheduled sampling": (
        {"decoding": "autoregressive", "teacher_forcing": (0.9, 0.1), "attention": True, "dropout": 0.3},
        _all_covariates,
    ),
    "a season": ({"season_length": 7}, lambda: {"series": _series()}),
    "two seasons": ({"season_length": [3, 7], "local_normalization": "level_scale"}, _all_covariates),
    "instance normalisation": ({"use_reversible_instance_norm": True}, lambda: {"series": _series()}),
    "missing values": ({"missing": "mask", "season_length": 7}, lambda: {"series": _with_gaps()}),
    "missing values and instance normalisation": (
        {"missing": "mask", "use_reversible_instance_norm": True},
        lambda: {"series": _with_gaps()},
    ),
    "sample weights": ({}, lambda: {"series": _series(), "sample_weight": "linear"}),
    "quantiles": ({"likelihood": QuantileRegression([0.1, 0.5, 0.9])}, _validated),
    "a likelihood with a prior": ({"likelihood": GaussianLikelihood(prior_mu=0.0)}, lambda: {"series": _series()}),
    "another loss": ({"loss_fn": nn.L1Loss(reduction="sum")}, lambda: {"series": _series()}),
    "clipped norms": ({"pl_trainer_kwargs": {"gradient_clip_val": 0.05}}, lambda: {"series": _series()}),
    "clipped values": (
        {"pl_trainer_kwargs": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}},
        lambda: {"series": _series()},
    ),
    "momentum and a schedule": (
        {
            "optimizer_cls": torch.optim.SGD,
            "optimizer_kwargs": {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.01},
            "lr_scheduler_cls": torch.optim.lr_scheduler.ExponentialLR,
            "lr_scheduler_kwargs": {"gamma": 0.5},
        },
        lambda: {"series": _series()},
    ),
}
# of arguments that some models lack, one model that has them is enough for the others
_CASES = [
    (name, setting)
    for setting, (arguments, _) in SETTINGS.items()
    for name in MODEL_NAMES
    if all(takes(name, each) or not any(takes(other, each) for other in MODEL_NAMES) for each in arguments)
]


def _made(name: str, setting: str, **arguments: Any) -> SequenceModel:
    return make_model(name, **{"n_epochs": 6} | SETTINGS[setting][0] | arguments)


def _assert_same_weights(network: Any, expected: Any) -> None:
    weights, expected_weights = network.state_dict(), expected.state_dict()
    assert weights.keys() == expected_weights.keys()
    for name, weight in weights.items():
        np.testing.assert_allclose(weight, expected_weights[name], rtol=1e-8, atol=1e-10, err_msg=name)


def _target(given: dict[str, Any]) -> dict[str, Any]:
    names = ("series", "past_covariates", "future_covariates")
    return {name: given[name] for name in names if name in given}


@pytest.mark.parametrize(("name", "setting"), _CASES)
def test_each_member_is_the_model_that_its_seed_gives_alone(name: str, setting: str) -> None:
    given = SETTINGS[setting][1]()
    ensemble = _made(name, setting, ensemble_size=N_MEMBERS).fit(**given)
    alone = [_made(name, setting, random_state=1 + member).fit(**given) for member in range(N_MEMBERS)]
    assert ensemble.trainer.global_step >= 12
    certain = {"predict_likelihood_parameters": "likelihood" in SETTINGS[setting][0]}
    for member, expected in zip(ensemble.members, alone, strict=True):
        _assert_same_weights(member.model, expected.model)
        forecasts = member.predict(OUTPUT, **_target(given), **certain)
        _assert_same(forecasts, expected.predict(OUTPUT, **_target(given), **certain))
    if "likelihood" not in SETTINGS[setting][0]:
        forecasts = [model.predict(OUTPUT, **_target(given)) for model in alone]
        _assert_same(ensemble.predict(OUTPUT, **_target(given)), _over(forecasts, np.mean))
        _assert_same(
            ensemble.predict(OUTPUT, **_target(given), num_samples=N_MEMBERS), _over(forecasts, np.concatenate)
        )


def _assert_same(forecasts: Any, expected: Any) -> None:
    pairs = zip(forecasts, expected, strict=True) if isinstance(forecasts, list) else [(forecasts, expected)]
    for forecast, one in pairs:
        np.testing.assert_allclose(values_of(forecast), values_of(one), rtol=1e-7, atol=1e-9)


def _over(forecasts: list[Any], combine: Any) -> Any:
    """Combine the forecasts of several models, each of one series or of a list."""
    if isinstance(forecasts[0], list):
        return [_over(list(of_series), combine) for of_series in zip(*forecasts, strict=True)]
    values = combine([values_of(forecast) for forecast in forecasts], axis=2 if combine is np.concatenate else 0)
    return forecasts[0].with_values(values)


def test_members_that_are_fitted_again_go_on_as_they_would_alone(model_name: str) -> None:
    arguments = {"dropout": 0.3} if takes(model_name, "dropout") else {}
    models = [make_model(model_name, ensemble_size=2, **arguments)]
    models += [make_model(model_name, random_state=seed, **arguments) for seed in (1, 2)]
    for model in models:
        model.fit(_series())
        model.predict(OUTPUT)  # which draws a seed
        model.fit(_series(seed=3), epochs=2)
    for member, alone in zip(models[0].members, models[1:], strict=True):
        _assert_same_weights(member.model, alone.model)


@pytest.mark.parametrize("fast", [True, False])
def test_both_paths_of_training_give_the_same_members(model_name: str, fast: bool) -> None:
    models = [make_model(model_name, ensemble_size=2, pl_trainer_kwargs={"gradient_clip_val": 0.1}) for _ in range(2)]
    for model, is_fast in zip(models, (True, fast), strict=True):
        model.fast_training = is_fast
        model.fit(_series(), val_series=_series(seed=1))
    _assert_same_weights(models[0].model, models[1].model)
    losses = [float(model.trainer.callback_metrics["val_loss"]) for model in models]
    assert losses[0] == pytest.approx(losses[1])


def test_the_validation_loss_is_the_mean_of_the_members(model_name: str) -> None:
    given = {"series": _series(), "val_series": _series(seed=1)}
    ensemble = make_model(model_name, ensemble_size=2).fit(**given)
    alone = [make_model(model_name, random_state=seed).fit(**given) for seed in (1, 2)]
    for name in ("val_loss", "train_loss"):
        losses = [float(model.trainer.callback_metrics[name]) for model in alone]
        assert losses[0] != pytest.approx(losses[1])
        assert float(ensemble.trainer.callback_metrics[name]) == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("arguments", [{"num_workers": 1, "multiprocessing_context": "fork"}, {"drop_last": True}])
def test_arguments_of_loaders_count_for_members_too(arguments: dict[str, Any]) -> None:
    ensemble = make_model("SimpleRNNModel", ensemble_size=2).fit(_series(), dataloader_kwargs=dict(arguments))
    for seed, member in enumerate(ensemble.members, start=1):
        alone = make_model("SimpleRNNModel", random_state=seed).fit(_series(), dataloader_kwargs=dict(arguments))
        _assert_same_weights(member.model, alone.model)


@pytest.mark.parametrize("named", ["shuffle", "sampler", "generator"])
def test_an_order_of_samples_that_is_given_is_that_of_all_members(named: str) -> None:
    def loader() -> dict[str, Any]:
        choices: dict[str, dict[str, Any]] = {
            "shuffle": {"shuffle": False},
            "sampler": {"sampler": SequentialSampler(range(20)), "shuffle": False},
            "generator": {"generator": torch.Generator().manual_seed(3)},
        }
        return choices[named]

    ensemble = make_model("SimpleRNNModel", ensemble_size=2).fit(_series(), dataloader_kwargs=loader())
    for seed, member in enumerate(ensemble.members, start=1):
        alone = make_model("SimpleRNNModel", random_state=seed).fit(_series(), dataloader_kwargs=loader())
        _assert_same_weights(member.model, alone.model)


@pytest.mark.parametrize("layer_class", [SimpleRNN, GRU, LSTM])
def test_members_have_the_same_gradients_on_any_number_of_threads(
    layer_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent_kernels, "FEWEST_PRODUCTS_OF_A_THREAD", 0)
    layer = layer_class(3, 8)
    for name, weight in list(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(torch.stack([weight.detach() + 0.1 * member for member in range(5)])))
    inputs = torch.randn(5 * 4, 9, 3)
    found = []
    for n_threads in (1, 2, 4):
        torch.set_num_threads(n_threads)
        with recurrent_kernels.threads_of_members([11], 5):
            given = inputs.clone().requires_grad_()
            states = layer(given)
            gradients = torch.autograd.grad(states.square().sum(), [given, *layer.parameters()])
        assert torch.get_num_threads() == n_threads
        found.append([states, *gradients])
    for other in found[1:]:
        assert all(torch.equal(one, expected) for one, expected in zip(other, found[0], strict=True))


def test_a_forked_process_has_threads_of_its_own_for_members() -> None:
    script = """
import os, sys, torch
from torch import nn
from seq_plugins.layers import SimpleRNN, recurrent_kernels
torch.set_num_threads(1)  # more of PyTorch's own hang in a forked process
recurrent_kernels.FEWEST_PRODUCTS_OF_A_THREAD = 0
recurrent_kernels._n_threads.set(2)
layer = SimpleRNN(3, 8)
for name, weight in list(layer.named_parameters()):
    setattr(layer, name, nn.Parameter(torch.stack([weight.detach()] * 2)))
inputs = torch.randn(8, 5, 3)
states = layer(inputs)
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(layer(inputs), states) else 1)
sys.exit(os.waitpid(child, 0)[1])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


# --- forecasts


@pytest.mark.parametrize("n_samples", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("n", [OUTPUT, 2 * OUTPUT + 1])
def test_samples_come_from_the_members_in_turn(n_samples: int, batch_size: int, n: int) -> None:
    series = [_series(length=20, components=1), _series(length=30, components=1)]
    ensemble = make_model("SimpleRNNModel", ensemble_size=2, likelihood=LaplaceLikelihood()).fit(series)
    with torch.no_grad():  # the second member's forecasts are a million higher
        ensemble.model.head.layers[-1].bias[1, ::2] += 1e6
    forecasts = ensemble.predict(n, series, num_samples=n_samples, batch_size=batch_size)
    for forecast in forecasts:
        samples = values_of(forecast)[:, 0]
        assert samples.shape == (n, n_samples)
        # one sample is drawn from what the members say together
        expected = [0.5] if n_samples == 1 else [sample % 2 for sample in range(n_samples)]
        np.testing.assert_allclose(samples / 1e6, np.tile(expected, (n, 1)), atol=1e-3)


def test_samples_of_dropout_come_from_the_members_in_turn() -> None:
    ensemble = make_model("SimpleRNNModel", ensemble_size=2, dropout=0.5).fit(_series(components=1))
    with torch.no_grad():
        ensemble.model.head.layers[-1].bias[1] += 1e6
    samples = values_of(ensemble.predict(OUTPUT, num_samples=4, mc_dropout=True))[:, 0] / 1e6
    np.testing.assert_allclose(samples, np.tile([0, 1, 0, 1], (OUTPUT, 1)), atol=1e-3)


def test_more_samples_than_members_repeat_them_where_nothing_is_drawn() -> None:
    ensemble = make_model("LinearModel", ensemble_size=2).fit(_series())
    samples = values_of(ensemble.predict(OUTPUT, num_samples=5))
    np.testing.assert_array_equal(samples[..., 2:4], samples[..., :2])
    np.testing.assert_array_equal(samples[..., 4], samples[..., 0])


LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9]


def _share_not_above(quantiles: np.ndarray, value: float) -> float:
    """Return what share of a forecast is not above a value, as Darts draws from its quantiles."""
    if value < quantiles[0]:
        return 0.0
    return 1.0 if value >= quantiles[-1] else float(np.interp(value, quantiles, LEVELS))


@pytest.mark.parametrize("decimals", [8, 0])
def test_the_quantiles_of_a_mixture_are_where_its_distribution_reaches_their_levels(decimals: int) -> None:
    drawn = np.random.default_rng(0).normal(size=(3, 40, 5)) * 2
    quantiles = np.sort(np.round(drawn, decimals), axis=-1)
    mixed = quantiles_of_mixture(torch.from_numpy(quantiles), LEVELS).numpy()
    assert mixed.shape == (40, 5)
    for of_members, found in zip(quantiles.transpose(1, 0, 2), mixed, strict=True):
        for level, value in zip(LEVELS, found, strict=True):
            not_above, below = (
                np.mean([_share_not_above(one, value + step) for one in of_members]) for step in (1e-6, -1e-6)
            )
            assert below - 1e-4 <= level <= not_above + 1e-4


def test_the_mixture_of_equal_forecasts_is_that_forecast() -> None:
    quantiles = torch.randn(4, 6, 5).sort(dim=-1).values[:1].expand(3, -1, -1)
    torch.testing.assert_close(quantiles_of_mixture(quantiles, LEVELS), quantiles[0])


def test_the_quantiles_of_an_ensemble_are_those_of_its_samples() -> None:
    ensemble = make_model("Seq2SeqRNNModel", ensemble_size=3, likelihood=QuantileRegression(LEVELS), n_epochs=5)
    ensemble.fit(_series())
    expected = values_of(ensemble.predict(OUTPUT, predict_likelihood_parameters=True)).reshape(OUTPUT, 2, 5)
    samples = values_of(ensemble.predict(OUTPUT, num_samples=6000))
    found = np.quantile(samples, LEVELS, axis=2).transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_histories_are_forecast_as_by_the_loop(model_name: str) -> None:
    series = _series()
    ensemble = make_model(model_name, ensemble_size=2).fit(series)
    arguments: dict[str, Any] = {"forecast_horizon": OUTPUT, "retrain": False, "start": 50, "start_format": "position"}
    samples = ensemble.historical_forecasts(series, num_samples=2, **arguments)
    assert len(samples) == LENGTH - 50 - OUTPUT + 1
    for position, found in enumerate(values_of(samples), start=50):
        expected = values_of(ensemble.predict(OUTPUT, series[:position], num_samples=2))[-1]
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_refits_make_the_same_ensemble_each_time_and_on_several_processes() -> None:
    ensemble = make_model("SimpleRNNModel", ensemble_size=2)
    arguments: dict[str, Any] = {"forecast_horizon": 1, "start": -3, "retrain": True, "show_warnings": False}
    one = ensemble.historical_forecasts(_series(), **arguments)
    two = ensemble.historical_forecasts(_series(), n_jobs=2, **arguments)
    np.testing.assert_allclose(values_of(one), values_of(two), rtol=1e-9)


def test_an_ensemble_can_be_one_model_of_darts_ensembles() -> None:
    models = [make_model("SimpleRNNModel", ensemble_size=2), make_model("LinearModel")]
    forecast = NaiveEnsembleModel(models).fit(_series()).predict(OUTPUT)
    expected = [make_model("SimpleRNNModel", ensemble_size=2), make_model("LinearModel")]
    mean = np.mean([values_of(model.fit(_series()).predict(OUTPUT)) for model in expected], axis=0)
    np.testing.assert_allclose(values_of(forecast), mean)


# --- copies and files


def test_copies_and_files_hold_all_members_and_members_can_be_saved_alone(model_name: str, tmp_path: Path) -> None:
    ensemble = make_model(model_name, ensemble_size=2).fit(_series())
    expected = values_of(ensemble.predict(OUTPUT, num_samples=2))
    ensemble.save(tmp_path / "ensemble.pt")
    member = ensemble.members[1]
    member.save(tmp_path / "member.pt")
    loaded = type(ensemble).load(tmp_path / "ensemble.pt")
    for same in (loaded, copy.deepcopy(ensemble), pickle.loads(pickle.dumps(ensemble))):
        _assert_same_weights(copy.deepcopy(same).fit(_series()).model, copy.deepcopy(ensemble).fit(_series()).model)
        np.testing.assert_array_equal(values_of(same.predict(OUTPUT, num_samples=2)), expected)
    alone = type(ensemble).load(tmp_path / "member.pt")
    assert alone.ensemble_size == 1
    np.testing.assert_allclose(values_of(alone.predict(OUTPUT))[..., 0], expected[..., 1], rtol=1e-12)


def test_members_are_copies() -> None:
    ensemble = make_model("SimpleRNNModel", ensemble_size=2).fit(_series())
    before = values_of(ensemble.predict(OUTPUT))
    ensemble.members[0].fit(_series(seed=3), epochs=5)
    np.testing.assert_array_equal(values_of(ensemble.predict(OUTPUT)), before)


def test_a_model_without_an_ensemble_is_its_only_member() -> None:
    model = make_model("LinearModel").fit(_series())
    assert model.members == [model]


def test_weights_of_another_number_of_members_are_refused(tmp_path: Path) -> None:
    make_model("LinearModel", ensemble_size=2).fit(_series()).save(tmp_path / "two.pt")
    with pytest.raises(ValueError, match="ensemble_size"):
        make_model("LinearModel", ensemble_size=3).load_weights(tmp_path / "two.pt")


# --- networks of one's own


class OwnEncoder(nn.Module):
    """An encoder whose layers know nothing of members, one of which keeps statistics of its batches."""

    output_dim = 5

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(input_dim, 5, batch_first=True)
        self.norm = nn.BatchNorm1d(5)

    def forward(self, features: torch.Tensor, last_only: bool = False) -> torch.Tensor:
        states, _ = self.recurrent(features)
        normalised: torch.Tensor = self.norm(states.transpose(1, 2)).transpose(1, 2)
        return normalised[:, -1:] if last_only else normalised


class OwnEncoderModule(SequenceModule):
    sequence_to_sequence = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.set_encoder(OwnEncoder(self.input_dim))


class OwnEncoderModel(SequenceModel):
    _module_class = OwnEncoderModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        use_static_covariates: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()


class OwnLayersModule(SequenceModule):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = nn.Sequential(nn.Linear(self.input_chunk_length * self.n_targets, 4), nn.LayerNorm(4), nn.Tanh())
        self.last = nn.Linear(4, int(np.prod(self.output_shape)))

    def forecast_last_step(self, x_in: Any, seasons: Any) -> torch.Tensor:
        last: torch.Tensor = self.last(self.hidden(x_in.past_target.flatten(start_dim=1)))
        return last.unflatten(-1, self.output_shape)


class OwnLayersModel(OwnEncoderModel):
    _module_class = OwnLayersModule


class NamedNetworkModule(SequenceModule):
    """A network of the package's layers, in a part that has the name of what separate members stand in."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.part = nn.ModuleDict({"network": Dense(self.input_chunk_length * self.n_targets, self.n_outputs)})

    @property
    def n_outputs(self) -> int:
        return int(np.prod(self.output_shape))

    def forecast_last_step(self, x_in: Any, seasons: Any) -> torch.Tensor:
        last: torch.Tensor = self.part["network"](x_in.past_target.flatten(start_dim=1))
        return last.unflatten(-1, self.output_shape)


class NamedNetworkModel(OwnEncoderModel):
    _module_class = NamedNetworkModule


class OwnWeightModule(OwnLayersModule):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = nn.Parameter(torch.ones(()))


class OwnWeightModel(OwnLayersModel):
    _module_class = OwnWeightModule


OWN: dict[str, Any] = {
    "n_epochs": 3,
    "batch_size": 16,
    "pl_trainer_kwargs": {"accelerator": "cpu", "enable_progress_bar": False},
}


@pytest.mark.parametrize(
    ("model_class", "is_separate"), [(OwnEncoderModel, True), (OwnLayersModel, True), (NamedNetworkModel, False)]
)
def test_networks_of_ones_own_have_members_whatever_their_layers_know_of_them(
    model_class: type[Any], is_separate: bool
) -> None:
    ensemble = model_class(INPUT, OUTPUT, random_state=1, ensemble_size=2, **OWN).fit(_series())
    assert any(isinstance(module, SeparateMembers) for module in ensemble.model.modules()) == is_separate
    alone = [model_class(INPUT, OUTPUT, random_state=seed, **OWN).fit(_series()) for seed in (1, 2)]
    for member, expected in zip(ensemble.members, alone, strict=True):
        _assert_same_weights(member.model, expected.model)
    mean = np.mean([values_of(model.predict(OUTPUT)) for model in alone], axis=0)
    np.testing.assert_allclose(values_of(ensemble.predict(OUTPUT)), mean)


# --- what is refused


def test_a_network_with_weights_outside_of_layers_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="OwnWeightModule to have its weights in layers"):
        OwnWeightModel(INPUT, OUTPUT, random_state=1, ensemble_size=2, **OWN).fit(_series())


def test_an_optimizer_to_which_members_would_be_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`optimizer_cls` to update each weight independently .* got LBFGS"):
        make_model("LinearModel", ensemble_size=2, optimizer_cls=torch.optim.LBFGS)
    make_model("LinearModel", optimizer_cls=torch.optim.LBFGS)


def test_several_devices_are_refused() -> None:
    ensemble = make_model("LinearModel", ensemble_size=2, pl_trainer_kwargs={"devices": 2, "strategy": "ddp_spawn"})
    with pytest.raises(ValueError, match="one device to train on with ensemble_size=2, got 2"):
        ensemble.fit(_series())


def test_members_are_asked_for_only_when_there_are_some() -> None:
    with pytest.raises(ValueError, match=r"not fitted and has no members yet\. Call `fit` first"):
        _ = SimpleRNNModel(INPUT, OUTPUT, ensemble_size=2).members


def test_a_member_that_diverges_ends_the_training_of_all() -> None:
    ensemble = make_model("SimpleRNNModel", ensemble_size=2).fit(_series())
    weights = copy.deepcopy(ensemble.model.state_dict())
    poisoned = copy.deepcopy(weights)
    poisoned["head.layers.0.bias"][1] = torch.inf
    ensemble.model.load_state_dict(poisoned)
    with pytest.raises(DivergenceError, match="loss is"):
        ensemble.fit(_series())


def test_without_a_seed_members_differ_and_so_do_ensembles() -> None:
    ensembles = [make_model("LinearModel", ensemble_size=2, random_state=None).fit(_series()) for _ in range(2)]
    forecasts = [values_of(ensemble.predict(OUTPUT, num_samples=2)) for ensemble in ensembles]
    assert np.abs(forecasts[0][..., 0] - forecasts[0][..., 1]).max() > 1e-3
    assert np.abs(forecasts[0] - forecasts[1]).max() > 1e-3


def test_all_public_models_take_an_ensemble_size() -> None:
    for name in MODEL_NAMES:
        assert "ensemble_size" in str(getattr(seq_plugins, name).__signature__)
    assert Seq2SeqRNNModel(INPUT, OUTPUT, ensemble_size=4).ensemble_size == 4
