"""Forecasts from one recurrent layer."""

from collections.abc import Sequence
from typing import Any

from seq_plugins.layers import CellName, RecurrentStack
from seq_plugins.models.base import SequenceModel
from seq_plugins.models.module import SequenceModule


class RecurrentModule(SequenceModule):
    """Network of recurrent layers: the final state of the last layer goes to the head.

    Parameters
    ----------
    model
        ``"RNN"``, ``"LSTM"`` or ``"GRU"``.
    hidden_dim
        Number of units of each layer.
    dropout
        Fraction of each layer's inputs that is dropped.
    recurrent_dropout
        Fraction of each layer's state that is dropped before the next step.
    n_rnn_layers
        Number of layers.
    dilations
        Dilation of each layer, or ``None``.
    layer_norm
        Whether the sums that enter each layer's gates are normalised.
    **kwargs
        Parameters of :class:`SequenceModule`.
    """

    def __init__(
        self,
        model: CellName,
        hidden_dim: int,
        dropout: float,
        recurrent_dropout: float,
        n_rnn_layers: int = 1,
        dilations: Sequence[int] | None = None,
        layer_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.set_encoder(
            RecurrentStack(
                model, self.input_dim, hidden_dim, n_rnn_layers, dropout, recurrent_dropout, dilations, layer_norm
            )
        )


class SimpleRNNModel(SequenceModel):
    """One recurrent layer that reads the window, and forecasts all steps of the horizon from its last state.

    This is the lecture's sequence-to-vector network, for one step ahead or several, for one target component or
    several. At each time step the layer reads the target, the past covariates, the future covariates of the
    *next* step (without a shift) and the static covariates. The head reads the final state and the future
    covariates of the horizon, so every step of the forecast depends on the newest input.

    Parameters
    ----------
    {chunk_parameters}
    {recurrent_parameters}
    {dropout_parameters}
    {layer_norm_parameters}
    {head_parameters}
    {shared_parameters}

    References
    ----------
    A. Géron, "Hands-On Machine Learning with Scikit-Learn, Keras and TensorFlow", 3rd edition, 2022, chapter 15,
    https://github.com/ageron/handson-ml3

    Examples
    --------
    >>> from seq_plugins import SimpleRNNModel
    >>> from seq_plugins.datasets import ChicagoRidershipDataset
    >>> riders = ChicagoRidershipDataset().load()["ridership"].astype("float32") / 1e4
    >>> model = SimpleRNNModel(input_chunk_length=56, output_chunk_length=14, n_epochs=5, random_state=1)
    >>> forecast = model.fit(riders[-500:]).predict(14)
    """

    _module_class = RecurrentModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        model: CellName = "RNN",
        hidden_dim: int = 32,
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
