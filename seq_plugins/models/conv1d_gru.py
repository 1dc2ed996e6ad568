"""Forecasts from a strided convolution followed by recurrent layers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from seq_plugins.layers import CellName, DownSampling, PoolingName, RecurrentStack, down_sampled_step_ends
from seq_plugins.layers.recurrent import check_dilations
from seq_plugins.models.base import SequenceModel
from seq_plugins.models.module import SequenceModule


class Conv1DRecurrentEncoder(nn.Module):
    """Down-sampling, then recurrent layers on the shortened sequence: `(B, L, I)` to `(B, L', D)`."""

    def __init__(self, down_sampling: DownSampling, recurrent: RecurrentStack) -> None:
        super().__init__()
        self.down_sampling = down_sampling
        self.recurrent = recurrent
        self.output_dim = recurrent.output_dim

    def forward(self, input: torch.Tensor, last_only: bool = False) -> torch.Tensor:
        """Return the states of `input`, or only the last one."""
        return self.recurrent(self.down_sampling(input), last_only)


class Conv1DGRUModule(SequenceModule):
    """Convolution, optional pooling, recurrent layers and head.

    Parameters
    ----------
    num_filters
        Number of filters of the convolution.
    kernel_size
        Number of time steps that a filter sees at once.
    stride
        Stride of the convolution, in time steps.
    pooling
        ``None``, ``"max"`` or ``"average"``.
    pool_size
        Number of convolution outputs in each pooling window.
    model
        ``"RNN"``, ``"LSTM"`` or ``"GRU"``.
    hidden_dim
        Number of units of each recurrent layer.
    n_rnn_layers
        Number of recurrent layers.
    dilations
        Dilation of each recurrent layer, or ``None``.
    dropout
        Fraction of each recurrent layer's inputs that is dropped.
    recurrent_dropout
        Fraction of each recurrent layer's state that is dropped before the next step.
    layer_norm
        Whether the sums that enter each recurrent layer's gates are normalised.
    sequence_to_sequence
        Whether the loss is on every step of the shortened sequence.
    activation
        Name of the ``torch.nn`` activation after the convolution and between the head's layers.
    **kwargs
        Parameters of :class:`SequenceModule`.
    """

    def __init__(
        self,
        num_filters: int,
        kernel_size: int,
        stride: int,
        pooling: PoolingName | None,
        pool_size: int,
        model: CellName,
        hidden_dim: int,
        n_rnn_layers: int,
        dilations: Sequence[int] | None,
        dropout: float,
        recurrent_dropout: float,
        layer_norm: bool,
        sequence_to_sequence: bool,
        activation: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(activation=activation, sequence_to_sequence=sequence_to_sequence, **kwargs)
        down_sampling = DownSampling(
            self.input_chunk_length, self.input_dim, num_filters, kernel_size, stride, activation, pooling, pool_size
        )
        recurrent = RecurrentStack(
            model, num_filters, hidden_dim, n_rnn_layers, dropout, recurrent_dropout, dilations, layer_norm
        )
        self.set_encoder(Conv1DRecurrentEncoder(down_sampling, recurrent), down_sampling.step_ends)


class Conv1DGRUModel(SequenceModel):
    """A strided convolution, with optional pooling, that shortens the window, followed by recurrent layers.

    The convolution learns short patterns and shortens the sequence, so the recurrent layers look back further: the
    lecture reads 112 days with a kernel of 4 and a stride of 2. The convolution is aligned with the end of the window:
    steps that do not fill a kernel or a pooling window are dropped at the start, and the last step has always seen the
    newest input.

    As in :class:`Seq2SeqRNNModel`, the loss is by default computed on every step of the shortened sequence, each with
    the targets that follow the newest input it has seen. The remarks there on shifts, instance normalisation (loss on
    the last step only) and sample weights (they must cover the window) apply here, too.

    Parameters
    ----------
    {chunk_parameters}
    num_filters
        Number of filters of the convolution.
    kernel_size
        Number of time steps that a filter sees at once.
    stride
        Stride of the convolution, in time steps.
    pooling
        ``None``, ``"max"`` or ``"average"``: the kind of pooling after the convolution.
    pool_size
        Number of convolution outputs in each pooling window. Windows do not overlap.
    {recurrent_parameters}
    {stack_parameters}
    {dropout_parameters}
    {layer_norm_parameters}
    sequence_to_sequence
        Whether to compute the loss on every step of the shortened sequence or on the last one only.
    activation
        Name of the ``torch.nn`` activation after the convolution and between the fully connected layers of the head.
    {hidden_layer_parameters}
    {shared_parameters}
        In particular if kernel, stride and pool leave no step of the input chunk.

    References
    ----------
    A. Géron, "Hands-On Machine Learning with Scikit-Learn, Keras and TensorFlow", 3rd edition, 2022, chapter 15,
    https://github.com/ageron/handson-ml3
    """

    _module_class = Conv1DGRUModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        num_filters: int = 32,
        kernel_size: int = 4,
        stride: int = 2,
        pooling: PoolingName | None = None,
        pool_size: int = 2,
        model: CellName = "GRU",
        hidden_dim: int = 32,
        n_rnn_layers: int = 1,
        dilations: Sequence[int] | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        layer_norm: bool = False,
        sequence_to_sequence: bool = True,
        activation: str = "ReLU",
        hidden_fc_sizes: Sequence[int] | None = None,
        segment_length: int | None = None,
        use_static_covariates: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()

    def _check_arguments(self, arguments: dict[str, Any]) -> None:
        super()._check_arguments(arguments)
        length, kernel_size, stride = (arguments[name] for name in ("input_chunk_length", "kernel_size", "stride"))
        pooling, pool_size = arguments["pooling"], arguments["pool_size"]
        steps = down_sampled_step_ends(length, kernel_size, stride, pooling, pool_size)
        if not steps:
            pool = "" if pooling is None else f" and pool_size={pool_size}"
            raise ValueError(
                f"kernel_size={kernel_size}, stride={stride}{pool} leave no step of input_chunk_length={length}. Make "
                "the input chunk longer, or the kernel, stride or pool smaller."
            )
        check_dilations(arguments["dilations"], arguments["n_rnn_layers"], len(steps))
