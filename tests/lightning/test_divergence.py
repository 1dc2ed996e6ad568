"""Losses that explode."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.likelihood_models.torch import (
    BernoulliLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    LaplaceLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    TorchLikelihood,
)

from seq_plugins import DivergenceError
from seq_plugins.lightning.divergence import LossWatch
from seq_plugins.models import SequenceModule
from tests.checkpoints import (
    assert_same_network,
    validated,
    with_checkpoints,
)
from tests.conftest import OUTPUT, make_model, make_series, values_of

ROOT = Path(__file__).parents[2]

# training goes on in the folder of the checkpoints from which it does
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


EXPLODES: dict[str, dict[str, Any]] = {
    "to NaN": {"optimizer_cls": torch.optim.SGD, "optimizer_kwargs": {"lr": 1e12}},
    "to large numbers": {"optimizer_kwargs": {"lr": 1e3}},
    "to NaN with a likelihood": {
        "optimizer_cls": torch.optim.SGD,
        "optimizer_kwargs": {"lr": 1e12},
        "likelihood": GaussianLikelihood(),
    },
}


@pytest.mark.parametrize("how", EXPLODES)
@pytest.mark.parametrize("validates", [False, True])
@pytest.mark.parametrize("fast", [True, False])
def test_a_loss_that_explodes_is_an_error_and_no_checkpoint(
    how: str, validates: bool, fast: bool, tmp_path: Path
) -> None:
    name = "Seq2SeqRNNModel"
    model = with_checkpoints(name, tmp_path, n_epochs=3, **EXPLODES[how])
    model.fast_training = fast
    given = validated() if validates else {"series": make_series(60)}
    with pytest.raises(DivergenceError, match=r"in epoch|after epoch") as diverged:
        model.fit(**given)
    for remedy in ("learning rate", "gradient_clip_val", "scale the series"):
        assert remedy in str(diverged.value)
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    with pytest.raises(ValueError, match="fit"):
        model.predict(OUTPUT, make_series())


def test_every_model_says_that_its_loss_explodes(model_name: str) -> None:
    model = make_model(model_name, n_epochs=3, optimizer_kwargs={"lr": 1e3})
    with pytest.raises(DivergenceError, match=r"The loss (has grown|is inf)"):
        model.fit(make_series(60))


def test_the_step_of_a_nan_is_named_and_the_best_checkpoint_before_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_checkpoints("SimpleRNNModel", tmp_path)
    compute_loss = SequenceModule._compute_loss

    def explode(module: SequenceModule, *args: Any) -> torch.Tensor:
        loss = compute_loss(module, *args)
        return loss * float("nan") if module.training and module.trainer.global_step == 10 else loss

    monkeypatch.setattr(SequenceModule, "_compute_loss", explode)
    with pytest.raises(DivergenceError, match=r"The loss is nan at step 10, in epoch 3"):
        model.fit(**validated())  # three batches an epoch
    for best in (True, False):
        loaded = type(model).load_from_checkpoint("run", str(tmp_path), best=best)
        assert np.isfinite(values_of(loaded.predict(OUTPUT, make_series()))).all()


def test_a_model_that_was_fitted_before_keeps_its_weights_when_a_further_fit_diverges() -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    expected = values_of(model.predict(OUTPUT))
    model.model.optimizer_kwargs = {"lr": 1e3}
    with pytest.raises(DivergenceError):
        model.fit(make_series(), epochs=2)
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT)), expected)


@pytest.mark.parametrize("fast", [True, False])
def test_a_model_that_was_fitted_before_is_what_it_was_when_a_further_fit_diverges(fast: bool) -> None:
    model, longer = make_model("SimpleRNNModel", n_epochs=2, likelihood=GaussianLikelihood()), make_series(70)
    model.fast_training = fast
    model.fit(make_series())
    same = make_model("SimpleRNNModel", n_epochs=2, likelihood=GaussianLikelihood()).fit(make_series())
    attributes, trainer = set(vars(model)), model.trainer
    model.model.optimizer_kwargs = {"lr": 1e38}
    for series in (longer, [longer, longer]):
        with pytest.raises(DivergenceError):
            model.fit(series, epochs=5)
        assert set(vars(model)) == attributes
        assert model.trainer is trainer
        assert model.epochs_trained == 2
        assert len(model.training_series) == len(make_series())
    # drawn at random, from the series of the first fit
    for n_samples in (1, 3):
        drawn, expected = model.predict(OUTPUT, num_samples=n_samples), same.predict(OUTPUT, num_samples=n_samples)
        assert drawn.time_index.equals(expected.time_index)
        np.testing.assert_array_equal(drawn.all_values(), expected.all_values())
    model.model.optimizer_kwargs = dict(same.model.optimizer_kwargs)
    assert_same_network(same.fit(longer), model.fit(longer))


def test_a_model_whose_first_fit_diverges_can_be_fitted_to_series_of_another_shape() -> None:
    model = make_model("SimpleRNNModel", optimizer_kwargs={"lr": 1e38})
    with pytest.raises(DivergenceError):
        model.fit(make_series(), past_covariates=make_series(), epochs=3)
    assert (model.training_series, model.epochs_trained, model.model_created) == (None, 0, False)
    model.pl_module_params["optimizer_kwargs"] = {"lr": 1e-3}
    assert model.fit(make_series(components=2)).predict(OUTPUT).n_components == 2


LIKELIHOODS: dict[str, TorchLikelihood] = {
    "Laplace": LaplaceLikelihood(),
    "negative binomial": NegativeBinomialLikelihood(),
    "gamma": GammaLikelihood(),
    "Bernoulli": BernoulliLikelihood(),
    "Gaussian": GaussianLikelihood(),
    "Poisson": PoissonLikelihood(),
}


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("fast", [True, False])
def test_a_fit_with_any_likelihood_that_diverges_says_so_and_leaves_the_weights(likelihood: str, fast: bool) -> None:
    series = make_series() * 0 + 1  # a value, and a count, that all of them take
    model = make_model("SimpleRNNModel", likelihood=LIKELIHOODS[likelihood])
    model.fast_training = fast
    expected = values_of(model.fit(series).predict(OUTPUT, predict_likelihood_parameters=True))
    model.model.optimizer_kwargs = {"lr": 1e38}
    with pytest.raises(DivergenceError, match=r"at step 1, in epoch 0.* Lower the learning rate"):
        model.fit(series, epochs=3)
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT, predict_likelihood_parameters=True)), expected)


class _WithoutSoftplus(LaplaceLikelihood):
    def _params_from_output(self, model_output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return model_output[..., 0], model_output[..., 1] * 0 - 1


def test_parameters_that_are_finite_but_none_of_the_likelihood_are_divergence_after_an_update() -> None:
    with pytest.raises(ValueError, match="Expected parameter scale") as refused:
        make_model("SimpleRNNModel", likelihood=_WithoutSoftplus()).fit(make_series())
    assert not isinstance(refused.value, DivergenceError)
    model = make_model("SimpleRNNModel", likelihood=LaplaceLikelihood(), optimizer_kwargs={"lr": 1e3}, n_epochs=5)
    with pytest.raises(DivergenceError, match="gives no valid parameters") as diverged:
        model.fit(make_series())
    assert "Expected parameter scale" in str(diverged.value.__cause__)


def test_targets_that_a_likelihood_refuses_are_no_divergence() -> None:
    model = make_model("SimpleRNNModel", likelihood=GammaLikelihood())
    with pytest.raises(ValueError, match="Expected value argument") as refused:
        model.fit(make_series() * 0 - 1)
    assert not isinstance(refused.value, DivergenceError)


@pytest.mark.parametrize("fast", [True, False])
def test_no_forecast_is_made_from_weights_that_are_nan(model_name: str, fast: bool) -> None:
    model = make_model(model_name).fit(make_series())
    model.fast_prediction = fast
    with torch.no_grad():
        next(iter(model.model.parameters())).view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match="Weights of the network are NaN or infinite"):
        model.predict(OUTPUT)


@pytest.mark.parametrize("values", [0.0, 1e-12, 1e15])
def test_series_of_any_size_are_no_explosion(values: float) -> None:
    series = make_series() * 0 + values
    for given in (series, series + make_series() * values):
        model = make_model("SimpleRNNModel", n_epochs=2).fit(given)
        model.fit(make_series(seed=3) + values, epochs=1)  # on which the network is no longer right
        assert model.epochs_trained == 1


@pytest.mark.parametrize("arguments", [{"missing": "mask"}, {}])
def test_a_loss_explodes_also_beside_values_that_are_missing(arguments: dict[str, Any]) -> None:
    values = values_of(make_series(60)).copy()
    values[0, 0] = np.nan
    given = {} if arguments else {"max_samples_per_ts": 10}  # the newest windows, which don't hold it
    model = make_model("SimpleRNNModel", n_epochs=3, optimizer_kwargs={"lr": 1e3}, **arguments)
    with pytest.raises(DivergenceError, match="The loss has grown"):
        model.fit(make_series(60).with_values(values), **given)


def test_a_loss_with_weights_explodes_and_heavy_weights_are_no_explosion() -> None:
    series, ones = make_series(60), make_series(60) * 0 + 1
    with pytest.raises(DivergenceError, match="The loss has grown"):
        make_model("SimpleRNNModel", n_epochs=3, optimizer_kwargs={"lr": 1e3}).fit(series, sample_weight=ones)
    heavy = np.where(np.arange(60) < 40, 0, 1e9).astype("float32").reshape(60, 1)
    for values in (heavy, heavy[::-1]):  # the loss of the first or of the last batch is zero
        model = make_model("SimpleRNNModel", batch_size=8)
        given = {"sample_weight": ones.with_values(values), "dataloader_kwargs": {"shuffle": False}}
        assert model.fit(series, **given).epochs_trained == 1


def test_where_processes_train_together_each_of_them_looks_at_the_weights_only() -> None:
    model = make_model("SimpleRNNModel").fit(make_series())
    trainer = SimpleNamespace(
        world_size=2,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        datamodule=model.trainer.datamodule,
        current_epoch=0,
        global_step=1,
        precision="32-true",
    )
    for world_size, outcome in ((2, nullcontext()), (1, pytest.raises(DivergenceError, match="has grown"))):
        trainer.world_size = world_size
        watch = LossWatch(model.model, trainer)
        for loss in (1.0, 1e30):
            watch.see(torch.tensor(loss))
        with outcome:
            watch.check()


def test_a_search_for_the_learning_rate_may_go_on_until_it_diverges() -> None:
    model = make_model("SimpleRNNModel", optimizer_cls=torch.optim.SGD)
    found = model.lr_find(make_series(60), epochs=10, max_lr=1e12, num_training=20, early_stop_threshold=None)
    assert not np.isfinite(found.results["loss"]).all()
