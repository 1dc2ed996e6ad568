"""Forecasts from a stack of recurrent layers."""

from collections.abc import Sequence
from typing import Any

from seq_plugins.layers import CellName
from seq_plugins.models.base import SequenceModel
from seq_plugins.models.simple_rnn import RecurrentModule


class DeepRNNModel(SequenceModel):
    """A stack of recurrent layers; all steps of the horizon are forecast from the final state of the top layer.

    Each layer but the first reads the states of the layer below. Otherwise like :class:`SimpleRNNModel`.

    Parameters
    ----------
    {chunk_parameters}
    {recurrent_parameters}
    {stack_parameters}
    {dropout_parameters}
    {layer_norm_parameters}
    {head_parameters}
    {shared_parameters}

    References
    ----------
    A. Géron, "Hands-On Machine Learning with Scikit-Learn, Keras and TensorFlow", 3rd edition, 2022, chapter 15,
    https://github.com/ageron/handson-ml3
    """

    _module_class = RecurrentModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        model: CellName = "RNN",
        hidden_dim: int = 32,
        n_rnn_layers: int = 3,
        dilations: Sequence[int] | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        layer_norm: bool = False,
        activation: str = "ReLU",
        hidden_fc_sizes: Sequence[int] | None = None,
        segment_length: int | None = None,
        use_static_covariates: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()
