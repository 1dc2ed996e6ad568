"""Forecasts from one dense layer."""

from typing import Any

import torch
from darts.utils.data.torch_datasets.utils import PLModuleInput

from seq_plugins.layers import Dense
from seq_plugins.models.base import SequenceModel
from seq_plugins.models.module import SequenceModule


class LinearModule(SequenceModule):
    """One dense layer from all inputs to the forecast."""

    takes_large_values = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        horizon, components, parameters = self.output_shape
        step_dim = self.input_dim - self.static_dim
        input_dim = self.input_chunk_length * step_dim + horizon * self.future_dim + self.static_dim
        self.dense = Dense(input_dim, horizon * components * parameters)

    def forecast_last_step(self, x_in: PLModuleInput, seasons: torch.Tensor | None) -> torch.Tensor:
        known = [
            x_in.past_target,
            x_in.past_covariates,
            x_in.historic_future_covariates,
            x_in.future_covariates,
            x_in.static_covariates,
        ]
        flat = torch.cat([values.flatten(start_dim=1) for values in known if values is not None], dim=-1)
        return self.dense(flat).unflatten(-1, self.output_shape)


class LinearModel(SequenceModel):
    """One dense layer from the window to the horizon: the baseline that every other network has to beat.

    The inputs of the layer are the target and the past covariates of the window, the future covariates of the window
    and of the horizon, and the static covariates.

    Parameters
    ----------
    {chunk_parameters}
    {shared_parameters}

    References
    ----------
    A. Géron, "Hands-On Machine Learning with Scikit-Learn, Keras and TensorFlow", 3rd edition, 2022, chapter 15,
    https://github.com/ageron/handson-ml3
    """

    _module_class = LinearModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        use_static_covariates: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()
