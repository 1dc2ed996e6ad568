"""Forecasts from recurrent layers that are trained to forecast from every time step."""

from collections.abc import Sequence
from typing import Any

from seq_plugins.layers import CellName
from seq_plugins.models.base import SequenceModel
from seq_plugins.models.simple_rnn import RecurrentModule


class Seq2SeqRNNModule(RecurrentModule):
    """Recurrent layers with the loss on every step."""

    sequence_to_sequence = True


class Seq2SeqRNNModel(SequenceModel):
    """Recurrent layers trained to forecast the whole horizon from every time step of the window, not only the last.

    In training, the state at each step forecasts the `output_chunk_length` steps that follow it, and the loss is
    averaged over all steps: there are many more gradients, and they flow through fewer steps. In prediction and
    validation, only the forecast of the last state is used. With `output_chunk_shift` ``> 0``, steps whose targets
    would be in the gap between input and output chunk have no loss. With `use_reversible_instance_norm`, the loss is
    computed on the last step only, since the normalisation uses the whole window.

    `sample_weight` weights each target by its own time step, in the window as well as in the output chunk; it must
    cover both. Otherwise like :class:`SimpleRNNModel`.

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

    _module_class = Seq2SeqRNNModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        model: CellName = "RNN",
        hidden_dim: int = 32,
        n_rnn_layers: int = 1,
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
