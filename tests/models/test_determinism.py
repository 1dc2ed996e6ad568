"""The same seed gives the same numbers, whatever else is going on."""

import numpy as np
import torch
from darts.utils.likelihood_models.torch import GaussianLikelihood

from tests.conftest import OUTPUT, make_model, make_series, takes, values_of


def _dropouts(model_name: str) -> dict[str, float]:
    return {name: 0.3 for name in ("dropout", "recurrent_dropout") if takes(model_name, name)}


def test_the_same_random_state_gives_the_same_numbers(model_name: str) -> None:
    target, arguments = make_series(), _dropouts(model_name)
    forecasts = [values_of(make_model(model_name, **arguments).fit(target).predict(OUTPUT)) for _ in range(2)]
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    other = values_of(make_model(model_name, random_state=2, **arguments).fit(target).predict(OUTPUT))
    assert not np.array_equal(forecasts[0], other)


def test_two_models_trained_in_turn_do_not_disturb_each_other(model_name: str) -> None:
    target, arguments = make_series(), _dropouts(model_name)
    alone = values_of(make_model(model_name, **arguments).fit(target).predict(OUTPUT))
    first, second = make_model(model_name, **arguments), make_model(model_name, random_state=2, **arguments)
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002 Darts draws from the global generator
    second.fit(target)
    first.fit(target)
    second.predict(OUTPUT)
    np.testing.assert_array_equal(values_of(first.predict(OUTPUT)), alone)


def test_training_leaves_the_global_random_numbers_as_they_were(model_name: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make_model(model_name, **_dropouts(model_name)).fit(make_series()).predict(OUTPUT)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_samples_repeat_with_the_seed_of_the_forecast(model_name: str) -> None:
    model = make_model(model_name, likelihood=GaussianLikelihood(), **_dropouts(model_name)).fit(make_series())
    arguments = {"num_samples": 5, "random_state": 3, "mc_dropout": True}
    np.testing.assert_array_equal(
        values_of(model.predict(OUTPUT, **arguments)), values_of(model.predict(OUTPUT, **arguments))
    )
